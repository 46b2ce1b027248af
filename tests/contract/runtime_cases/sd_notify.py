"""Says what its arguments say to the notify socket, one message each; `sleep:N` waits, `exit:N` ends.

A stand-in for a daemon that speaks sd_notify(3), for runtime cases: systemd-notify is not on every machine. As that does,
it waits until its messages were read (sd_notify_barrier(3)): nobody knows whose they are once their sender is gone.
"""

import os
import select
import socket
import sys
import time

ANSWER_MILLISECONDS = 5000

address = os.environ.get("NOTIFY_SOCKET", "")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
    for word in sys.argv[1:]:
        kind, _, rest = word.partition(":")
        if kind == "sleep":
            time.sleep(float(rest))
        elif kind == "exit":
            sys.exit(int(rest))
        elif not address:
            print("no socket", flush=True)
        else:
            connection.sendto(word.encode(), "\0" + address[1:] if address[0] == "@" else address)
    if address:
        ours, theirs = os.pipe()
        connection.connect("\0" + address[1:] if address[0] == "@" else address)
        socket.send_fds(connection, [b"BARRIER=1"], [theirs])
        os.close(theirs)
        answer = select.poll()
        answer.register(ours, 0)  # a hang-up is always told
        answer.poll(ANSWER_MILLISECONDS)
