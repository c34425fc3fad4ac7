"""The named statements in ``sql/*.sql``, made ready for one database.

A statement is written once, with ``:name`` parameters and a few ``{fragments}``. Where the databases must differ, a
second block says so in its name, ``-- name: claim (postgres)``, and its first comment says why. A fragment is one of

    {s}                the prefix of our tables: ``holdfast.`` or ``holdfast_``
    {now}              the one clock, in milliseconds
    {in:ids}           ``= ANY (…)`` over an array, or ``IN (…)`` over a JSON list: the text is the same for any length
    {rows(a text, …)}  the rows of a batch: one JSON parameter on PostgreSQL, one execution per row on SQLite
    {lines(a text, …)} the same for the hottest batch, of what has no line breaks (ids, words, JSON text): on PostgreSQL
                       each column is a text with a line for each row, read in half the time; an empty one is NULL
    {by a.id}          on PostgreSQL: begin with the ids of the batch. Without it a plan that was made while the table
                       was small begins with the table, and reads all of it for ever
    {any} SELECT … {end}   the rows of a subquery that must run once, whatever the plan
    {for_update} {for_share} {skip_locked}    row locks, where rows can be locked
    {page:id}          a page of a list, the newest first: the next ``:n`` after the cursor ``:before``. Such a
                       statement has a twin, named ``…_back``, that is read from the other end; {sorted:id} goes with it
    {page:task=task,id}    the same of those rows only in which the column is what the parameter says, along the index
                       of both. Said as a range of pairs, so that no planner can take the index of ids instead, and
                       read all of history for what is rare

Everything is parsed when this module is first asked, so that a misspelt fragment fails at start and not at three in
the morning.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import NamedTuple

NAME = re.compile(r"^-- name: (\w+)(?: \((\w+)\))?$", re.MULTILINE)
ROWS = re.compile(r"\{(rows|lines)\(([^}]*)\)\}", re.DOTALL)
IN = re.compile(r"\{in:(\w+)\}")
PAGE = re.compile(r"\{page:(?:(\w+)=(\w+),)?(\w+)\}")
SORTED = re.compile(r"\{sorted:([\w.]+)\}")
BY = re.compile(r"\{by ([\w.]+)\}")
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)")


class Dialect(NamedTuple):
    """What a database calls the things that differ."""

    name: str
    fragments: dict[str, str]
    member: str  # {in:x}
    parameter: str  # :x
    by: str  # {by x}


SQLITE = Dialect(
    name="sqlite",
    fragments={
        "s": "holdfast_",
        "now": ":now",
        "for_update": "",
        "for_update_i": "",
        "for_share": "",
        "skip_locked": "",
        "skip_locked_r": "",
        "skip_locked_i": "",
        "any": "IN (",
        "end": ")",
    },
    member="IN (SELECT value FROM json_each(:{0}))",
    parameter=":{0}",
    by="",
)
POSTGRES = Dialect(
    name="postgres",
    fragments={
        "s": "holdfast.",
        "now": "(SELECT (extract(epoch FROM statement_timestamp()) * 1000)::bigint)",  # once, and not once for each row
        "for_update": "FOR UPDATE",
        "for_update_i": "FOR UPDATE OF i",
        "for_share": "FOR SHARE",
        "skip_locked": "FOR UPDATE SKIP LOCKED",
        "skip_locked_r": "FOR UPDATE OF r SKIP LOCKED",
        "skip_locked_i": "FOR UPDATE OF i SKIP LOCKED",
        "any": "= ANY (ARRAY(",
        "end": "))",
    },
    member="= ANY (:{0})",
    parameter="%({0})s",
    by="{0} = ANY (ARRAY(SELECT item ->> 'id' FROM json_array_elements(:rows::json) item)) AND",
)


class Statement(NamedTuple):
    """One statement as its database wants it. ``columns`` is not empty if it runs over the rows of a batch, and
    ``lines`` is set if each of them is a parameter of its own."""

    name: str
    text: str
    columns: tuple[str, ...]
    parameters: frozenset[str]
    lines: bool = False


def prepare(name: str, source: str, dialect: Dialect, *, frozen: bool = False) -> Statement:
    """Turn the text of a statement into what ``dialect`` understands; ``frozen`` makes the clock a parameter."""
    columns: list[str] = []

    def rows(match: re.Match[str]) -> str:
        pairs = [tuple(pair.split()) for pair in match[2].split(",")]
        columns.extend(column for column, _ in pairs)
        if dialect is SQLITE:
            return "(SELECT " + ", ".join(f"?{i} AS {column}" for i, (column, _) in enumerate(pairs, 1)) + ") AS x"
        if match[1] == "lines":
            return lines([(column, kind) for column, kind in pairs])
        return f"json_to_recordset(:rows::json) AS x({', '.join(' '.join(pair) for pair in pairs)})"

    text = ROWS.sub(rows, PAGE.sub(older, SORTED.sub(r"ORDER BY \1 DESC", source)))
    text = IN.sub(lambda match: dialect.member.format(match[1]), text)
    fragments = dialect.fragments | ({"now": "CAST(:now AS BIGINT)"} if frozen else {})
    text = re.sub(r"\{(\w+)\}", lambda match: fragments[match[1]], text)
    text = BY.sub(lambda match: dialect.by.format(match[1]), text)
    parameters = frozenset(PARAMETER.findall(text))
    if (
        dialect is SQLITE and columns
    ):  # numbered parameters for the row, and named ones cannot be mixed: the clock goes last
        text = PARAMETER.sub(
            lambda match: f"?{len(columns) + 1 + sorted(parameters).index(match[1])}",
            text,
        )
    else:
        text = PARAMETER.sub(lambda match: dialect.parameter.format(match[1]), text)
    return Statement(
        name, text.strip(), tuple(columns), parameters, lines=dialect is not SQLITE and "{lines(" in source
    )


def lines(pairs: list[tuple[str, str]]) -> str:
    """Columns of lines as rows. The first is a function of which the planner expects a thousand rows: it expects ten of
    an array, and would compare each row with each."""
    (first, _), *rest = pairs
    arrays = [f"unnest(string_to_array(:{column}, E'\\n', '')::{kind}[])" for column, kind in rest]
    columns = ", ".join(column for column, _ in pairs)
    return f"ROWS FROM (string_to_table(:{first}, E'\\n'), {', '.join(arrays)}) AS x({columns})"


@cache
def load(dialect_name: str, frozen: bool) -> dict[str, Statement]:
    """Every statement, by name. Raises ``KeyError`` for an unknown fragment, ``ValueError`` for a name given twice."""
    dialect = SQLITE if dialect_name == "sqlite" else POSTGRES
    chosen: dict[str, str] = {}
    special: dict[str, str] = {}
    for name, only, body in blocks():
        if only in (None, dialect.name):
            shelf = special if only else chosen
            if name in shelf:
                raise ValueError(f"two statements are called {name}")
            shelf[name] = body
    return {
        name: prepare(name, body, dialect, frozen=frozen or dialect is SQLITE)
        for name, body in (chosen | special).items()
    }


def blocks() -> list[tuple[str, str | None, str]]:
    """The blocks of all files: name, the database it is only for, and its text without comments."""
    found: list[tuple[str, str | None, str]] = []
    for file in sorted(
        resources.files("holdfast.storage").joinpath("sql").iterdir(),
        key=lambda entry: entry.name,
    ):
        if file.name.endswith(".sql"):
            parts = NAME.split(file.read_text(encoding="utf-8"))[1:]
            for name, only, body in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
                lines = (line for line in body.splitlines() if not line.lstrip().startswith("--"))
                found += with_twin(name, only, "\n".join(lines))
    return found


def with_twin(name: str, only: str | None, body: str) -> list[tuple[str, str | None, str]]:
    """A block, and if it is a page of a list the one that is read from the other end."""
    back = SORTED.sub(r"ORDER BY \1", PAGE.sub(newer, body))
    return [(name, only, body)] if back == body else [(name, only, body), (f"{name}_back", only, back)]


def older(page: re.Match[str]) -> str:
    """What a page says that goes on to older rows."""
    column, parameter, place = page.groups()
    if column is None:
        return f"{place} < :before AND {place} >= :floor ORDER BY {place} DESC LIMIT :n"
    pair = f"({column}, {place})"
    where = f"{pair} < (:{parameter}, :before) AND {pair} >= (:{parameter}, :floor)"
    return f"{where} ORDER BY {column} DESC, {place} DESC LIMIT :n"


def newer(page: re.Match[str]) -> str:
    """… and to newer ones. A tilde is greater than every id."""
    column, parameter, place = page.groups()
    if column is None:
        return f"{place} > :before AND {place} >= :floor ORDER BY {place} LIMIT :n"
    pair = f"({column}, {place})"
    where = f"{pair} > (:{parameter}, :before) AND {pair} >= (:{parameter}, :floor) AND {pair} < (:{parameter}, '~')"
    return f"{where} ORDER BY {column}, {place} LIMIT :n"
