"""What a store finds when it is opened: servers that refuse, files that are none, tables of other releases."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from fastapi_poto import Poto
from fastapi_poto.errors import ConfigurationError, Unavailable
from fastapi_poto.stores import Store, postgres_schema, sqlite_file, store_from_url
from tests.servers import PostgresServer, RedisServer, free_port
from tests.stores.tls import TlsRedis, make_certificate

pytestmark = pytest.mark.anyio


async def test_redis_by_its_socket(redis_server: RedisServer) -> None:
    """A unix socket reaches the same records."""
    by_socket, by_port = store_from_url(redis_server.unix_url), store_from_url(redis_server.url)
    await by_socket.write("test:socket", {"a": b"1"}, create=True)
    assert await by_port.read("test:socket") == {"a": b"1"}
    await by_socket.close()
    await by_port.close()


async def test_postgres_by_its_socket(postgres_server: PostgresServer) -> None:
    """libpq's own way to name a socket works."""
    folder = quote(str(postgres_server.home), safe="")
    store = store_from_url(f"postgresql://postgres@/postgres?host={folder}&port={postgres_server.port}")
    await store.write("test:socket", {"a": b"1"}, create=True)
    await store.close()


async def test_what_a_server_refuses(postgres_server: PostgresServer, redis_server: RedisServer) -> None:
    """A URL that a server does not take is an error at start-up, not 503 for ever, and says which setting it is."""
    for url, reason in (
        (f"{postgres_server.url}_absent", "does not exist"),
        (f"{postgres_server.url}?colour=red", "colour"),
        (f"{postgres_server.url}?sslmode=perhaps", "sslmode"),
        (f"redis://127.0.0.1:{redis_server.port}/999", "out of range"),
        (f"redis://ada:hunter2@127.0.0.1:{redis_server.port}/0", "invalid username-password"),
    ):
        for arguments, setting in (({"store": url}, "POTO_STORE"), ({"sessions": url}, "sessions=")):
            poto = Poto("0f8e7d6c5b4a39281706f5e4d3c2b1a0-tests-only", **arguments)
            with pytest.raises(ConfigurationError, match=f"{setting}.*{reason}") as raised:
                await poto.open()
            assert "hunter2" not in str(raised.value)
            await poto.close()


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
async def test_nobody_listens(scheme: str) -> None:
    """Opening a store that is down is Unavailable, at once."""
    store = store_from_url(f"{scheme}://127.0.0.1:{free_port()}/0")
    for operation in (store.open(), store.ping(), store.read("test:x")):
        with pytest.raises(Unavailable):
            await operation
    await store.close()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """An SQLite file that can never be made is an error at start-up that names the directory."""
    store = store_from_url(f"sqlite:///{tmp_path}/no/such/folder/poto.db")
    with pytest.raises(ConfigurationError, match="/no/such/folder"):
        await store.open()
    with pytest.raises(Unavailable):
        await store.read("test:x")
    (tmp_path / "no/such/folder").mkdir(parents=True)
    await store.open()
    await store.close()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """A foreign file is not overwritten."""
    path = tmp_path / "poto.db"
    path.write_bytes(b"something else entirely\n" * 100)
    store = store_from_url(f"sqlite:///{path}")
    with pytest.raises(Unavailable):
        await store.read("test:x")
    await store.close()
    assert path.read_bytes().startswith(b"something else")


async def test_tables_of_another_release(tmp_path: Path) -> None:
    """Tables of a foreign version are left alone, and the error says what to do."""
    path = tmp_path / "poto.db"
    store = store_from_url(f"sqlite:///{path}")
    await store.open()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE poto_schema SET version = 99")
    connection.close()
    with pytest.raises(ConfigurationError, match="version 99"):
        await store.open()
    await store.close()


async def test_tables_made_at_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    """Any number of processes may start on an empty database together."""
    admin = store_from_url(postgres_server.url)
    await admin.open()
    drop = "DROP TABLE IF EXISTS poto_fields, poto_records, poto_schema, poto_events, poto_logs"
    await admin._pool.run(lambda db: db.execute(drop))  # type: ignore[attr-defined]
    await admin.close()
    for url in (postgres_server.url, f"sqlite:///{tmp_path}/poto.db"):
        stores = [store_from_url(url) for _ in range(6)]
        await asyncio.gather(*(store.open() for store in stores))
        await asyncio.gather(*(store.add("test:n", "n", 1, create=True) for store in stores))
        assert await stores[0].read("test:n") == {"n": b"6"}
        for store in stores:
            await store.close()


async def test_redis_over_tls(tmp_path: Path) -> None:
    """`rediss://` checks the server's certificate: the one it is told to trust, and no other."""
    certificate = make_certificate(tmp_path)
    with TlsRedis(tmp_path, durable=False) as server:
        url = f"rediss://127.0.0.1:{server.port}/0"
        trusting = store_from_url(f"{url}?ssl_ca_certs={quote(str(certificate), safe='')}&timeout=5")
        await trusting.write("test:tls", {"a": b"1"}, create=True)
        assert await trusting.read("test:tls") == {"a": b"1"}
        await trusting.close()
        wary = store_from_url(url)
        with pytest.raises(Unavailable):
            await wary.ping()
        await wary.close()


