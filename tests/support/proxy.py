"""A TCP proxy in front of PostgreSQL that can cut a connection at the worst moment: after the commit, before its
answer."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlencode

from psycopg.conninfo import conninfo_to_dict

COMMITTED = b"COMMIT\x00"  # the tag with which the server says that it is done


class Proxy:
    """Passes everything on; ``lose(text)`` makes it swallow the answer of the next transaction that says ``text``."""

    def __init__(self, url: str) -> None:
        self.parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.open: set[socket.socket] = set()
        self.text: bytes | None = None
        self.lost = threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The same database, through here."""
        parts = self.parts | {"host": "127.0.0.1", "port": str(self.listener.getsockname()[1])}
        return f"postgresql:///?{urlencode(parts)}"

    def lose(self, text: str) -> None:
        self.lost.clear()
        self.text = text.encode()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = self.connect()
                self.open.update((client, server))
                threading.Thread(target=self.ask, args=(client, server), daemon=True).start()
                threading.Thread(target=self.answer, args=(server, client), daemon=True).start()

    def connect(self) -> socket.socket:
        host, port = self.parts.get("host", "127.0.0.1"), self.parts.get("port", "5432")
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        local = socket.socket(socket.AF_UNIX)
        local.connect(f"{host}/.s.PGSQL.{port}")
        return local

    def ask(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        self.end(client, server)

    def answer(self, server: socket.socket, client: socket.socket) -> None:
        held = b""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if held or (self.text is not None and self.text in data):
                    held += data
                    if COMMITTED in held:
                        self.text = None
                        self.end(client, server)
                        self.lost.set()
                        return
                else:
                    client.sendall(data)
        self.end(client, server)

    def end(self, *ends: socket.socket) -> None:
        for each in ends:
            self.open.discard(each)
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        self.listener.close()
        self.end(*list(self.open))
