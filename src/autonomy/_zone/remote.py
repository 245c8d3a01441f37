"""Another node of the zone, as programs and workers here see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .._mixed.worlds import pause
from .._sansio.address import check_name

if TYPE_CHECKING:
    from .._actors.calls import Calls
    from .._actors.mailbox import Mailbox


class RemoteNode:
    """A node that this one is linked to, or may be. Nothing of it lives here: each call goes there.

    `Node.connect` returns one. Two of them are equal if they are the same node as seen from the same one.

    Example:
        ```python
        runner = await node.connect("wss://runner-1.example:7400")
        await runner.send_and_receive("echo", "hello")  # the same as
        await node.send_and_receive(f"echo@{runner.name}", "hello")
        ```
    """

    def __init__(self, here: Calls, name: str, identify: Callable[[], str]) -> None:
        self._here = here
        self._name = name
        self._identify = identify

    def __repr__(self) -> str:
        return f"<RemoteNode {self._name!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteNode):
            return NotImplemented
        return self._here is other._here and self._name == other._name

    def __hash__(self) -> int:
        return hash((id(self._here), self._name))

    @property
    def name(self) -> str:
        """Full name of the node."""
        return self._name

    async def identifier(self) -> str:
        """Return the identity that the node has proven last, ``spiffe://ZONE/node/NAME``."""
        await pause()
        return self._identify()

    async def send_message(self, address: str, message: str, *, timeout: float | None = None) -> None:
        """Send a message to a worker there, as `Node.send_message` does."""
        await self._here.send_message(check_name(address), message, self._name, timeout=timeout)

    async def send_and_receive(
        self, address: str, message: str, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message to a worker there and wait for the first reply, as `Node.send_and_receive` does."""
        return await self._here.send_and_receive(check_name(address), message, self._name, policy, timeout)

    async def send(self, address: str, message: str, policy: object = None) -> Mailbox:
        """Send a message to a worker there and return the mailbox for its replies, as `Node.send` does."""
        return await self._here.send(check_name(address), message, self._name, policy)
