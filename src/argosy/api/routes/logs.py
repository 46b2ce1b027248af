"""The units' output."""

from __future__ import annotations

from argosy.api import logs
from argosy.api.routing import Route
from argosy.api.schemas import LogsQuery
from argosy.api.selection import resolve
from argosy.api.services import Api
from argosy.api.streams import JsonLines
from argosy.errors import NotFound
from argosy.model.ids import MachineId


async def read_logs(api: Api, query: LogsQuery) -> JsonLines:
    """Lines of the units that match, merged by time, oldest first, one JSON object a line.

    The last `lines`, or all behind the cursor `after`, which means that cursor's machine alone. With `follow` it goes on
    with new lines, with an empty line every 15 s as a sign of life; units submitted later are not followed.
    """
    picture = await api.feed.catch_up()
    names = resolve(picture, query.name) if query.name else picture.sorted_units()
    sources = dict(api.services.logs)
    machine, _, cursor = (query.after or "").partition("/")
    only = query.machine or machine
    if only:
        if MachineId(only) not in sources:
            raise NotFound(
                f"this server cannot read the output of machine {only}", hint="argosy list-machines"
            )
        sources = {MachineId(only): sources[MachineId(only)]}
    if machine and machine != only:
        raise NotFound(
            f"the cursor is of machine {machine}, not {only}", hint="leave one of the two out"
        )
    reader = logs.Reader(
        sources=sources,
        names=names,
        lines=query.lines,
        after=cursor,
        clock=api.services.clock,
    )
    return JsonLines(reader.follow(api.closing) if query.follow else reader.read())


ROUTES = (Route(method="GET", path="/v1/logs", handler=read_logs, errors=(404,)),)
