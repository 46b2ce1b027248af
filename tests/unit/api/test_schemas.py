"""The API's shapes keep up with the records, the client and the page about them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

import msgspec
import pytest

from argosy import client, errors
from argosy.api import health_schemas, machine_schemas, openapi, problems, question_schemas, schemas
from argosy.api.app import ROUTES, names_loopback
from argosy.api.routing import Route
from argosy.client.problems import error_of
from argosy.model.event import Event
from argosy.model.explanation import Explanation, Refusal
from argosy.model.machine import Machine
from argosy.model.observed import UnitStatus
from argosy.store import base

PAGE = Path(__file__).parents[3] / "docs/reference/api.md"


def fields(record: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(record)}


@pytest.mark.parametrize(
    ("record", "view"),
    [
        (UnitStatus, schemas.StateView),
        (Machine, schemas.MachineView),
        (Event, schemas.EventView),
        (Explanation, schemas.ExplanationView),
        (Refusal, schemas.RefusalView),
    ],
)
def test_a_view_shows_every_field_of_its_record(
    record: type[msgspec.Struct], view: type[msgspec.Struct]
) -> None:
    assert fields(record) <= fields(view)


@pytest.mark.parametrize(
    ("typed", "view"),
    [
        (client.UnitView, schemas.UnitView),
        (client.UnitDetail, schemas.UnitDetail),
        (client.StateView, schemas.StateView),
        (client.MachineView, schemas.MachineView),
        (client.Capacity, schemas.CapacityView),
        (client.EventView, schemas.EventView),
        (client.Explanation, schemas.ExplanationView),
        (client.Refusal, schemas.RefusalView),
        (client.PlacementView, schemas.PlacementView),
        (client.Why, schemas.Why),
        (client.Change, schemas.Change),
        (client.Submitted, schemas.Submitted),
        (client.Touched, schemas.Touched),
        (client.Diagnostic, schemas.DiagnosticView),
        (client.Version, schemas.Version),
        (client.Status, schemas.Status),
        (client.StoreStatus, schemas.StoreView),
        (client.EngineStatus, schemas.EngineView),
        (client.LogLine, schemas.LogLineView),
        (client.Facts, question_schemas.FactsView),
        (client.Disk, question_schemas.DiskView),
        (client.DrainPlan, machine_schemas.DrainPlan),
        (client.Move, machine_schemas.MoveView),
        (client.Staying, machine_schemas.StayingView),
        (client.Health, health_schemas.Health),
        (client.Server, health_schemas.ServerView),
        (client.StoreHealth, health_schemas.StoreHealth),
        (client.Member, health_schemas.MemberView),
    ],
)
def test_the_client_expects_what_the_server_sends(
    typed: type[object], view: type[msgspec.Struct]
) -> None:
    assert set(get_type_hints(typed)) == fields(view)


def error_classes() -> list[type[errors.ArgosyError]]:
    found = [one for _, one in inspect.getmembers(errors, inspect.isclass)]
    return [one for one in found if issubclass(one, errors.ArgosyError)]


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_comes_back_from_the_client_as_it_was_raised(
    kind: type[errors.ArgosyError],
) -> None:
    sent = problems.body_of(kind("what was wrong", hint="what to do"))
    raised = error_of(sent.error.code, msgspec.to_builtins(sent)["error"])
    assert type(raised) is kind
    assert (raised.message, raised.hint) == ("what was wrong", "what to do")


def test_problems_travel_with_an_invalid_request() -> None:
    sent = problems.body_of(errors.Invalid("no", problems=("a:1:1: error: x", "b")))
    raised = error_of(422, msgspec.to_builtins(sent)["error"])
    assert isinstance(raised, errors.Invalid)
    assert raised.problems == ("a:1:1: error: x", "b")


def test_an_error_that_the_client_does_not_know_is_the_nearest_it_knows() -> None:
    newer = {"kind": "Fenced", "message": "no", "problems": [], "hint": ""}
    assert type(error_of(409, newer)) is errors.Conflict
    assert type(error_of(418, newer)) is errors.Invalid
    assert type(error_of(599, newer)) is errors.Permanent


def test_a_class_of_the_servers_own_is_sent_as_the_nearest_that_clients_know() -> None:
    assert problems.body_of(base.WatchLost("gone")).error.kind == "Temporary"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_page_about_the_api_names_every_route_and_parameter(route: Route) -> None:
    _, heading, rest = PAGE.read_text().partition(f"### `{route.method} {route.path}`\n")
    assert heading
    section = rest.partition("\n### ")[0]
    for schema in (route.query, route.body):
        for name in fields(schema) if schema else ():
            assert f"`{name}`" in section, f"{name} is not described"


def test_the_document_has_every_route_and_every_reference_in_it_leads_somewhere() -> None:
    document = openapi.document(ROUTES)
    there = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert there == {(route.method, route.path) for route in ROUTES} | {("GET", "/openapi.json")}
    text = msgspec.json.encode(document).decode()
    for reference in set(text.split('"$ref":"')[1:]):
        name = reference.partition('"')[0].removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1:8080", True),
        ("127.1.2.3", True),
        ("[::1]:8080", True),
        ("[::1]", True),
        ("example.org", False),
        ("localhost.example.org", False),
        ("127.0.0.1.example.org:80", False),
        ("10.0.0.1:80", False),
        ("", False),
        (":80", False),
    ],
)
def test_only_names_of_loopback_name_this_host(host: str, is_ours: bool) -> None:
    assert names_loopback(host) is is_ours
