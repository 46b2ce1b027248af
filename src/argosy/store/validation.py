"""What every store refuses before it looks at its content: one place, so that all implementations refuse the same."""

from __future__ import annotations

from collections.abc import Sequence

from argosy.errors import Invalid
from argosy.store.base import (
    MAX_KEY_BYTES,
    MAX_TXN_BYTES,
    MAX_TXN_OPS,
    MAX_VALUE_BYTES,
    Compare,
    Delete,
    Get,
    Op,
    Put,
    Target,
)


def check_key(key: str) -> int:
    """Size of the key in bytes. Raises Invalid when it is empty, too long or no UTF-8."""
    try:
        size = len(key) if key.isascii() else len(key.encode())
    except UnicodeEncodeError as problem:
        raise Invalid(f"the key {key!r} is not valid UTF-8") from problem
    if not 1 <= size <= MAX_KEY_BYTES:
        raise Invalid(f"a key has 1 to {MAX_KEY_BYTES} bytes; {key[:40]!r} has {size}")
    return size


def check_range(start: str, end: str | None) -> None:
    check_key(start)
    if end is not None:
        check_key(end)


def check_ttl(ttl_seconds: int) -> None:
    if ttl_seconds < 1:
        raise Invalid(f"a lease lives at least 1 second, not {ttl_seconds}")


def check_txn(compares: Sequence[Compare], success: Sequence[Op], failure: Sequence[Op]) -> None:
    """Both branches are checked, whichever is carried out: a wrong request is wrong every time."""
    most = max(len(compares), len(success), len(failure))
    if most > MAX_TXN_OPS:
        raise Invalid(f"a transaction has at most {MAX_TXN_OPS} operations, not {most}")
    size = sum(map(_compare_size, compares)) + sum(map(_op_size, (*success, *failure)))
    if size > MAX_TXN_BYTES:
        raise Invalid(
            f"the keys and values of a transaction have at most {MAX_TXN_BYTES} bytes together, not {size}"
        )
    _check_each_key_once(success)
    _check_each_key_once(failure)


def _compare_size(compare: Compare) -> int:
    if compare.operator not in {"=", "!=", "<", ">"}:
        raise Invalid(f"a compare is one of = != < >, not {compare.operator!r}")
    if isinstance(compare.operand, bytes) is not (compare.target is Target.VALUE):
        raise Invalid(
            f"{compare.target} of {compare.key} cannot be compared to {compare.operand!r}"
        )
    return check_key(compare.key) + (
        len(compare.operand) if isinstance(compare.operand, bytes) else 0
    )


def _op_size(op: Op) -> int:
    match op:
        case Put(key, value):
            if len(value) > MAX_VALUE_BYTES:
                raise Invalid(
                    f"a value has at most {MAX_VALUE_BYTES} bytes; that of {key} has {len(value)}"
                )
            return check_key(key) + len(value)
        case Delete(key, end) | Get(key, end):
            return check_key(key) + (check_key(end) if end is not None else 0)


def _check_each_key_once(ops: Sequence[Op]) -> None:
    puts = [op.key for op in ops if isinstance(op, Put)]
    twice = len(puts) != len(set(puts))
    for op in ops:
        match op:
            case Delete(key, None):
                twice = twice or key in puts
            case Delete(start, str() as end):
                twice = twice or any(start <= key < end for key in puts)
            case _:
                pass
    if twice:
        raise Invalid("a transaction puts one key twice, or puts and deletes the same key")
