"""What a simulation runs takes time and chance from outside only: else the same seed would not be the same run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import argosy

ROOT = Path(argosy.__file__).parent
SIMULATED = [
    path
    for part in ("model", "scheduler", "engine", "agent", "store/memory.py", "store/index.py")
    for path in ([ROOT / part] if part.endswith(".py") else sorted((ROOT / part).rglob("*.py")))
]
AMBIENT = {
    "datetime.now",
    "datetime.utcnow",
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "uuid.uuid4",
    "random.random",
    "random.choice",
    "os.urandom",
}


def ambient_calls(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in AMBIENT:
            yield f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", SIMULATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_asks_neither_clock_nor_chance(path: Path) -> None:
    assert list(ambient_calls(path.read_text())) == []


def test_such_a_call_would_be_found() -> None:
    assert list(ambient_calls("x = 1\ny = datetime.now(UTC)\n")) == ["line 2: datetime.now(UTC)"]
