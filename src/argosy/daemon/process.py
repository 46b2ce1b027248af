"""What the daemons have in common as processes: their loop, their signals, how they log, and how they end.

SIGTERM and SIGINT ask a daemon to end in good order; what ends it otherwise is raised as one error for a person.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from argosy.daemon import sd_notify
from argosy.errors import ArgosyError

log = logging.getLogger(__name__)
LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
"""Severities of syslog(3), as journald reads them at the beginning of a line."""


def run(
    daemon: Callable[[asyncio.Event, Callable[[], None]], Coroutine[Any, Any, None]],
    *,
    is_busy: bool = False,
) -> None:
    """Run a daemon to its end.

    daemon: called with an event that is set when it is to end, and with what it calls once it is ready.
    is_busy: it has many connections, and gets the faster event loop where that is installed (the extra `fast`).
    Raises the first of our errors that ended it.
    """
    log_to_stderr()

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await daemon(stop, _ready)

    try:
        with asyncio.Runner(loop_factory=_fast_loop() if is_busy else None) as runner:
            runner.run(main())
    except BaseExceptionGroup as group:
        raise the_one(group) from group
    finally:
        sd_notify.tell("STOPPING=1")


def log_to_stderr() -> None:
    """One line each; with its severity for the journal where that reads them, else with the time."""
    handler = logging.StreamHandler()
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # A line for each heartbeat tells nobody anything.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)


class _JournalFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        level = LEVELS.get(record.levelno, 6)
        return "\n".join(f"<{level}>{line}" for line in super().format(record).splitlines())


def the_one(problem: BaseException) -> BaseException:
    """The first error of ours inside a group, since a person has use for one only."""
    if isinstance(problem, BaseExceptionGroup):
        ours = problem.subgroup(ArgosyError)
        return the_one((ours or problem).exceptions[0])
    return problem


def _ready() -> None:
    sd_notify.tell("READY=1", "STATUS=")
    log.info("ready")


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module(
        "uvloop"
    ).new_event_loop
    return factory
