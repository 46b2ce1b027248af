"""The sidekick: `follow.py NAME URL` announces an instance to the worker for as long as the instance answers.

`follow.py --withdraw NAME` takes the announcement back.
"""

from __future__ import annotations

import sys
import time
import urllib.request

WORKER = "http://127.0.0.1:8000/instances/"
EVERY_SECONDS = 1.0


def send(method: str, name: str, body: str = "") -> None:
    request = urllib.request.Request(WORKER + name, body.encode(), method=method)
    urllib.request.urlopen(request, timeout=2).close()


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "healthz", timeout=1):
            return True
    except OSError:
        return False


def follow(name: str, url: str) -> None:
    """Announce the instance each second while it is healthy; print when that changes."""
    said = ""
    while True:
        now = f"{name} does not answer"
        if is_healthy(url):
            try:
                send("PUT", name, url)
                now = f"{name} is healthy and announced"
            except OSError:
                now = f"{name} is healthy; the worker does not answer yet"
        if now != said:
            print(now, flush=True)
            said = now
        time.sleep(EVERY_SECONDS)


def withdraw(name: str) -> None:
    try:
        send("DELETE", name)
    except OSError:
        print(f"{name} need not be withdrawn: the worker is gone", flush=True)


if sys.argv[1] == "--withdraw":
    withdraw(sys.argv[2])
else:
    follow(sys.argv[1], sys.argv[2])
