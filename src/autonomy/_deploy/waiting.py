"""What runs before ``main-pod`` on Kubernetes: ``python -m autonomy._deploy.waiting SECONDS NAME:COUNT:FIRST-LAST …``.

It asks each clone of each pod at its health endpoint, by its name in DNS, until all are ready, so that a main program
finds all of them without a loop, as on one machine. When the time is over it says who is not, and lets the program
start: something may be broken, and the program is the one to tell.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import partial

import trio

_AGAIN = 0.5
_ANSWER_WITHIN = 2.0
_AT_ONCE = 32
_WANTED = re.compile(r"([a-z0-9-]+):([0-9]{1,4}):([0-9]{1,5})-([0-9]{1,5})")
Endpoint = tuple[str, int]


def endpoints(wanted: str) -> Iterator[Endpoint]:
    """Yield hosts and ports that ``NAME:COUNT:FIRST-LAST`` names.

    Raises:
        ValueError: It names none.
    """
    match = _WANTED.fullmatch(wanted)
    if match is None:
        raise ValueError(
            f"a pod is written NAME:COUNT:FIRST-LAST, such as shop-runners:3:4500-4501, got {wanted!r:.80}"
        )
    name, count, first, last = match[1], int(match[2]), int(match[3]), int(match[4])
    for index in range(count):
        for port in range(first, last + 1):
            yield f"{name}-{index}.{name}", port


async def is_ready(host: str, port: int) -> bool:
    """Ask one node whether it is ready; whatever goes wrong is a no."""
    request = f"GET /ready HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode()
    status = b""
    with trio.move_on_after(_ANSWER_WITHIN):
        try:
            async with await trio.open_tcp_stream(host, port) as stream:
                await stream.send_all(request)
                while len(status) < 12 and (more := await stream.receive_some(4096)):
                    status += more
        except (OSError, trio.BrokenResourceError):
            return False
    return status.startswith(b"HTTP/1.1 200")


async def wait_ready(wanted: list[Endpoint], seconds: float) -> list[Endpoint]:
    """Wait until all are ready, for so long at most; return those that are not."""
    left = dict.fromkeys(wanted)
    room = trio.CapacityLimiter(_AT_ONCE)

    async def look(endpoint: Endpoint) -> None:
        async with room:
            if await is_ready(*endpoint):
                del left[endpoint]

    with trio.move_on_after(seconds):
        while left:
            async with trio.open_nursery() as nursery:
                for endpoint in list(left):
                    nursery.start_soon(look, endpoint)
            if left:
                await trio.sleep(_AGAIN)
    return list(left)


def main(arguments: list[str]) -> int:
    """Wait, and say on stderr what for; return the exit code, which is 0 whatever came of it."""
    seconds, *pods = arguments
    wanted = [endpoint for each in pods for endpoint in endpoints(each)]
    sys.stderr.write(f"waiting for {len(wanted)} nodes to be ready\n")
    left = trio.run(partial(wait_ready, wanted, float(seconds)))
    if left:
        names = ", ".join(f"{host}:{port}" for host, port in left[:10])
        sys.stderr.write(f"not ready after {seconds} s: {len(left)} of {len(wanted)}, {names}. Starting anyway.\n")
    else:
        sys.stderr.write("all are ready\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
