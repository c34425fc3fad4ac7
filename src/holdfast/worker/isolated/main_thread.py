"""The main thread of a process that has one run: code has it, so that SIGTERM can raise there."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future
from types import FrameType
from typing import Any


class MainThread(Executor):
    """Calls functions in the main thread, where a signal can raise in them."""

    def __init__(self) -> None:
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
        if self.stopping and self.in_code and not self.stopped:
            self.stopped = True
            raise asyncio.CancelledError

    def signalled(self, number: int, frame: FrameType | None) -> None:
        self.hear()
