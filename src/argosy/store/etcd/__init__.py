"""The store on etcd v3: the contract of `store/base.py`, kept by three or five machines instead of one file.

`store.py` is the way in. Under it: `members.py` (connections, failover, being let in), `watches.py`, `leases.py`,
`messages.py` (the contract's words in etcd's), `refusals.py` (what etcd's errors mean for a write), `health.py` (what
`doctor` asks), `rpc.proto` with the code that is generated from it. Nothing outside this package imports grpc.
"""

import os

# Otherwise gRPC writes its own lines to standard error at every attempt to connect; the errors that we raise say the same.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
