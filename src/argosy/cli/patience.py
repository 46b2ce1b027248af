"""A word to whoever waits for something that takes longer than a second."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

AFTER_SECONDS = 1.0


@contextmanager
def told(args: argparse.Namespace, words: str) -> Iterator[None]:
    """Say on stderr what is being done, if the body takes longer than a second. With --json nothing is said."""
    timer = threading.Timer(AFTER_SECONDS, print, (f"{words} ...",), {"file": sys.stderr})
    timer.daemon = True
    if not args.json:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
