"""Where the cluster's records live. `base.py` is the contract; read it first."""
