"""A program for hosts that answers what others say, and tells how long that took: ``python -m tests.hosts.echo``.

It answers at port 7, TCP and UDP, and does what lines on its standard input say; each is answered with one line.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import Any

PORT = 7
_PATIENCE = 1.0


class Echo:
    """Both sides of it."""

    def __init__(self) -> None:
        self._seen = 0
        self._call: socket.socket | None = None
        self._datagrams = socket.socket(type=socket.SOCK_DGRAM)
        self._datagrams.bind(("", PORT))
        listening = socket.create_server(("", PORT))
        threading.Thread(target=self._answer_datagrams, daemon=True).start()
        threading.Thread(target=self._take_calls, args=[listening], daemon=True).start()

    def _answer_datagrams(self) -> None:
        while True:
            data, sender = self._datagrams.recvfrom(2048)
            self._seen += 1
            with suppress(OSError):  # there is no way back
                self._datagrams.sendto(data, sender)

    def _take_calls(self, listening: socket.socket) -> None:
        while True:
            call, _ = listening.accept()
            threading.Thread(target=self._answer_call, args=[call], daemon=True).start()

    def _answer_call(self, call: socket.socket) -> None:
        with suppress(OSError), call:
            while data := call.recv(2048):
                call.sendall(data)

    # --- what it can be told

    def do_seen(self) -> int:
        """Return how many datagrams have come here."""
        return self._seen

    def do_send(self, host: str, count: int) -> int:
        """Send datagrams; return how many answers came, in a second since the last of either."""
        answers: set[bytes] = set()
        with socket.socket(type=socket.SOCK_DGRAM) as asking:
            for number in range(count):
                with suppress(OSError):  # the host has said that there is no way to another one
                    asking.sendto(str(number).encode(), (host, PORT))
                asking.settimeout(0.001)  # to send and to take in turn, lest the kernel run out of room for them
                with suppress(OSError):
                    answers.add(asking.recv(2048))
            asking.settimeout(_PATIENCE)
            with suppress(OSError):
                while len(answers) < count:
                    answers.add(asking.recv(2048))
        return len(answers)

    def do_call(self, host: str) -> float:
        """Connect to another one; return the seconds that it took."""
        began = time.monotonic()
        self._call = socket.create_connection((host, PORT), timeout=_PATIENCE)
        return time.monotonic() - began

    def do_say(self, timeout: float = _PATIENCE) -> float:
        """Say something on that connection; return the seconds until the answer came."""
        assert self._call is not None
        self._call.settimeout(timeout)
        began = time.monotonic()
        self._call.sendall(b"x")
        if not self._call.recv(1):
            raise ConnectionResetError
        return time.monotonic() - began


def main() -> None:
    """Do what the lines say, until there are no more."""
    echo = Echo()
    answer: Any = "up"
    while True:
        print(json.dumps(answer), flush=True)  # noqa: T201
        line = sys.stdin.readline()
        if not line:
            return
        command, *arguments = json.loads(line)
        try:
            answer = getattr(echo, f"do_{command}")(*arguments)
        except OSError as error:
            answer = type(error).__name__


if __name__ == "__main__":
    main()
