"""Which addresses may be reached: by the address that is connected to, whatever the URL calls it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from holdfast import InvalidOption
from holdfast.push import guard as module
from holdfast.push.deliver import Call, Sender
from holdfast.push.guard import AddressRefused, Guard, GuardedResolver
from holdfast.request import checked_headers, checked_url
from tests.push.receiver import Receiver

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "febf::1",
    "fc00::1",
    "fdff::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "2002:7f00:1::",
    "2002:0a00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2001:0:7f00:1::",
    "::127.0.0.1",
    "fe80::1%eth0",
    "64:ff9b:1::1",
    "100::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.15.0.1",
    "172.32.0.1",
    "2606:4700:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    assert Guard().objection(address) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_not(address: str) -> None:
    assert Guard().objection(address) is None


def test_an_operator_may_allow_more() -> None:
    guard = Guard.reading("127.0.0.1/32, 10.1.0.0/16,fd00::/8")
    for address in ("127.0.0.1", "10.1.2.3", "fd00::1", "::ffff:127.0.0.1"):
        assert guard.objection(address) is None
    for address in ("127.0.0.2", "10.2.0.1", "::1", "169.254.169.254"):
        assert guard.objection(address) is not None
    with pytest.raises(InvalidOption, match="HOLDFAST_PUSH_ALLOW"):
        Guard.reading("everything")


async def sent(guard: Guard, url: str) -> Any:
    sender = Sender(guard, keep_bytes=100)
    try:
        return await sender.send(Call(url, "POST", {}, b"", 10))
    finally:
        await sender.close()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1"]
)
async def test_no_way_of_writing_it_gets_through(host: str, receiver: Receiver) -> None:
    answer = await sent(Guard(), f"http://{host}:{receiver.port}/")
    assert answer.status is None
    assert "leads to an address" in answer.error or "not a canonical IPv4 address" in answer.error
    assert not answer.down
    assert receiver.received == []


async def test_names_are_resolved_and_their_addresses_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def look_up(host: str, port: int, family: int) -> list[str]:
        return {"mixed": ["10.0.0.1", "1.1.1.1"], "private": ["10.0.0.1", "fd00::1"]}[host]

    monkeypatch.setattr(module, "look_up", look_up)
    resolver = GuardedResolver(Guard())
    assert [each["host"] for each in await resolver.resolve("mixed", 80)] == ["1.1.1.1"]
    with pytest.raises(AddressRefused, match=r"private leads to an address that is private \(10.0.0.1\)"):
        await resolver.resolve("private", 80)


async def test_the_address_that_was_judged_is_the_one_connected_to(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    """A name that leads to a public address when it is looked at, and to this machine a moment later."""
    asked: list[str] = []

    async def look_up(host: str, port: int, family: int) -> list[str]:
        asked.append(host)
        return ["192.0.2.1" if len(asked) == 1 else "127.0.0.1"]

    monkeypatch.setattr(module, "look_up", look_up)
    connected: list[Any] = []

    def refuse(_: Any, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    answer = await sent(Guard.reading("192.0.2.1/32"), f"http://rebinding.example:{receiver.port}/")
    assert answer.status is None
    assert asked == ["rebinding.example"]
    assert {address[0] for address in connected} <= {"192.0.2.1"}
    assert receiver.received == []


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, receiver: Receiver) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await sent(Guard.reading("127.0.0.1"), receiver.url)).status == 200


# -- what may be written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://example.com", "file:///etc/passwd", "gopher://x", "http://", "http:///x", "https://u:p@x",
     "http://u@x", "http://x:25/", "http://x:22/", "http://x:99999/", "http://x y/", "http://x/\r\nA: b",
     "http://x/\0", "//x", 5, None,
     "http://[::1", "http://x/" + "a" * 5000, "javascript:alert(1)"],
)  # fmt: skip
def test_urls_that_are_refused(url: Any) -> None:
    with pytest.raises(InvalidOption):
        checked_url(url)


@pytest.mark.parametrize(
    "headers",
    [{"Host": "x"}, {"content-length": "5"}, {"Transfer-Encoding": "chunked"}, {"Connection": "close"},
     {"Upgrade": "h2c"}, {"TE": "trailers"}, {"Keep-Alive": "5"}, {"Proxy-Authorization": "x"},
     {"Proxy-Connection": "x"}, {"Trailer": "x"},
     {"Expect": "100-continue"}, {"X-Mergent-Task": "x"}, {"x-mergent-signature": "x"}, {"Webhook-Id": "x"},
     {"webhook-signature": "x"}, {"X-Holdfast-Attempt": "9"}, {"X-A": "a\r\nX-B: b"}, {"X-A": "a\nb"}, {"X-A": "a\0"},
     {"X A": "a"}, {"X-A:": "a"}, {"": "a"}, {"X-A\r\n": "a"}, {"X-A": 5}, {5: "a"}, {"X-A": " a"}, {"X-A": "\u2603"},
     {f"X-{n}": "a" for n in range(65)}, {"X-A": "a" * 20_000}, "X-A: a", ["X-A"]],
)  # fmt: skip
def test_headers_that_are_refused(headers: Any) -> None:
    with pytest.raises(InvalidOption) as refused:
        checked_headers(headers)
    assert "\r" not in str(refused.value)


def test_usual_headers_are_not() -> None:
    usual = {"Content-Type": "application/json", "Authorization": "Bearer x", "X-A": "", "User-Agent": "us/1.0"}
    assert checked_headers(usual) == usual
