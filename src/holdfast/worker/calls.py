"""The operations of a ``def`` task: its thread waits for the event loop, and calls its steps itself."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as Canceled
from typing import Any

from holdfast.durable import in_step


class Calls:
    """Carries a call from an operation on the loop to the thread that waits for it, and back."""

    def __init__(self, call: Callable[[], Any] | None = None) -> None:
        self.call = call
        self.orders: queue.SimpleQueue[asyncio.Future[Any] | None] = queue.SimpleQueue()

    async def from_loop(self) -> Any:
        """Have the thread call what it is to call; what that returns, or raises."""
        answer: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()
        self.orders.put(answer)
        value, error = await answer
        if error is not None:
            raise error
        return value

    def wait_for(self, operation: Coroutine[Any, Any, Any], loop: asyncio.AbstractEventLoop) -> Any:
        """Wait in this thread for an operation on the loop, and call what it wants called."""
        future = asyncio.run_coroutine_threadsafe(operation, loop)
        future.add_done_callback(lambda _: self.orders.put(None))
        while (answer := self.orders.get()) is not None:
            loop.call_soon_threadsafe(settle, answer, self.called())
        try:
            return future.result()
        except Canceled:
            raise asyncio.CancelledError from None
        finally:
            del future  # an error in it has this frame, which has it

    def called(self) -> tuple[Any, BaseException | None]:
        token = in_step.set("step")
        try:
            return (None if self.call is None else self.call()), None
        except BaseException as error:
            return None, error
        finally:
            in_step.reset(token)


def settle(answer: asyncio.Future[Any], came: object) -> None:
    if not answer.done():
        answer.set_result(came)
