"""`NAME.container` files, the format of Podman Quadlet, rendered to services that docker or podman runs.

The stored text stays the .container file; each machine renders it for the engine that it has, when it installs the unit.
Rendering is pure, so the same text gives the same service everywhere. Specifiers (`%i`) and variables (`${TAG}`) pass
through to the rendered command line, where systemd and our own process runtime expand them; everything else is quoted, so
that no value can become a second argument or a second directive. The other sections pass through byte for byte.

Unlike Quadlet's, the rendered service keeps the engine's client in the foreground: one form for both engines, and output
goes where every unit's output goes. Source: podman-systemd.unit(5).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass

from argosy.errors import Invalid
from argosy.units import names, quoting, values
from argosy.units.diagnostics import Problems, did_you_mean
from argosy.units.names import NameParts
from argosy.units.text import Entry, UnitText
from argosy.units.values import BadValue

TITLE = "Container"


class Engine(enum.StrEnum):
    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """The program that runs containers on a machine."""

    kind: Engine
    path: str
    """Absolute path of its client."""


class Arity(enum.Enum):
    """How a key's lines become options."""

    LAST = "the last line's value, once"
    EACH = "each line's value, blanks and all"
    WORDS = "each word of each line"
    FLAG = "a flag, when yes"


@dataclass(frozen=True, slots=True)
class Option:
    """How one key becomes an option of `run`. A name of None: that engine has no such thing."""

    podman: str | None
    docker: str | None
    arity: Arity = Arity.LAST
    validate: Callable[[str], object] | None = None


def _same(
    name: str, arity: Arity = Arity.LAST, validate: Callable[[str], object] | None = None
) -> Option:
    return Option(name, name, arity, validate)


def _only_podman(name: str, arity: Arity = Arity.LAST) -> Option:
    return Option(name, None, arity)


def _absolute(value: str) -> None:
    if value[0] not in "/%$":
        raise BadValue(f"'{value}' is no absolute path", hint="paths in the container begin with /")


def _environment(word: str) -> None:
    if not re.match(r"[A-Za-z_%$][^=\s]*=", word):
        raise BadValue(
            f"'{word}' is no NAME=value", hint='quote a value with blanks: "NAME=two words"'
        )


def _volume(value: str) -> None:
    source = value.partition(":")[0]
    if source.endswith(".volume"):
        raise BadValue(
            f"'{source}' is a unit of Quadlet's own, which Argosy does not read",
            hint=f"name the volume itself: {value.replace('.volume', '', 1)}",
        )
    if source.startswith("."):
        raise BadValue(
            f"'{source}' is a relative path, but units run on other machines",
            hint="write an absolute path, or the name of a volume",
        )


def _network(value: str) -> None:
    if value.partition(":")[0].endswith(".network"):
        raise BadValue(
            f"'{value}' is a unit of Quadlet's own, which Argosy does not read",
            hint=f"name the network itself: {value.replace('.network', '', 1)}",
        )


def _published(value: str) -> None:
    if not re.fullmatch(
        r"(\[[0-9A-Fa-f:.%]+\]:|[^:\s]*:)?([^:\s]*:)?[^:\s/]+(/(tcp|udp|sctp))?", value
    ):
        raise BadValue(
            f"'{value}' is no port to publish", hint="write 8080:80 or 127.0.0.1:8080:80/tcp"
        )


def _literal(validate: Callable[[str], object]) -> Callable[[str], object]:
    """Judge a value only where it is written out: what `%i` and `${N}` become is known on the machine."""
    return lambda value: None if "%" in value or "$" in value else validate(value)


def _memory(value: str) -> None:
    if not re.fullmatch(r"[0-9]+[bkmgBKMG]?", value):
        raise BadValue(f"'{value}' is no size", hint="write 512m or 2g")


