"""On one machine: a node with an oven that others may use: `python kitchen.py zone/kitchen wss://0.0.0.0:7400`."""

import sys

import trio

from autonomy import Context, Node, error
from autonomy.errors import IdentityError
from autonomy.identity import Credentials

folder, address = sys.argv[1:]
credentials = Credentials.load(folder)


class Oven:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{message}, baked for {context.sender}")


class Till:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply("here you are")


async def main(node: Node) -> None:
    await node.start_worker("oven", Oven())
    await node.start_worker("till", Till(), allow=["office", "shop-*"])
    print("the kitchen listens at", node.address)
    while True:  # certificates end after a day: look every ten minutes for new ones
        await trio.sleep(600)
        try:
            credentials.reload(folder)
        except (IdentityError, OSError) as problem:
            error("no new credentials", problem=problem)


Node.start(main, credentials=credentials, listen=address)
