"""Logs of a zone on the terminal, each line behind the name of its node."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import trio
from rich.console import Console

from .._deploy.state import ContainerState, ZoneState

_LOOK_EVERY: Final = 0.2
_AT_ONCE: Final = 2**20
_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


class _Follower:
    """One log file, read line by line as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self, *, last: bool) -> Iterator[str]:
        """Yield the lines that are new; the `last` time also one that has no end."""
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._at:  # it was begun anew
                    self._at, self._rest = 0, b""
                file.seek(self._at)
                while data := file.read(_AT_ONCE):
                    self._at += len(data)
                    *whole, self._rest = (self._rest + data).split(b"\n")
                    yield from (line.decode(errors="replace") for line in whole)
        except FileNotFoundError:
            return
        if last and self._rest:
            yield self._rest.decode(errors="replace")


def chosen(state: ZoneState, pod: str | None) -> list[ContainerState]:
    """Return the containers of a pod, by its full name or that in the zone file; of all without a name."""
    pods = [each for each in state.pods if pod in (None, each.name, each.pod)]
    if pod is not None and not pods:
        there = ", ".join(sorted({each.pod for each in state.pods}))
        raise click.UsageError(f"zone {state.zone!r} has no pod {pod!r}; it has {there}")
    return [container for each in pods for container in each.containers]


async def follow_logs(look: Callable[[], ZoneState], pod: str | None, *, follow: bool) -> None:
    """Print what containers have written, and with `follow` what they write from then on."""
    chosen(look(), pod)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    followers: dict[str, tuple[_Follower, str]] = {}
    while True:
        containers = chosen(look(), pod)
        width = max((len(each.short_name) for each in containers), default=0)
        for each in containers:
            colour = _COLOURS[len(followers) % len(_COLOURS)]
            follower, colour = followers.setdefault(each.log, (_Follower(Path(each.log)), colour))
            for line in follower.lines(last=not follow):
                if len(containers) > 1:
                    console.print(f"{each.short_name:<{width}} │ ", style=colour, end="")
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        if not follow:
            return
        await trio.sleep(_LOOK_EVERY)
