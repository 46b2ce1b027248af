"""The story that docs/testing.md tells is a true one."""

import re
from pathlib import Path
from typing import Any

from argosy.testing.cluster import simulate

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_first_story_of_the_page_runs_under_several_seeds() -> None:
    first, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(first, str(PAGE), "exec"), names)
    for seed in range(5):
        simulate(seed, names["story"], machines=3, servers=2)
