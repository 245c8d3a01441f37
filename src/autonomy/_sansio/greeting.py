"""What two nodes say first, and what is wrong with it, whatever has been before.

HELLO and WELCOME are put together and looked at here. What becomes of them depends on the session that is known, and
is decided in `session`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .frames import MAGIC, VERSION, Hello, RejectCode, SessionId, Welcome
from .session_life import Life
from .session_terms import Limits

LEAP: Final = 2**32
"""How far a generation may be ahead of the highest known. It counts sessions: more than this is no count, and learning
it could leave no number for the sessions to come."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """One node's way to greet another."""

    me: str
    incarnation: str
    peer: str
    limits: Limits

    def hello(self, life: Life, closed: SessionId | None) -> Hello:
        """Return what the dialer says first."""
        return Hello(
            magic=MAGIC,
            lowest_version=VERSION,
            highest_version=VERSION,
            node=self.me,
            incarnation=self.incarnation,
            session=life.id,
            fresh=life.ours and not life.confirmed,
            expects=life.expects,
            max_frame_bytes=self.limits.frame,
            heartbeat_ms=int(self.limits.liveness.heartbeat * 1000),
            closed=closed,
        )

    def welcome(self, life: Life) -> Welcome:
        """Return what the acceptor answers."""
        return Welcome(
            version=VERSION,
            node=self.me,
            incarnation=self.incarnation,
            session=life.id,
            expects=life.expects,
            max_frame_bytes=self.limits.frame,
            heartbeat_ms=int(self.limits.liveness.heartbeat * 1000),
        )

    def refusal(self, hello: Hello, generation: int) -> tuple[RejectCode, str] | None:
        """Return why a HELLO is to be rejected, if it is; `generation` is the highest known."""
        if hello.magic != MAGIC or not hello.lowest_version <= VERSION <= hello.highest_version:
            return RejectCode.VERSION, f"this node speaks version {VERSION}"
        session = hello.session
        own = (session.dialer, session.incarnation) == (hello.node, hello.incarnation)
        if hello.node != self.peer or (hello.fresh and not own):
            return RejectCode.IDENTITY, f"the certificate is {self.peer!r}'s"
        if hello.fresh and session.generation > generation + LEAP:
            return RejectCode.STALE, "there were not so many sessions"
        return None

    def fits(self, welcome: Welcome, life: Life) -> bool:
        """Whether a WELCOME answers the HELLO for this session."""
        return (welcome.version, welcome.node, welcome.session) == (VERSION, self.peer, life.id)
