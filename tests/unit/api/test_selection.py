"""Names and globs against the cluster's units."""

from __future__ import annotations

import pytest

from argosy.api.picture import Picture
from argosy.api.selection import Selection, resolve
from argosy.errors import Invalid, NotFound
from argosy.model.ids import Digest, UnitName
from argosy.model.unit import Unit
from unit.api.conftest import clock


def picture_of(*names: str) -> Picture:
    picture = Picture(clock)
    picture.units = {
        UnitName(name): Unit(name=UnitName(name), digest=Digest("d" * 64)) for name in names
    }
    return picture


WEBS = picture_of("web@2.service", "web@1.service", "db.service", r"a\x2db.service")


def test_names_and_globs_give_every_unit_once_in_order() -> None:
    assert resolve(WEBS, ["web@*", "web@1.service", "db.service"]) == [
        "db.service",
        "web@1.service",
        "web@2.service",
    ]


def test_one_name_that_matches_nothing_is_an_error_that_names_it() -> None:
    with pytest.raises(NotFound, match=r"wbe@\*") as caught:
        resolve(WEBS, ["db.service", "wbe@*"])
    assert "db.service" not in caught.value.message


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(NotFound) as caught:
        resolve(WEBS, ["bd.service"])
    assert caught.value.hint == "did you mean db.service?"


def test_a_malformed_glob_says_where() -> None:
    with pytest.raises(Invalid) as caught:
        resolve(WEBS, ["web@[1.service"])
    assert caught.value.problems[0].startswith("web@[1.service: ")


def test_an_escaped_name_names_itself() -> None:
    assert resolve(WEBS, [r"a\x2db.service"]) == [r"a\x2db.service"]
    assert Selection([r"a\x2db.service"]).includes(r"a\x2db.service")


def test_control_characters_of_a_name_are_not_repeated_raw() -> None:
    with pytest.raises(NotFound) as caught:
        resolve(WEBS, ["\x1b]0;owned\n"])
    assert caught.value.message.isprintable()


def test_nothing_asked_for_is_everything() -> None:
    assert Selection().includes("whatever.service")
