"""How an agent runs units on its machine. `base.py` is the contract; read it first."""
