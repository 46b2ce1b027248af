"""The runtime of plain processes: units without root and without systemd, for laptops and CI.

    ProcessRuntime (runtime.py)   in the agent: installed units, transactions, what people see
      transaction.py              pure: which jobs follow from a request, in which order
      load.py, directives.py      pure: a unit's text into a Service, and what of it is not honoured
      spawner.py                  a small process that only forks, so that starting a unit costs no interpreter
        supervisor.py             one process per running unit: outlives the agent, has the unit's processes below it
          lifecycle.py            the state machine of a service, systemd's
          execute.py, tree.py, notify.py, output.py    its hands: fork and exec, /proc, sd_notify, the log

`docs/design/process-runtime.md` tells why; `docs/reference/process-runtime.md` names every difference from systemd.
This module imports nothing: the spawner and its forks stay small.
"""