OPTIONS: dict[str, Option] = {
    "AddCapability": _same("--cap-add", Arity.WORDS),
    "AddDevice": _same("--device", Arity.EACH),
    "AddHost": _same("--add-host", Arity.EACH),
    "Annotation": _only_podman("--annotation", Arity.WORDS),
    "CgroupsMode": _only_podman("--cgroups"),
    "DNS": _same("--dns", Arity.EACH),
    "DNSOption": _same("--dns-option", Arity.EACH),
    "DNSSearch": _same("--dns-search", Arity.EACH),
    "DropCapability": _same("--cap-drop", Arity.WORDS),
    "Entrypoint": _same("--entrypoint"),
    "Environment": _same("--env", Arity.WORDS, _environment),
    "EnvironmentFile": _same("--env-file", Arity.EACH, _absolute),
    "EnvironmentHost": _only_podman("--env-host", Arity.FLAG),
    "ExposeHostPort": _same("--expose", Arity.EACH),
    "GIDMap": _only_podman("--gidmap", Arity.EACH),
    "GroupAdd": _same("--group-add", Arity.EACH),
    "HealthCmd": _same("--health-cmd"),
    "HealthInterval": _same("--health-interval"),
    "HealthOnFailure": _only_podman("--health-on-failure"),
    "HealthRetries": _same(
        "--health-retries", validate=_literal(values.integer(at_least=0, at_most=1000))
    ),
    "HealthStartPeriod": _same("--health-start-period"),
    "HealthStartupCmd": _only_podman("--health-startup-cmd"),
    "HealthStartupInterval": Option("--health-startup-interval", "--health-start-interval"),
    "HealthStartupRetries": _only_podman("--health-startup-retries"),
    "HealthStartupSuccess": _only_podman("--health-startup-success"),
    "HealthStartupTimeout": _only_podman("--health-startup-timeout"),
    "HealthTimeout": _same("--health-timeout"),
    "HostName": _same("--hostname"),
    "HttpProxy": _only_podman("--http-proxy"),
    "IP": _same("--ip"),
    "IP6": _same("--ip6"),
    "Label": _same("--label", Arity.WORDS),
    "LogDriver": _same("--log-driver"),
    "LogOpt": _same("--log-opt", Arity.EACH),
    "Mask": Option("--security-opt=mask", None),
    "Memory": _same("--memory", validate=_literal(_memory)),
    "Mount": _same("--mount", Arity.EACH),
    "Network": _same("--network", Arity.EACH, _network),
    "NetworkAlias": _same("--network-alias", Arity.EACH),
    "NoNewPrivileges": _same("--security-opt=no-new-privileges", Arity.FLAG),
    "PidsLimit": _same("--pids-limit"),
    "PublishPort": _same("--publish", Arity.EACH, _published),
    "Pull": _same("--pull"),
    "ReadOnly": _same("--read-only", Arity.FLAG),
    "ReadOnlyTmpfs": _only_podman("--read-only-tmpfs"),
    "Retry": _only_podman("--retry"),
    "RetryDelay": _only_podman("--retry-delay"),
    "RunInit": _same("--init", Arity.FLAG),
    "SeccompProfile": _same("--security-opt=seccomp"),
    "Secret": _only_podman("--secret", Arity.EACH),
    "SecurityLabelDisable": _same("--security-opt=label=disable", Arity.FLAG),
    "SecurityLabelFileType": _only_podman("--security-opt=label=filetype:"),
    "SecurityLabelLevel": _same("--security-opt=label=level:"),
    "SecurityLabelNested": _only_podman("--security-opt=label=nested", Arity.FLAG),
    "SecurityLabelType": _same("--security-opt=label=type:"),
    "ShmSize": _same("--shm-size", validate=_literal(_memory)),
    "StopSignal": _same("--stop-signal"),
    "StopTimeout": _same(
        "--stop-timeout", validate=_literal(values.integer(at_least=0, at_most=86400))
    ),
    "SubGIDMap": _only_podman("--subgidname"),
    "SubUIDMap": _only_podman("--subuidname"),
    "Sysctl": _same("--sysctl", Arity.WORDS),
    "Timezone": _only_podman("--tz"),
    "Tmpfs": _same("--tmpfs", Arity.EACH),
    "UIDMap": _only_podman("--uidmap", Arity.EACH),
    "Ulimit": _same("--ulimit", Arity.EACH),
    "Unmask": Option("--security-opt=unmask", None),
    "UserNS": _same("--userns"),
    "Volume": _same("--volume", Arity.EACH, _volume),
    "WorkingDir": _same("--workdir", validate=_absolute),
}
"""Keys that are one option each. podman's names are those of podman-run(1), docker's those of `docker run`."""

SPECIAL = frozenset(
    {
        "ContainerName",
        "Exec",
        "GlobalArgs",
        "Group",
        "Image",
        "Notify",
        "PodmanArgs",
        "User",
    }
)
"""Keys that are not one option each."""

KEYS = SPECIAL | OPTIONS.keys()

PODMAN_ONLY = frozenset(
    {"PodmanArgs", "GlobalArgs", *(key for key, option in OPTIONS.items() if option.docker is None)}
)

REFUSED = {
    "AutoUpdate": "a release pins its image; deploy a new one",
    "ContainersConfModule": "set it in containers.conf on the machines",
    "Pod": "pods are not supported",
    "ReloadCmd": "write ExecReload= in [Service]",
    "ReloadSignal": "write ExecReload= in [Service]",
    "Rootfs": "only images are supported; write Image=",
    "ServiceName": "the unit's name is the file's name",
    "StartWithPod": "pods are not supported",
    "HealthLogDestination": "checks are logged by Argosy",
    "HealthMaxLogCount": "checks are logged by Argosy",
    "HealthMaxLogSize": "checks are logged by Argosy",
}
"""Keys of Quadlet that Argosy does not take, and what to do instead."""

