"""The container engine that this machine has, and the service that a `.container` text is on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from argosy.errors import RuntimeRefused
from argosy.model.ids import UnitName
from argosy.units import container
from argosy.units.container import ContainerEngine, Engine
from argosy.units.text import UnitText

FindEngine = Callable[[], ContainerEngine | None]


def installed_engine() -> ContainerEngine | None:
    """Podman if the machine has it, since it needs no daemon and no root, else docker, else None."""
    for kind in (Engine.PODMAN, Engine.DOCKER):
        path = shutil.which(kind.value)
        if path is not None:
            return ContainerEngine(kind, path)
    return None


def rendered(name: UnitName, data: bytes, find_engine: FindEngine) -> bytes:
    """What the runtime is to read: the text itself, or for a container the service that runs it.

    Raises RuntimeRefused when the machine has no engine, Invalid when its engine lacks what the text asks for.
    """
    text = UnitText.parse(data, file=name)
    if not container.is_container(text):
        return data
    engine = find_engine()
    if engine is None:
        raise RuntimeRefused(
            f"{name} is a container, and this machine has neither podman nor docker",
            hint="apt-get install podman",
        )
    return container.render(text, name, engine=engine)
