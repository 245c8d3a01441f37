"""Lets the runners of the zone count the words of a poem."""

from autonomy import Context, Node, Zone, gather, info

POEM = """\
Humpty Dumpty sat on a wall
Humpty Dumpty had a great fall
All the king's horses and all the king's men
Couldn't put Humpty together again"""


class Counter:
    """Counts the words of what it is told."""

    async def handle_message(self, context: Context, message: str) -> None:
        count = len(message.split())
        info(f"{context.node.short_name} counts {count} words")
        await context.reply(str(count))


async def main(node: Node) -> None:
    runners = await Zone.nodes(node, filter="runner")
    for number, runner in enumerate(runners):
        await runner.start_worker(f"counter-{number}", Counter(), on_conflict="replace")

    lines = POEM.splitlines()
    asked = [node.send_and_receive(f"counter-{i % len(runners)}", line, timeout=10) for i, line in enumerate(lines)]
    counts = await gather(*asked)
    info(f"{len(runners)} runners have counted {sum(map(int, counts))} words")


Node.start(main)
