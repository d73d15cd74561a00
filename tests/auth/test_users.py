"""One contract for every provider of users: those in a store, on each kind of store, and that of the docs."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from fastapi_poto.auth import StoreUsers
from fastapi_poto.auth.users import new_user_id, new_visitor_id
from fastapi_poto.errors import NotFound, UsernameTaken
from fastapi_poto.stores import store_from_url
from fastapi_poto.stores.memory import MemoryStore
from fastapi_poto.users import Account, User, UserProvider
from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with RedisServer(tmp_path_factory.mktemp("redis"), durable=False) as server:
        yield server.url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with PostgresServer(tmp_path_factory.mktemp("postgres")) as server:
        yield server.url


STORES = ["memory", "sqlite", "postgres", "redis"]


@asynccontextmanager
async def documented(folder: Path) -> AsyncIterator[UserProvider]:
    """The provider that docs/auth.md shows, over SQLAlchemy."""
    page = (Path(__file__).parents[2] / "docs" / "auth.md").read_text()
    module = ModuleType("documented_users")
    sys.modules[module.__name__] = module
    exec(page.split("<!-- file: users.py -->\n```python\n")[1].split("```")[0], module.__dict__)
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder}/people.db")
    async with engine.begin() as connection:
        await connection.run_sync(module.Base.metadata.create_all)
    yield module.SqlUsers(async_sessionmaker(engine, expire_on_commit=False))
    await engine.dispose()


@pytest.fixture(params=[*STORES, "documented"])
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UserProvider]:
    """Any provider: what the protocol promises."""
    async with opened(request, tmp_path) as made:
        yield made


@pytest.fixture(params=STORES)
async def users(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreUsers]:
    """Those of the package, which can do more."""
    async with opened(request, tmp_path) as made:
        assert isinstance(made, StoreUsers)
        yield made


@asynccontextmanager
async def opened(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[UserProvider]:
    kind = request.param
    if kind == "documented":
        async with documented(folder) as made:
            yield made
    else:
        urls = {"memory": "memory://", "sqlite": f"sqlite:///{folder}/users.db"}
        store = store_from_url(urls.get(kind) or request.getfixturevalue(f"{kind}_url"))
        await store.open()
        yield StoreUsers(store)
        await store.close()


def named(name: str, *roles: str) -> Account:
    return Account(User(new_user_id(), frozenset(roles), name=name), f"hash of {name}")


def unique(name: str) -> str:
    """Redis and PostgreSQL keep what earlier tests left."""
    return name + new_user_id()[5:]


async def test_it_is_a_provider(provider: UserProvider) -> None:
    """The protocol holds."""
    assert isinstance(provider, UserProvider)
    account = named(unique("ann"), "admin", "reader")
    await provider.add(account)
    assert await provider.get(account.user.id) == account.user
    assert await provider.find(account.user.name or "") == account
    assert await provider.get("user_nobody") is None
    assert await provider.find("nobody") is None


async def test_an_account_comes_back_as_it_was(users: StoreUsers) -> None:
    """By id for a call, by name for a sign-in; letter case and Unicode's spellings are one name."""
    name = unique("Ünï Çode ﬁ")
    account = named(name, "admin", "täster")
    await users.add(account)
    assert await users.get(account.user.id) == account.user
    assert await users.find(name) == account
    assert await users.find(name.upper()) == account
    assert await users.find(name.replace("ﬁ", "fi")) == account
    assert await users.get("user_nobody") is None
    assert await users.find("nobody" + name) is None


async def test_a_visitor_signs_in_under_its_id(provider: UserProvider) -> None:
    """A visitor has no name; a named user is not found by its id."""
    visitor = Account(User(new_visitor_id(), visitor=True), "sha256$x")
    ann = named(unique("ann"))
    await provider.add(visitor)
    await provider.add(ann)
    assert await provider.find(visitor.user.id) == visitor
    assert await provider.get(visitor.user.id) == visitor.user
    assert await provider.find(ann.user.id) is None


async def claim_at_once(provider: UserProvider, names: list[str]) -> None:
    wanting = [named(name) for name in names]
    results = await asyncio.gather(*(provider.add(account) for account in wanting), return_exceptions=True)
    assert [type(result) for result in results].count(UsernameTaken) == len(names) - 1
    assert await provider.find(names[0]) in wanting
    for account, result in zip(wanting, results, strict=True):
        assert (await provider.get(account.user.id) is None) is isinstance(result, UsernameTaken)


async def test_of_many_who_want_a_name_at_once_one_gets_it(users: StoreUsers) -> None:
    """A name is claimed atomically, in whatever letter case, and who is refused leaves nothing behind."""
    name = unique("ann")
    await claim_at_once(users, [name if n % 2 else name.upper() for n in range(10)])


async def test_of_many_who_want_one_name_at_once_one_gets_it(provider: UserProvider) -> None:
    """The same for any provider, of names that are spelled the same."""
    await claim_at_once(provider, [unique("ann")] * 10)


