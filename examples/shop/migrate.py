"""Brings the stock's layout to the newest version, one numbered step at a time. Running it again does nothing."""

from __future__ import annotations

from resp import Redis


def add_goods(redis: Redis) -> None:
    """1: there are goods."""
    for name, amount in {"apples": 12, "pears": 7, "plums": 30}.items():
        redis.call("HSETNX", "stock", name, amount)


def count_sold(redis: Redis) -> None:
    """2: what was sold is counted."""
    redis.call("HSETNX", "sold", "orders", 0)


STEPS = [add_goods, count_sold]

with Redis() as redis:
    done = int(redis.call("GET", "layout") or 0)
    print(f"layout {done}, newest {len(STEPS)}", flush=True)
    for number, step in enumerate(STEPS[done:], start=done + 1):
        print(f"step {step.__doc__}", flush=True)
        step(redis)
        redis.call("SET", "layout", number)
