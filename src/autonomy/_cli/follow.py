"""Logs of a zone on the terminal, each line behind the name of its node."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import trio
from rich.console import Console

from .._deploy.state import ContainerState, PodState, ZoneState
from .shown import as_json_line

_LOOK_EVERY: Final = 0.2
_AT_ONCE: Final = 2**20
_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green", "bright_magenta")


class _Terminal(Console):
    """Prints, and raises the error if nobody reads; rich would end the program."""

    def on_broken_pipe(self) -> None:
        raise  # noqa: PLE0704  # it is called while that is handled


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


def chosen(state: ZoneState, name: str | None) -> list[tuple[PodState, ContainerState]]:
    """Return the containers of a pod, by its full name or that in the zone file, or that of a node; or all of them.

    Raises:
        ValueError: Nothing has that name.
    """
    every = [(pod, container) for pod in state.pods for container in pod.containers]
    if name is None:
        return every
    found = [(pod, each) for pod, each in every if name in (pod.name, pod.pod)]
    found = found or [(pod, each) for pod, each in every if name in (each.short_name, each.node)]
    if not found:
        there = ", ".join(dict.fromkeys(pod.pod for pod in state.pods))
        nodes = ", ".join(each.short_name for _, each in every[:20]) + ", ..." * (len(every) > 20)
        raise ValueError(f"zone {state.zone!r} has no pod {name!r}; it has {there}, with the nodes {nodes}")
    return found


async def follow_logs(look: Callable[[], ZoneState], name: str | None, *, follow: bool, in_json: bool = False) -> None:
    """Print what containers have written, and with `follow` what they write from then on.

    Raises:
        ValueError: Nothing has that name.
    """
    chosen(look(), name)
    console = _Terminal(highlight=False, soft_wrap=True, markup=False)
    followers: dict[str, tuple[_Follower, str]] = {}
    while True:
        containers = chosen(look(), name)
        width = max((len(each.short_name) for _, each in containers), default=0)
        for pod, each in containers:
            colour = _COLOURS[len(followers) % len(_COLOURS)]
            follower, colour = followers.setdefault(each.log, (_Follower(Path(each.log)), colour))
            for line in follower.lines(last=not follow):
                if in_json:
                    line = as_json_line({"pod": pod.name, "container": each.name, "node": each.node, "line": line})
                elif len(containers) > 1:
                    console.print(f"{each.short_name:<{width}} │ ", style=colour, end="")
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
        if not follow:
            return
        await trio.sleep(_LOOK_EVERY)