PASSED_ON = (
    "ARGOSY_COLOUR",
    "ARGOSY_FENCE",
    "ARGOSY_INSTANCE",
    "ARGOSY_MACHINE_ID",
    "ARGOSY_MACHINE_IP",
    "ARGOSY_RELEASE",
    "ARGOSY_SERVICE",
    "PORT",
)
"""Variables of the unit that its container gets too. Named without a value they are taken from the client's environment,
and left out where it has none."""

_SERVICE_OWNED = ("ExecStart", "ExecStop", "Type", "NotifyAccess")
"""What rendering decides itself, so that [Service] may not."""

_CONTAINER_NAME = re.compile(r"[A-Za-z0-9%${][A-Za-z0-9_.%${}-]*")
_BARE_VARIABLE = re.compile(r"\$[A-Za-z_]")


def is_container(text: UnitText) -> bool:
    """Whether the text describes a container: it then must be rendered before a service manager can read it."""
    return text.has_section(TITLE)


def check(text: UnitText, name: NameParts, problems: Problems) -> None:
    """Report what is wrong with [Container], and with [Service] beside it."""
    heading = text.heading(TITLE)
    assert heading is not None
    if name.type != "service":
        problems.error(heading.line, heading.column, f"a {name.type} unit cannot be a container")
    for entry in text.entries:
        if entry.section == TITLE:
            _check_entry(entry, problems)
        elif entry.section == "Service" and entry.key in _SERVICE_OWNED and entry.value:
            problems.error(
                entry.line,
                entry.column,
                f"{entry.key} follows from [Container] and cannot be set in [Service]",
                hint="write Exec= in [Container] for the command"
                if entry.key == "ExecStart"
                else "",
            )
    if text.last(TITLE, "Image") is None:
        problems.error(heading.line, heading.column, "Image= is missing", hint="add Image=")
    if text.last(TITLE, "Group") is not None and text.last(TITLE, "User") is None:
        problems.error(heading.line, heading.column, "Group= needs User=", hint="add User=")


def render(text: UnitText, name: str, *, engine: ContainerEngine) -> bytes:
    """The service that runs the container.

    Deterministic: depends on the arguments only. Raises Invalid for a text that `check` finds errors in, and for keys that
    the engine has nothing for.
    """
    problems = Problems(text.file)
    parts = names.parse(name)
    check(text, parts, problems)
    problems.extend(text.diagnostics)
    _check_engine(text, engine, problems)
    errors = [str(found) for found in problems.sorted() if found.is_error]
    if errors:
        raise Invalid(errors[0], problems=tuple(errors))
    # The empty line ends a value that the text's last line may have left open.
    return _without_container(text) + b"\n\n" + _service_section(text, parts, engine).encode()


def _service_section(text: UnitText, name: NameParts, engine: ContainerEngine) -> str:
    # Quadlet's names: an `@` is not allowed in the name of a container.
    default = "systemd-%p_%i" if name.instance is not None else "systemd-%N"
    container = text.last(TITLE, "ContainerName") or default
    run = [*_words(text, "GlobalArgs"), "run", f"--name={container}", "--rm"]
    type_lines: list[str] = []
    if engine.kind is Engine.PODMAN:
        notify = text.last(TITLE, "Notify") or "no"
        says_ready = notify == "healthy" or values.boolean(notify)
        how = "healthy" if notify == "healthy" else "container" if says_ready else "ignore"
        run += [f"--sdnotify={how}"]
        type_lines = ["Type=notify", "NotifyAccess=all"] if says_ready else []
    run += [f"--env={variable}" for variable in PASSED_ON]
    run += _options(text, engine)
    run += _words(text, "PodmanArgs")
    run += ["--", text.last(TITLE, "Image") or "", *_words(text, "Exec")]
    program = quoting.quote(engine.path)
    remove = f"-{program} rm -f {quoting.quote(container)}"
    lines = [
        "[Service]",
        *type_lines,
        # What a crash of the machine left would keep the name.
        f"ExecStartPre={remove}",
        f"ExecStart={program} {' '.join(map(quoting.quote, run))}",
        # The client would pass SIGTERM on; `stop` also waits, and kills what does not listen.
        f"ExecStop=-{program} stop {quoting.quote(container)}",
        f"ExecStopPost={remove}",
    ]
    return "\n".join(lines) + "\n"


