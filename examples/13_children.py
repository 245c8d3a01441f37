"""Workers start workers: children stop before their parent does."""

from autonomy import Context, Node


class Part:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{context.name} did {message}")

    async def on_stop(self, context: Context) -> None:
        print("stopped", context.name)


class Team:
    """Starts a child for each name it has not seen, and forwards the rest of the message to it."""

    def __init__(self) -> None:
        self.members: set[str] = set()

    async def handle_message(self, context: Context, message: str) -> None:
        member = f"{context.name}-{message}"
        if member not in self.members:
            await context.start_worker(member, Part())
            self.members.add(member)
        await context.forward(member)

    async def on_stop(self, context: Context) -> None:
        print("stopped", context.name)


async def main(node: Node) -> None:
    await node.start_worker("team", Team())
    for job in ("wash", "dry", "wash"):
        print(await node.send_and_receive("team", job, timeout=10))
    print("workers:", ", ".join(str(worker) for worker in await node.list_workers()))

    await node.stop_worker("team")
    print(len(await node.list_workers()), "workers left")


Node.start(main)

# prints:
#   team-wash did wash
#   team-dry did dry
#   team-wash did wash
#   workers: team, team-dry, team-wash
#   stopped team-dry
#   stopped team-wash
#   stopped team
#   0 workers left
