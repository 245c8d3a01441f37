"""A worker and its tests. Time is virtual: an hour passes in no time. Run it alone, or by pytest."""

import math

import trio
from trio.testing import MockClock

from autonomy import Context, open_node


class Oven:
    """Told how many seconds to bake, replies at once and reports to `bell` when done."""

    async def handle_message(self, context: Context, message: str) -> None:
        context.send_after(float(message), "bell", "done")
        await context.reply("baking")


class Bell:
    def __init__(self) -> None:
        self.rang_at: list[float] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.rang_at.append(trio.current_time())


async def test_the_bell_rings_when_the_time_is_over(autojump_clock: MockClock) -> None:
    bell = Bell()
    async with open_node(stall_warning=None) as node:
        await node.start_worker("bell", bell)
        await node.start_worker("oven", Oven())
        begin = trio.current_time()

        assert await node.send_and_receive("oven", "3600") == "baking"
        await trio.sleep(3599)
        assert bell.rang_at == []
        await trio.sleep(2)

    assert len(bell.rang_at) == 1
    assert math.isclose(bell.rang_at[0] - begin, 3600)


if __name__ == "__main__":
    clock = MockClock(autojump_threshold=0)
    trio.run(test_the_bell_rings_when_the_time_is_over, clock, clock=clock)
    print("passed")

# prints:
#   passed
