"""Which node a program's is: the one that whoever deployed it has in mind, or that a ticket makes it, or its own."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from .. import logs
from .._host import Environment
from ..identity import Credentials
from .enrolled import join_zone, options_of
from .node_file import DeployedNode

_log = logs.get_logger("node")


class ProgramNode(NamedTuple):
    """A program's node.

    Attributes:
        name: Its full name.
        options: What `open_node` is told.
        deployed: What whoever deployed it wants of it; None if nobody did.
    """

    name: str
    options: dict[str, Any]
    deployed: DeployedNode | None


def which_node(
    environment: Environment, variables: MutableMapping[str, str], name: str | None, options: dict[str, Any]
) -> ProgramNode:
    """Return the node of a program.

    Args:
        environment: What its environment says.
        variables: That environment; a ticket is taken out of it.
        name: What the program calls the node.
        options: What the program wants of it, which is stronger than what others do.

    Raises:
        TypeError, ValueError, IdentityError, Unreachable: As for `Node.start`.
    """
    if environment.node_file is not None:
        deployed = DeployedNode(environment.node_file, listen=environment.listen, address=environment.address)
        if name is not None and name not in (deployed.file.name, deployed.file.short_name):
            _log.warning("the name has no effect: whoever deployed the node named it", name=deployed.file.name)
        return ProgramNode(deployed.file.name, deployed.options | options, deployed)
    enrolled = join_zone(variables, name)
    if enrolled is not None:
        return ProgramNode(enrolled.place.name, options_of(enrolled, variables) | options, None)
    return ProgramNode(
        _full_name(environment, name, options.get("credentials")), {"zone": environment.zone_info} | options, None
    )


def _full_name(environment: Environment, name: str | None, credentials: object) -> str:
    """Return the full name of a node of its own: as it is called, else by its environment, else by its certificate."""
    if name is None and environment.short_name is None and isinstance(credentials, Credentials):
        return credentials.name
    return environment.full_name(name)
