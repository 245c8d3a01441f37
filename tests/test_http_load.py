"""The FastAPI application of the examples under load: 10,000 requests without an error, and an end in the middle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from signal import SIGTERM

import pytest

from .http_load import Load
from .served import Served, running, uvicorn

pytestmark = [pytest.mark.network, pytest.mark.slow]

REQUESTS = 10_000
MORE = 2_000
PROMPT = 5.0
"""Seconds. An end takes some 0.3; this is to notice one that hangs."""

BESIDE_A_NODE = """
import sys
from importlib import import_module
from fastapi import FastAPI
from autonomy import HttpServer, Node

sys.path.insert(0, "examples")
example = import_module("21_fastapi")
Node.start(http_server=HttpServer(example.app, port=0))
"""

each_way = pytest.mark.parametrize(
    ("serve", "code"),
    [
        (partial(uvicorn, "21_fastapi:app", "asyncio"), -SIGTERM),
        (partial(running, ["-c", BESIDE_A_NODE]), 0),
    ],
    ids=["uvicorn", "Node.start"],
)


@each_way
def test_an_application_answers_ten_thousand_requests_and_ends_in_the_middle_of_more(
    serve: Callable[[], AbstractContextManager[Served]], code: int
) -> None:
    with serve() as served:
        all_of_them = Load(f"{served.url}/add/1", "POST", REQUESTS).run()
        cut_short = Load(f"{served.url}/add/1", "POST", MORE, halfway=partial(served.send, SIGTERM)).run()
        ended = served.wait()

    assert all_of_them == {f'200 {{"count":{number + 1}}}': 1 for number in range(REQUESTS)}
    assert cut_short.keys() <= {f'200 {{"count":{REQUESTS + number + 1}}}' for number in range(MORE)}
    assert MORE // 2 <= cut_short.total() < MORE
    assert ended.code == code
    assert ended.seconds < PROMPT
    assert "Traceback" not in ended.err
