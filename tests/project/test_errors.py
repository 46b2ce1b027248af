"""The tree of errors at the top of errors.py is what the module has, with the codes that the API answers."""

from __future__ import annotations

import re

import pytest

from argosy import errors
from argosy.api import problems

TREE = re.compile(
    r"^    (?P<indent> *)(?P<name>[A-Z]\w+)(?:  .*?)?(?:  +(?P<code>\d{3}))?$", re.MULTILINE
)
LINES = list(TREE.finditer(errors.__doc__ or ""))


def test_the_tree_names_every_class_below_its_parent() -> None:
    parents: list[str] = []
    drawn = []
    for line in LINES:
        depth = len(line["indent"]) // 2
        parents = [*parents[:depth], line["name"]]
        drawn.append((line["name"], parents[-2] if depth else "Exception"))
    defined = [
        (name, kind.__base__.__name__)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.ArgosyError) and kind.__base__
    ]
    assert drawn == defined


@pytest.mark.parametrize(
    ("name", "code"), [pytest.param(m["name"], m["code"], id=m["name"]) for m in LINES if m["code"]]
)
def test_the_code_in_the_tree_is_what_the_api_answers(name: str, code: str) -> None:
    assert problems.code_of(getattr(errors, name)("wrong")) == int(code)
