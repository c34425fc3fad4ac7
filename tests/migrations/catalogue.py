"""What a database says its tables are, as text that is the same wherever they were made by the same statements."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby

import apsw
import psycopg

STATEMENTS = """
SELECT sql FROM sqlite_schema WHERE tbl_name GLOB 'holdfast_*' AND sql IS NOT NULL ORDER BY type DESC, name
"""
TABLES = """
SELECT c.relname, c.reloptions, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
  pg_get_expr(d.adbin, d.adrelid), CASE WHEN a.attcollation <> t.typcollation THEN l.collname END
FROM pg_class c
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
WHERE c.relnamespace = 'holdfast'::regnamespace AND c.relkind = :kind
ORDER BY c.relname, a.attnum
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'holdfast'::regnamespace AND contype NOT IN ('n', 't') ORDER BY 1, 2
"""
INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE c.relnamespace = 'holdfast'::regnamespace
  AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)
ORDER BY 1
"""

OTHERS = """
SELECT pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE c.relnamespace = 'holdfast'::regnamespace AND NOT t.tgisinternal
UNION ALL
SELECT format('CREATE VIEW holdfast.%I AS %s', relname, pg_get_viewdef(oid)) FROM pg_class
WHERE relnamespace = 'holdfast'::regnamespace AND relkind = 'v'
UNION ALL
SELECT format('CREATE FUNCTION holdfast.%I(%s) RETURNS %s LANGUAGE %s AS ''%s''', proname,
  pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), lanname, md5(prosrc))
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE pronamespace = 'holdfast'::regnamespace
ORDER BY 1
"""


def kind_of(url: str) -> str:
    return "postgres" if url.startswith("postgresql") else "sqlite"


def run_script(url: str, script: str) -> None:
    """What a DBA's tool does with a file of statements."""
    if kind_of(url) == "postgres":
        with closing(psycopg.connect(url, autocommit=True)) as connection:
            connection.execute(script.encode())
    else:
        with closing(apsw.Connection(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(script)


def dump_or_nothing(url: str) -> str:
    try:
        return dump(url)
    except psycopg.errors.InvalidSchemaName:
        return ""


def dump(url: str) -> str:
    """The tables, constraints and indexes of ours in this database."""
    return dump_postgres(url) if url.startswith("postgresql") else dump_sqlite(url.removeprefix("sqlite:///"))


def dump_sqlite(path: str) -> str:
    with closing(apsw.Connection(path)) as connection:
        rows = connection.execute(STATEMENTS).fetchall()
    return "".join(f"{without_comments(row[0])};\n" for row in rows)


def without_comments(statement: str) -> str:
    return "\n".join(line.partition("--")[0].rstrip() for line in statement.splitlines())


def dump_postgres(url: str) -> str:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        tables = [*relations(connection, "r"), *relations(connection, "c")]
        constraints = [
            f"ALTER TABLE {owner} ADD CONSTRAINT {name} {text};\n"
            for owner, name, text in connection.execute(CONSTRAINTS).fetchall()
        ]
        rest = [f"{row[0]};\n" for query in (INDEXES, OTHERS) for row in connection.execute(query).fetchall()]
    return "".join([*tables, *constraints, *rest])


def relations(connection: psycopg.Connection[tuple[object, ...]], kind: str) -> list[str]:
    """The tables (r), or the composite types (c)."""
    columns = connection.execute(TABLES.replace(":kind", f"'{kind}'").encode()).fetchall()
    word = {"r": "TABLE", "c": "TYPE"}[kind]
    return [relation(word, str(name), list(rows)) for name, rows in groupby(columns, key=lambda row: row[0])]


def relation(word: str, name: str, rows: list[tuple[object, ...]]) -> str:
    storage = f" WITH ({', '.join(rows[0][1])})" if rows[0][1] else ""  # type: ignore[arg-type]
    columns = ",\n".join(column(*row[2:]) for row in rows)
    return f"CREATE {word} holdfast.{name} (\n{columns}\n){storage};\n"


def column(name: object, kind: object, required: object, default: object, collation: object) -> str:
    return (
        f"  {name} {kind}"
        + (f' COLLATE "{collation}"' if collation else "")
        + (f" DEFAULT {default}" if default else "")
        + (" NOT NULL" if required else "")
    )
