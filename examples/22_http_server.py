"""A node's program that serves an application: `Node.start` with an `HttpServer`. Here `main` asks its own server."""

import socket

import httpx
from fastapi import FastAPI

from autonomy import Context, HttpServer, Node
from autonomy.aio import NodeDep

app = FastAPI()


@app.get("/greet/{name}")
async def greet(name: str, node: NodeDep) -> str:
    return await node.send_and_receive("greeter", name, timeout=5)


class Greeter:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"Hello, {message}!")


async def main(node: Node) -> None:
    await node.start_worker("greeter", Greeter())
    await node.ready()  # the workers are there: requests are answered from now on

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/greet/Alice")
    print(answer.status_code, answer.json())


with socket.create_server(("127.0.0.1", 0)) as free:  # any port; a service would name one, such as 8000
    port = free.getsockname()[1]
Node.start(main, http_server=HttpServer(app, port=port))
print("the node has ended")

# prints:
#   200 Hello, Alice!
#   the node has ended
