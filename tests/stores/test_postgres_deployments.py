"""PostgreSQL as it is deployed: behind PgBouncer, for a role without rights, on several hosts, locked."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fastapi_poto.errors import ConfigurationError, Unavailable
from fastapi_poto.stores import store_from_url
from tests.servers import PgBouncer, PostgresServer, find_program, free_port
from tests.stores.workload import until_it_writes, use

pytestmark = [pytest.mark.anyio, pytest.mark.deployments]


@pytest.fixture(scope="module", params=["own", "1.24"])
def pgbouncer(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Sequence[str]:
    """What starts it: the one that is installed, and one that keeps prepared statements (1.21 and later)."""
    if request.param == "own":
        return [find_program("pgbouncer")]
    script = Path(__file__).parents[2] / "scripts" / "fetch-pgbouncer"
    # Below PostgreSQL's folder: its user, who runs it, may not look into others.
    fetched = subprocess.run([script, postgres_server.home / "pgbouncer"], capture_output=True, text=True, check=False)
    if fetched.returncode != 0:
        pytest.skip(f"PgBouncer 1.24 cannot be had: {fetched.stderr.strip()[-300:]}")
    return fetched.stdout.split()


@pytest.mark.parametrize("ignored", ["extra_float_digits", "statement_timeout,default_transaction_isolation"])
async def test_pgbouncer(
    tmp_path: Path, postgres_server: PostgresServer, pgbouncer: Sequence[str], ignored: str
) -> None:
    """In transaction mode, whether it refuses settings or swallows them: by itself, without an option in the URL."""
    settings = {"ignore_startup_parameters": ignored}
    with PgBouncer(tmp_path / "bouncer", postgres_server, pgbouncer, **settings) as bouncer:
        stores = [store_from_url(f"{bouncer.url}?timeout=5") for _ in range(2)]
        for store in stores:
            await use(store)
        both = f"test:{bouncer.port}"
        await asyncio.gather(*(stores[number % 2].add(both, "n", 1, create=True) for number in range(300)))
        assert await stores[0].read(both) == {"n": b"300"}
        for store in stores:
            await store.close()


async def test_a_role_that_may_not_create(postgres_server: PostgresServer) -> None:
    """It starts on tables that are there; where they are not, the error says what to do."""

    def psql(sql: str) -> None:
        command = ["psql", "-h", "127.0.0.1", "-p", str(postgres_server.port), "-U", "postgres", "-c", sql]
        subprocess.run(command, check=True, capture_output=True)

    admin = store_from_url(postgres_server.url)
    await admin.open()
    await admin.close()
    psql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    psql("CREATE ROLE shop LOGIN")
    psql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO shop")
    psql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO shop")
    store = store_from_url(f"postgresql://shop@127.0.0.1:{postgres_server.port}/postgres?timeout=5")
    await use(store)
    await store.close()
    psql("CREATE DATABASE empty")
    empty = store_from_url(f"postgresql://shop@127.0.0.1:{postgres_server.port}/empty")
    subprocess.run(
        ["psql", "-h", "127.0.0.1", "-p", str(postgres_server.port), "-U", "postgres", "empty", "-c",
         "REVOKE CREATE ON SCHEMA public FROM PUBLIC"], check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="may create tables"):
        await empty.open()
    await empty.close()


async def test_several_hosts(tmp_path: Path, postgres_server: PostgresServer) -> None:
    """`host1,host2`: the one that is there is found, whichever it is."""
    nobody = free_port()
    for hosts in (
        f"127.0.0.1:{nobody},127.0.0.1:{postgres_server.port}",
        f"127.0.0.1:{postgres_server.port},127.0.0.1:{nobody}",
    ):
        store = store_from_url(f"postgresql://postgres@{hosts}/postgres")
        await use(store, callers=3, steps=3)
        await store.close()


async def test_a_stricter_isolation(postgres_server: PostgresServer) -> None:
    """A database whose default is `serializable` loses no increment, and refuses none."""
    role = "CREATE ROLE strict LOGIN SUPERUSER"
    command = ["psql", "-h", "127.0.0.1", "-p", str(postgres_server.port), "-U", "postgres", "-c"]
    subprocess.run([*command, role], check=True, capture_output=True)
    setting = "ALTER ROLE strict SET default_transaction_isolation = serializable"
    subprocess.run([*command, setting], check=True, capture_output=True)
    stores = [
        store_from_url(f"postgresql://strict@127.0.0.1:{postgres_server.port}/postgres?timeout=5") for _ in range(3)
    ]
    await asyncio.gather(*(stores[number % 3].add("test:strict", "n", 1, create=True) for number in range(150)))
    assert await stores[0].read("test:strict") == {"n": b"150"}
    for store in stores:
        await store.close()


async def test_a_table_that_is_locked(postgres_server: PostgresServer) -> None:
    """Callers are told within their time, and the server is not left with statements that nobody waits for."""
    import asyncpg

    store = store_from_url(f"{postgres_server.url}?pool_size=4")
    await store.write("test:locked", {"n": b"0"}, create=True)
    admin = await asyncpg.connect(postgres_server.url)
    locked = admin.transaction()
    await locked.start()
    await admin.execute("LOCK TABLE poto_fields IN ACCESS EXCLUSIVE MODE")
    began = time.monotonic()
    while time.monotonic() - began < 2:
        answers = await asyncio.gather(*(store.add("test:locked", "n", 1) for _ in range(20)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}
    others = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'fastapi_poto' AND wait_event_type = 'Lock'"
    )
    assert await admin.fetchval(others) <= 8
    await locked.rollback()
    await admin.close()
    await until_it_writes(store)
    await store.close()
