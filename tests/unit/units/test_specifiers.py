"""Specifiers."""

from __future__ import annotations

import pytest

from argosy.units import names, specifiers
from argosy.units.values import BadValue

INSTANCE = names.parse("shop-web@a-b\\x20c.service")
PLAIN = names.parse("web.service")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%n", "shop-web@a-b\\x20c.service"),
        ("%N", "shop-web@a-b\\x20c"),
        ("%p", "shop-web"),
        ("%P", "shop/web"),
        ("%i", "a-b\\x20c"),
        ("%I", "a/b c"),
        ("%j", "web"),
        ("%J", "web"),
        ("%f", "/a/b c"),
        ("100%% %", "100% %"),
        ("%%i %Z", "%i %Z"),
    ],
)
def test_specifiers_that_follow_from_the_name(text: str, expanded: str) -> None:
    assert specifiers.expand(text, INSTANCE) == expanded


def test_a_plain_unit_has_an_empty_instance() -> None:
    assert specifiers.expand("[%i%I] %N %f", PLAIN) == "[] web /web"


def test_what_only_a_machine_knows_comes_from_the_machine_or_is_an_error() -> None:
    assert specifiers.expand("%H:%t", PLAIN, machine={"H": "m1", "t": "/run"}) == "m1:/run"
    with pytest.raises(BadValue, match="host name") as refused:
        specifiers.expand("on %H", PLAIN)
    assert refused.value.offset == 3


def test_an_instance_that_is_no_escaped_text_cannot_be_unescaped() -> None:
    with pytest.raises(BadValue):
        specifiers.expand("%I", names.parse("web@a\\b.service"))


def test_fleet_knows_four_specifiers_and_no_escaped_percent_sign() -> None:
    assert specifiers.expand_as_fleet("%p@%i %n %N %%p %H", names.parse("a@1.service")) == (
        "a@1 a@1.service a@1 %a %H"
    )


@pytest.mark.parametrize(
    ("text", "depends"), [("80%i", True), ("%n", True), ("%p", False), ("%%i", False)]
)
def test_whether_a_text_differs_between_instances(text: str, *, depends: bool) -> None:
    assert specifiers.depends_on_instance(text) is depends
