"""User code that awaits asyncio things while Trio runs, and asyncio tasks that await ours.

Two worlds share a thread here. In Trio's world a driver steps the user's coroutine and waits for the asyncio futures
that it yields; in asyncio's world, tasks are stepped by a stock loop, which Trio pumps or which hosts Trio. Whoever
wants to know which world steps it asks `worlds`. Read `driver` first, then `pumped_loop`.

Sources: the way of `greenback` and `trio-asyncio` to step coroutines, without their patches; Trio's guest mode.
"""
