"""`app.tokens`: what runs wait for, and somebody else completes. The same words as ``holdfast tokens``.

    token = app.tokens.create(Approval, timeout="2d")     outside of a run; inside, ctx.token(Approval)
    app.tokens.complete(token, Approval(by="Ada"))        or its id, and whatever fits
    app.tokens.retrieve(token.id)                         how it stands
    app.tokens.list(tag="order-7")                        a page of them, the newest first

``x`` is for sync code, ``ax`` for async code. Whoever has nothing but ``token.url`` completes it by an HTTP POST.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar, get_args, overload

from holdfast import codec, secret
from holdfast.annotations import check_type
from holdfast.client import Client
from holdfast.codec import AnyCodec, Codec, codec_for
from holdfast.context import running
from holdfast.durable import Token
from holdfast.duration import Duration, to_ms
from holdfast.engine import tokens as engine
from holdfast.engine.tokens import Completed, Search, TokenRecord, settled
from holdfast.errors import InvalidOption, NotDurable, TokenUnknown, shown
from holdfast.fitting import check_fits
from holdfast.ids import new_id, new_secret
from holdfast.model import at
from holdfast.names import checked_key, checked_text
from holdfast.options import checked_tags
from holdfast.page import Page
from holdfast.records import NewToken
from holdfast.sizes import check_size, size_of
from holdfast.typed_dicts import for_pydantic

__all__ = ["Completed", "TokenPage", "TokenState", "TokenStatus", "Tokens"]

T = TypeVar("T")

TokenStatus = Literal["open", "completed", "expired"]
STATUSES: Final[tuple[TokenStatus, ...]] = get_args(TokenStatus)
MOST: Final = 1_000


class TokenState(Token[T]):
    """A token as it stood when it was read; it can be waited for like any other.

    ``status`` is open, completed or expired; ``value`` what it was completed with, None until then; ``run_id`` the run
    that made it, None for one that was made outside. Times are aware datetimes in UTC, or None.
    """

    __slots__ = (
        "completed_at",
        "created_at",
        "expires_at",
        "idempotency_key",
        "run_id",
        "status",
        "tags",
        "value",
    )

    status: TokenStatus
    value: T | None

    def __init__(self, record: TokenRecord, url: str, codec: Codec[Any], value: T | None) -> None:
        super().__init__(record.id, url, codec)
        self.status = record.state  # type: ignore[assignment]
        self.value = value
        self.tags = _tags_of(record)
        self.run_id = record.run_id
        self.idempotency_key = record.idempotency_key
        self.created_at = at(record.created_at)
        self.expires_at = _maybe_at(record.expires_at)
        self.completed_at = _maybe_at(record.completed_at)

    def __repr__(self) -> str:
        return f"<TokenState {self.id} {self.status}>"


class TokenPage(Page[TokenState[Any]]):
    """A page of tokens, the newest first. ``next_cursor`` is where the next page begins, None at the end.

    >>> page = app.tokens.list(status="open")
    >>> while page.next_cursor:
    ...     page = app.tokens.list(status="open", cursor=page.next_cursor)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        more = ", and there are more" if self.next_cursor else ""
        return f"<TokenPage of {len(self)} tokens{more}>"


