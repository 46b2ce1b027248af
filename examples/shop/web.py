"""The shop's front: GET / shows what is in stock, POST /orders with the name of a good orders one."""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from amqp import AmqpError, Queue
from notify import notify
from resp import Redis, RedisError

PORT = int(os.environ["PORT"])
LONGEST_ORDER = 100


class Front(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/healthz":
            self.answer(200, "ok\n")
            return
        try:
            with Redis() as redis:
                goods = redis.call("HGETALL", "stock")
                orders = redis.call("HGET", "sold", "orders")
        except (OSError, RedisError) as problem:
            self.answer(503, f"the stock does not answer: {problem}\n")
            return
        pairs = sorted(zip(goods[::2], goods[1::2], strict=True))
        shelf = "".join(f"{name.decode():8} {amount.decode():>3}\n" for name, amount in pairs)
        self.answer(200, f"{shelf}{orders.decode()} orders fulfilled\n")

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        order = self.rfile.read(min(length, LONGEST_ORDER)).decode(errors="replace").strip()
        if not order.isalpha():
            self.answer(400, "order something by its name: curl -d apples ...\n")
            return
        try:
            with Queue("orders") as queue:
                queue.publish(order.encode())
        except (OSError, AmqpError) as problem:
            self.answer(503, f"the queue does not answer: {problem}\n")
            return
        print(f"ordered: {order}", flush=True)
        self.answer(202, f"ordered: {order}\n")

    def answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent: orders are printed."""


try:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Front)
except OSError as problem:
    sys.exit(f"cannot listen on port {PORT}: {problem.strerror}")
print(f"open at http://127.0.0.1:{PORT}/", flush=True)
notify(f"READY=1\nSTATUS=open at http://127.0.0.1:{PORT}/")
server.serve_forever()
