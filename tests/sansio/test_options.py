"""The options of a node: what may be one, and that a wrong one is named (O1, O2)."""

from __future__ import annotations

import math
from time import perf_counter

import pytest

from autonomy._sansio.keepalive import LIVENESS
from autonomy._sansio.members import ZoneInfo
from autonomy._sansio.options import INSTEAD_OF, LEGACY_OF_START, NodeOptions, check_options
from autonomy._sansio.rights import RIGHTS
from autonomy._sansio.shipment import NO_CODE


def options(**changed: object) -> NodeOptions:
    """Return checked options, the defaults of `open_node` but for what is changed."""
    given = {
        "name": "n",
        "incarnation": "0123456789abcdef",
        "drain_timeout": 10.0,
        "default_timeout": 30.0,
        "max_message_bytes": 1000,
        "threads": 200,
        "stall_warning": 0.1,
        "slice_clock": perf_counter,
        "listen": None,
        "liveness": LIVENESS,
        "rights": RIGHTS,
        "code": NO_CODE,
        "zone": None,
        "ready": True,
        "health": None,
    }
    return check_options(**(given | changed))  # type: ignore[arg-type]  # tests pass what cannot be, too


def test_options_that_can_be_are_kept() -> None:
    checked = options()

    assert checked == NodeOptions(
        "n",
        "0123456789abcdef",
        10.0,
        30.0,
        1000,
        200,
        0.1,
        perf_counter,
        None,
        LIVENESS,
        RIGHTS,
        NO_CODE,
        ZoneInfo(),
        True,
        None,
    )


def test_a_node_without_a_name_is_named_for_its_incarnation() -> None:
    assert options(name=None).name == "node-01234567"


def test_a_node_may_have_no_watchdog_and_drain_for_no_time() -> None:
    checked = options(stall_warning=None, drain_timeout=0)

    assert checked.stall_warning is None
    assert checked.drain_timeout == 0


@pytest.mark.parametrize("option", ["drain_timeout", "default_timeout", "stall_warning"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_seconds_that_cannot_be_are_refused_by_name(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be"):
        options(**{option: value})


@pytest.mark.parametrize("option", ["default_timeout", "stall_warning"])
def test_some_seconds_may_not_be_zero(option: str) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be more than 0"):
        options(**{option: 0})


@pytest.mark.parametrize("option", ["max_message_bytes", "threads"])
@pytest.mark.parametrize("value", [0, -1])
def test_counts_that_cannot_be_are_refused_by_name(option: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"^{option} must be at least 1"):
        options(**{option: value})


@pytest.mark.parametrize(
    "option", ["drain_timeout", "default_timeout", "stall_warning", "max_message_bytes", "threads"]
)
@pytest.mark.parametrize("value", ["10", True, [10]])
def test_options_of_another_type_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"^{option} must be a"):
        options(**{option: value})


@pytest.mark.parametrize("option", ["drain_timeout", "default_timeout", "max_message_bytes", "threads"])
def test_only_the_watchdog_may_be_none(option: str) -> None:
    with pytest.raises(TypeError, match=f"^{option} must be a"):
        options(**{option: None})


def test_every_option_of_older_programs_has_something_to_use_instead() -> None:
    assert set(LEGACY_OF_START) <= set(INSTEAD_OF)
    assert all(INSTEAD_OF.values())


@pytest.mark.parametrize(
    ("health", "place"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::]:65535", ("::", 65535)),
        ("[10.0.0.1]:80", ("10.0.0.1", 80)),
    ],
)
def test_health_is_a_host_and_a_port(health: str, place: tuple[str, int]) -> None:
    assert options(health=health).health == place


@pytest.mark.parametrize(
    "health",
    ["", "8080", ":8080", "localhost", "localhost:", "a:65536", "a:-1", "a:\u0663", "a: 1", "::1:80", "[a:80", "a]:80",
     "[::1]", "http://a:80", "a@b:80", "a b:1"],
)  # fmt: skip
def test_health_anywhere_else_is_refused(health: str) -> None:
    with pytest.raises(ValueError, match=r"health \(AUTONOMY_HEALTH\) must be HOST:PORT, such as 127\.0\.0\.1:8080"):
        options(health=health)


def test_health_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a str, HOST:PORT, got int"):
        options(health=8080)
