"""Bugs to plant in what a zone is made of: a simulated zone that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from autonomy import NodeDown
from autonomy._actors.calls import Calls
from autonomy._actors.router import Router
from autonomy._sansio.roster import Roster
from autonomy._zone.membership import Membership

Plant = Callable[[pytest.MonkeyPatch], None]


def starting_nodes_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Say that nobody has a name although a node is starting (R4)."""
    original = Roster.find

    def find(self: Roster, *args: Any) -> Any:
        return original(self, *args) or ()

    patch.setattr(Roster, "find", find)


def names_are_not_told_again(patch: pytest.MonkeyPatch) -> None:
    """Enter a directory that has lost everything, and keep one's names for oneself."""
    original = Roster.join

    def join(self: Roster, member: Any, names: Any, known: Any, now: float) -> Any:
        return original(self, member, list(names)[:0] if known else names, known, now)

    patch.setattr(Roster, "join", join)


def contested_names_stay_known(patch: pytest.MonkeyPatch) -> None:
    """Note nothing when a second node has a name that was one's alone."""
    original = Roster._note

    def note(self: Roster, what: str, name: str) -> None:
        if what != "contested":
            original(self, what, name)

    patch.setattr(Roster, "_note", note)


def ended_workers_keep_their_names(patch: pytest.MonkeyPatch) -> None:
    """Do not hear that a worker has ended."""
    patch.setattr(Roster, "_disown", lambda _self, _node, _names: None)


def requests_are_sent_again_in_any_case(patch: pytest.MonkeyPatch) -> None:
    """Look for a worker elsewhere, and ask again, whatever went wrong, handled or not."""
    original = Calls.send_and_receive

    async def again(self: Calls, address: str, message: str, *args: Any, **options: Any) -> str:
        try:
            return await original(self, address, message, *args, **options)
        except NodeDown:
            return await original(self, address, message, *args, **options)

    patch.setattr(Calls, "send_and_receive", again)


def an_old_answer_is_anybody_s(patch: pytest.MonkeyPatch) -> None:
    """Believe what somebody else was told long ago: that nobody has a name."""
    original = Membership._look_up
    nobody: dict[tuple[int, str], bool] = {}

    async def look_up(self: Membership, name: str, on: str | None) -> tuple[str, ...]:
        if nobody.get((id(self), name)):
            return ()
        owners = await original(self, name, on)
        nobody[id(self), name] = not owners
        return owners

    patch.setattr(Membership, "_look_up", look_up)


def the_first_of_several_is_taken(patch: pytest.MonkeyPatch) -> None:
    """Send to any of several nodes that have a name, and do not ask which is meant."""
    original = Router._route_of

    def route_of(self: Router, name: str, names: Any) -> Any:
        class First:
            def known(self, name: str) -> tuple[str, ...]:
                return tuple(names.known(name)[:1])

            def forget(self, name: str, node: str) -> None:
                names.forget(name, node)

        return original(self, name, First())  # type: ignore[arg-type]

    patch.setattr(Router, "_route_of", route_of)


BUGS: tuple[Plant, ...] = (
    starting_nodes_are_not_waited_for,
    names_are_not_told_again,
    contested_names_stay_known,
    ended_workers_keep_their_names,
    requests_are_sent_again_in_any_case,
    an_old_answer_is_anybody_s,
    the_first_of_several_is_taken,
)
