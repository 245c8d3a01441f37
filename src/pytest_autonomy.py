"""The pytest plugin: a fixture ``simulation``, an option ``--simulation-seed``, and the seed of a test that failed.

It stands outside the package because pytest imports it at each start, in projects that may not use it: neither
`autonomy` nor Hypothesis is imported before a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from autonomy.testing import Simulation

_SIMULATION: Final = pytest.StashKey["Simulation"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("autonomy").addoption(
        "--simulation-seed", type=int, metavar="N", help="the seed of the fixture `simulation` (default: a new one)"
    )


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Simulation:
    """A zone without hosts, with the seed that was asked for, or a new one."""
    from autonomy.testing import Simulation  # noqa: PLC0415  # see above

    made = Simulation(request.config.getoption("--simulation-seed"))
    request.node.stash[_SIMULATION] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how a failure is made again."""
    report = yield
    made = item.stash.get(_SIMULATION, None)
    if report.failed and made is not None:
        lines = f"again: pytest {item.nodeid!r} --simulation-seed={made.seed}"
        if len(made.story):
            lines += f"\nstory:\n{made.story}"
        if made.report is not None and call.excinfo is not None and type(call.excinfo.value) is AssertionError:
            lines = f"{made.report.story()}\n{lines}"  # it came after the run, and does not tell it itself
        report.sections.append(("simulation", lines))
    return report
