"""The main thread of a process that has one run: code has it, so that SIGTERM can raise there."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import FrameType
from typing import Any

from holdfast.worker.isolated.wire import Wire


class MainThread(Executor):
    """Calls functions in the main thread, where a signal can raise in them."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        wire.written = self.hear  # what is written is written whole: half a message would spoil all that come after it
        self.orders: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self.in_code = self.stopping = self.stopped = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.orders.put((lambda: fn(*args, **kwargs), future))
        return future

    def run(self) -> None:
        while (order := self.orders.get()) is not None:
            fn, future = order
            try:
                value = self.call(fn)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(value)

    def call(self, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            self.in_code = True
            self.hear()
            return fn(*args)
        finally:
            self.in_code = False

    def stop(self) -> None:
        """Raise in the code that runs."""
        self.stopping = True
        os.kill(os.getpid(), signal.SIGTERM)

    def hear(self) -> None:
        """The code hears of it once: its ``finally`` should not be interrupted again."""
        if self.stopping and self.in_code and not self.stopped and self.is_free():
            self.stopped = True
            raise asyncio.CancelledError

    def is_free(self) -> bool:
        main = threading.main_thread().ident
        return threading.get_ident() == main != self.wire.writer

    def signalled(self, number: int, frame: FrameType | None) -> None:
        self.hear()
