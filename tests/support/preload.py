"""A server that imports and uses the app, and then forks: the shape of gunicorn with preload.

    python -m tests.support.preload <database> <children>

Each child triggers runs and waits for them, on connections and threads of its own, in sync and async code; the parent
goes on meanwhile, in several threads, and afterwards. Says ``fine`` if all is well.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback

from holdfast import Holdfast
from tests.support import jobs


def use(app: Holdfast, who: int) -> None:
    """Every way to the database: single and batch, sync and async, reading and waiting."""
    for n in range(5):
        assert jobs.leaf.trigger(who + n).result(timeout=30) == who + n
    assert jobs.leaf.batch_trigger(range(who, who + 20)).results(timeout=30).outputs() == list(range(who, who + 20))
    handle = jobs.leaf.trigger(who)
    assert handle.result(timeout=30) == who
    assert handle.retrieve().status == "completed"

    async def later() -> None:
        assert await (await jobs.leaf.atrigger(who)).aresult(timeout=30) == who

    asyncio.run(later())


def child(app: Holdfast, number: int) -> None:
    """One forked process. Half of them end in order, as gunicorn's workers do, the others at once."""
    code = 1
    try:
        use(app, 1000 * number)
        names = {thread.name for thread in threading.enumerate()}
        assert names, names
        app.close()
        gc.collect()
        code = 0
    except BaseException:
        traceback.print_exc()
    if number % 2 or code:
        os._exit(code)
    sys.exit(0)


def main() -> None:
    database, count = sys.argv[1], int(sys.argv[2])
    app = jobs.app
    app.settings.use_flags(database=database)
    use(app, 0)
    stopping, errors = threading.Event(), []

    def keep_using(who: int) -> None:
        while not stopping.is_set():
            try:
                assert jobs.leaf.trigger(who).result(timeout=30) == who
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=keep_using, args=(-who,)) for who in range(1, 4)]
    for thread in threads:
        thread.start()
    children = []
    for number in range(1, count + 1):
        pid = os.fork()
        if pid == 0:
            child(app, number)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    stopping.set()
    for thread in threads:
        thread.join()
    assert codes == [0] * count, codes
    assert errors == [], errors
    use(app, 5000)
    app.close()
    print("fine")


if __name__ == "__main__":
    main()
