"""docs/reference/settings.md has every setting, with the default and the words of settings.py."""

from __future__ import annotations

import ast
import dataclasses
import re
from datetime import timedelta
from fractions import Fraction

from argosy import settings
from project.tree import ROOT, modules

PAGE = (ROOT / "docs/reference/settings.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def shown(default: object) -> str:
    """A default as the page writes it."""
    match default:
        case timedelta():
            seconds = default.total_seconds()
            if default.days and not default.seconds:
                return f"{default.days} d"
            return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"
        case float():
            return str(Fraction(default).limit_denominator(100))
        case "":
            return "empty"
        case bool():
            return "true" if default else "false"
        case _ if dataclasses.is_dataclass(default):
            return "see above"
        case _:
            return str(default)


def test_the_page_lists_every_setting_with_its_default() -> None:
    groups = [kind for kind in vars(settings).values() if dataclasses.is_dataclass(kind)]
    expected = {
        kind.__name__: [
            (field.name, shown(getattr(kind(), field.name))) for field in dataclasses.fields(kind)
        ]
        for kind in groups
        if isinstance(kind, type)
    }
    sections = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
    listed = {
        title: [(name, default) for name, default, _ in ROW.findall(text)]
        for title, text in sections.items()
    }
    assert listed == expected


def test_the_page_says_what_the_code_says_about_each_setting() -> None:
    docstrings = {
        " ".join(node.value.value.split())
        for node in ast.walk(modules()["argosy.settings"])
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }
    told = {text for _, default, text in ROW.findall(PAGE) if default != "see above"}
    assert told - docstrings == set()