class Tokens:
    """The tokens of one app. See `Holdfast.tokens`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @overload
    def create(
        self,
        type: None = None,
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[Any]: ...
    @overload
    def create(
        self,
        type: type[T],
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[T]: ...
    def create(
        self,
        type: Any = None,
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[Any]:
        """Make a token outside of a run. When this returns, it is on disk.

        Its value will be a ``type``, or anything that JSON can say; after ``timeout`` it can no longer be completed.
        The same ``idempotency_key`` gives the earlier token as it was made, for as long as that is kept.

        Raises:
            InvalidOption: an option cannot be used.
            InvalidTask: the type cannot be turned into JSON and back.
            NotDurable: this is the code of a task, a replay of which would make another token, and there is no key.

        >>> token = app.tokens.create(Approval, timeout="2d", tags=["order-7"])
        """
        value, new = _new(type, timeout, tags, idempotency_key)
        return self._token(self._client.write(engine.create, new)[0], value)

    @overload
    async def acreate(
        self,
        type: None = None,
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[Any]: ...
    @overload
    async def acreate(
        self,
        type: type[T],
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[T]: ...
    async def acreate(
        self,
        type: Any = None,
        /,
        *,
        timeout: Duration | None = None,
        tags: Sequence[str] = (),
        idempotency_key: str | None = None,
    ) -> Token[Any]:
        """`create` for async code."""
        value, new = _new(type, timeout, tags, idempotency_key)
        return self._token((await self._client.awrite(engine.create, new))[0], value)

    @overload
    def complete(self, token: Token[T], value: T, /) -> Completed: ...
    @overload
    def complete(self, token: str, value: Any = None, /) -> Completed: ...
    def complete(self, token: str | Token[Any], value: Any = None, /) -> Completed:
        """Complete a token, and let whoever waits for it go on.

        The answer is ``"completed"``; or ``"already"``, ``"expired"`` or ``"unknown"``, and then nothing has changed.

        Raises:
            PayloadInvalid: the value does not fit the token's type, or by its id the JSON schema of that.
            NotSerializable: the value cannot be written as JSON.
            TooLarge: the value is larger than ``payload_limit``.

        >>> app.tokens.complete(token.id, {"by": "Ada"})
        'completed'
        """
        token_id = _id(token)
        record = self._client.read(engine.read, token_id)
        if (over := settled(record)) is not None:
            return over
        return self._client.write(engine.complete, token_id, self._text(token, value, record))

    @overload
    async def acomplete(self, token: Token[T], value: T, /) -> Completed: ...
    @overload
    async def acomplete(self, token: str, value: Any = None, /) -> Completed: ...
    async def acomplete(self, token: str | Token[Any], value: Any = None, /) -> Completed:
        """`complete` for async code."""
        token_id = _id(token)
        record = await self._client.aread(engine.read, token_id)
        if (over := settled(record)) is not None:
            return over
        return await self._client.awrite(engine.complete, token_id, self._text(token, value, record))

    @overload
    def retrieve(self, token: str, /) -> TokenState[Any]: ...
    @overload
    def retrieve(self, token: str | Token[Any], type: type[T], /) -> TokenState[T]: ...
    @overload
    def retrieve(self, token: Token[T], /) -> TokenState[T]: ...
    def retrieve(self, token: str | Token[Any], type: Any = None, /) -> TokenState[Any]:
        """How a token stands. With a ``type`` its value is read as one, and ``ctx.wait_for`` gives one, too.

        Raises:
            TokenUnknown: there is no such token, or no longer.

        >>> app.tokens.retrieve(token_id, Approval).value
        """
        value = _codec(token, type)
        return self._state(self._client.read(engine.read, _id(token)), _id(token), value)

    @overload
    async def aretrieve(self, token: str, /) -> TokenState[Any]: ...
    @overload
    async def aretrieve(self, token: str | Token[Any], type: type[T], /) -> TokenState[T]: ...
    @overload
    async def aretrieve(self, token: Token[T], /) -> TokenState[T]: ...
    async def aretrieve(self, token: str | Token[Any], type: Any = None, /) -> TokenState[Any]:
        """`retrieve` for async code."""
        value = _codec(token, type)
        return self._state(await self._client.aread(engine.read, _id(token)), _id(token), value)

    def list(
        self,
        *,
        status: TokenStatus | None = None,
        tag: str | Iterable[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TokenPage:
        """The newest tokens with this status and all of these tags. ``cursor`` is an earlier page's ``next_cursor``;
        ``limit`` is at most 1000.

        Raises:
            InvalidOption: an option cannot be used.

        >>> [token.id for token in app.tokens.list(status="open", tag="order-7")]
        """
        search = _read(status, tag, limit, cursor)
        return self._page(self._client.read(engine.page, search, before=cursor, n=limit + 1), limit)

    async def alist(
        self,
        *,
        status: TokenStatus | None = None,
        tag: str | Iterable[str] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> TokenPage:
        """`list` for async code."""
        search = _read(status, tag, limit, cursor)
        return self._page(await self._client.aread(engine.page, search, before=cursor, n=limit + 1), limit)

    def __repr__(self) -> str:
        return "<Tokens>"

    def _url(self, record: TokenRecord) -> str:
        return self._client.token_url(record.id, record.secret or "")

    def _token(self, record: TokenRecord, value: Codec[Any]) -> Token[Any]:
        return Token(record.id, self._url(record), value)

    def _state(self, record: TokenRecord | None, token_id: str, value: Codec[Any]) -> TokenState[Any]:
        if record is None:
            raise TokenUnknown("There is no such token, or no longer", seen=token_id, do="See holdfast tokens list.")
        return TokenState(record, self._url(record), value, _value(record, value))

    def _page(self, records: Sequence[TokenRecord], limit: int) -> TokenPage:
        each = [self._state(record, record.id, AnyCodec()) for record in records[:limit]]
        return TokenPage(each, each[-1].id if len(records) > limit else None)

    def _text(self, token: str | Token[Any], value: Any, record: TokenRecord | None) -> str:
        """The value as JSON text, if it fits."""
        typed = isinstance(token, Token) and not isinstance(token.codec, AnyCodec)
        text = token.codec.dump_checked(value) if typed and isinstance(token, Token) else codec.encode(value, seal=True)
        check_size(size_of(text), self._client.payload_limit, what="The value of the token", limit="payload_limit")
        return text if typed or record is None else fitting(text, record)


# -- what else completes tokens: the API ------------------------------------------------------------------------------


def fitting(text: str, record: TokenRecord) -> str:
    """JSON text as it is kept as the value of this token: with its secrets sealed. Raises PayloadInvalid."""
    if record.schema is None:
        return text
    value = codec.decode(text)
    check_fits(secret.opened(value), record.schema, what="The value of the token")
    if not secret.has_secrets(record.schema):
        return text
    return codec.encode(secret.sealed_by(codec.decode(record.schema), value))


# -- reading ----------------------------------------------------------------------------------------------------------


def _new(type: Any, timeout: Any, tags: Any, idempotency_key: Any) -> tuple[Codec[Any], NewToken]:
    attempt = running.get()
    if idempotency_key is None and attempt is not None and attempt.records():
        raise NotDurable(
            "A token that the code of a task makes here is another one after each replay",
            seen=f"run {attempt.claimed.id}",
            do="Make it with ctx.token(Type), or give it an idempotency_key.",
        )
    value = _codec(None, type)
    schema = value.schema()
    return value, NewToken(
        id=new_id(),
        secret=new_secret(),
        timeout_ms=None if timeout is None else to_ms(timeout, name="timeout"),
        schema=None if schema is None else codec.encode(schema),
        tags=codec.encode(tags) if (tags := checked_tags(tags, "tags")) else None,
        idempotency_key=None if idempotency_key is None else checked_key(idempotency_key, option="idempotency_key"),
    )


def _codec(token: object, type: Any) -> Codec[Any]:
    """How the value of a token is read: as what is said here, else as what is known."""
    if type is None:
        return token.codec if isinstance(token, Token) else AnyCodec()
    check_type(type, "The type of a token")
    return codec_for(for_pydantic(type), role="value of the token")


def _id(token: object) -> str:
    asked = token.id if isinstance(token, Token) else token
    return checked_text(asked, option="token", do="Write the id of a token, such as token.id, or the token itself.")


def _read(status: object, tag: object, limit: object, cursor: object) -> Search:
    if status is not None and not (isinstance(status, str) and status in STATUSES):
        close = difflib.get_close_matches(status, STATUSES, n=1) if isinstance(status, str) else []
        do = f"Did you mean {close[0]}?" if close else f"There are {', '.join(STATUSES)}."
        raise InvalidOption("A token never has this status", seen=shown(status), do=do)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST:
        raise InvalidOption(
            f"limit is not a whole number from 1 to {MOST}", seen=shown(limit), do="Go on with cursor=page.next_cursor."
        )
    if cursor is not None:
        checked_text(cursor, option="cursor")
    tags = [] if tag is None else checked_tags([tag] if isinstance(tag, str) else tag, "tag")
    return Search(None if status is None else str(status), tuple(tags))


def _value(record: TokenRecord, value: Codec[Any]) -> Any:
    if record.result is None:
        return None
    return codec.masked(record.result) if isinstance(value, AnyCodec) else value.load(record.result)


def _tags_of(record: TokenRecord) -> list[str]:
    return list(codec.decode(record.tags)) if record.tags is not None else []


def _maybe_at(ms: int | None) -> datetime | None:
    return None if ms is None else at(ms)
