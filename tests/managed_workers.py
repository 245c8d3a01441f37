"""Workers that nodes start on each other. They travel, so this file has nothing else."""

from __future__ import annotations

from threading import Lock

import trio

from autonomy import Context, NodeRef

from .managed_history import current

FIRST = 10
"""What a worker has counted to before it travels."""


class Counting:
    """Counts what it handles, and says where it is.

    Args:
        number: Its own.
        takes: Seconds that its start takes.
        fails: Whether that then fails.
    """

    node: NodeRef | None = None

    def __init__(self, number: int, takes: float = 0.0, *, fails: bool = False) -> None:
        self.number = number
        self.takes = takes
        self.fails = fails
        self.count = FIRST
        self.place = -1

    async def on_start(self, context: Context) -> None:
        """Note that it begins; fail if it is to."""
        history = current.get()
        self.place = history.begin(self.number, context)
        life = history.lives[self.place]
        try:
            await trio.sleep(self.takes)
            if self.fails:
                raise ValueError("no coffee")
        except BaseException:
            life.ended = trio.current_time()
            raise
        life.started = trio.current_time()
        if self.node is None or self.node.name != life.node:
            history.seen.append(f"L2 has the node {self.node!r}: {life}")

    async def handle_message(self, context: Context, message: str) -> None:
        """Count."""
        history = current.get()
        if self.place < 0:
            history.seen.append(f"L1 {context.name} handles {message} before its on_start")
            return
        life = history.lives[self.place]
        life.handled.append(message)
        self.count += 1
        if not life.started <= trio.current_time() < life.ended:
            history.seen.append(f"L1 handles {message}, started {life.started:.3f}, ended {life.ended:.3f}: {life}")
        if self.count != FIRST + len(life.handled):
            history.seen.append(f"D6 has counted to {self.count} by {len(life.handled)} messages: {life}")
        await context.reply(f"{message} {self.number} {context.node.name}")

    async def on_stop(self, context: Context) -> None:
        """Note that it ends."""
        if self.place >= 0:
            current.get().lives[self.place].ended = trio.current_time()


class Locked(Counting):
    """Has something that cannot travel."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.lock = Lock()
