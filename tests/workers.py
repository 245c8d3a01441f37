"""Workers that several tests use."""

from __future__ import annotations

import trio

from autonomy import Context


class Echo:
    """Replies with the message."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)


class Recorder:
    """Notes what it is told, and replies with nothing."""

    def __init__(self) -> None:
        self.received: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append(message)


class Silent:
    """Returns without replying."""

    async def handle_message(self, context: Context, message: str) -> None:
        return


class Failing:
    """Raises ValueError with the message."""

    async def handle_message(self, context: Context, message: str) -> None:
        raise ValueError(message)


class Sleeper:
    """Sleeps as many seconds as the message says, then replies with the message; counts how many it began and ended."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self.began += 1
        await trio.sleep(float(message))
        self.ended += 1
        await context.reply(message)
