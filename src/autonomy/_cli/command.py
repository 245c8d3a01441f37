"""``autonomy``: the command, what it does with errors, and its exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from ..errors import AutonomyError, DeployFailed, ZoneFileError
from .certificates import add_commands
from .manifests import manifests
from .zone import NoSuchZone, zone

FAILED: Final = 1
"""It was tried, and failed: a pod does not run, a port is taken."""
USAGE: Final = 2
"""The command or the zone file says what cannot be. Nothing was changed."""
NOT_THERE: Final = 3
"""There is no such zone on this machine."""
INTERRUPTED: Final = 130


class Autonomy(click.Group):
    """A group of commands whose errors are one sentence on stderr."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command and leave the process with its exit code."""
        try:
            code = super().main(*args, **options | {"standalone_mode": False})
        except click.exceptions.Exit as leave:
            code = leave.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = USAGE
        except click.UsageError as error:
            code = _say(_with_help(error), USAGE)
        except click.ClickException as error:
            code = _say(error, FAILED)
        except (KeyboardInterrupt, click.Abort):
            code = INTERRUPTED
        except NoSuchZone as error:
            code = _say(error, NOT_THERE)
        except (ZoneFileError, ValueError) as error:
            code = _say(error, USAGE)
        except (DeployFailed, AutonomyError, OSError) as error:
            code = _say(error, FAILED)
        sys.exit(code if isinstance(code, int) else 0)


def _with_help(error: click.UsageError) -> ValueError:
    """Say in one sentence what click says in four lines."""
    said = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "autonomy"
    return ValueError(f"{said[:1].lower()}{said[1:]} ('{path} --help' shows what there is)")


def _say(error: Exception, code: int) -> int:
    text = str(error)
    if isinstance(error, OSError) and error.strerror:  # without the number, which says nothing to people
        text = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    click.echo(f"autonomy: {text}", err=True)
    return code


@click.group(cls=Autonomy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="autonomy-actors")
def main() -> None:
    """Run nodes and zones of nodes on this machine.

    Exit codes: 0 done; 1 it failed; 2 the command or the zone file says what cannot be; 3 no such zone; 130
    interrupted.
    """


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(file: Path, arguments: tuple[str, ...]) -> None:
    """Run one program, such as one that ends in Node.start(main).

    As `python FILE` does, with the Python that this command is installed in, and with output that is not held back.
    """
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.execv(sys.executable, [sys.executable, str(file), *arguments])


zone.add_command(manifests)
add_commands(zone)
main.add_command(zone)
