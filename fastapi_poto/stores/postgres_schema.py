"""The tables and functions of `PostgresStore`.

Each operation is one call of one function: one round trip, and one transaction. The functions carry the version of
the tables in their names, so that processes of two releases can share a database while one is deployed.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg

from ..errors import ConfigurationError
from .log_sql import TABLES as LOG_TABLES

SCHEMA_VERSION = 2
_LOCK = 0x706F746F  # "poto"

READ = """
    SELECT count(r.id), array_agg(f.field), array_agg(f.value) FROM poto_records r
    LEFT JOIN poto_fields f ON f.record = r.id AND ($3::text[] IS NULL OR f.field = ANY($3))
    WHERE r.name = $1 AND (r.expires_at IS NULL OR r.expires_at > $2) AND NOT r.barred"""

WRITE = "SELECT poto2_write($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
ADD = "SELECT * FROM poto2_add($1, $2, $3, $4, $5, $6, $7, $8, $9)"
SWAP = "SELECT poto2_swap($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
DELETE = "SELECT poto2_delete($1, $2, $3)"
NAMES = """
    SELECT r.name FROM poto_records r
    WHERE r.name >= $1 AND r.name < $2 AND (r.expires_at IS NULL OR r.expires_at > $3) AND NOT r.barred
    ORDER BY r.name LIMIT $4"""
LIFE = """
    SELECT r.expires_at, r.ends_at FROM poto_records r
    WHERE r.name = $1 AND (r.expires_at IS NULL OR r.expires_at > $2) AND NOT r.barred"""
PURGE = """
    DELETE FROM poto_records WHERE id IN
    (SELECT id FROM poto_records WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
    RETURNING 1"""

_HOLD = """
CREATE OR REPLACE FUNCTION poto2_hold(
    the_name text, at float8, make boolean, life float8, limit_in float8, OUT row_id bigint, OUT made boolean
) LANGUAGE plpgsql AS $$
-- The record's row, locked until the transaction ends; null if there is none, or its name is barred.
DECLARE closed boolean;
BEGIN
    made := false;
    LOOP
        SELECT r.id, r.barred INTO row_id, closed FROM poto_records r
        WHERE r.name = the_name AND (r.expires_at IS NULL OR r.expires_at > at) FOR NO KEY UPDATE;
        IF FOUND THEN
            IF closed THEN row_id := NULL; END IF;
            RETURN;
        END IF;
        IF NOT make THEN RETURN; END IF;
        DELETE FROM poto_records WHERE name = the_name AND expires_at <= at;
        INSERT INTO poto_records (name, expires_at, ends_at) VALUES (the_name, at + life, at + limit_in)
        ON CONFLICT (name) DO NOTHING RETURNING id INTO row_id;
        IF FOUND THEN made := true; RETURN; END IF;
    END LOOP;
END $$"""

_PUT = """
CREATE OR REPLACE FUNCTION poto2_put(
    row_id bigint, made boolean, at float8, prolong float8, most int,
    the_fields text[], the_values bytea[], removed text[]
) RETURNS boolean LANGUAGE plpgsql AS $$
-- Change the fields of a row that is held; false, and nothing has changed, if there would be too many.
DECLARE before bigint; later bigint;
BEGIN
    IF most IS NOT NULL THEN
        SELECT count(*), count(*) FILTER (WHERE field <> ALL(the_fields) AND field <> ALL(removed))
        INTO before, later FROM poto_fields WHERE record = row_id;
        later := later + cardinality(the_fields);
        IF later > most AND later > before THEN
            IF made THEN DELETE FROM poto_records WHERE id = row_id; END IF;
            RETURN false;
        END IF;
    END IF;
    IF prolong IS NOT NULL AND NOT made THEN
        UPDATE poto_records SET expires_at = LEAST(at + prolong, ends_at) WHERE id = row_id;
    END IF;
    INSERT INTO poto_fields SELECT row_id, * FROM unnest(the_fields, the_values)
    ON CONFLICT (record, field) DO UPDATE SET value = excluded.value;
    IF cardinality(removed) > 0 THEN
        DELETE FROM poto_fields WHERE record = row_id AND field = ANY(removed);
    END IF;
    RETURN true;
END $$"""

_WRITE = """
CREATE OR REPLACE FUNCTION poto2_write(
    the_name text, at float8, make boolean, life float8, limit_in float8, prolong float8, most int,
    the_fields text[], the_values bytea[], removed text[]
) RETURNS int LANGUAGE plpgsql AS $$
-- 1: done; 0: no such record; -1: too many fields.
DECLARE held record;
BEGIN
    IF prolong IS NULL AND cardinality(the_fields) = 1 AND cardinality(removed) = 0 THEN
        UPDATE poto_fields SET value = the_values[1] FROM poto_records r
        WHERE poto_fields.record = r.id AND poto_fields.field = the_fields[1] AND r.name = the_name
        AND (r.expires_at IS NULL OR r.expires_at > at);
        IF FOUND THEN RETURN 1; END IF;
    END IF;
    held := poto2_hold(the_name, at, make, life, limit_in);
    IF held.row_id IS NULL THEN RETURN 0; END IF;
    IF poto2_put(held.row_id, held.made, at, prolong, most, the_fields, the_values, removed) THEN RETURN 1; END IF;
    RETURN -1;
END $$"""

_ADD = """
CREATE OR REPLACE FUNCTION poto2_add(
    the_name text, at float8, make boolean, life float8, limit_in float8, prolong float8, most int,
    the_field text, amount bigint, OUT status int, OUT total bigint
) LANGUAGE plpgsql AS $$
-- Status as of poto2_write; -2: the field is no integer of 64 bits, or would be none.
DECLARE held record; row_id bigint; found_value bytea; sum numeric;
BEGIN
    IF prolong IS NULL THEN
        SELECT f.record, f.value INTO row_id, found_value FROM poto_fields f JOIN poto_records r ON r.id = f.record
        WHERE r.name = the_name AND f.field = the_field AND (r.expires_at IS NULL OR r.expires_at > at)
        FOR NO KEY UPDATE OF f;
    END IF;
    IF row_id IS NULL THEN
        held := poto2_hold(the_name, at, make, life, limit_in);
        IF held.row_id IS NULL THEN status := 0; RETURN; END IF;
        SELECT f.value INTO found_value FROM poto_fields f
        WHERE f.record = held.row_id AND f.field = the_field FOR NO KEY UPDATE;
    END IF;
    IF found_value IS NOT NULL AND encode(found_value, 'escape') !~ '^-?[0-9]{1,19}$' THEN
        status := -2; RETURN;
    END IF;
    sum := COALESCE(encode(found_value, 'escape')::numeric, 0) + amount;
    IF sum NOT BETWEEN -9223372036854775808 AND 9223372036854775807 THEN status := -2; RETURN; END IF;
    total := sum;
    found_value := convert_to(total::text, 'UTF8');
    IF row_id IS NOT NULL THEN
        UPDATE poto_fields SET value = found_value WHERE record = row_id AND field = the_field;
        status := 1;
    ELSE
        status := CASE WHEN poto2_put(
            held.row_id, held.made, at, prolong, most, ARRAY[the_field], ARRAY[found_value], '{}'
        ) THEN 1 ELSE -1 END;
    END IF;
END $$"""

_SWAP = """
CREATE OR REPLACE FUNCTION poto2_swap(
    the_name text, at float8, make boolean, life float8, limit_in float8, prolong float8, most int,
    the_field text, old_value bytea, new_value bytea
) RETURNS int LANGUAGE plpgsql AS $$
-- As poto2_write; 2: the field is another one.
DECLARE held record; found_value bytea; put boolean;
BEGIN
    IF prolong IS NULL AND old_value IS NOT NULL AND new_value IS NOT NULL THEN
        UPDATE poto_fields SET value = new_value FROM poto_records r
        WHERE poto_fields.record = r.id AND poto_fields.field = the_field AND poto_fields.value = old_value
        AND r.name = the_name AND (r.expires_at IS NULL OR r.expires_at > at);
        IF FOUND THEN RETURN 1; END IF;
        -- Where it waited for another change, the field is locked now, though it is another one. Whoever holds a field
        -- must not wait for its record: those who hold the record wait for the field.
        PERFORM FROM poto_fields f JOIN poto_records r ON r.id = f.record
        WHERE r.name = the_name AND f.field = the_field AND f.value <> old_value
        AND (r.expires_at IS NULL OR r.expires_at > at);
        IF FOUND THEN RETURN 2; END IF;
    END IF;
    held := poto2_hold(the_name, at, make, life, limit_in);
    IF held.row_id IS NULL THEN RETURN 0; END IF;
    SELECT f.value INTO found_value FROM poto_fields f
    WHERE f.record = held.row_id AND f.field = the_field FOR NO KEY UPDATE;
    IF found_value IS DISTINCT FROM old_value THEN
        IF held.made THEN DELETE FROM poto_records WHERE id = held.row_id; END IF;
        RETURN 2;
    END IF;
    IF new_value IS NULL THEN
        put := poto2_put(held.row_id, held.made, at, prolong, NULL, '{}', '{}', ARRAY[the_field]);
    ELSE
        put := poto2_put(held.row_id, held.made, at, prolong, most, ARRAY[the_field], ARRAY[new_value], '{}');
    END IF;
    RETURN CASE WHEN put THEN 1 ELSE -1 END;
END $$"""

_DELETE = """
CREATE OR REPLACE FUNCTION poto2_delete(the_name text, at float8, bar_for float8)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE lived boolean; row_id bigint;
BEGIN
    DELETE FROM poto_records WHERE name = the_name AND (NOT barred OR expires_at <= at)
    RETURNING NOT barred AND (expires_at IS NULL OR expires_at > at) INTO lived;
    IF bar_for > 0 THEN
        INSERT INTO poto_records (name, expires_at, barred) VALUES (the_name, at + bar_for, true)
        ON CONFLICT (name) DO UPDATE SET expires_at = excluded.expires_at, ends_at = NULL, barred = true
        RETURNING id INTO row_id;
        DELETE FROM poto_fields WHERE record = row_id;  -- of one that was made anew in between
    END IF;
    RETURN COALESCE(lived, false);
END $$"""

# From each version of the tables to the next one; the first makes them.
STEPS: Sequence[Sequence[str]] = (
    (
        """CREATE TABLE poto_records (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name TEXT COLLATE "C" NOT NULL UNIQUE, expires_at DOUBLE PRECISION)""",
        "CREATE INDEX poto_records_expires_at ON poto_records (expires_at)",
        """CREATE TABLE poto_fields (record BIGINT NOT NULL REFERENCES poto_records (id) ON DELETE CASCADE,
        field TEXT COLLATE "C" NOT NULL, value BYTEA NOT NULL, PRIMARY KEY (record, field))""",
        "CREATE TABLE poto_schema (version BIGINT NOT NULL)",
        "INSERT INTO poto_schema VALUES (1)",
    ),
    (
        "ALTER TABLE poto_records ADD COLUMN ends_at DOUBLE PRECISION",
        "ALTER TABLE poto_records ADD COLUMN barred BOOLEAN NOT NULL DEFAULT false",
        *(_HOLD, _PUT, _WRITE, _ADD, _SWAP, _DELETE),
        *(
            table.format(
                id_type="BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", bytes_type="BYTEA", collation='COLLATE "C"'
            )
            for table in LOG_TABLES
        ),
        "UPDATE poto_schema SET version = 2",
    ),
)


async def version(db: Any) -> int:
    """The version of the tables; 0 if there are none."""
    try:
        return int(await db.fetchval("SELECT version FROM poto_schema"))
    except asyncpg.UndefinedTableError:
        return 0


async def migrate(db: Any) -> None:
    """Make the tables, or bring them to this release's version."""
    async with db.transaction():
        await db.execute("SET LOCAL statement_timeout = 0")
        # Two processes that create the same table at once fail on the catalogue.
        await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        there = await db.fetchval("SELECT to_regclass('poto_schema') IS NOT NULL")
        found = await version(db) if there else 0
        if found > SCHEMA_VERSION:
            raise ConfigurationError(
                f"The database holds poto tables of version {found}; this release knows {SCHEMA_VERSION}."
                " Use the release that made them."
            )
        for step in STEPS[found:]:
            for statement in step:
                await db.execute(statement)
