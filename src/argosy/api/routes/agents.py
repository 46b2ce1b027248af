"""What agents ask. Which machine it is about says its certificate, and nothing that it sends."""

from __future__ import annotations

from argosy.api import joining
from argosy.api.access import Access
from argosy.api.access_schemas import Certificate, CertificateRequest, RegisterRequest
from argosy.api.agents import Agents, assignment_lines
from argosy.api.routing import Route
from argosy.api.services import Api
from argosy.api.streams import JsonLines
from argosy.errors import LeaseLost, NotAllowed, Unsupported
from argosy.model.ids import Digest, MachineId
from argosy.model.link import Registered, Report, ServerList

PROTOCOL = 1
MAX_MACHINE_BYTES = 64 * 1024


def _who(api: Api) -> tuple[Agents, MachineId]:
    """Where the request's machine is known, and its id. Raises Unsupported where there are no machines."""
    if api.agents is None:
        raise Unsupported("this server is one of `argosy up`: it has no other machines")
    assert api.principal is not None
    assert api.principal.machine is not None
    return api.agents, api.principal.machine


async def register_machine(api: Api, body: RegisterRequest) -> Registered:
    """Say what this machine is, and that it is there; answered with what the cluster expects of it."""
    agents, machine = _who(api)
    if body.machine.id != machine:
        raise NotAllowed(f"the certificate is of machine {machine}, not of {body.machine.id}")
    if body.protocol < PROTOCOL:
        raise Unsupported(
            f"the agent speaks protocol {body.protocol}, this server {PROTOCOL}",
            hint="update argosy on the machine",
        )
    return await agents.held_by(machine, body.holder).register(body.machine, asked=body.asked)


async def follow_assignment(api: Api) -> JsonLines:
    """The machine's assignment, if it has one, then each newer one, as they come. An empty line is a sign of life."""
    agents, machine = _who(api)
    lines = assignment_lines(agents.door(machine), api.closing)
    return JsonLines(lines, first=await anext(lines))


async def list_servers(api: Api) -> ServerList:
    """Where servers are that run."""
    _who(api)
    running = sorted(api.feed.picture.servers.items())
    urls = dict.fromkeys(url for _, server in running for url in server.endpoints)
    return ServerList(servers=tuple(urls))


async def assigned_text(api: Api, digest: str) -> bytes:
    """The exact text of a unit that is assigned to the machine."""
    agents, machine = _who(api)
    return await agents.door(machine).gate.text(Digest(digest))


async def report(api: Api, body: Report) -> None:
    """Record what the machine runs, and that it is there; an empty report is a heartbeat."""
    agents, machine = _who(api)
    if not body.session:
        raise LeaseLost("the report names no registration")
    await agents.door(machine).gate.report(body)
    assert api.principal is not None
    await joining.settle_certificate(api, machine, api.principal.serial)


async def renew_certificate(api: Api, body: CertificateRequest) -> Certificate:
    """Another certificate for the machine; the present one is good until the new one is used."""
    _, machine = _who(api)
    assert api.principal is not None
    return await joining.renew_certificate(api, machine, api.principal.serial, body)


ROUTES = (
    Route(
        method="PUT",
        path="/v1/agent/machine",
        handler=register_machine,
        access=Access.MACHINE,
        errors=(409, 501, 507),
        max_body_bytes=MAX_MACHINE_BYTES,
    ),
    Route(
        method="GET",
        path="/v1/agent/assignment",
        handler=follow_assignment,
        access=Access.MACHINE,
        errors=(501,),
    ),
    Route(
        method="GET",
        path="/v1/agent/servers",
        handler=list_servers,
        access=Access.MACHINE,
        errors=(501,),
    ),
    Route(
        method="GET",
        path="/v1/agent/texts/{digest}",
        handler=assigned_text,
        access=Access.MACHINE,
        errors=(404, 501),
    ),
    Route(
        method="POST",
        path="/v1/agent/report",
        handler=report,
        access=Access.MACHINE,
        status=204,
        errors=(409, 501, 507),
    ),
    Route(
        method="POST",
        path="/v1/agent/certificate",
        handler=renew_certificate,
        access=Access.MACHINE,
        errors=(409, 501),
        max_body_bytes=MAX_MACHINE_BYTES,
    ),
)
