"""A wire to PostgreSQL that can be cut: what a network does to a connection at the worst moment.

    Proxy(url).url    where to connect instead
    lose_answer()     what is sent next reaches the server and is carried out; its answer is lost with the wire
    cut()             every wire is cut now; new ones can be made
    down()            … and no new ones, until up()

Every connection is two threads that carry bytes; nothing here knows the protocol.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from psycopg.conninfo import conninfo_to_dict


class Proxy:
    """Relays TCP connections on the loopback to the server of ``url``, which may be a Unix socket."""

    def __init__(self, url: str) -> None:
        parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
        self.host, self.port = parts.pop("host", "localhost"), int(parts.pop("port", 5432))
        self.listener = socket.create_server(("127.0.0.1", 0))
        user, database = quote(parts.pop("user", "")), quote(parts.pop("dbname", ""))
        password = parts.pop("password", "")
        plain = {"sslmode": "disable", "gssencmode": "disable"}
        secret = f":{quote(password)}" if password else ""
        address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.url = f"postgresql://{user}{secret}@{address}/{database}?{urlencode(parts | plain)}"
        self.wires: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.losing = self.refusing = False
        threading.Thread(target=self.accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self.listener.close()

    # what may happen

    def lose_answer(self) -> None:
        self.losing = True

    def cut(self) -> None:
        with self.lock:
            wires, self.wires = self.wires, set()
        for wire in wires:
            with contextlib.suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def down(self) -> None:
        self.refusing = True
        self.cut()

    def up(self) -> None:
        self.refusing = False

    # relaying

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.refusing:
                    client.close()
                    continue
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                server = self.connect()
                with self.lock:
                    self.wires |= {client, server}
                threading.Thread(target=self.relay, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self.relay, args=(server, client, True), daemon=True).start()

    def connect(self) -> socket.socket:
        if self.host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(Path(self.host) / f".s.PGSQL.{self.port}"))
            return server
        return socket.create_connection((self.host, self.port))

    def relay(self, source: socket.socket, sink: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if from_server and self.losing:
                    self.losing = False
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            with self.lock:
                self.wires.discard(end)
