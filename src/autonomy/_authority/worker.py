"""The worker that nodes ask as long as they live: it renews their certificates, and tells them what is new.

Who asks is who the link says it is, and can ask for itself alone. Questions that wait hold up nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import trio

from .._sansio.followers import Follower
from .._sansio.renewal import LONG, Look, Refused, Renew, asked, text_of
from .._sansio.tries import Tries
from ..abc import Context
from ..errors import IdentityError
from ..logs import get_logger
from .signing import Signing

_security = get_logger("security")
_RENEWALS: Final = 60
"""Of one node, in a minute."""


class AuthorityWorker:
    """Answers the nodes of a zone.

    Args:
        signing: Signs, and knows what is new.
        start_soon: Starts a task that lives as long as the authority.
        now: Returns the seconds since 1970.
        told: Called when what is known of nodes has changed.
        before: What was known of nodes before.
    """

    def __init__(
        self,
        signing: Signing,
        start_soon: Callable[..., object],
        now: Callable[[], float],
        told: Callable[[], object],
        before: list[Follower],
    ) -> None:
        self._signing = signing
        self._start_soon = start_soon
        self._now = now
        self._told = told
        self._renewals = Tries(_RENEWALS, 60.0)
        self._looking: dict[str, trio.CancelScope] = {}
        self._followers = {each.name: msgspec.structs.replace(each, is_linked=False) for each in before}

    @property
    def followers(self) -> list[Follower]:
        """What is known of the nodes, by name."""
        return sorted(self._followers.values(), key=lambda each: each.name)

    def lose(self, node: str) -> None:
        """Note that there is no link to a node any more."""
        follower = self._followers.get(node)
        if follower is not None and follower.is_linked:
            self._followers[node] = msgspec.structs.replace(follower, is_linked=False)
            self._told()

    async def handle_message(self, context: Context, message: str) -> None:
        """Begin to answer one node."""
        question = asked.decode(message)
        node = context.sender.rpartition("@")[2]
        self._start_soon(self._renew if isinstance(question, Renew) else self._look, context, node, question)

    async def _renew(self, context: Context, node: str, question: Renew) -> None:
        if self._renewals.pause(node, trio.current_time()):
            _security.warning("certificate not renewed", peer=node, reason="it asks for too many")
            await context.reply(text_of(Refused("this node asks for too many certificates: wait a minute")))
            return
        self._renewals.failed(node, trio.current_time())
        try:
            answer: msgspec.Struct = await self._signing.issue(node, question.request)
        except (IdentityError, OSError) as error:
            _security.warning("certificate not renewed", peer=node, reason=error)
            answer = Refused(f"{error!s:.500}")
        await context.reply(text_of(answer))

    async def _look(self, context: Context, node: str, question: Look) -> None:
        """Answer when there is news; a node that asks again wants this answer no more."""
        if node in self._looking:
            self._looking[node].cancel()
        with trio.CancelScope() as scope:
            self._looking[node] = scope
            try:
                self._note(node, question)
                with trio.move_on_after(LONG):
                    await self._signing.wait_news(question.stamp)
                await context.reply(text_of(self._signing.news))
            finally:
                if self._looking.get(node) is scope:
                    del self._looking[node]

    def _note(self, node: str, question: Look) -> None:
        before = self._followers.get(node, Follower(name=node))
        is_current = question.stamp == self._signing.news.stamp
        follower = Follower(
            name=node,
            is_linked=True,
            heard=self._now(),
            cas=self._signing.cas if is_current else before.cas,
            crl=self._signing.crl if is_current else before.crl,
            serial=question.serial,
        )
        self._followers[node] = follower
        if msgspec.structs.replace(follower, heard=before.heard) != before:
            self._told()
