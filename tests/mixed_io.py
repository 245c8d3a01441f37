"""Behaviours that use threads, processes and sockets, in real time: the second part of `mixed_spec`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import socket
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

import aiohttp
import aiohttp.web
import httpx
import pytest
import trio

from autonomy import Node

from .mixed_spec import (
    LONG,
    TICK,
    anywhere_with_sockets,
    anywhere_with_threads,
    in_trio_with_sockets,
    in_trio_with_threads,
    takes,
)
from .workers import Echo

# --- threads, processes, sockets


@anywhere_with_threads
async def to_thread_returns_raises_and_carries_context_variables(node: Node) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("carried")
    assert await asyncio.to_thread(lambda: (variable.get(), threading.current_thread() is not threading.main_thread()))
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 // 0)
    assert await asyncio.gather(*(asyncio.to_thread(pow, 2, n) for n in range(40))) == [2**n for n in range(40)]


@anywhere_with_threads
async def run_in_executor_takes_the_default_one_or_yours(node: Node) -> None:
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(None, pow, 2, 3) == 8
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as mine:
        assert (await loop.run_in_executor(mine, lambda: threading.current_thread().name)).startswith("mine")


@anywhere_with_threads
async def threads_call_back_and_run_coroutines_here(node: Node) -> None:
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def elsewhere() -> str:
        loop.call_soon_threadsafe(future.set_result, "called")
        return asyncio.run_coroutine_threadsafe(asyncio.sleep(TICK, "ran"), loop).result(LONG)

    assert await asyncio.to_thread(elsewhere) == "ran"
    assert await future == "called"
    numbers: asyncio.Queue[int] = asyncio.Queue()
    await asyncio.to_thread(lambda: [loop.call_soon_threadsafe(numbers.put_nowait, number) for number in range(500)])
    assert [await numbers.get() for _ in range(500)] == list(range(500))


@anywhere_with_threads
async def a_subprocess_is_written_to_read_from_and_waited_for(node: Node) -> None:
    pipe = asyncio.subprocess.PIPE
    cat = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    said, _ = await cat.communicate(b"meow")
    assert (said, cat.returncode) == (b"meow", 0)
    shell = await asyncio.create_subprocess_shell("exit 3")
    assert await shell.wait() == 3
    endless = await asyncio.create_subprocess_exec("sleep", "60")
    endless.terminate()
    assert await endless.wait() < 0


@anywhere_with_sockets
async def streams_talk_both_ways(node: Node) -> None:
    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(shout, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(20):
            writer.write(b"hello\n")
            await writer.drain()
            assert await reader.readline() == b"HELLO\n"
        writer.close()
        await writer.wait_closed()


@anywhere_with_sockets
async def descriptors_and_datagrams_are_watched(node: Node) -> None:
    loop, arrived, readable = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    class Arrivals(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, address: object) -> None:
            arrived.set()

    transport, _ = await loop.create_datagram_endpoint(Arrivals, local_addr=("127.0.0.1", 0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
        far.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.wait_for(arrived.wait(), LONG)
    transport.close()
    reading, writing = os.pipe()
    loop.add_reader(reading, readable.set)
    os.write(writing, b"x")
    await asyncio.wait_for(readable.wait(), LONG)
    loop.remove_reader(reading)
    os.close(reading)
    os.close(writing)


@asynccontextmanager
async def http_server() -> AsyncGenerator[str]:
    """Serve ``ok``, and under ``/never`` nothing."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                if (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /never"):
                    await reader.read()
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@anywhere_with_sockets
async def httpx_gets_here_and_in_tasks(node: Node) -> None:
    async with http_server() as url:
        async with httpx.AsyncClient(trust_env=False) as here:
            assert (await here.get(url)).text == "ok"
        async with httpx.AsyncClient(trust_env=False) as there:
            tasks = [asyncio.create_task(there.get(url)) for _ in range(5)]
            assert [answer.text for answer in await asyncio.gather(*tasks)] == ["ok"] * 5
            await asyncio.create_task(there.aclose())


@anywhere_with_sockets
async def aiohttp_serves_and_gets_here_and_in_tasks(node: Node) -> None:
    async def ask(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text=await node.send_and_receive("echo", request.query["message"]))

    async def get(session: aiohttp.ClientSession, path: str, seconds: float = LONG) -> str:
        async with session.get(path, timeout=aiohttp.ClientTimeout(total=seconds)) as response:
            return await response.text()

    async def never(request: aiohttp.web.Request) -> aiohttp.web.Response:
        await asyncio.sleep(LONG)
        return aiohttp.web.Response()

    await node.start_worker("echo", Echo())
    application = aiohttp.web.Application()
    application.router.add_get("/", ask)
    application.router.add_get("/never", never)
    runner = aiohttp.web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        assert await get(session, "/?message=here") == "here"
        tasks = [asyncio.create_task(get(session, f"/?message={number}")) for number in range(5)]
        assert await asyncio.gather(*tasks) == list("01234")
        with pytest.raises(TimeoutError):
            await get(session, "/never", 5 * TICK)
    await runner.cleanup()


@in_trio_with_sockets
async def a_trio_cancel_scope_ends_a_request_of_aiohttp_and_httpx(node: Node) -> None:
    async with (
        http_server() as url,
        aiohttp.ClientSession(url) as session,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        with takes(5 * TICK), trio.move_on_after(5 * TICK) as scope:
            await session.get("/never")
        assert scope.cancelled_caught
        with takes(5 * TICK), trio.move_on_after(5 * TICK) as scope:
            await client.get(f"{url}/never")
        assert scope.cancelled_caught
        async with session.get("/") as response:
            assert await response.text() == "ok"


@in_trio_with_threads
async def a_thread_of_trio_awaits_asyncio_here(node: Node) -> None:
    async def sleep() -> str:
        return await asyncio.sleep(TICK, "slept")

    assert await trio.to_thread.run_sync(lambda: trio.from_thread.run(sleep)) == "slept"


@in_trio_with_threads
async def a_scope_leaves_a_thread_to_itself(node: Node) -> None:
    free = threading.Event()
    with takes(TICK), trio.move_on_after(TICK) as scope:
        await asyncio.to_thread(free.wait, LONG)
    free.set()
    assert scope.cancelled_caught
