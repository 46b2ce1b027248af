"""The page about unit files has every key, under the heading of its section, and no key that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from argosy.units import (
    announce,
    container,
    fleet,
    health,
    placement,
    rollout,
    scale,
    service,
    specifiers,
    traffic,
)
from argosy.units.check import OUR_SECTIONS

PAGE = Path(__file__).parents[3] / "docs/reference/unit-files.md"
SECTIONS = (fleet, placement, service, health, announce, rollout, traffic, scale)


def chapter(heading: str) -> str:
    _, _, after = PAGE.read_text().partition(f"\n## {heading}\n")
    assert after, f"the page has no heading {heading}"
    return after.partition("\n## ")[0]


def keys_in_tables(text: str, *, columns: int) -> set[str]:
    """The words in backticks in the first columns of the chapter's tables."""
    rows = [line.split("|")[1 : 1 + columns] for line in text.split("\n") if line.startswith("|")]
    return {key for row in rows for key in re.findall(r"`([A-Za-z0-9-]+)`", "|".join(row))}


@pytest.mark.parametrize("module", SECTIONS, ids=lambda module: module.TITLE)
def test_every_key_of_a_section_has_its_row(module: object) -> None:
    title, keys = module.TITLE, module.KEYS  # type: ignore[attr-defined]
    columns = 2 if title == fleet.TITLE else 1
    assert keys_in_tables(chapter(title), columns=columns) == keys


def test_every_section_has_its_chapter() -> None:
    assert {module.TITLE for module in SECTIONS} == set(OUR_SECTIONS)


def test_every_key_of_a_container_is_there_with_what_docker_lacks_and_what_is_refused() -> None:
    text = chapter("Container files")
    assert keys_in_tables(text, columns=1) - {"yes", "healthy"} == container.KEYS
    lacking = text.partition("A key that docker has nothing for")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([A-Za-z0-9]+)`", lacking))
    startup = {key for key in container.PODMAN_ONLY if key.startswith("HealthStartup")}
    assert named | startup == container.PODMAN_ONLY | {"Notify"}
    refused = text.partition("Refused, each")[2].partition(";")[0]
    assert set(re.findall(r"`([A-Za-z0-9]+)`", refused)) == container.REFUSED.keys()


def test_every_specifier_that_follows_from_the_name_is_there() -> None:
    named = set(
        re.findall(r"`%([A-Za-z%])`", chapter("Values").partition("Specifiers that need")[0])
    )
    assert named == {*"nNpPiIjJf", "%"}
    assert not named & specifiers.MACHINE.keys()
