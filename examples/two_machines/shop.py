"""On another machine: a node that sends bread to the oven: `python shop.py zone/shop wss://kitchen.example:7400`."""

import sys

import trio

from autonomy import Node, NoReply
from autonomy.identity import Credentials

folder, address = sys.argv[1:]


async def main(node: Node) -> None:
    kitchen = await node.connect(address, timeout=60)
    print("linked to", await kitchen.identifier())
    try:
        await kitchen.send_and_receive("till", "10 coins")
    except NoReply as error:
        print(type(error).__name__, error.outcome)
    for number in range(1, 1000):
        try:
            print(await node.send_and_receive("oven@kitchen", f"bread {number}", timeout=20))
        except NoReply as error:
            print(f"bread {number}:", type(error).__name__, error.outcome)
        await trio.sleep(1)


Node.start(main, credentials=Credentials.load(folder), wait_until_interrupted=False)
