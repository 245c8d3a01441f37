"""What a stranger may cost, and a friend: every bound of a link in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Bounds of links. Times in seconds, sizes in bytes.

    Attributes:
        handshake: From the first byte to an open link, all rounds together.
        send: For handing one message to the system while the far side takes nothing.
        close: For leaving in good order.
        handshakes: At once, of those who have not shown who they are.
        handshakes_each: At once, from one address.
        links: At once, accepted by this side; strangers count, for each may become one.
        message: Of one message.
        receive: Read from the network at once.
        controls: Pings and pongs that the far side may send in a second.
        refusals_logged: Log lines in a second about those who were turned away; the rest is counted.
    """

    handshake: float = 5.0
    send: float = 30.0
    close: float = 1.0
    handshakes: int = 64
    handshakes_each: int = 8
    links: int = 1024
    message: int = 4 * 2**20
    receive: int = 2**16
    controls: int = 20
    refusals_logged: int = 10
