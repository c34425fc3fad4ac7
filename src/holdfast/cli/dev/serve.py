"""The HTTP side of ``holdfast dev``: a socket that is bound before anything else starts, and uvicorn in a thread."""

from __future__ import annotations

import contextlib
import errno
import gc
import ipaddress
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import HoldfastError

if TYPE_CHECKING:
    import uvicorn


UNTAKEN_MS: Final = 60_000


class PortInUse(HoldfastError):
    """Somebody else listens on this port."""


def listen(host: str, port: int, backlog: int = 2_048) -> socket.socket:
    """A socket that listens there; port 0 takes any that is free.

    Raises:
        PortInUse
    """
    family, kind, protocol, _, address = resolved(host, port)
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # who takes nothing of what is sent is gone
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNTAKEN_MS)
    try:
        listening.bind(address)
        listening.listen(backlog)
    except OSError as error:
        listening.close()
        what = "is in use" if error.errno == errno.EADDRINUSE else "cannot be used"
        do = f"Free it, or take another: --port {port + 1}"
        raise PortInUse(f"Port {port} {what}", seen=f"{host}: {error.strerror}", do=do) from error
    return listening


def resolved(host: str, port: int) -> tuple[Any, ...]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise PortInUse(
            "There is no such host", seen=f"{host}: {error.strerror}", do="Write --host 127.0.0.1, or leave it out."
        ) from error


def url_of(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def url_from_here(listening: socket.socket) -> str:
    """Where programs of this machine find it, whichever addresses it listens on."""
    every = {"http://0.0.0.0:": "http://127.0.0.1:", "http://[::]:": "http://[::1]:"}
    url = url_of(listening)
    return next((url.replace(one, other) for one, other in every.items() if url.startswith(one)), url)


def is_loopback(listening: socket.socket) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


class Server:
    """Serves an ASGI app on a socket, in a thread."""

    def __init__(self, app: Any, listening: socket.socket) -> None:
        self.app, self.listening = app, listening
        self.stopping = False
        self.server: uvicorn.Server | None = None
        self.hub: Any = None
        self.thread = threading.Thread(target=self.work, name="holdfast-http", daemon=True)
        self.thread.start()

    def work(self) -> None:
        import uvicorn

        from holdfast.api.connections import SECONDS, hasty

        made = self.app()
        self.hub = getattr(getattr(made, "state", None), "hub", None)
        config = uvicorn.Config(
            made,
            http=hasty(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=int(SECONDS),
            timeout_graceful_shutdown=2,
        )
        self.server = uvicorn.Server(config)
        gc.collect()
        gc.freeze()  # what was imported lives for good: a collection that looks at it makes a page late
        if not self.stopping:
            self.server.run(sockets=[self.listening])

    def stop(self) -> None:
        self.stopping = True
        if self.server is not None:
            self.server.should_exit = True
        if self.hub is not None:
            self.hub.close()  # those who follow something would keep it open
        self.thread.join(5)
        with contextlib.suppress(OSError):
            self.listening.close()
