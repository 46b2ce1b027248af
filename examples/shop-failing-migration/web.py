"""`web.py DATABASE`: shows the price list on 127.0.0.1:$PORT."""

from __future__ import annotations

import os
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from notify import notify

DATABASE = sys.argv[1]
PORT = int(os.environ["PORT"])


class PriceList(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with sqlite3.connect(DATABASE) as database:
            rows = database.execute("SELECT good, cents FROM prices ORDER BY good").fetchall()
        body = "".join(f"{good:8} {cents / 100:.2f}\n" for good, cents in rows).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


try:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), PriceList)
except OSError as problem:
    sys.exit(f"cannot listen on port {PORT}: {problem.strerror}")
print(f"price list at http://127.0.0.1:{PORT}/", flush=True)
notify("READY=1")
server.serve_forever()
