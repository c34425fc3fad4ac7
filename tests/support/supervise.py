"""A supervisor in a process of its own, as ``holdfast worker`` has one: its orders are the first argument, as JSON.

It says ``ready <pid> <worker>`` for each worker process, on its standard output.
"""

from __future__ import annotations

import json
import logging
import sys

from holdfast import storage
from holdfast.child import Orders
from holdfast.worker import supervisor as module
from holdfast.worker.supervisor import Child, Supervisor


def ready(child: Child) -> None:
    print("ready", child.pid, child.worker, flush=True)


def main() -> int:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    said = json.loads(sys.argv[1])
    count = said.pop("processes")
    module.DEAF_SECONDS = said.pop("deaf", module.DEAF_SECONDS)
    return Supervisor(storage.open(said["database"]), Orders(**said), count=count, ready=ready).run()


if __name__ == "__main__":
    sys.exit(main())
