"""How a session ends, and what is refused to those who come late."""

import asyncio

import pytest

from fastapi_poto.errors import SessionEnded
from fastapi_poto.sessions import SessionManager
from fastapi_poto.stores import Store
from tests.sessions.calls import Counting, Credentials, call_of

pytestmark = pytest.mark.anyio


async def test_clients_name_no_session(store: Store, user_id: str) -> None:
    """Nothing that a client sends says which session is used, and nothing that it gets back tells."""
    sessions = SessionManager(store)
    context = call_of(user_id, headers=[(b"cookie", b"session=session:chosen"), (b"x-session", b"chosen")])
    await sessions.handle(context).set("a", 1)
    assert await sessions.of_user("chosen").all() == {}
    assert await sessions.of_user(user_id).all() == {"a": 1}
    assert context.response_headers == []


async def test_nothing_stays_of_an_ended_session(store: Store, user_id: str) -> None:
    """However often it is ended, no record of a user's sessions is left but the last one's."""
    sessions = SessionManager(store)
    for number in range(3):
        await sessions.of_user(user_id).set("n", number)
        assert len((await store.names(f"session:{user_id}")).names) == 1
        await sessions.end(user_id)
        assert (await store.names(f"session:{user_id}")).names == []


async def test_the_end_of_no_session(sessions: SessionManager, user_id: str) -> None:
    """Ending what was never there makes none, and the next write does."""
    await sessions.end(user_id)
    assert await sessions.handle(call_of(user_id)).all() == {}
    await sessions.handle(call_of(user_id)).set("a", 1)
    assert await sessions.of_user(user_id).all() == {"a": 1}


async def credentials_of(sessions: SessionManager, user_id: str) -> Credentials:
    return Credentials(await sessions.generation(user_id))


async def test_a_slow_writer_beside_an_end(store: Store, user_id: str) -> None:
    """A call that began before the session was ended cannot bring it back, nor write the next one, by any operation."""
    here, elsewhere = SessionManager(store), SessionManager(store)
    old = await credentials_of(here, user_id)
    slow = elsewhere.handle(call_of(user_id, identity=old))
    await slow.set("a", 1)
    untouched = elsewhere.handle(call_of(user_id, identity=old))
    unknowing = elsewhere.handle(call_of(user_id))
    assert await unknowing.get("a") == 1
    await here.end(user_id)
    new = here.handle(call_of(user_id, identity=await credentials_of(here, user_id)))
    for begun in (False, True):
        for session in (slow, untouched, unknowing):
            for operation in (session.set("a", 1), session.increment("n"), session.update("a", lambda value: 2)):
                with pytest.raises(SessionEnded):
                    await operation
            await session.delete("a")
            await session.clear()
            assert await session.all() == {}
        assert await new.all() == ({"b": 2} if begun else {})
        await new.set("b", 2)


async def test_writers_beside_ends(store: Store, user_id: str) -> None:
    """Many writers of a session beside its end: it is empty afterwards, each time, and so is the next one."""
    for round_number in range(5):
        processes = [SessionManager(store) for _ in range(2)]
        identity = await credentials_of(processes[0], user_id)

        async def write(sessions: SessionManager, identity: Credentials) -> None:
            session = sessions.handle(call_of(user_id, identity=identity))
            for step in range(5):
                await session.set(f"k{step}", 1)

        async def end(sessions: SessionManager, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await sessions.end(user_id)

        writers = [write(processes[number % 2], identity) for number in range(6)]
        results = await asyncio.gather(*writers, end(processes[0], 3 * round_number), return_exceptions=True)
        assert [error for error in results if error is not None and not isinstance(error, SessionEnded)] == []
        assert await SessionManager(store).of_user(user_id).all() == {}


async def test_two_who_end_at_once(store: Store, user_id: str) -> None:
    """Two ends of one session in one moment are one end: none takes the session that is written after it."""
    for _ in range(5):
        sessions = [SessionManager(store) for _ in range(3)]
        await sessions[0].of_user(user_id).set("a", 1)
        await asyncio.gather(*(one.end(user_id) for one in sessions))
        assert await sessions[0].of_user(user_id).all() == {}
        await sessions[1].of_user(user_id).set("b", 1)
        assert await sessions[2].of_user(user_id).all() == {"b": 1}


async def test_the_sign_ins_may_be_in_another_store(user_id: str) -> None:
    """Sessions in a store of their own are ended by what the sign-ins' store says."""
    store, sign_ins = Counting(), Counting()
    sessions = SessionManager(store, sign_ins=sign_ins)
    await sessions.of_user(user_id).set("a", 1)
    assert sign_ins.operations == ["read"]
    await sessions.end(user_id)
    assert (await store.names("")).names == []
    assert (await sign_ins.names("")).names == [f"auth:{user_id}"]


@pytest.mark.parametrize("junk", [b"\xff\xfe", b"", b"a:b", b"*"])
async def test_an_unreadable_generation(store: Store, user_id: str, junk: bytes) -> None:
    """A sign-in record that holds junk names an empty session that can be written and ended."""
    await store.write(f"auth:{user_id}", {"session": junk}, create=True)
    session = SessionManager(store).of_user(user_id)
    assert await session.all() == {}
    await session.set("a", 1)
    assert await session.get("a") == 1
    await SessionManager(store).end(user_id)
    assert await session.all() == {}
