"""Every key in the store, in one place. One writer for each: see the table in ARCHITECTURE.md.

cluster                     Cluster         the first server, once
leader                      holder's name   the leading engine, under its lease
texts/DIGEST                exact bytes     people, through the API; immutable
units/NAME                  Unit            people, through the API
machines/ID                 Machine         that machine's agent, through a server
presence/ID                 Presence        the server that the machine speaks to, under that server's lease
assignments/ID              Assignment      the leading engine
pending/NAME                Explanation     the leading engine
observed/ID/NAME            Observed        that machine's agent, through a server
events/MICROSECONDS-N       Event           whoever acted, in the same transaction as the act
orders/ID                   MachineOrders   people, through the API; the leading engine notes that its time is over
identities/ID               Identity        the server that signed the machine's certificate
tokens/ID                   Token           people, through the API; a server counts its uses down
servers/NAME                ServerRecord    that server, under its lease
lost/ID                     LostMachine     the leading engine; the server that has the machine again deletes it
brake                       Brake           the leading engine
moves/NAME                  MoveOrder       people, through the API; the leading engine takes it away
tick                        nothing         any server, which waits until its watch shows it
"""

from __future__ import annotations

from datetime import datetime

from argosy.model.ids import Digest, MachineId, UnitName

CLUSTER = "cluster"
LEADER = "leader"
TEXTS = "texts/"
UNITS = "units/"
MACHINES = "machines/"
PRESENCE = "presence/"
ASSIGNMENTS = "assignments/"
PENDING = "pending/"
OBSERVED = "observed/"
EVENTS = "events/"
ORDERS = "orders/"
IDENTITIES = "identities/"
TOKENS = "tokens/"
SERVERS = "servers/"
LOST = "lost/"
BRAKE = "brake"
MOVES = "moves/"
TICK = "tick"


def text(digest: Digest) -> str:
    return TEXTS + digest


def unit(name: UnitName) -> str:
    return UNITS + name


def machine(machine_id: MachineId) -> str:
    return MACHINES + machine_id


def presence(machine_id: MachineId) -> str:
    return PRESENCE + machine_id


def assignment(machine_id: MachineId) -> str:
    return ASSIGNMENTS + machine_id


def pending(name: UnitName) -> str:
    return PENDING + name


def observed(machine_id: MachineId, name: UnitName) -> str:
    return f"{OBSERVED}{machine_id}/{name}"


def observed_of(machine_id: MachineId) -> str:
    return f"{OBSERVED}{machine_id}/"


def event(at: datetime, *, writer: str, number: int) -> str:
    """Sorts by time; `writer` (a short id of the process) and `number` keep two events of one microsecond apart."""
    return f"{EVENTS}{int(at.timestamp() * 1_000_000):016d}-{writer}-{number:06d}"


def orders(machine_id: MachineId) -> str:
    return ORDERS + machine_id


def identity(machine_id: MachineId) -> str:
    return IDENTITIES + machine_id


def token(token_id: str) -> str:
    return TOKENS + token_id


def server(name: str) -> str:
    return SERVERS + name


def lost(machine_id: MachineId) -> str:
    return LOST + machine_id


def move(name: UnitName) -> str:
    return MOVES + name


def last_part(key: str) -> str:
    """`web.service` of `observed/ID/web.service`: unit names and ids have no slash."""
    return key.rpartition("/")[2]
