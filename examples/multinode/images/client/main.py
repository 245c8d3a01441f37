"""The client: finds the runner in the zone, and has a conversation with the worker there."""

from autonomy import Node, Zone, info

MESSAGES = ["Good morning", "How are you?", "Goodbye"]


async def main(node: Node) -> None:
    runners = await Zone.nodes(node, filter="runner")
    if not runners:
        raise RuntimeError("there is no runner in this zone")
    runner = runners[0]
    info(f"found {runner.short_name}")

    for message in MESSAGES:
        info(f"says {message!r}")
        answer = await runner.send_and_receive("greeter", message, timeout=10)
        info(f"is told {answer!r}")

    # No other node has a greeter, so its name alone will do.
    answer = await node.send_and_receive("greeter", "Me again", timeout=10)
    info(f"is told {answer!r}")


Node.start(main)
