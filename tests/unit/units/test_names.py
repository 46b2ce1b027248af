"""Names of units."""

from __future__ import annotations

import pytest

from argosy.errors import Invalid
from argosy.units import names


@pytest.mark.parametrize(
    ("name", "prefix", "instance", "kind"),
    [
        ("web.service", "web", None, "service"),
        ("web@.service", "web", "", "service"),
        ("web@1.service", "web", "1", "service"),
        ("foo.1@2.service", "foo.1", "2", "service"),
        ("foo@bar@baz.service", "foo", "bar@baz", "service"),
        ("dev-sda1.device", "dev-sda1", None, "device"),
        ("a\\x2db:c_d.timer", "a\\x2db:c_d", None, "timer"),
    ],
)
def test_a_name_is_prefix_instance_and_type(
    name: str, prefix: str, instance: str | None, kind: str
) -> None:
    parts = names.parse(name)
    assert (parts.prefix, parts.instance, parts.type) == (prefix, instance, kind)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "web",
        "web.",
        "web.Service",
        "web.conf",
        ".service",
        ".web.service",
        "-web.service",
        "-.mount",
        "@1.service",
        "../web.service",
        "a/b.service",
        "a b.service",
        "a\0.service",
        "a\n.service",
        "a\x1b.service",
        "wéb.service",
        "a%b.service",
        "a$b.service",
        "web@1.mount",
        "web@.slice",
        "{1,3}.service",
        "x" * 248 + ".service",
    ],
)
def test_other_names_are_refused_with_a_reason_on_one_line(name: str) -> None:
    with pytest.raises(Invalid) as refused:
        names.validate(name)
    assert refused.value.message.isprintable()
    assert not names.is_valid(name)


def test_255_bytes_are_allowed() -> None:
    assert names.is_valid("x" * 247 + ".service")


def test_the_hint_for_a_name_without_type_is_the_name_with_one() -> None:
    with pytest.raises(Invalid) as refused:
        names.validate("web")
    assert refused.value.hint == "did you mean 'web.service'?"


def test_instances_know_their_template_and_templates_make_instances() -> None:
    assert names.parse("web@1.service").template == "web@.service"
    assert names.parse("web.service").template is None
    assert names.parse("web@.service").template is None
    assert names.parse("web@.service").with_instance("blue-1") == "web@blue-1.service"
    with pytest.raises(Invalid):
        names.parse("web@.service").with_instance("a/b")


def test_a_container_file_holds_a_service() -> None:
    assert names.unit_of_file("web@.container") == "web@.service"
    assert names.unit_of_file("web.timer") == "web.timer"
    with pytest.raises(Invalid):
        names.unit_of_file(".container")


def test_what_is_no_escaped_text_is_refused() -> None:
    for text in ("a\\b", "\\x4", "\\xZZ", "a\\"):
        with pytest.raises(Invalid):
            names.unescape(text)


def test_a_path_with_dots_in_it_cannot_be_escaped() -> None:
    with pytest.raises(Invalid):
        names.escape_path("/a/../b")
