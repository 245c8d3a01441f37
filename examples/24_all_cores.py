"""Workers in four processes: each computes on a core of its own."""

import trio

from autonomy import ThreadContext, Zone, gather, open_local_zone


class Primes:
    """Counts the primes below a number, the slow way."""

    def handle_message(self, context: ThreadContext, message: str) -> None:
        primes = [n for n in range(2, int(message)) if all(n % d for d in range(2, int(n**0.5) + 1))]
        context.reply(str(len(primes)))


async def main() -> None:
    async with open_local_zone({"runner": 4}) as zone:
        runners = await Zone.nodes(zone.node, "runner")
        for number, runner in enumerate(runners):
            await runner.start_worker(f"primes-{number}", Primes())

        asked = [zone.node.send_and_receive(f"primes-{i}", str(10_000 * (i + 1)), timeout=60) for i in range(4)]
        for runner, answer in zip(runners, await gather(*asked), strict=True):
            print(f"{runner.short_name}: {answer} primes")


if __name__ == "__main__":
    trio.run(main)

# prints:
#   runner-0: 1229 primes
#   runner-1: 2262 primes
#   runner-2: 3245 primes
#   runner-3: 4203 primes
