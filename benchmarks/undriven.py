"""What does it cost that a worker may await asyncio things, if it awaits none? Two nodes in one Trio run, one of which
steps its workers without the driver that makes that possible.

`switch_driver_off` is the one place in here that reaches into the library, for no option does this: there is no reason
to want it but to measure it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar, cast

import trio

from autonomy import Node, open_node
from autonomy._mixed.mixture import Mixture

from .local import Echo
from .measure import Rates, rates_in_turns
from .terms import PAYLOAD, TIMEOUT

P = ParamSpec("P")
T = TypeVar("T")


class _PassThrough:
    """What a node has of both worlds, except that `run` has no driver."""

    def __init__(self, mixture: Mixture) -> None:
        self._mixture = mixture

    def __getattr__(self, name: str) -> object:
        return getattr(self._mixture, name)

    async def run(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return await function(*args, **kwargs)


def switch_driver_off(node: Node) -> None:
    """Let the workers that this node starts from now on await Trio's things alone. Other nodes are left as they are."""
    node._runtime.mixture = cast("Mixture", _PassThrough(node._runtime.mixture))


def one_caller(requests: int, batches: int) -> dict[str, Rates]:
    """A1: request and reply with a timeout, one after the other, to a driven worker and to one that is not, in turns.

    Returns the requests a second of each batch, ``on`` and ``off``.
    """

    async def main() -> dict[str, Rates]:
        async with open_node("on") as driven, open_node("off") as plain:
            switch_driver_off(plain)
            await driven.start_worker("echo", Echo())
            await plain.start_worker("echo", Echo())

            async def ask(node: Node, count: int) -> None:
                for _ in range(count):
                    await node.send_and_receive("echo", PAYLOAD, timeout=TIMEOUT)

            return await rates_in_turns(
                {"on": lambda count: ask(driven, count), "off": lambda count: ask(plain, count)}, requests, batches
            )

    return trio.run(main)
