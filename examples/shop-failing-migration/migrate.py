"""`migrate.py DATABASE`: makes the table of prices and loads prices.csv into it, all or nothing."""

from __future__ import annotations

import csv
import sqlite3
import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path

PRICES = Path(__file__).with_name("prices.csv")


def cents(text: str, *, line: int) -> int:
    try:
        return int(Decimal(text) * 100)
    except InvalidOperation:
        sys.exit(f"{PRICES.name}, line {line}: {text!r} is no price; the database is as it was")


def migrate(database: sqlite3.Connection) -> None:
    print("step 1: a table of prices", flush=True)
    database.execute("CREATE TABLE IF NOT EXISTS prices (good TEXT PRIMARY KEY, cents INTEGER)")
    print(f"step 2: prices from {PRICES.name}", flush=True)
    with PRICES.open(newline="") as lines:
        for number, (good, price) in enumerate(csv.reader(lines), start=1):
            row = (good, cents(price, line=number))
            database.execute("INSERT OR REPLACE INTO prices VALUES (?, ?)", row)


# As a context manager a connection commits at the end, or rolls back on the way out of an error.
with sqlite3.connect(sys.argv[1]) as database:
    database.execute("BEGIN")
    migrate(database)
print("done", flush=True)
