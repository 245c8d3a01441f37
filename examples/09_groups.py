"""Workers that are restarted together: one_for_all, rest_for_one."""

from contextlib import suppress

from autonomy import ChildSpec, Context, Node, WorkerFailed

events: list[str] = []


class Member:
    async def on_start(self, context: Context) -> None:
        events.append(f"+{context.name}")

    async def on_stop(self, context: Context) -> None:
        events.append(f"-{context.name}")

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "fail":
            raise ValueError("asked to fail")
        await context.reply("here")


def tell(what: str) -> None:
    print(what, "→", *events)
    events.clear()


async def fail(node: Node, name: str, *restarted_too: str) -> None:
    with suppress(WorkerFailed):
        await node.send_and_receive(name, "fail", timeout=5)
    for member in (name, *restarted_too):  # mailboxes are kept: this waits for the new lives, and they answer it
        await node.send_and_receive(member, "ping", timeout=5)


async def main(node: Node) -> None:
    children = [ChildSpec("database", Member), ChildSpec("cache", Member), ChildSpec("web", Member)]

    await node.start_group("shop", children, strategy="one_for_all")
    tell("start_group")
    await fail(node, "cache", "web")
    tell("one_for_all, cache fails")
    await node.stop_worker("shop")
    tell("stop_worker")

    await node.start_group("shop", children, strategy="rest_for_one")
    tell("start_group")
    await fail(node, "cache", "web")
    tell("rest_for_one, cache fails")


Node.start(main)

# prints:
#   start_group → +database +cache +web
#   one_for_all, cache fails → -cache -web -database +database +cache +web
#   stop_worker → -web -cache -database
#   start_group → +database +cache +web
#   rest_for_one, cache fails → -cache -web +cache +web
