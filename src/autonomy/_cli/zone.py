"""``autonomy zone``: what the command does with the zones of this machine."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import trio

from .._deploy.deploying import delete_zone, deploy_zone, list_zones, zone_state
from .._deploy.home import autonomy_home
from .._deploy.state import ZoneState
from .._deploy.zone_file import read_zone_file
from .._sansio.spec import zone_name_problem
from .._web import serve_logs
from ..errors import AutonomyError, DeployFailed
from .follow import follow_logs
from .shown import LogsOf, Progress, as_json, as_json_line, show_zone, show_zones

ZONE_FILE = "autonomy.yaml"


class NoSuchZone(AutonomyError):
    """There is no such zone on this machine."""


def in_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option to print JSON."""
    return click.option("--json", "in_json", is_flag=True, help="Print JSON, for programs.")(command)


def of_zone(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the option to name a zone; without it, it is that of the zone file here."""
    said = f"The zone's name; without it, that in ./{ZONE_FILE}."
    return click.option("--zone", "name", metavar="NAME", help=said)(command)


@click.group()
def zone() -> None:
    """Deploy zones on this machine, look at them, take them down.

    What is kept of them lies in the folder that AUTONOMY_HOME names, else in ~/.autonomy.
    """


@zone.command()
@click.argument("path", default=".", type=click.Path(exists=True, path_type=Path))
@click.option("--attach", is_flag=True, help="Stay, show the logs, and take the zone down at the end.")
@in_json
def deploy(path: Path, *, attach: bool, in_json: bool) -> None:
    """Run the zone that PATH describes: a folder with autonomy.yaml and images, or that file. Returns when all is up.

    Again on a running zone it changes what has changed, and leaves the rest alone; a zone of that name that runs from
    another folder is left alone, and this one refused. With --attach, the end is Ctrl-C,
    SIGTERM, or that nobody reads the logs any more; a zone that does not come up is left to be looked at.
    """
    folder = folder_of(path)
    up: list[ZoneState] = []

    async def deployed() -> None:
        with Progress(quiet=in_json) as progress:
            up.append(await deploy_zone(folder, told=progress.tell, noted=say))
        if in_json:
            click.echo(as_json(up[0]))
        else:
            show_zone(up[0])
        if attach:
            await follow_logs(partial(known, up[0].zone), None, follow=True)

    async def attached() -> None:
        try:
            await deployed()
        except Exception as error:
            if not up:  # it is as it was before, or there to be looked at
                raise
            await take_down(name)
            if not isinstance(error, OSError):
                raise
            # Whoever looked at the logs has gone: `| head`, a terminal that was closed. What is held back has to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except BaseException:
            await take_down(name)
            raise

    def say(text: str) -> None:
        click.echo(f"autonomy: {text}", err=True)

    name = read_zone_file(folder / ZONE_FILE).name
    try:
        until_interrupted(attached if attach else deployed)
    except DeployFailed:
        if in_json and (state := zone_state(name)) is not None:
            click.echo(as_json(state))
        raise
    if not up:
        left = "is taken down" if attach else "is left as far as it is: status shows it, deploy goes on, delete ends it"
        click.echo(f"autonomy: interrupted before all was up; zone {name!r} {left}", err=True)
        raise KeyboardInterrupt


@zone.command("list")
@in_json
def list_(*, in_json: bool) -> None:
    """Show the zones of this machine."""
    states = list_zones()
    if in_json:
        click.echo(as_json(states))
    else:
        show_zones(states, autonomy_home())


@zone.command()
@of_zone
@in_json
def status(name: str | None, *, in_json: bool) -> None:
    """Show the pods of a zone, their nodes, and where their logs are."""
    state = known(name)
    if in_json:
        click.echo(as_json(state))
    else:
        show_zone(state)


@zone.command()
@of_zone
@click.option("--yes", is_flag=True, help="Do not ask.")
@in_json
def delete(name: str | None, *, yes: bool, in_json: bool) -> None:
    """Stop a zone, and remove all that is kept of it, its logs too."""
    name = name_of(name)
    if not yes and is_there(name) and not is_sure(f"Stop zone {name!r}, and remove its logs?"):
        raise click.ClickException(f"zone {name!r} was not deleted")
    was_there = trio.run(partial(delete_zone, name))
    if in_json:
        click.echo(as_json({"zone": name, "deleted": was_there}))
    elif was_there:
        click.echo(f"Zone {name} is deleted.")
    if not was_there:
        raise NoSuchZone(f"there is no zone {name!r} on this machine")


@zone.command()
@click.argument("pod", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@of_zone
@in_json
def logs(pod: str | None, name: str | None, *, follow: bool, in_json: bool) -> None:
    """Print the logs of a zone, or of one POD of it: its full name, its name in the zone file, or that of a node.

    As JSON, each line is an object on a line of its own: pod, container, node, line.
    """
    state = known(name)
    until_interrupted(partial(follow_logs, partial(known, state.zone), pod, follow=follow, in_json=in_json))


@zone.command()
@click.option("--to", type=click.Choice(["logs"]), required=True, help="What to open: the logs, as a page.")
@click.option("--port", default=32101, show_default=True, type=click.IntRange(0, 65535), help="0 for any that is free.")
@of_zone
@in_json
def inlet(to: str, port: int, name: str | None, *, in_json: bool) -> None:
    """Open a way into a zone from this machine alone: its logs in a browser, until Ctrl-C.

    Its first line is the address; as JSON, an object with zone and address.
    """
    del to
    state = known(name)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            page = partial(serve_logs, LogsOf(partial(known, state.zone), state.zone), port=port)
            address = await nursery.start(page)
            click.echo(as_json_line({"zone": state.zone, "address": address}) if in_json else address)

    try:
        until_interrupted(serve)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OSError(error.errno, f"{error.strerror}. Another one will do: --port 0 takes any that is free") from None


# --- what they share


def name_of(name: str | None) -> str:
    """Return the name of the zone that is meant."""
    if name is not None:
        if problem := zone_name_problem(name):
            raise ValueError(problem)
        return name
    path = Path(ZONE_FILE)
    if not path.exists():
        raise ValueError(f"there is no {ZONE_FILE} here: name a zone by --zone, or go to the folder of one")
    return read_zone_file(path).name


def folder_of(path: Path) -> Path:
    """Return the folder of a zone, from what somebody calls it: the folder, or the zone file in it."""
    if path.is_file() and path.name != ZONE_FILE:
        raise ValueError(f"a zone file is called {ZONE_FILE}, this is {path.name}")
    folder = path.parent if path.is_file() else path
    if not (folder / ZONE_FILE).exists():
        others = ", ".join(sorted(each.name for each in folder.glob("*.y*ml")))
        there = f"it has {others}" if others else "go to the folder of a zone, or name it: autonomy zone deploy FOLDER"
        raise ValueError(f"there is no {ZONE_FILE} in {str(folder.absolute())!r}: {there}")
    return folder


def is_there(name: str) -> bool:
    """Whether anything is kept of a zone, be it what nobody understands any more."""
    try:
        return zone_state(name) is not None
    except DeployFailed:
        return True


def is_sure(question: str) -> bool:
    """Ask whoever is at the terminal."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        click.echo(err=True)  # ends the line of the question
        if sys.stdin.isatty():
            raise
        raise ValueError("nobody is there to answer: --yes goes on without asking") from None


def known(name: str | None) -> ZoneState:
    """Return what has become of a zone.

    Raises:
        NoSuchZone: There is none of that name.
    """
    name = name_of(name)
    state = zone_state(name)
    if state is None:
        raise NoSuchZone(f"there is no zone {name!r} on this machine: autonomy zone deploy makes one, list shows all")
    return state


async def take_down(name: str) -> None:
    """Delete a zone, whoever is in a hurry."""
    with trio.CancelScope(shield=True):
        await delete_zone(name)


def until_interrupted(program: Callable[[], Awaitable[None]]) -> None:
    """Run a program until it has ended, or until SIGINT or SIGTERM, or until its terminal is closed."""
    stopping = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it goes on
        stopping.append(signal.SIGHUP)

    async def main() -> None:
        with trio.open_signal_receiver(*stopping) as signals:
            async with trio.open_nursery() as nursery:

                async def wait_for_signal() -> None:
                    async for _ in signals:
                        nursery.cancel_scope.cancel()

                nursery.start_soon(wait_for_signal)
                await program()
                nursery.cancel_scope.cancel()

    try:
        trio.run(main)
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
