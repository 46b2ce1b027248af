"""Apps: the files of a directory, taken together."""

from __future__ import annotations

import pytest

from argosy.errors import Invalid
from argosy.model.ids import UnitName
from argosy.units import app
from unit.units.unit_files import RUNS


def load(**sections: str) -> app.App:
    """Units `NAME.service` that run something and have the sections; `web_` is the template web@.service."""
    files = {
        name.replace("_", "@") + ".service": (RUNS + text).encode()
        for name, text in sections.items()
    }
    return app.load(files)


def said(loaded: app.App) -> list[str]:
    return [f"{found.file}:{found.line}: {found.message}" for found in loaded.diagnostics]


def test_a_template_with_replicas_brings_its_instances() -> None:
    loaded = load(web_="[X-Service]\nReplicas=3\nPort=800%i\n", db="")
    assert not loaded.diagnostics
    assert list(loaded.units) == [
        "db.service",
        "web@.service",
        "web@1.service",
        "web@2.service",
        "web@3.service",
    ]
    instance = loaded.units[UnitName("web@2.service")]
    assert instance.requirements.ports == (8002,)
    assert instance.digest == loaded.units[UnitName("web@.service")].digest


def test_a_file_of_an_instances_own_comes_before_the_template() -> None:
    files = {
        "web@.service": f"{RUNS}[X-Service]\nReplicas=2\n".encode(),
        "web@1.service": f"# my own\n{RUNS}".encode(),
    }
    loaded = app.load(files)
    assert bytes(loaded.units[UnitName("web@1.service")].text).startswith(b"# my own")
    assert len(loaded.units) == 3


def test_a_fault_that_shows_in_the_instances_only_is_said_once_a_place() -> None:
    assert said(load(web_="[X-Service]\nReplicas=3\nPort=%i%i%i%i%i%i\n")) == [
        "web@.service:5: Port: 111111 is not within 1 to 65535",
        "web@.service:5: Port: 222222 is not within 1 to 65535",
        "web@.service:5: Port: 333333 is not within 1 to 65535",
    ]


def test_containers_environments_and_settings_belong_to_an_app_and_nothing_else_does() -> None:
    loaded = app.load(
        {
            "web.container": b"[Container]\nImage=x\n",
            "environments/prod.env": b"DEPLOY_SUFFIX=prod\n",
            "environments/staging.env": b"# none yet\n",
            "environments/deep/x.env": b"not read",
            "argosy.toml": b"[images.web]\npath = '.'\n",
            "README.md": b"\xff",
            "worker.py": b"import os",
        }
    )
    assert not loaded.diagnostics
    assert list(loaded.units) == ["web.service"]
    assert loaded.environments == {"prod": {"DEPLOY_SUFFIX": "prod"}, "staging": {}}
    assert loaded.settings == {"images": {"web": {"path": "."}}}


def test_faults_of_every_file_come_together() -> None:
    loaded = app.load(
        {
            "a.service": b"",
            "environments/prod.env": b"export A=1\n",
            "argosy.toml": b"x = \n",
            "we b.service": RUNS.encode(),
        }
    )
    assert [found.file for found in loaded.errors] == [
        "a.service",
        "argosy.toml",
        "environments/prod.env",
        "we b.service",
    ]
    with pytest.raises(Invalid):
        loaded.raise_for_errors()


def test_two_files_that_differ_in_case_only_are_refused() -> None:
    assert said(load(web="", Web="")) == [
        "web.service:1: differs from Web.service in case only, which not every file system can hold"
    ]


def test_two_files_of_one_unit_are_refused() -> None:
    loaded = app.load({"web.container": b"[Container]\nImage=x\n", "web.service": RUNS.encode()})
    assert said(loaded) == ["web.service:1: holds web.service, as web.container does"]


def test_quadlets_other_files_are_not_silently_ignored() -> None:
    loaded = app.load({"web.container": b"[Container]\nImage=x\n", "db.volume": b"[Volume]\n"})
    assert said(loaded) == ["db.volume:1: Argosy reads .container files, but not .volume files"]
    assert app.load({"db.volume": b"somebody else's"}).diagnostics == ()


def test_an_empty_app_has_nothing() -> None:
    loaded = app.load({})
    assert (loaded.units, loaded.environments, loaded.diagnostics) == ({}, {}, ())
