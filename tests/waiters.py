"""Those who wait for a far node when it is lost, in all the ways in which one can wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from autonomy import Down, Node, NodeDown, NoReply

from .traffic import until


class Waiters:
    """Those who wait for a far node in all the ways there are, and how it ended for each, and when.

    Args:
        node: On which they wait.
        far: Name of that node; it has the workers ``one``, ``silent`` and ``full``.

    Attributes:
        ends: The end of each, by its name.
        times: When that was, on Trio's clock.
    """

    def __init__(self, node: Node, far: str = "far") -> None:
        self._node = node
        self._far = far
        self.ends: dict[str, NoReply | Down] = {}
        self.times: dict[str, float] = {}

    async def begin(self, nursery: trio.Nursery) -> None:
        """Let all of them wait."""
        for waiting in (self._ask, self._ask_behind, self._tell_full, self._converse, self._watch):
            nursery.start_soon(self._wait, waiting)
            await trio.sleep(0.1)
        await self._node.send_and_receive(f"one@{self._far}", "waiters 1 ask")

    async def all_ended(self, seconds: float) -> None:
        """Wait until none waits any more."""
        await until(lambda: len(self.ends) == 5, seconds)

    async def _wait(self, waiting: Callable[[], Awaitable[Down | None]]) -> None:
        try:
            end: NoReply | Down | None = await waiting()
        except NoReply as error:
            end = error
        assert end is not None
        self.ends[waiting.__name__.strip("_")] = end
        self.times[waiting.__name__.strip("_")] = trio.current_time()

    async def _ask(self) -> None:
        await self._node.send_and_receive(f"silent@{self._far}", "wait: old")

    async def _ask_behind(self) -> None:
        await self._node.send_and_receive(f"silent@{self._far}", "old")

    async def _tell_full(self) -> None:
        for _ in range(10):
            await self._node.send_message(f"full@{self._far}", "wait: old")

    async def _converse(self) -> None:
        async with await self._node.send(f"silent@{self._far}", "old") as mailbox:
            await mailbox.receive()

    async def _watch(self) -> Down:
        async with self._node.watch(f"silent@{self._far}") as watch:
            return await watch.down()

    def check(self) -> None:
        """Check that all know that the node is down, and what may have become of what they sent."""
        outcomes = {name: end.outcome for name, end in self.ends.items() if isinstance(end, NodeDown)}
        assert outcomes == {
            "ask": "maybe_handled",
            "ask_behind": "maybe_handled",
            "tell_full": "not_sent",
            "converse": "maybe_handled",
        }
        down = self.ends["watch"]
        assert isinstance(down, Down)
        assert down.name == f"silent@{self._far}"
