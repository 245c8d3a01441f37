"""Every directory keeps the promises of `abc.Directory`, each of them tried by one suite."""

from __future__ import annotations

import pytest
import trio.testing

from .check_directory import CHECKS, RIVALS, Check, check_directory, run_check
from .world import embedded_world, memory_world

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


async def test_the_directory_in_memory_keeps_the_contract(autojump_clock: trio.testing.MockClock) -> None:
    await check_directory(memory_world)


@pytest.mark.parametrize("check", RIVALS, ids=lambda check: check.__name__)
async def test_of_two_starts_of_one_node(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, memory_world)


@each_check
async def test_embedded_in_a_node(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, embedded_world)
