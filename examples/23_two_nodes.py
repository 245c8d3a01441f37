"""Two nodes of one zone: linked by mutual TLS, their workers reached by name. Here both live in one process."""

import tempfile
from pathlib import Path

import trio

from autonomy import Context, NodeDown, WorkerFailed, open_node
from autonomy.identity import ZoneAuthority


class Oven:
    async def handle_message(self, context: Context, message: str) -> None:
        if message == "stones":
            raise ValueError("stones cannot be baked")
        await context.reply(f"{message}, baked for {context.sender}")


class Baker:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(await context.send_and_receive("oven@kitchen", message))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        authority = ZoneAuthority.create(Path(folder) / "authority", "bakery.example")
        kitchen_credentials, shop_credentials = authority.credentials("kitchen"), authority.credentials("shop")

    async with open_node(credentials=shop_credentials) as shop:
        async with open_node(credentials=kitchen_credentials, listen="wss://127.0.0.1:0") as kitchen:
            await kitchen.start_worker("oven", Oven())
            await shop.start_worker("baker", Baker())

            assert kitchen.address is not None  # it listens
            far = await shop.connect(kitchen.address)  # once; from then on names are enough
            print(far.name, await far.identifier())
            print(await shop.send_and_receive("baker", "bread"))
            try:
                await shop.send_and_receive("oven@kitchen", "stones")
            except WorkerFailed as error:
                print(error.remote_type, "on", error.node)

        try:
            await shop.send_and_receive("oven@kitchen", "bread", timeout=5)
        except NodeDown as error:
            print("the kitchen is closed:", error.outcome)


trio.run(main)

# prints:
#   kitchen spiffe://bakery.example/node/kitchen
#   bread, baked for baker@shop
#   ValueError on kitchen
#   the kitchen is closed: not_sent
