"""Ask a hundred workers, ten at a time; the answers come in the order of the arguments."""

import trio

from autonomy import Context, Node, WorkerFailed, gather


class Square:
    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(0.001)
        await context.reply(str(int(message) ** 2))


async def main(node: Node) -> None:
    for number in range(100):
        await node.start_worker(f"square-{number}", Square())
    asking = most = 0

    async def ask(number: int) -> int:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        answer = await node.send_and_receive(f"square-{number}", str(number), timeout=10)
        asking -= 1
        return int(answer)

    answers = await gather(*(ask(number) for number in range(100)), batch_size=10)
    print("the first five are", answers[:5])
    print("their sum is", sum(answers))
    print("at most", most, "at a time")

    try:
        await gather(ask(1), node.send_and_receive("square-2", "two", timeout=10))
    except WorkerFailed as error:  # the first failure cancels the others, and comes out bare
        print("square-2 failed:", error.remote_message)


Node.start(main)

# prints:
#   the first five are [0, 1, 4, 9, 16]
#   their sum is 328350
#   at most 10 at a time
#   square-2 failed: invalid literal for int() with base 10: 'two'