def _options(text: UnitText, engine: ContainerEngine) -> list[str]:
    found = []
    for key in sorted(OPTIONS):
        option = OPTIONS[key]
        flag = option.podman if engine.kind is Engine.PODMAN else option.docker
        if flag is None:
            continue
        entries = text.assigned(TITLE, key)
        match option.arity:
            case Arity.FLAG:
                found += [flag] if entries and values.boolean(entries[-1].value) else []
            case Arity.LAST:
                found += [_joined(flag, entry.value) for entry in entries[-1:]]
            case Arity.EACH:
                found += [_joined(flag, entry.value) for entry in entries]
            case Arity.WORDS:
                found += [_joined(flag, word) for word in _words(text, key)]
    user, group = text.last(TITLE, "User"), text.last(TITLE, "Group")
    if user is not None:
        found.append(f"--user={user}:{group}" if group is not None else f"--user={user}")
    return found


def _joined(flag: str, value: str) -> str:
    """One argument: a value that begins with a dash is then no option of its own."""
    return flag + value if flag.endswith(":") else f"{flag}={value}"


def _words(text: UnitText, key: str) -> list[str]:
    return [
        word
        for entry in text.assigned(TITLE, key)
        for word in quoting.split(entry.value, escapes=quoting.Escapes.RELAXED)
    ]


def _without_container(text: UnitText) -> bytes:
    """The text's own lines without those of the section [Container]."""
    starts = {heading.line: heading.name for heading in text.headings}
    kept, is_inside = [], False
    for number, line in enumerate(text.raw_lines(), start=1):
        if number in starts:
            is_inside = starts[number] == TITLE
        if not is_inside:
            kept.append(line)
    return b"".join(kept)


def _check_entry(entry: Entry, problems: Problems) -> None:
    if entry.key in REFUSED:
        problems.error(
            entry.line,
            entry.column,
            f"Argosy does not take {entry.key} in [{TITLE}]",
            hint=REFUSED[entry.key],
        )
    elif entry.key not in KEYS:
        problems.error(
            entry.line,
            entry.column,
            f"unknown key '{entry.key}' in [{TITLE}]",
            hint=did_you_mean(entry.key, KEYS) or "PodmanArgs= takes any option",
        )
    elif entry.value:
        if entry.key in PODMAN_ONLY:
            problems.warning(
                entry.line, entry.column, f"{entry.key} works only on machines that have podman"
            )
        try:
            _check_value(entry.key, entry.value)
        except BadValue as bad:
            problems.error(
                *entry.position(bad.offset), f"{entry.key}: {bad.message}", hint=bad.hint
            )


def _check_value(key: str, value: str) -> None:
    option = OPTIONS.get(key)
    if option is not None and option.arity is Arity.FLAG:
        values.boolean(value)
    elif option is not None and option.arity is Arity.WORDS:
        for word in quoting.words(value, escapes=quoting.Escapes.RELAXED):
            try:
                if option.validate is not None:
                    option.validate(word.text)
            except BadValue as bad:
                raise BadValue(bad.message, offset=word.start, hint=bad.hint) from bad
    elif option is not None:
        if option.validate is not None:
            option.validate(value)
    elif key in ("Exec", "GlobalArgs", "PodmanArgs"):
        quoting.words(value, escapes=quoting.Escapes.RELAXED)
    elif key == "Image":
        _check_image(value)
    elif key == "ContainerName" and not _CONTAINER_NAME.fullmatch(value):
        raise BadValue(
            f"'{value}' is no name of a container", hint="letters, digits and _.- after the first"
        )
    elif key == "Notify" and value != "healthy":
        values.boolean(value)
    elif key in ("User", "Group") and re.search(r"[\s:]", value):
        raise BadValue(f"'{value}' is no {key.lower()}")


def _check_image(value: str) -> None:
    if value.startswith("-") or re.search(r"\s", value):
        raise BadValue(f"'{value}' is no image", hint="write registry.example.com/web:1.0")
    if re.search(r"\.(image|build)$", value):
        raise BadValue(
            f"'{value}' is a unit of Quadlet's own, which Argosy does not read",
            hint="name the image itself",
        )
    if _BARE_VARIABLE.search(value):
        # systemd splits the value of a bare $NAME at blanks, into arguments that nobody wrote.
        raise BadValue("a variable needs braces here", offset=value.find("$"), hint="write ${NAME}")


def _check_engine(text: UnitText, engine: ContainerEngine, problems: Problems) -> None:
    if engine.kind is Engine.PODMAN:
        return
    for key in sorted(PODMAN_ONLY):
        for entry in text.assigned(TITLE, key)[:1]:
            problems.error(
                entry.line,
                entry.column,
                f"{key} needs podman, and this machine has docker",
                hint="remove it, or require machines with podman by metadata",
            )
    notify = text.assigned(TITLE, "Notify")
    if notify and notify[-1].value not in ("no", "false", "off", "0"):
        problems.error(
            *notify[-1].position(),
            "Notify needs podman, and this machine has docker",
            hint="remove it; [X-Health] says when the container is healthy",
        )
