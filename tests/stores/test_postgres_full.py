"""A PostgreSQL whose disk is full, and has room again."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from fastapi_poto.errors import Unavailable
from fastapi_poto.stores import store_from_url
from tests.servers import PostgresServer
from tests.stores.workload import until_it_writes

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.deployments,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk"),
]


def mount(disk: Path, size: str, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join([*options, f"size={size}"]), "tmpfs", disk], check=True)


@pytest.fixture
def disk() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="disk-"))
    mount(path, "60m")
    path.chmod(0o755)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()


@pytest.fixture
def server(tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresServer]:
    """Its tables are on the small disk, its log is not: without room for that PostgreSQL itself stops."""
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    made = PostgresServer(tmp_path)
    monkeypatch.undo()
    log = Path(tempfile.mkdtemp(prefix="wal-"))
    within = made.data / "pg_wal"
    owner = within.stat()
    shutil.copytree(within, log, dirs_exist_ok=True)
    shutil.rmtree(within)
    within.symlink_to(log)
    for path in (log, *log.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    log.chmod(0o700)
    with made:
        yield made
    shutil.rmtree(log)


async def test_a_full_disk(server: PostgresServer, disk: Path) -> None:
    """What has no room is refused as what may be tried later, what is there is read, and writing goes on by itself."""
    store = store_from_url(server.url)
    await store.write("kept", {"a": b"1"}, create=True)
    filler = await asyncpg.connect(server.url)
    await filler.execute("CREATE TABLE filler (t text); ALTER TABLE filler ALTER t SET STORAGE EXTERNAL")
    with pytest.raises(asyncpg.DiskFullError):
        while True:
            await filler.execute(
                "INSERT INTO filler SELECT repeat(md5(random()::text), 3000) FROM generate_series(1, 20)"
            )
    await filler.close()
    value = os.urandom(60_000)
    for number in range(5):
        with pytest.raises(Unavailable):
            await store.write(f"large:{number}", {"a": value}, create=True)
        assert await store.read("kept") == {"a": b"1"}
    mount(disk, "120m", "remount")
    await until_it_writes(store)
    assert await store.write("large", {"a": value}, create=True)
    await store.close()
