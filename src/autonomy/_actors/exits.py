"""Which exception comes out when several things end at once.

A cancellation is Trio's, and nobody's failure. Of the rest, what is no `Exception` goes before what is one, for nothing
of that kind is swallowed (L5); otherwise the first counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import trio


def apart(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return what of an exception is a cancellation, and what is not; None for either if there is nothing of it."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)
    return (error, None) if isinstance(error, trio.Cancelled) else (None, error)


class CancelledError(Exception):
    """An asyncio task or future that a worker awaited was cancelled, and the worker did not expect that.

    In asyncio that is no `Exception`, because it may be the awaiting task that is cancelled. Here that would be Trio's.
    """


def as_failure(error: BaseException | None) -> Exception | None:
    """Return what an exception is as a failure of a worker's own code; None if it is a cancellation, or an exit."""
    if error is None or isinstance(error, Exception):
        return error
    cancelled, rest = apart(error)
    if cancelled is not None or rest is None:
        return None
    if isinstance(rest, BaseExceptionGroup):
        _, exits = rest.split((Exception, asyncio.CancelledError))
        if exits is not None:
            return None
    elif not isinstance(rest, asyncio.CancelledError):
        return None
    failure = CancelledError(str(error) or "what it awaited in asyncio was cancelled")
    if isinstance(error, BaseExceptionGroup):
        failure.__cause__ = error
    return failure.with_traceback(error.__traceback__)


@contextmanager
def one_comes_out(others: Sequence[BaseException]) -> Generator[None]:
    """Let one exception out of the block, bare: the block's own, or one of `others`, which came up beside it.

    The first that nobody may swallow comes out; if all may be swallowed, the block's own, else the first of the others.
    """
    try:
        yield
    except BaseException as error:  # noqa: BLE001  # it is raised, or is the context of what is
        raise _first_of([error, *others])  # noqa: B904  # it may be `error` itself
    if others:
        raise _first_of(others)


def _first_of(errors: Sequence[BaseException]) -> BaseException:
    rests = [(error, apart(error)[1]) for error in errors]
    exits = [error for error, rest in rests if rest is not None and not isinstance(rest, Exception)]
    return (exits or errors)[0]
