"""How zones look: tables for people, JSON for programs, a line that moves while something is being deployed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._deploy.state import PodState, ZoneState
from .._web import PodView

_COLOURS: Final = {"ready": "green", "up": "green", "failed": "red", "stopped": "dim", "running": "cyan"}


def as_json(value: object) -> str:
    """Return a value as JSON for programs."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def as_json_line(value: object) -> str:
    """Return a value as JSON on one line, for programs that read one after another."""
    return msgspec.json.encode(value).decode()


def _coloured(state: str) -> Text:
    return Text(state, style=_COLOURS.get(state, "yellow"))


_WIDE: Final = 1000
"""Columns of what is no terminal: nothing is wrapped there, for programs cut it into fields."""


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)


def pods_table(state: ZoneState, *, logs: bool = True) -> Table:
    """Return a table of a zone's pods, a line for each container."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("POD", "STATE", "NODE", "RESTARTS", *(["LOG"] if logs else [])):
        table.add_column(heading, overflow="fold")
    for pod in state.pods:
        for container in pod.containers:
            last = [container.log] if logs else []
            table.add_row(pod.name, _coloured(container.state), container.node, str(container.restarts), *last)
    return table


def show_zone(state: ZoneState) -> None:
    """Print one zone."""
    console = _console()
    console.print(f"Zone {state.zone} is", _coloured(state.state), end="\n\n" if state.pods else "\n")
    if state.pods:
        console.print(pods_table(state))
    if state.reason:
        console.print(f"\n{state.reason}", markup=False)


def show_zones(states: list[ZoneState], home: Path) -> None:
    """Print several zones."""
    console = _console()
    if not states:
        console.print(f"No zone runs on this machine (looked in {home}).", markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ZONE", "STATE", "PODS", "READY", "FOLDER"):
        table.add_column(heading, overflow="fold")
    for state in states:
        ready = sum(pod.state == "ready" for pod in state.pods)
        table.add_row(state.zone, _coloured(state.state), str(len(state.pods)), str(ready), state.folder)
    console.print(table)


def show_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*("-" if each is None else str(each) for each in row))
    _console().print(table)


class Progress:
    """Shows on stderr how far a zone is while it is being deployed, if a person is looking."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._live = Live(console=console, transient=True) if console.is_terminal and not quiet else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, state: ZoneState) -> None:
        """Show what has become of it."""
        if self._live is not None:
            self._live.update(pods_table(state, logs=False))


class LogsOf:
    """A zone's logs, for the log page; see `_web.ZoneLogs`.

    Args:
        look: Returns what has become of the zone.
        zone: Its name.
    """

    def __init__(self, look: Callable[[], ZoneState], zone: str) -> None:
        self._look = look
        self.zone = zone
        self._files: dict[tuple[str, str], Path] = {}

    def pods(self) -> list[PodView]:
        """Return the pods there are now."""
        pods = self._pods()
        self._files = {(pod.name, each.name): Path(each.log) for pod in pods for each in pod.containers}
        return [
            PodView(
                pod.name,
                pod.pod,
                tuple(each.name for each in pod.containers),
                pod.state,
                tuple(each.node for each in pod.containers),
                pod.reason,
                pod.pod if pod.index is None else f"{pod.pod}-{pod.index}",
            )
            for pod in pods
        ]

    def _pods(self) -> list[PodState]:
        try:
            return self._look().pods
        except Exception:  # noqa: BLE001  # it was deleted while somebody looked: there is nothing to show
            return []

    def log_file(self, pod_name: str, container: str) -> Path | None:
        """Return where a container writes."""
        return self._files.get((pod_name, container))
