"""The process that forks supervisors: one interpreter, started once, whose memory all supervisors share.

Run as `python -S -m argosy.runtime.process.spawner FD`. FD is a socket to the runtime; each message on it carries the
connection of a new supervisor. It has one thread and few modules: a fork takes a millisecond, an interpreter thirty. It
ends with its runtime; the supervisors, which are nobody's children then, do not.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback

from argosy.runtime.process import supervisor, tree


def main(channel: socket.socket) -> None:
    """Fork until the runtime is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors are waited for by nobody
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.disable()
    gc.freeze()  # what is here now is never looked at again, so its pages stay shared
    while True:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not descriptors:
            return
        # A unit's processes must not hold their supervisor's connection, let alone write to it. (recv_fds of Python 3.11
        # drops its flags, so MSG_CMSG_CLOEXEC would be for nothing.)
        os.set_inheritable(descriptors[0], False)
        _fork(channel, descriptors[0])
        os.close(descriptors[0])


def _fork(channel: socket.socket, descriptor: int) -> None:
    try:
        pid = os.fork()
    except OSError:
        return  # the connection closes: to the runtime this is a supervisor that died
    if pid != 0:
        return
    code = 1
    try:
        channel.close()
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.enable()
        supervisor.main(socket.socket(fileno=descriptor))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    os.umask(0o077)
    os.chdir("/")
    tree.set_title("argosy: spawner")
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    main(connection)
