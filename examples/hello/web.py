"""The web service: one page that counts its visits, on 127.0.0.1:$PORT."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from notify import notify

PORT = int(os.environ["PORT"])


class Page(BaseHTTPRequestHandler):
    visits = 0

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer("ok\n")
            return
        Page.visits += 1
        print(f"visit {Page.visits}", flush=True)
        self.answer(
            f"Hello from port {PORT}, process {os.getpid()}. You are visit {Page.visits}.\n"
        )

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: do_GET prints what is worth a line."""


try:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Page)
except OSError as problem:
    sys.exit(f"cannot listen on port {PORT}: {problem.strerror}")
print(f"serving http://127.0.0.1:{PORT}/", flush=True)
notify(f"READY=1\nSTATUS=serving http://127.0.0.1:{PORT}/")
server.serve_forever()
