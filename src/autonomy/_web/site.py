"""What is served, and to whom: the page, the pods as JSON, each log as text, and the feed of an open page.

Nobody logs in here, so the browser is kept from lending itself to others: only names of this machine are answered to,
which a stranger's page cannot take (DNS rebinding), and no other site's page gets anything. Names in a path are looked
up among the pods that there are, and never become part of a file's path.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

import trio

from .conversation import TEXT, Conversation, Refused, Request, Send
from .feed import POLL, LogFeed, parse_seen
from .source import PodView, ZoneLogs
from .tail import PIECE, Tail

_FOLLOWERS: Final = 64
"""Streams at once; each holds files open."""
_FOLLOW: Final = {"": True, "true": True, "1": True, "false": False, "0": False}
_LOOK_AGAIN: Final = 1.0
"""Seconds between questions where a log's file is now."""


@dataclass(slots=True)
class Site:
    """Answers requests about one zone.

    Attributes:
        source: The zone.
        hosts: What a request may call this server.
    """

    source: ZoneLogs
    hosts: frozenset[str]
    _followers: int = field(default=0, init=False)

    async def answer(self, request: Request, conversation: Conversation) -> None:
        """Answer one request.

        Raises:
            Refused: There is nothing for it here.
        """
        self._check(request)
        match request.path:
            case ("",):
                page, policy = _page()
                await conversation.answer(200, "text/html; charset=utf-8", page, {"content-security-policy": policy})
            case ("api", "pods"):
                await conversation.answer(200, "application/json", self._pods(), {})
            case ("api", "feed"):
                seen = parse_seen(request.query.get("seen", ""))
                await self._stream(
                    conversation, "text/event-stream", lambda send: LogFeed(self.source, seen, send).run()
                )
            case ("pods", pod, "containers", container):
                await self._log(conversation, pod, container, is_followed=_is_followed(request))
            case _:
                raise Refused(404, "there is nothing here; there is /, /api/pods and /pods/NAME/containers/CONTAINER")

    def _check(self, request: Request) -> None:
        host = request.headers.get("host", "").lower()
        if host not in self.hosts:
            raise Refused(421, f"this server is only http://{min(self.hosts)}, not {host!r:.80}")
        site, mode = request.headers.get("sec-fetch-site"), request.headers.get("sec-fetch-mode")
        if site not in (None, "same-origin", "none") and mode != "navigate":
            raise Refused(403, "another site's page gets nothing here")
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, "logs can be read, and nothing else: GET or HEAD", allow="GET, HEAD")

    def _pods(self) -> bytes:
        pods = [
            {"name": pod.name, "pod": pod.pod, "containers": pod.containers, "state": pod.state, "nodes": pod.nodes}
            for pod in self.source.pods()
        ]
        return json.dumps(pods).encode() + b"\n"

    def _pod(self, name: str) -> PodView:
        """Return the pod of a name: its own, or what people call it if no other one is called so."""
        pods = self.source.pods()
        called = [pod for pod in pods if pod.name == name] or [pod for pod in pods if name in (pod.pod, pod.label)]
        if not called:
            raise Refused(404, f"there is no pod {name!r:.80}; /api/pods lists those there are")
        if len(called) > 1:
            names = ", ".join(pod.label or pod.name for pod in called)
            raise Refused(404, f"there are {len(called)} pods {name!r:.80}: {names:.400}")
        return called[0]

    async def _log(self, conversation: Conversation, name: str, container: str, *, is_followed: bool) -> None:
        pod = self._pod(name)
        name = pod.name
        if container not in pod.containers:
            names = ", ".join(pod.containers)
            raise Refused(404, f"pod {name!r:.80} has no container {container!r:.80}; it has {names:.400}")

        async def follow(send: Send) -> None:
            with Tail(self.source.log_file(name, container)) as tail:
                await _follow(send, tail, lambda: self.source.log_file(name, container))

        async def write(send: Send) -> None:
            with Tail(self.source.log_file(name, container)) as tail:
                await _write(send, tail)

        await self._stream(conversation, TEXT, follow if is_followed else write)

    async def _stream(
        self, conversation: Conversation, content_type: str, produce: Callable[[Send], Awaitable[None]]
    ) -> None:
        if self._followers >= _FOLLOWERS:
            raise Refused(503, f"{_FOLLOWERS} logs are being read already; close some pages", retry_after="5")
        self._followers += 1
        try:
            await conversation.stream(content_type, produce)
        finally:
            self._followers -= 1


async def _write(send: Send, tail: Tail) -> None:
    """Send what is in the file now, whatever is added meanwhile."""
    left = tail.behind
    while left and (data := tail.read(min(left, PIECE))):
        await send(data)
        left -= len(data)


async def _follow(send: Send, tail: Tail, look: Callable[[], Path | None]) -> None:
    """Send what is in the file, then what is added, in this file or the next of the name."""
    looked_at = trio.current_time()
    while True:
        if trio.current_time() - looked_at >= _LOOK_AGAIN:
            looked_at = trio.current_time()
            tail.path = look()
        if data := tail.read():
            await send(data)
        else:
            await trio.sleep(POLL)


def _is_followed(request: Request) -> bool:
    value = request.query.get("follow", "").lower()
    if value not in _FOLLOW:
        raise Refused(400, f"follow is true or false, not {value!r:.80}")
    return _FOLLOW[value]


@cache
def _page() -> tuple[bytes, str]:
    """Return the page, and the policy that lets it run its own script and style, ask this server, and nothing else."""
    page = resources.files(__package__).joinpath("page.html").read_text("utf-8")
    script, style = (_source(page, element) for element in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src {script}; style-src {style}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page.encode(), policy


def _source(page: str, element: str) -> str:
    """Return the page's own element as a policy names it, by its hash."""
    _, _, rest = page.partition(f"<{element}>")
    inside, _, _ = rest.partition(f"</{element}>")
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
