"""Units run by systemd, over D-Bus: the runtime of machines.

`runtime.py` implements the contract in a `place.py`; `bus.py` is the connection, `unit_files.py` what stands on the disk,
`strangers.py` what is somebody else's, `pulled_in.py` the links of [Install], `states.py` what systemd's properties mean,
`jobs.py` starts and stops under way, `ordering.py` their order, `cut_off.py` the dead-man's switch, `journal.py` what units
print. Facts about systemd that this rests on: docs/design/systemd-runtime.md.
"""
