"""docs/reference/cli.md names everything that can be typed, and nothing that cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argosy.cli import exits, main

PAGE = Path(__file__).parents[3] / "docs/reference/cli.md"
VERBS = [verb for group in main.VERBS.values() for verb in group]
OPTION = re.compile(r"`(-[a-zA-Z]|--[a-z-]+)\b")


def sections() -> dict[str, str]:
    parts = re.split(r"^#{2,3} (.+)$", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def options_of(verb: str) -> set[str]:
    arguments = main.verb_parser(verb, main.load(verb)).arguments()
    return {word for one in arguments for word in one.option_strings}


GLOBAL = {"--endpoint", "--json", "--no-color", "-h", "--help"}


def test_the_page_has_the_verbs_of_the_overview_in_its_order() -> None:
    text = PAGE.read_text()
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [heading for heading in headings if heading in main.VERBS] == list(main.VERBS)
    named = re.findall(r"^### ([a-z -]+)$", text, flags=re.MULTILINE)
    assert named == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_s_section_has_its_options_and_no_others(verb: str) -> None:
    assert set(OPTION.findall(sections()[verb])) - GLOBAL == options_of(verb) - GLOBAL


def test_the_global_options_are_named() -> None:
    assert GLOBAL - {"-h", "--help"} <= set(OPTION.findall(sections()["What goes for all verbs"]))


def test_the_exit_codes_are_those_of_the_program() -> None:
    listed = re.findall(r"^\| (\d+) \|", sections()["Exit codes"], flags=re.MULTILINE)
    codes = [value for name, value in vars(exits).items() if len(name) > 1 and name[0] != "_"]
    codes = [value for value in codes if isinstance(value, int)]
    assert list(map(int, listed)) == codes


@pytest.mark.parametrize("verb", ["list-units", "list-unit-files", "list-machines"])
def test_the_fields_of_lists_are_named(verb: str) -> None:
    [fields] = [
        one.help or ""
        for one in main.verb_parser(verb, main.load(verb)).arguments()
        if "--fields" in one.option_strings
    ]
    names = fields.removeprefix("columns, of ").partition(" ")[0].split(",")
    [line] = [line for line in sections()[verb].splitlines() if line.startswith("| `--fields")]
    assert set(re.findall(r"`([a-z]+)`", line)) == set(names)
