"""A FastAPI application with a worker behind it.

Serve it with `uvicorn --app-dir examples 21_fastapi:app`. Run alone, it asks itself three things, without a server.
"""

import asyncio

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from autonomy import Context, Node, NoReply, WorkerFailed
from autonomy.aio import NodeDep, lifespan


class Counter:
    """Its state is safe from requests that come at the same time: it handles one message after the other."""

    def __init__(self) -> None:
        self.count = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self.count += int(message)
        await context.reply(str(self.count))


async def start_workers(node: Node) -> None:
    await node.start_worker("counter", Counter())


app = FastAPI(lifespan=lifespan(start_workers))


@app.post("/add/{number}")
async def add(number: str, node: NodeDep) -> dict[str, int]:
    return {"count": int(await node.send_and_receive("counter", number, timeout=5))}


@app.exception_handler(NoReply)
async def no_reply(request: Request, error: NoReply) -> JSONResponse:
    return JSONResponse({"error": type(error).__name__}, 500 if isinstance(error, WorkerFailed) else 503)


async def main() -> None:
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        for number in ("20", "22", "many"):
            answer = await client.post(f"/add/{number}")
            print(answer.status_code, answer.json())


if __name__ == "__main__":
    asyncio.run(main())

# prints:
#   200 {'count': 20}
#   200 {'count': 42}
#   500 {'error': 'WorkerFailed'}
