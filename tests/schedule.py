"""A program whose course depends on nothing but the order in which Trio runs tasks: sets of them, and ties in time.

``python -m tests.schedule SEED`` prints the hash of its trace. It perturbs its own memory first.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from functools import partial

import trio
import trio.testing

from autonomy.testing.chance import seed_scheduler
from autonomy.testing.sweeping import perturbed

Note = Callable[[str], None]


async def course(note: Note) -> None:
    """Let tasks run in batches whose order Trio has to choose, whichever way they were put to sleep."""
    for round_ in range(4):
        async with trio.open_nursery() as nursery:
            gate, turns = trio.Event(), trio.Semaphore(3)
            inlet, outlet = trio.open_memory_channel[int](2)
            for number in range(8):
                name = f"{round_}.{number}"
                nursery.start_soon(_wait_for_gate, partial(note, f"{name} went through the gate"), gate)
                nursery.start_soon(_sleep, partial(note, f"{name} woke up"), 1 + number % 2)
                nursery.start_soon(_cut_short, partial(note, f"{name} was cut short"))
                nursery.start_soon(_take_turns, partial(note, f"{name} had its turn"), turns)
                nursery.start_soon(inlet.send, number)
                nursery.start_soon(_receive, note, name, outlet)
            await trio.sleep(2)
            gate.set()


async def _wait_for_gate(note: Callable[[], None], gate: trio.Event) -> None:
    await gate.wait()
    note()


async def _sleep(note: Callable[[], None], seconds: float) -> None:
    for _ in range(3):
        await trio.sleep(seconds)
        note()


async def _cut_short(note: Callable[[], None]) -> None:
    with trio.move_on_after(2):
        await trio.sleep_forever()
    note()


async def _take_turns(note: Callable[[], None], turns: trio.Semaphore) -> None:
    async with turns:
        await trio.lowlevel.checkpoint()
        note()


async def _receive(note: Note, name: str, outlet: trio.MemoryReceiveChannel[int]) -> None:
    note(f"{name} received {await outlet.receive()}")


def trace(seed: int) -> str:
    """Return what tells the course with this seed from others."""
    noted: list[str] = []
    seed_scheduler(seed)
    trio.run(course, noted.append, clock=trio.testing.MockClock(autojump_threshold=0))
    return hashlib.sha256("\n".join(noted).encode()).hexdigest()[:16]


if __name__ == "__main__":
    kept = perturbed()
    print(trace(int(sys.argv[1])))  # noqa: T201  # it is a program
    kept.clear()
