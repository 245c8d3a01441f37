"""How programs and workers send: the two hottest paths of the library, `send_message` and `send_and_receive`.

Written out on purpose, so that a message costs one call on its way to the queue. What is not needed every time lies in
`router.py`; what is not sending, in `system.py`. `Node` inherits these calls, so that they cost it nothing.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

import trio
from trio.lowlevel import Task, checkpoint_if_cancelled, current_task

from .._mixed.worlds import check_world, pause
from .._sansio.address import check_name, parse_address
from .._sansio.border import check_delay, check_message, check_period, check_seconds
from .._sansio.envelope import MESSAGE, REPLY, REQUEST, Envelope, Failure
from ..abc import FarMailbox, Timer, Watch
from ..errors import DeadlineExceeded, DirectoryUnavailable, NodeDown, NoReply, Unreachable, WorkerNotFound
from .gathering import gather
from .mailbox import Mailbox
from .process import current_process
from .queue import Queue
from .replies import Slot
from .runtime import SLICE, Runtime
from .system import ActorSystem

_NOBODY: tuple[str, ...] = ()
_LATE = Failure("DeadlineExceeded", "the worker has begun to handle the message, and may yet end", "maybe_handled")
_NOT_ANSWERED = Failure("DeadlineExceeded", "it was sent, and may be handled yet", "maybe_handled")
_NOT_TAKEN = Failure("DeadlineExceeded", "the worker did not come to the message, which is withdrawn", "not_sent")


class Calls:
    """What a node is called for to send: messages, requests, conversations, timers; and to see who is gone.

    Args:
        runtime: What the workers of the node share.
        system: The actors of the node. Whoever ends them calls `_take_the_long_way` before.
    """

    def __init__(self, runtime: Runtime, system: ActorSystem) -> None:
        self._runtime = runtime
        self._system = system
        self._router = system.router
        self._queues = system.registry.queues
        self._replies = runtime.replies
        self._clock = runtime.clock
        self._slice_clock = runtime.slice_clock
        self._slice_ends = 0.0
        self._max_message_bytes = runtime.max_message_bytes
        self._default_timeout = runtime.default_timeout
        self._turns: dict[str, int] = {}

    def _take_the_long_way(self) -> None:
        """Find no worker at once from here on: the router is asked each time, which knows whom to refuse."""
        self._queues = {}

    # --- messages

    async def send_message(
        self,
        address: str,
        message: str,
        node: str | None = None,
        policy: object = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Send a message that wants no reply.

        Returns once the message is in the worker's mailbox; waits for that while the mailbox is full. To a worker on
        another node it returns once a place there is reserved and the message is on its way; if the node is lost before
        it arrives, it becomes a dead letter here. Messages of one sender to one worker are handled in the order in
        which they were sent.

        Args:
            address: ``"name"``, which is a worker of this node, or else the one worker of that name in the zone; or
                ``"name@node"``.
            message: At most `max_message_bytes` (16 MiB) once encoded.
            node: Full name of the one node to look on, or the node itself.
            policy: Accepted for older programs; has no effect.
            timeout: Seconds to wait for room, and for a link; None for the node's default (30 s).

        Raises:
            TypeError: The message is not a str, or another value is of the wrong type.
            ValueError: The message is too large or cannot be encoded, or the address is none.
            WorkerNotFound: Nobody has that name, and no node of the zone is starting that might.
            AmbiguousWorker: Several nodes of the zone have a worker of that name, and this one has none.
            DirectoryUnavailable: The name was not looked up before, and the zone's directory does not answer.
            MailboxFull: No room came in time, or the full mailbox is the sender's own.
            NodeDown: The node is stopping, or the other node is down.
            Unreachable: The other node is not known here, or there was no link to it in time.
            NotAllowed: The other node does not let this one send to that worker.

        In each of these cases the message was not sent. Cancelled, it was not sent either. Always a cancellation
        point; a schedule point only when it must wait, or when this node's senders have used up about a millisecond.
        """
        if type(message) is not str or not message.isascii() or len(message) > self._max_message_bytes:
            message = check_message(message, self._max_message_bytes)
        if self._slice_clock() < self._slice_ends:
            try:
                await checkpoint_if_cancelled()
            except RuntimeError:  # an asyncio task, which is cancelled where it waits
                check_world()
        else:  # before the message is sent, so that a cancelled call has not sent it
            await pause()
            self._slice_ends = self._slice_clock() + SLICE
        try:
            queue = self._queues[address]
        except (KeyError, TypeError):  # not a plain name of this node, or no name at all
            queue = None
        if queue is None or node is not None or policy is not None or timeout is not None:
            if node is None and timeout is None and policy is None and self._router.send_far(address, message):
                return
            self._runtime.warn_of_legacy(policy=policy)
            seconds = self._default_timeout if timeout is None else check_seconds(timeout, "timeout")
            await self._router.send(address, message, node, seconds)
            return
        sender = current_process.get()
        envelope = (
            Envelope(MESSAGE, address, message)
            if sender is None
            else Envelope(MESSAGE, address, message, 0, sender.address)
        )
        try:  # queue.put_nowait(envelope), written out: this is the hottest line of the library
            queue.append(envelope)
            queue.queued += 1
            if queue.parked is not None:
                queue.wake()
        except trio.WouldBlock:
            await self._router.put_within(address, queue, envelope, self._default_timeout)

    def send_nowait(self, address: str, message: str) -> None:
        """Send a message to a worker of this node without waiting.

        Raises:
            MailboxFull: There is no room. The message was not sent.
            ValueError: The address is one of another node: sending there may always have to wait.
            TypeError, ValueError, WorkerNotFound, NodeDown: As `send_message`. The message was not sent.
        """
        self._router.send_nowait(address, check_message(message, self._max_message_bytes))

    async def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message and wait for the first reply to it.

        The reply is whatever the worker first passes to `Context.reply`; later ones are dropped and counted.

        Args:
            address: ``"name"``, or ``"name@node"``.
            message: At most `max_message_bytes` (16 MiB) once encoded.
            node: Full name of the one node to ask, or the node itself.
            policy: Accepted for older programs; has no effect.
            timeout: Seconds on Trio's clock, at most what is left of the request being handled; None for the node's
                default (30 s).

        Raises:
            TypeError, ValueError: As `send_message`, or the timeout is NaN. It was not sent.
            WorkerNotFound, AmbiguousWorker, DirectoryUnavailable, Unreachable: As `send_message`. It was not sent.
            CallCycle: That worker waits for the request being handled here. The message was not sent.
            MailboxFull, NotAllowed: As `send_message`. The message was not handled.
            WorkerFailed: The worker raised, or returned without replying; see ``remote_traceback``.
            WorkerStopped: The worker ended first. ``outcome`` says whether the message may have been handled.
            DeadlineExceeded: `timeout` passed. If ``outcome`` is ``"not_sent"`` it is not handled; else it may yet be.
            NodeDown: This node is stopping, or stopped meanwhile; or the other one is down. See ``outcome``.

        The text of every one that is a `NoReply` contains "timeout". Cancelling withdraws the message if it is still
        queued, and drops the reply otherwise.

        Source: Erlang ``gen_server:call/3``, without the late replies it can leave in the caller's mailbox.
        """
        if type(message) is not str or not message.isascii() or len(message) > self._max_message_bytes:
            message = check_message(message, self._max_message_bytes)
        started = self._clock()
        seconds = self._default_timeout if timeout is None else check_seconds(timeout, "timeout")
        deadline = started + seconds
        asked, sender, chain = address, "", _NOBODY
        queue: Queue | FarMailbox | None = None
        try:
            waiter: Task | None = current_task()
        except RuntimeError:
            check_world()
            waiter = None  # an asyncio task
        try:
            try:
                queue = self._queues[address]
            except (KeyError, TypeError):
                queue = None
            if queue is None or node is not None or policy is not None:
                self._runtime.warn_of_legacy(policy=policy)
                address, queue = await self._router.find_anywhere(address, node, deadline)
            if current_process.get() is not None:
                sender, chain, deadline = self._router.inherited(deadline)
                self._router.check_cycle(address, chain, queue)
            if deadline <= started:
                raise DeadlineExceeded("no time was left, and it was not sent", outcome="not_sent")
            slot = self._replies.open(deadline)
            envelope = Envelope(REQUEST, address, message, slot.id, sender, deadline, chain)
            try:
                try:
                    queue.put_nowait(envelope)
                except trio.WouldBlock:
                    await self._router.put_within(address, queue, envelope, deadline - self._clock())
                if not slot.resolved:
                    await slot.wait(waiter)
            except BaseException:
                slot.withdraw()
                raise
        except NoReply as why:
            await pause()
            if await self._is_elsewhere(asked, node, queue, deadline, Failure(type(why).__name__, "", why.outcome)):
                return await self.send_and_receive(asked, message, node, None, deadline - self._clock())
            raise self._router.no_reply(parse_address(address)[0], seconds, started, why) from None
        answer = slot.answer
        if answer is not None and answer.kind == REPLY:
            return answer.body
        if answer is None or answer.failure is None:
            raise self._router.no_reply(address, deadline - started, started, _late(slot, queue), queue)
        if await self._is_elsewhere(asked, node, queue, deadline, answer.failure):
            return await self.send_and_receive(asked, message, node, None, deadline - self._clock())
        raise self._router.no_reply(address, seconds, started, answer.failure, queue)

    async def _is_elsewhere(
        self, address: str, node: object, refused: Queue | FarMailbox | None, deadline: float, why: Failure
    ) -> bool:
        """Whether a worker that a node did not have is on another one, or is there now."""
        if why.kind != "WorkerNotFound" or why.outcome != "not_sent":  # or it was handled, and handed on in vain
            return False
        if refused is None or isinstance(refused, Queue):
            return False
        try:
            return await self._router.look_again(address, node, refused, deadline)
        except NoReply:
            return False

    async def send(self, address: str, message: str, node: str | None = None, policy: object = None) -> Mailbox:
        """Send a message and return the mailbox that its replies go to, one or many.

        Waits and raises as `send_message` does. The mailbox is yours to close, with ``async with``; a forgotten one is
        freed.
        """
        self._runtime.warn_of_legacy(policy=policy)
        return await self._system.mailboxes.converse(address, message, node)

    async def create_mailbox(self, name: str | None = None, policy: object = None) -> Mailbox:
        """Open a mailbox that workers can send messages to, under `name` or under a new one.

        Raises:
            WorkerExists: The name is taken.
            TypeError, ValueError: It is no name.
        """
        self._runtime.warn_of_legacy(policy=policy)
        await pause()
        return self._system.mailboxes.open(name)

    async def any(self, name: str, message: str, *, timeout: float | None = None) -> str:
        """Ask one owner of a name, each time the next one; errors as `send_and_receive`.

        An owner that is down, or cannot be reached, is passed over, and the next one asked, if it surely did not get
        the message.
        """
        owners, seconds, started = await self._owners(name, timeout)
        failures: dict[str, NoReply] = {}
        while True:
            turn = self._turns[name] = (self._turns.get(name, -1) + 1) % len(owners)
            is_in_doubt = False
            for node in (*owners[turn:], *owners[:turn]):
                try:
                    return await self.send_and_receive(name, message, node, timeout=seconds - (self._clock() - started))
                except (NodeDown, Unreachable, WorkerNotFound) as why:
                    if why.outcome != "not_sent":
                        raise
                    failures[node] = why
                if isinstance(failures[node], WorkerNotFound):
                    is_in_doubt = True
                    self._router.doubt(name, node)
            known = (await self._owners(name, seconds - (self._clock() - started)))[0] if is_in_doubt else ()
            last = failures[owners[turn - 1]]
            owners = tuple(node for node in known if node not in failures)
            if not owners:
                raise last

    async def all(self, name: str, message: str, *, timeout: float | None = None) -> dict[str, str | NoReply]:
        """Ask every owner of a name at once, and return what each answered, by full name of its node.

        A node that gave no reply is there with its error. Only `WorkerNotFound`, when nobody has the name, is raised;
        and `DirectoryUnavailable`, when that is not known.
        """
        owners, seconds, started = await self._owners(name, timeout)
        answers = await self._ask_each(owners, name, message, seconds - (self._clock() - started))
        refused = [node for node, answer in answers.items() if isinstance(answer, WorkerNotFound)]
        if not refused:
            return answers
        for node in refused:
            self._router.doubt(name, node)
        try:
            owners, _, _ = await self._owners(name, seconds - (self._clock() - started))
        except (NoReply, DirectoryUnavailable):
            if len(refused) == len(answers):
                raise
        for node in refused:
            if node not in owners:
                del answers[node]
        unasked = tuple(node for node in owners if node not in answers)
        answers |= await self._ask_each(unasked, name, message, seconds - (self._clock() - started))
        return dict(sorted(answers.items()))

    async def _ask_each(
        self, nodes: tuple[str, ...], name: str, message: str, seconds: float
    ) -> dict[str, str | NoReply]:
        answers: dict[str, str | NoReply] = dict.fromkeys(nodes, "")

        async def ask(node: str) -> None:
            try:
                answers[node] = await self.send_and_receive(name, message, node, timeout=seconds)
            except NoReply as error:
                answers[node] = error

        await gather(*(ask(node) for node in nodes))
        return answers

    async def _owners(self, name: str, timeout: float | None) -> tuple[tuple[str, ...], float, float]:
        """Return the nodes that own a name, how many seconds there are, and since when."""
        check_name(name)
        started = self._clock()
        seconds = self._default_timeout if timeout is None else check_seconds(timeout, "timeout")
        try:
            owners = await self._router.owners(name, self._router.inherited(started + seconds)[2])
        except NoReply as why:
            raise self._router.no_reply(name, seconds, started, why) from None
        return owners, seconds, started

    # --- later

    def send_after(self, delay: float, address: str, message: str) -> Timer:
        """Send a message in `delay` seconds.

        A timer ends with the worker that started it, and with the node; before it is due it has sent nothing, so no
        message is lost then. A message that cannot be delivered becomes a dead letter; one for a full mailbox waits for
        room, as with `send_message`, and holds up no other timer.

        Raises:
            TypeError, ValueError: A value that cannot be. Nothing will be sent.
            NodeDown: The node is stopping.
        """
        return self._system.start_timer(check_delay(delay, "delay"), None, address, message, current_process.get())

    def send_every(self, period: float, address: str, message: str) -> Timer:
        """Send a message every `period` seconds, the first one in `period` seconds, until the timer is cancelled.

        Rounds keep to their times whatever a handler takes; those that come due while the last message still waits for
        room are left out. Otherwise as `send_after`.
        """
        seconds = check_period(period)
        return self._system.start_timer(seconds, seconds, address, message, current_process.get())

    # --- ends

    def watch(self, address: str) -> AbstractAsyncContextManager[Watch]:
        """Look out for the end of a worker or group.

        ``async with node.watch("x") as watch:`` begins the watch, ``await watch.down()`` returns one `Down` when it is
        gone for good, and at once if there is no such worker. Restarts do not count. A worker on another node is gone
        when its node is down, too; one on a node that is not known here raises `Unreachable`.

        Source: Erlang ``monitor/2``.
        """
        return self._system.watch(address)


def _late(slot: Slot, target: Queue | FarMailbox) -> Failure:
    """Return what is known of a request whose time is up."""
    if slot.taken:
        return _LATE
    return _NOT_TAKEN if isinstance(target, Queue) else _NOT_ANSWERED
