"""The worker: keeps the list of announced instances, and visits each of them every few seconds.

PUT and DELETE on /instances/NAME announce and withdraw; GET / shows the list. An announcement holds for five seconds,
so that an instance whose sidekick died is forgotten too.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from notify import notify

PORT = int(os.environ["PORT"])
HOLDS_SECONDS = 5.0
VISIT_EVERY_SECONDS = 3.0


class Directory:
    """Who is announced, where, and since when. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, tuple[str, float, float]] = {}  # name: url, since, until

    def announce(self, name: str, url: str) -> None:
        now = time.monotonic()
        with self._lock:
            known = self._entries.get(name)
            self._entries[name] = (url, known[1] if known else now, now + HOLDS_SECONDS)
        if known is None:
            print(f"{name} is announced at {url}", flush=True)

    def withdraw(self, name: str) -> None:
        with self._lock:
            known = self._entries.pop(name, None)
        if known is not None:
            print(f"{name} is withdrawn", flush=True)

    def instances(self) -> list[tuple[str, str, float]]:
        """Name, URL and age in seconds of each announced instance, in order of name."""
        now = time.monotonic()
        with self._lock:
            silent = [name for name, (_, _, until) in self._entries.items() if until < now]
        for name in silent:
            self.withdraw(name)
        with self._lock:
            return [
                (name, url, now - since) for name, (url, since, _) in sorted(self._entries.items())
            ]


directory = Directory()


class Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        lines = [f"{name}  {url}  for {age:.0f} s\n" for name, url, age in directory.instances()]
        self.answer("".join(lines) or "no instance is announced\n")

    def do_PUT(self) -> None:
        url = self.rfile.read(int(self.headers["Content-Length"])).decode()
        directory.announce(self.name(), url)
        self.answer("announced\n")

    def do_DELETE(self) -> None:
        directory.withdraw(self.name())
        self.answer("withdrawn\n")

    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: the directory prints what changes."""


def visit_for_ever() -> None:
    while True:
        time.sleep(VISIT_EVERY_SECONDS)
        for name, url, _ in directory.instances():
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    print(f"{name}: {answer.read().decode().strip()}", flush=True)
            except OSError as problem:
                print(f"{name} does not answer: {problem}", flush=True)


try:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Api)
except OSError as problem:
    sys.exit(f"cannot listen on port {PORT}: {problem.strerror}")
threading.Thread(target=visit_for_ever, daemon=True).start()
print(f"the list of instances is at http://127.0.0.1:{PORT}/", flush=True)
notify(f"READY=1\nSTATUS=listing instances at http://127.0.0.1:{PORT}/")
server.serve_forever()
