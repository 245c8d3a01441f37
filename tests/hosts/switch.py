"""The switch: a process that makes hosts, owns the far ends of their wires, and carries frames between them.

``python -m tests.hosts.switch``, in a user namespace and a network namespace of its own, where it is root. It is told
what to do by lines of JSON on its standard input, and answers each once it is done; when nobody tells it anything any
more it ends, and all hosts with it.

A host is a set of namespaces with one process in it that does nothing, the anchor: it is the first of the host's
processes, so that the kernel ends all others with it. Its network card is a TAP device, whose frames come here.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from .fabric import Fabric, Quality

_DEVICE: Final = "/dev/net/tun"
_SET: Final = 0x400454CA
"""TUNSETIFF, of linux/if_tun.h."""
_TAP, _BARE = 0x0002, 0x1000
"""IFF_TAP: whole Ethernet frames. IFF_NO_PI: nothing in front of them."""
_CARD: Final = "eth0"
_FRAME: Final = 2**16
_AT_ONCE: Final = 64
"""Frames that are taken off one host before others are looked at."""
_PATIENCE: Final = 5.0


class Refused(Exception):
    """Something that the switch was told cannot be done; the text says what, and why."""


def run(*command: str) -> None:
    """Run a command to its end.

    Raises:
        Refused: It failed, with what it had to say.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Refused(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


def children_of(pid: int) -> list[int]:
    """Return the processes that one has started and that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def inside(anchor: int, *command: str) -> list[str]:
    """Return the command that runs another one on the host of an anchor, for root of the hosts."""
    return ["nsenter", f"--target={anchor}", "--net", "--pid", "--uts", "--mount", *command]


def open_tap(name: str) -> int:
    """Make a network card; return where its frames come out and go in."""
    tap = os.open(_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, _SET, struct.pack("16sH22x", name.encode(), _TAP | _BARE))
    return tap


class Switch:
    """All hosts and the wires between them."""

    def __init__(self) -> None:
        self._fabric = Fabric(Random(7))
        self._taps: dict[str, int] = {}
        self._anchors: dict[str, subprocess.Popen[bytes]] = {}
        self._cards: dict[str, int] = {}
        self._told = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ, None)

    def serve(self) -> None:
        """Carry frames and obey, until nobody is there who tells it anything."""
        while True:
            due = self._fabric.next_due
            wait = None if due is None else max(0.0, due - time.monotonic())
            for key, _ in self._selector.select(wait):
                if key.data is not None:
                    self._take(key.data, key.fd)
                elif not self._listen():
                    return
            for host, frame in self._fabric.due(time.monotonic()):
                with suppress(OSError, KeyError):  # a host without power, or whose card is down, takes nothing
                    os.write(self._taps[host], frame)

    def _take(self, host: str, tap: int) -> None:
        try:
            for _ in range(_AT_ONCE):
                self._fabric.take(host, os.read(tap, _FRAME), time.monotonic())
        except BlockingIOError:
            pass
        except OSError:  # the host is gone, and its card with it
            self._unplug(host)

    def _listen(self) -> bool:
        data = os.read(0, _FRAME)
        *lines, self._told = (self._told + data).split(b"\n")
        for line in lines:
            command, *arguments = json.loads(line)
            try:
                answer: Any = {"done": getattr(self, f"do_{command}")(*arguments)}
            except Refused as error:
                answer = {"refused": str(error)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
        return bool(data)

    # --- what it can be told

    def do_boot(self, host: str, address: str) -> int:
        """Make a host with a network card at an address, ``10.0.0.1/24``; return the process id of its anchor."""
        if host in self._anchors:
            raise Refused(f"host {host!r} has power already")
        rest = ("--net", "--pid", "--uts", "--mount", "--fork", "--kill-child", "--mount-proc", "sleep", "infinity")
        started = self._anchors[host] = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "unshare", *rest], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        anchor = self._wait_for_child(started)
        number = self._cards.setdefault(host, len(self._cards) + 1)
        card = f"card{number}"
        tap = open_tap(card)
        station = f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"  # a host that comes back has the card it had
        run("ip", "link", "set", card, "address", station)
        run("ip", "link", "set", card, "netns", str(anchor), "name", _CARD)
        run(*inside(anchor, "hostname", host))
        run(*inside(anchor, "ip", "link", "set", "lo", "up"))
        run(*inside(anchor, "ip", "link", "set", _CARD, "up"))
        run(*inside(anchor, "ip", "address", "add", address, "dev", _CARD))
        self._taps[host] = tap
        self._selector.register(tap, selectors.EVENT_READ, host)
        self._fabric.add(host)
        return anchor

    def _wait_for_child(self, parent: subprocess.Popen[bytes]) -> int:
        give_up = time.monotonic() + _PATIENCE
        while time.monotonic() < give_up and parent.poll() is None:
            for child in children_of(parent.pid):
                return child
            time.sleep(0.005)
        raise Refused("no namespaces could be made for a host")

    def do_halt(self, host: str) -> None:
        """Take the power from a host: nothing leaves it any more, and all its processes are gone when this returns."""
        self._unplug(host)
        started = self._anchors.pop(host, None)
        if started is None:
            raise Refused(f"host {host!r} has no power")
        started.kill()  # and with it the anchor, and with that one all others
        started.wait()

    def _unplug(self, host: str) -> None:
        self._fabric.remove(host)
        tap = self._taps.pop(host, None)
        if tap is not None:
            self._selector.unregister(tap)
            os.close(tap)

    def do_set(self, ways: Sequence[tuple[str, str]], quality: dict[str, Any]) -> None:
        """Say what some ways are like from now on."""
        for source, sink in ways:
            self._fabric.set(source, sink, msgspec.convert(quality, Quality))

    def do_count(self) -> tuple[int, int]:
        """Return how many frames came through, and how many did not."""
        return self._fabric.carried, self._fabric.lost


if __name__ == "__main__":
    Switch().serve()
