"""Messages that are sent later, once or again and again, and timers that are cancelled."""

import trio

from autonomy import Context, Node, Timer


class Heart:
    """Sends itself a message ten times a second, and stops after three."""

    def __init__(self) -> None:
        self.beats = 0
        self.timer: Timer | None = None

    async def on_start(self, context: Context) -> None:
        self.timer = context.send_every(0.1, context.name, "beat")  # ends with this worker at the latest

    async def handle_message(self, context: Context, message: str) -> None:
        self.beats += 1
        print(message, self.beats)
        if self.beats == 3:
            context.stop()


class Printer:
    async def handle_message(self, context: Context, message: str) -> None:
        print(message)


async def main(node: Node) -> None:
    await node.start_worker("heart", Heart())
    async with node.watch("heart") as watch:
        print("heart gone,", (await watch.down()).reason)

    await node.start_worker("printer", Printer())
    node.send_after(0.1, "printer", "second")
    node.send_after(0.05, "printer", "first")
    never = node.send_after(0.15, "printer", "never")
    print("cancelled in time?", never.cancel(), never.cancel())
    await trio.sleep(0.3)


Node.start(main)

# prints:
#   beat 1
#   beat 2
#   beat 3
#   heart gone, stopped
#   cancelled in time? True False
#   first
#   second
