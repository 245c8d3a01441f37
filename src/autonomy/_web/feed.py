"""What an open page gets: the pods, the lines of all their logs, and from then on what changes.

One feed serves one page, and reads no further before the page has taken what came before: a slow page costs nobody
anything, and the feed a few pieces of memory. A page that is far behind gets the latest lines, and is told what it
missed. A page that comes back says where it was, and gets what follows.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final
from urllib.parse import unquote

import trio

from .lines import LineCutter
from .source import PodView, ZoneLogs
from .tail import Place, Tail

POLL: Final = 0.15
"""Seconds between looks at files in which nothing was new."""
_REFRESH: Final = 1.0
"""Seconds between looks at the pods."""
_HEARTBEAT: Final = 15.0
_UNFINISHED: Final = 0.5
"""Seconds after which a line without an end is shown as it is."""
_KEPT: Final = 48 * 2**20
_KEPT_EACH: Final = 256 * 1024
"""Bytes of all logs together, and of each at least, that a page gets of what is older than itself."""

Key = tuple[str, str]
"""A pod's name and a container's."""


def parse_seen(text: str) -> dict[Key, Place]:
    """Return where a page was, from ``pod/container/place,...`` with names quoted; what is nothing such is left out."""
    seen = {}
    for entry in text.split(","):
        match entry.split("/"):
            case [pod, container, written] if place := Place.parse(written):
                seen[unquote(pod), unquote(container)] = place
    return seen


class LogFeed:
    """The events of one page. `run` goes on until it is cancelled; the files are closed when it ends."""

    def __init__(self, source: ZoneLogs, seen: Mapping[Key, Place], send: Callable[[bytes], Awaitable[None]]) -> None:
        self._source = source
        self._seen = seen
        self._send = send
        self._pods: list[PodView] | None = None
        self._logs: dict[Key, _Log] = {}
        self._sent_at = trio.current_time()

    async def run(self) -> None:
        """Send all there is, then ``ready``, then what is new."""
        refreshed, ready = -_REFRESH, False
        try:
            while True:
                if trio.current_time() - refreshed >= _REFRESH:
                    await self._refresh()
                    refreshed = trio.current_time()
                busy = await self._send_lines()
                if not ready and all(log.caught_up for log in self._logs.values()):
                    ready = True
                    await self._event("ready", {})
                if not busy:
                    await self._heartbeat()
                await trio.sleep(0 if busy else POLL)
        finally:
            for log in self._logs.values():
                log.tail.close()

    async def _refresh(self) -> None:
        pods = self._source.pods()
        names = [(pod.name, container) for pod in pods for container in pod.containers]
        for key in self._logs.keys() - set(names):
            self._logs.pop(key).tail.close()
        for key in names:
            path = self._source.log_file(*key)
            if log := self._logs.get(key):
                log.tail.path = path
            else:
                self._logs[key] = _Log(Tail(path, self._seen.get(key)))
        if pods != self._pods:
            self._pods = pods
            await self._event("zone", {"zone": self._source.zone, "pods": [asdict(pod) for pod in pods]})

    async def _send_lines(self) -> bool:
        """Send at most one piece of each log; say whether there was any."""
        busy = False
        keep = max(_KEPT // max(len(self._logs), 1), _KEPT_EACH)
        for (pod, container), log in self._logs.items():
            news = log.news(keep)
            busy = busy or log.moved
            if news is not None:
                await self._event("lines", {"pod": pod, "container": container, **news})
        return busy

    async def _event(self, name: str, data: Mapping[str, Any]) -> None:
        self._sent_at = trio.current_time()
        await self._send(f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode())

    async def _heartbeat(self) -> None:
        if trio.current_time() - self._sent_at >= _HEARTBEAT:
            self._sent_at = trio.current_time()
            await self._send(b": still here\n\n")


class _Log:
    """One container's log on its way to one page.

    Attributes:
        moved: Whether there was anything to read last time, so that there may be more.
    """

    def __init__(self, tail: Tail) -> None:
        since = tail.since
        self.tail = tail
        self._goal = tail.behind + tail.offset  # what was there before the page
        self._first = self._files = tail.files or 1
        if since is not None and not tail.offset:
            self._files -= 1  # the page knows another file under this name
        self._cutter = LineCutter()
        self._grown_at = 0.0
        self._is_shown = True
        self.moved = False

    @property
    def caught_up(self) -> bool:
        """Whether the page has what was there before it."""
        return self.tail.files > self._first or self.tail.offset >= self._goal

    def news(self, keep: int) -> dict[str, Any] | None:
        """Return what is new since last time, if anything is.

        ``open`` says that the last line has no end yet: what comes next begins with the same line. ``began`` says that
        the file was replaced or cut short, ``skipped`` how many bytes were passed over.
        """
        skipped = self.tail.skip(keep) if self.tail.behind > 2 * keep else 0
        if skipped:
            self._cutter.reset()
        data = self.tail.read()
        began = self.tail.files > self._files
        if began:
            self._files = self.tail.files
            self._cutter.reset()
        lines = self._cutter.cut(data)
        self.moved = bool(data)
        if data:
            self._grown_at = trio.current_time()
            self._is_shown = False
        is_open = self._is_open()
        if is_open:
            self._is_shown = True
            lines.append(self._cutter.unfinished)
        if not (lines or began or skipped):
            return None
        place = str(self.tail.place(self._cutter.pending))
        return {"at": place, "lines": lines, "open": is_open, "began": began, "skipped": skipped}

    def _is_open(self) -> bool:
        if self._is_shown or not self._cutter.pending:
            return False
        return trio.current_time() - self._grown_at >= _UNFINISHED
