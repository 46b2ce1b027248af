"""Fulfils orders: takes them from the queue one by one and the goods out of stock.

An order is acknowledged after the stock has changed: after a crash between the two it is fulfilled twice, and never lost.
"""

from __future__ import annotations

import time

from amqp import Queue
from resp import Redis

LOOK_EVERY_SECONDS = 0.2

with Queue("orders") as queue, Redis() as redis:
    print("waiting for orders", flush=True)
    while True:
        message = queue.get()
        if message is None:
            time.sleep(LOOK_EVERY_SECONDS)
            continue
        tag, body = message
        good = body.decode()
        left = redis.call("HGET", "stock", good)
        if left is None or int(left) <= 0:
            print(f"cannot fulfil: no {good} in stock", flush=True)
        else:
            redis.call("HINCRBY", "stock", good, -1)
            redis.call("HINCRBY", "sold", "orders", 1)
            print(f"fulfilled: {good}", flush=True)
        queue.done(tag)