async def test_of_many_visitors_who_want_a_name_at_once_one_gets_it(provider: UserProvider) -> None:
    """The same for upgrades; the others stay visitors and can take another name."""
    name = unique("ann")
    visitors = [Account(User(new_visitor_id(), visitor=True), "sha256$x") for _ in range(6)]
    for visitor in visitors:
        await provider.add(visitor)
    wishes = (provider.set_credentials(one.user.id, name, "argon", old_hash="sha256$x") for one in visitors)
    results = await asyncio.gather(*wishes, return_exceptions=True)
    assert [result for result in results if not isinstance(result, UsernameTaken)] == [True]
    found = await provider.find(name)
    assert found is not None
    assert found.user == User(found.user.id, name=name)
    for visitor in visitors:
        if visitor.user.id == found.user.id:
            assert await provider.find(visitor.user.id) is None
        else:
            assert await provider.get(visitor.user.id) == visitor.user
            assert await provider.set_credentials(visitor.user.id, unique("else"), "argon", old_hash="sha256$x")


async def test_credentials_are_compared_and_set(provider: UserProvider) -> None:
    """Who was overtaken changes nothing: neither hash nor name, and claims no name."""
    old, new = unique("ann"), unique("beth")
    ann = named(old)
    await provider.add(ann)
    assert not await provider.set_credentials(ann.user.id, new, "x", old_hash="another hash")
    assert await provider.find(old) == ann
    assert await provider.find(new) is None
    await provider.add(named(new))
    with pytest.raises(UsernameTaken):
        await provider.set_credentials(ann.user.id, new, "x", old_hash=ann.password_hash)
    assert await provider.find(old) == ann
    assert not await provider.set_credentials("user_nobody", unique("zoe"), "x", old_hash=None)
    changes = (provider.set_credentials(ann.user.id, old, f"hash {n}", old_hash=ann.password_hash) for n in range(5))
    assert (await asyncio.gather(*changes)).count(True) == 1


async def test_who_asks_twice_for_a_name_keeps_it(provider: UserProvider) -> None:
    """A double click: one of the two is overtaken, and does not free the name that the other one took."""
    name = unique("ann")
    visitor = Account(User(new_visitor_id(), visitor=True), "sha256$x")
    await provider.add(visitor)
    clicks = (provider.set_credentials(visitor.user.id, name, f"hash {n}", old_hash="sha256$x") for n in range(6))
    assert (await asyncio.gather(*clicks)).count(True) == 1
    found = await provider.find(name)
    assert found is not None
    assert found.user == User(visitor.user.id, name=name)
    with pytest.raises(UsernameTaken):
        await provider.add(named(name))


async def test_a_changed_name_is_free_again(provider: UserProvider) -> None:
    """After a change of name the old one belongs to nobody."""
    old, new = unique("ann"), unique("beth")
    ann = named(old, "admin")
    await provider.add(ann)
    assert await provider.set_credentials(ann.user.id, new, "other", old_hash=ann.password_hash)
    assert await provider.find(old) is None
    found = await provider.find(new)
    assert found == Account(User(ann.user.id, frozenset({"admin"}), name=new), "other")
    await provider.add(named(old))


async def test_a_removed_user_is_gone_and_the_name_free(provider: UserProvider) -> None:
    """Removing is at once, and may be repeated."""
    name = unique("ann")
    ann = named(name)
    await provider.add(ann)
    await provider.remove(ann.user.id)
    await provider.remove(ann.user.id)
    assert await provider.get(ann.user.id) is None
    assert await provider.find(name) is None
    if isinstance(provider, StoreUsers):
        with pytest.raises(NotFound):
            await provider.set_roles(ann.user.id, ["admin"])
    other = named(name)
    await provider.add(other)
    assert await provider.find(name) == other


async def test_disabled_users_are_found_but_not_got(users: StoreUsers) -> None:
    """Signing in can tell a disabled account, a call cannot be made with it; and back again."""
    name = unique("ann")
    ann = named(name)
    await users.add(ann)
    await users.set_disabled(ann.user.id)
    assert await users.get(ann.user.id) is None
    found = await users.find(name)
    assert found is not None
    assert found.disabled
    await users.set_roles(ann.user.id, ["admin"])
    await users.set_disabled(ann.user.id, False)
    assert await users.get(ann.user.id) == User(ann.user.id, frozenset({"admin"}), name=name)


async def test_bytes_that_spell_no_account_sign_nobody_in() -> None:
    """Threat 28: what does not parse is no user."""
    store = MemoryStore()
    users = StoreUsers(store)
    for junk in (b"", b"{", b"[]", b"null", b"5", b"\xff", b'{"hash":1', b"\x80\x04]", b'{"name": "x"}'):
        await store.write("user:u1", {"login": junk}, create=True)
        assert await users.get("u1") is None
    await store.write("user:u1", {"login": b'{"hash":"x"}', "roles": b"{{"}, create=True)
    assert await users.get("u1") is None
    await store.write("name:ann", {"id": b"\xff\xfe"}, create=True)
    assert await users.find("ann") is None


async def test_another_process_is_seen_at_once() -> None:
    """What one provider parsed before does not hide what another changed."""
    store = MemoryStore()
    here, there = StoreUsers(store), StoreUsers(store)
    ann = named("ann", "admin")
    await here.add(ann)
    assert await here.get(ann.user.id) == ann.user
    await there.set_roles(ann.user.id, ["reader"])
    assert await here.get(ann.user.id) == User(ann.user.id, frozenset({"reader"}), name="ann")
    await there.remove(ann.user.id)
    assert await here.get(ann.user.id) is None
