"""Notices a handler that computes without awaiting, and logs where it is.

A thread asks Trio for a sign of life while workers are busy, and sleeps for good while none is. No sign within the time
allowed, and a handler on the stack: that stack is logged, once for each time it happens.
"""

from __future__ import annotations

import sys
import threading
import traceback
from types import CodeType, FrameType

import trio

from .. import logs

_log = logs.get_logger("node")


class Watchdog:
    """Watches over one Trio thread.

    Args:
        patience: Seconds that a handler may hold the node; None for no watchdog, and no thread.

    Attributes:
        busy: How many workers are not waiting for messages; they count themselves.
        turns: How often a worker let others run between two messages.
        asleep: Whether somebody must `wake` it because there is something to watch.
    """

    def __init__(self, patience: float | None) -> None:
        self._patience = patience
        self._token = trio.lowlevel.current_trio_token()
        self._watched = threading.get_ident()
        self._work = threading.Event()
        self._alive = threading.Event()
        self._thread: threading.Thread | None = None
        self._code: CodeType | None = None
        self._closed = False
        self.busy = 0
        self.turns = 0
        self.asleep = patience is not None

    def wake(self, code: CodeType) -> None:
        """Begin to watch. A frame that runs right above one of `code` is a handler's."""
        self.asleep = False
        self._code = code
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="autonomy watchdog", daemon=True)
            self._thread.start()
        self._work.set()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._work.set()
        self._alive.set()

    def _watch(self) -> None:
        assert self._patience is not None
        while not self._closed:
            if not self.busy:
                self._work.clear()
                self.asleep = True
                if not self.busy:  # nobody came between the two lines
                    self._work.wait()
                self.asleep = False
            self._alive.clear()
            turns = self.turns
            try:
                self._token.run_sync_soon(self._alive.set)
            except trio.RunFinishedError:
                return
            if not self._alive.wait(self._patience):
                if turns == self.turns:
                    self._report()
                while turns == self.turns and not self._alive.wait(self._patience / 4):
                    pass
            elif not self._closed:
                self._alive.clear()
                self._alive.wait(self._patience / 4)  # a pause: nobody sets it but close()

    def _report(self) -> None:
        frame = sys._current_frames().get(self._watched)
        name = self._handling(frame)
        if name is not None:
            stack = "".join(traceback.format_stack(frame)[-12:])
            _log.stack("handler holds the node without awaiting", stack, worker=name, seconds=self._patience)

    def _handling(self, frame: FrameType | None) -> str | None:
        """Return the address of the worker whose handler is on the stack.

        It is read from the frame that awaits the hot loop, which knows the worker and nothing else. Before Python 3.13
        whoever asks a frame for its locals leaves a copy of them with it: the loop's own would hold its message.
        """
        inner: FrameType | None = None
        while frame is not None and frame.f_code is not self._code:
            inner, frame = frame, frame.f_back
        if frame is None or inner is None or inner.f_globals.get("__name__", "").startswith(("trio.", "autonomy.")):
            return None  # nobody's handler, or a worker that is about to wait
        life = frame.f_back
        return None if life is None else str(life.f_locals["self"].address)