def run_as_nobody(code: str, *arguments: str, file_bytes: int | None = None) -> str:
    """Run code in a process of a user who owns nothing, whose files may have so many bytes; what it prints."""
    script = f"""
import asyncio, os, resource, signal, sys, encodings.idna, fastapi_poto.stores.sqlite
from fastapi_poto.stores import store_from_url
from fastapi_poto.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
most = {file_bytes!r}
if most is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
if os.geteuid() == 0 and most is None:
    os.setgid(65534), os.setuid(65534)
{code}
"""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_full_disk(tmp_path: Path) -> None:
    """Nobody waits, health and the log say so, and what was there is read."""
    said = run_as_nobody(
        """
async def main():
    store = store_from_url(f"sqlite:///{sys.argv[1]}")
    await store.write("test:a", {"a": b"1"}, create=True)
    began = asyncio.get_running_loop().time()
    refused = 0
    for number in range(50):
        try:
            await store.write(f"test:{number}", {"a": b"x" * 50_000}, create=True)
        except Unavailable:
            refused += 1
    try:
        await store.write("test:b", {"a": b"x" * 400_000}, create=True)
        raise SystemExit("written")
    except Unavailable:
        pass
    assert refused and await store.read("test:a") == {"a": b"1"}
    assert asyncio.get_running_loop().time() - began < 3
    await store.close()
asyncio.run(main())
""",
        str(tmp_path / "poto.db"),
        file_bytes=300_000,
    )
    assert said.count("poto.db fails") == 1, said


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    """Reads go on where they can; writes and the health probe are Unavailable, at once; the log names the file."""
    path = tmp_path / "poto.db"
    store = store_from_url(f"sqlite:///{path}")
    asyncio.run(_fill(store))
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    path.chmod(0o644)
    said = run_as_nobody(
        """
async def main():
    store = store_from_url(f"sqlite:///{sys.argv[1]}")
    began = asyncio.get_running_loop().time()
    for operation in (store.write("test:a", {"a": b"2"}), store.ping()):
        try:
            await operation
            raise SystemExit("written")
        except Unavailable:
            pass
    assert asyncio.get_running_loop().time() - began < 2
    await store.close()
asyncio.run(main())
""",
        str(path),
    )
    assert "poto.db fails" in said


async def _fill(store: Store) -> None:
    await store.write("test:a", {"a": b"1"}, create=True)
    await store.close()


async def test_a_corrupt_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was a database and is none any more is Unavailable for every caller, and health says so."""
    path = tmp_path / "poto.db"
    store = store_from_url(f"sqlite:///{path}")
    await store.write("test:a", {"a": b"1" * 10_000}, create=True)
    await store.close()
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xaa" * (len(data) - 100))
    for operation in (store.read("test:a"), store.write("test:a", {"a": b"2"}), store.ping()):
        with pytest.raises(Unavailable):
            await operation
    assert str(path) in caplog.text
    await store.close()


async def test_the_files_mode(tmp_path: Path) -> None:
    """The file is its owner's alone, and so is what SQLite puts beside it."""
    store = store_from_url(f"sqlite:///{tmp_path}/poto.db")
    await store.write("test:a", {"a": b"1"}, create=True)
    for path in tmp_path.glob("poto.db*"):
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o600, path
    await store.close()


async def test_tables_of_the_first_version(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """A database of version 1 is brought up to date, and keeps what it has."""
    path = tmp_path / "poto.db"
    connection = sqlite3.connect(path)
    for statement in sqlite_file._STEPS[0]:
        connection.execute(statement)
    connection.execute("INSERT INTO poto_records VALUES (1, 'test:a', NULL)")
    connection.execute("INSERT INTO poto_fields VALUES (1, 'a', X'31')")
    connection.commit()
    connection.close()
    admin = store_from_url(f"{postgres_server.url}?timeout=5")
    await admin._pool.run(lambda db: db.execute("CREATE DATABASE first"))  # type: ignore[attr-defined]
    await admin.close()
    url = f"{postgres_server.url.rpartition('/')[0]}/first"
    db = await asyncpg.connect(url)
    for statement in postgres_schema.STEPS[0]:
        await db.execute(statement)
    await db.execute("INSERT INTO poto_records (name) VALUES ('test:a')")
    await db.execute("INSERT INTO poto_fields SELECT id, 'a', 'first' FROM poto_records")
    await db.close()
    for store, value in ((store_from_url(f"sqlite:///{path}"), b"1"), (store_from_url(url), b"first")):
        await store.open()
        assert await store.read("test:a") == {"a": value}
        assert await store.delete("test:a", bar_for=60)
        assert not await store.write("test:a", {"a": b"2"}, create=True)
        await store.close()
