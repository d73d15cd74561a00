"""Behind PgBouncer: in session mode notifications arrive, in transaction mode they do not, and that is noticed."""

import asyncio
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastapi_poto.stores import Entry, store_from_url
from fastapi_poto.streaming.tails import NOW, Tails
from tests.servers import PostgresServer, Server, find_program

pytestmark = pytest.mark.anyio


class PgBouncer(Server):
    """Debian's pgbouncer before a server, in one of its pool modes."""

    def __init__(self, folder: Path, postgres: PostgresServer, mode: str) -> None:
        super().__init__(folder)
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        (folder / "users.txt").write_text('"postgres" ""\n')
        (folder / "pgbouncer.ini").write_text(f"""
[databases]
postgres = host=127.0.0.1 port={postgres.port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
auth_type = any
auth_file = {folder}/users.txt
pool_mode = {mode}
unix_socket_dir =
ignore_startup_parameters = extra_float_digits,search_path
""")

    def command(self) -> list[str]:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return [find_program("pgbouncer"), *user, str(self.folder / "pgbouncer.ini")]


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.mark.parametrize("mode", ["session", "transaction"])
async def test_both_modes(
    mode: str, postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is published is heard in either; a warning says once that it takes a look every 50 ms."""
    if os.geteuid() == 0:  # it refuses to run as root, and pytest's folders are closed to others
        for folder in (tmp_path, *tmp_path.parents):
            if folder.name.startswith(("pytest", "popen", "test")):
                folder.chmod(0o755)
    with PgBouncer(tmp_path, postgres, mode) as bouncer, caplog.at_level(logging.WARNING):
        mine, other = (store_from_url(f"{bouncer.url}?timeout=5") for _ in range(2))
        tails = Tails(mine.log)
        reader = tails.reader(f"bouncer:{mode}")
        await reader.begin(NOW)
        await asyncio.sleep(0.3)
        for number in range(5):
            await other.log.append([Entry(key=f"bouncer:{mode}", events=[b"%d" % number])])
            async with asyncio.timeout(1.0):
                step = await reader.step()
            assert [event for _, event in step.events] == [b"%d" % number]
        if mode == "transaction":
            async with asyncio.timeout(10):
                while "PgBouncer" not in caplog.text:
                    await asyncio.sleep(0.05)
        reader.close()
        await tails.close()
        await mine.close()
        await other.close()
    told = [record for record in caplog.records if "PgBouncer" in record.getMessage()]
    assert len(told) == (mode == "transaction")
