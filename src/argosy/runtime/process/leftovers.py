"""What a supervisor that was killed leaves behind: its unit's processes, which are nobody's now.

They are found by what the supervisor put down (pids with start times, so that a reused pid is never taken for one of
them) and by the INVOCATION_ID in their environment; with them go their descendants. A process that escaped both by
leaving its parents and clearing its environment in the same moment as the supervisor died is not found.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from typing import Any

from argosy.runtime.process import tree

PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.02


def end(state: Mapping[str, Any]) -> int:
    """Kill the processes that the state (of a supervisor that is dead or deaf) tells of. Blocks until they are gone, or
    PATIENCE_SECONDS for those that cannot be killed. Returns how many there were.
    """
    if state.get("boot_id") != tree.boot_id():
        return 0
    seen: set[int] = set()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (found := _find(state)) and time.monotonic() < deadline:
        seen.update(found)
        for pid in found:
            tree.kill(pid, signal.SIGKILL)
        time.sleep(_PAUSE_SECONDS)
    return len(seen)


def _find(state: Mapping[str, Any]) -> set[int]:
    roots = {
        pid
        for pid, started in [state["supervisor"], *state["processes"]]
        if started is not None and tree.start_time(pid) == started
    }
    if state["invocation"]:
        marked = tree.with_environment(f"INVOCATION_ID={state['invocation']}")
        roots.update(pid for pid in marked if tree.start_time(pid) is not None)
    return roots.union(*(tree.descendants(pid) for pid in roots))
