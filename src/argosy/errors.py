"""Every error that Argosy raises on purpose, sorted by what its catcher can do about it.

    ArgosyError                    one root, so that users need one `except`
      Invalid                      the request is wrong: tell the person                 422
      NotFound                     it is not there                                       404
      Conflict                     somebody was first: read again, maybe retry           409
        AlreadyExists
        StaleRevision              a transaction's compare did not hold
        LeaseLost                  stop leading, now
      Temporary                    the same call may work later                          503
        StoreUnavailable           no answer from the store; nothing was written
        Indeterminate              no answer: the write may or may not have happened; read, never resend
        ServerUnreachable          no server answered
        RuntimeBusy
      Permanent                    the same call will not work                           500
        StoreRefused               the store's file is corrupt, foreign, read-only or already in use
        StoreFull                  no room left; reads and deletions still work          507
        RuntimeRefused             the machine's systemd or processes said no (its words as cause)
        Unsupported                this implementation cannot do what was asked            501
        Unauthenticated            nobody knows who asks                                   401
        NotAllowed                 whoever asks may not do that                            403

A new class needs a catcher that treats it differently. HTTP codes are one table in `api/problems.py`, exit codes one
table in `cli/exits.py`. The message says what was wrong and where; `hint` says what to do next.
"""

from __future__ import annotations


class ArgosyError(Exception):
    """Root of all errors that are part of Argosy's contract.

    hint: the next thing to do, one line, usually a command to type; empty when there is none.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class Invalid(ArgosyError):
    """The request is wrong and the same request will always be wrong.

    problems: one line each, compiler style (`web.service:12:9: error: ...`) where a file is meant.
    """

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class NotFound(ArgosyError):
    """The thing named is not there."""


class Conflict(ArgosyError):
    """Somebody else was first; reading again may show how to go on."""


class AlreadyExists(Conflict):
    """A create-only write met an existing record."""


class StaleRevision(Conflict):
    """What was read has changed since; nothing was written."""


class LeaseLost(Conflict):
    """The lease is not held any more; whoever held it must stop acting on it at once."""


class Temporary(ArgosyError):
    """The same call may work later."""


class StoreUnavailable(Temporary):
    """The store gave no answer and nothing was written."""


class Indeterminate(Temporary):
    """The store gave no answer to a write that it may have carried out.

    Never send the write again: read, and decide from what is there. (Jepsen's analysis of jetcd 0.8.2 shows
    what blind retries cost.)
    """


class ServerUnreachable(Temporary):
    """No server answered."""


class RuntimeBusy(Temporary):
    """The runtime cannot take the call now."""


class Permanent(ArgosyError):
    """The same call will not work until somebody changes something outside Argosy."""


class StoreRefused(Permanent):
    """The store's file cannot be used: corrupt, not ours, from a newer version, read-only or in use."""


class StoreFull(Permanent):
    """There is no room for the write; it was refused whole. Reads and deletions still work."""


class RuntimeRefused(Permanent):
    """The machine's runtime refused, for the reason in the message."""


class Unsupported(Permanent):
    """This implementation cannot do what was asked."""


class Unauthenticated(Permanent):
    """The request says not, or not credibly, who makes it."""


class NotAllowed(Permanent):
    """Whoever makes the request may not do that."""


def named(
    kind: str,
    message: str,
    *,
    hint: str = "",
    problems: tuple[str, ...] = (),
    otherwise: type[ArgosyError],
) -> ArgosyError:
    """An error that came over the network, of the class with that name; of `otherwise` where there is none here, because
    a newer program sent it.
    """
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, ArgosyError)):
        found = otherwise
    if issubclass(found, Invalid):
        return found(message, problems=problems, hint=hint)
    return found(message, hint=hint)
