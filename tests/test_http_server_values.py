"""`HttpServer` as a value: what it refuses, and what it is by default."""

from __future__ import annotations

from typing import Any

import pytest

from autonomy import HttpServer, Node

from .http_app import application


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"app": None}, TypeError, "app must be an ASGI application"),
        ({"app": "tests.http_app:app"}, TypeError, "app must be an ASGI application"),
        ({"port": "8000"}, TypeError, "port must be an int, got '8000'"),
        ({"port": True}, TypeError, "port must be an int, got True"),
        ({"port": 8000.0}, TypeError, "port must be an int, got 8000.0"),
        ({"port": -1}, ValueError, "port must be 0 to 65535, got -1"),
        ({"port": 65536}, ValueError, "port must be 0 to 65535, got 65536"),
        ({"host": None}, TypeError, "host must be a str, got None"),
        ({"host": b"127.0.0.1"}, TypeError, "host must be a str"),
    ],
)
def test_a_server_that_cannot_be_is_refused_when_it_is_described(
    values: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text.replace("[", r"\[")):
        HttpServer(**{"app": application()} | values)


@pytest.mark.parametrize("server", [application(), 8000, ("127.0.0.1", 8000)])
def test_what_is_no_http_server_is_refused_before_anything_starts(server: Any) -> None:
    ran = []

    async def main(node: Node) -> None:
        ran.append(node)

    with pytest.raises(TypeError, match="http_server"):
        Node.start(main, http_server=server, wait_until_interrupted=False)

    assert ran == []


def test_the_default_is_port_8000_of_loopback() -> None:
    server = HttpServer(application())

    assert (server.host, server.port) == ("127.0.0.1", 8000)
