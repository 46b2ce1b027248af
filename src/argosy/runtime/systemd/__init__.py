"""Units run by systemd, over D-Bus: the runtime of machines.

`runtime.py` implements the contract; `bus.py` is the connection, `unit_files.py` what stands on the disk, `states.py` what
systemd's properties mean, `jobs.py` starts and stops under way, `cut_off.py` the dead-man's switch, `journal.py` what
units print, `pulled_in.py` the links of [Install]. Facts about systemd that this rests on: docs/design/systemd-runtime.md.
"""
