"""What is published reaches whoever subscribes, in every process, once and in order."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest

from fastapi_poto import Channel, Poto, PotoError, Topic
from fastapi_poto.errors import BadRequest, ConfigurationError, PastReplay, TooLarge
from fastapi_poto.testing import LiveApp, serve
from tests.processes import LiveProcess, serve_processes
from tests.push.apps import Notice, Tick, inbox, make_app, room, small, ticks
from tests.push.conftest import sign_in
from tests.push.listener import Listener
from tests.secret import SECRET


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    with serve(make_app(visitors_per_hour=None)) as server:
        yield server


def post(url: str, headers: dict[str, str], to: str, text: str) -> str:
    response = httpx.post(f"{url}/Push/notice", json={"to": to, "text": text}, headers=headers)
    answer: str = response.raise_for_status().json()
    return answer


def test_a_notice_reaches_its_user(live: LiveApp) -> None:
    """The first frame has an id at once; what is published comes with its id, to the user it is for alone."""
    ada, hers = sign_in(live.url)
    bob, his = sign_in(live.url)
    listening = Listener(live.url, "/Push/notices", hers).opened()
    other = Listener(live.url, "/Push/notices", his).opened()
    assert len(listening.events[0].id) == 16
    number = post(live.url, his, ada, "hi")
    post(live.url, hers, bob, "you too")
    assert listening.wait(1) == [{"text": "hi"}]
    assert other.wait(1) == [{"text": "you too"}]
    assert listening.last_id == number


def test_two_processes(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """Published in one process, heard in the other and in the first, in order, once."""
    one, other = pair
    ada, hers = sign_in(one.url)
    listeners = [Listener(server.url, "/Push/notices", hers).opened() for server in pair]
    for number in range(30):
        post((one, other)[number % 2].url, hers, ada, str(number))
    for listener in listeners:
        assert listener.wait(30) == [{"text": str(number)} for number in range(30)]


def test_a_client_that_comes_back_misses_nothing(pair: tuple[LiveProcess, LiveProcess]) -> None:
    """It sends the id it had last, to whatever process, also if that came before any event."""
    one, other = pair
    ada, hers = sign_in(one.url)
    listener = Listener(one.url, "/Push/notices", hers).opened()
    first = listener.last_id
    post(one.url, hers, ada, "1")
    listener.wait(1)
    last = listener.last_id
    post(one.url, hers, ada, "2")
    post(other.url, hers, ada, "3")
    again = Listener(other.url, "/Push/notices", {**hers, "Last-Event-ID": last})
    assert again.wait(2) == [{"text": "2"}, {"text": "3"}]
    from_the_start = Listener(other.url, "/Push/notices", {**hers, "Last-Event-ID": first})
    assert from_the_start.wait(3) == [{"text": "1"}, {"text": "2"}, {"text": "3"}]


def test_a_subscribers_process_is_killed(store_url: str) -> None:
    """kill -9 while others publish: the client goes on at another process with its last id, and misses nothing."""
    servers = serve_processes("tests.push.apps:make_stored_app", 2, factory=True, env={"TEST_STORE": store_url})
    with servers as (one, other):
        ada, hers = sign_in(other.url)
        listener = Listener(one.url, "/Push/notices", hers).opened()
        for number in range(60):
            post(other.url, hers, ada, str(number))
            if number == 30:
                listener.wait(10)
                one.kill()
        before = listener.cut_off()
        again = Listener(other.url, "/Push/notices", {**hers, "Last-Event-ID": listener.last_id})
        assert before + again.wait(60 - len(before)) == [{"text": str(number)} for number in range(60)]


def test_an_event_that_is_changed_keeps_its_id(live: LiveApp) -> None:
    """`map` changes the data alone."""
    ada, hers = sign_in(live.url)
    listener = Listener(live.url, "/Push/shouted", hers).opened()
    number = post(live.url, hers, ada, "hi")
    assert listener.wait(1) == ["HI"]
    assert listener.last_id == number


def test_after_a_time_and_from_the_start(live: LiveApp) -> None:
    """A subscription may begin in the past, as far as events are kept."""
    ada, hers = sign_in(live.url)
    for text in ("1", "2"):
        post(live.url, hers, ada, text)
    assert Listener(live.url, "/Push/since?seconds=60", hers).wait(2) == [{"text": "1"}, {"text": "2"}]
    poto: Poto = live.app.state.poto
    time.sleep(0.01)

    async def say() -> None:
        for text in ("a", "b"):
            await poto.publish(room(name="start"), Notice(text=text))

    live.run(say())
    assert Listener(live.url, "/Push/all?name=start", hers).wait(2) == [{"text": "a"}, {"text": "b"}]


def test_several_topics_in_one_stream(live: LiveApp) -> None:
    """Their ids are one: a client that comes back goes on with all of them."""
    ada, hers = sign_in(live.url)
    poto: Poto = live.app.state.poto
    listener = Listener(live.url, "/Push/both", hers).opened()
    live.run(poto.publish(ticks(), Tick(number=1)))
    post(live.url, hers, ada, "hi")
    assert sorted(map(str, listener.wait(2))) == ["{'number': 1}", "{'text': 'hi'}"]
    last = listener.last_id
    assert len(last) == 33
    live.run(poto.publish(ticks(), Tick(number=2)))
    again = Listener(live.url, "/Push/both", {**hers, "Last-Event-ID": last})
    assert again.wait(1) == [{"number": 2}]


@pytest.mark.parametrize("last", ["7", "nonsense", "1" * 16 + "_" + "2" * 16, "0" * 15])
def test_ids_that_are_none_are_refused(live: LiveApp, last: str) -> None:
    """409, never a silent beginning."""
    _, hers = sign_in(live.url)
    response = httpx.get(f"{live.url}/Push/notices", headers={**hers, "Last-Event-ID": last})
    assert (response.status_code, response.json()["code"]) == (409, "past_replay")


@pytest.mark.parametrize(("policy", "kept"), [("gap", ["7", "8", "9", "now"]), ("latest", ["now"]), ("fail", [])])
def test_what_was_lost_is_said(live: LiveApp, policy: str, kept: list[str]) -> None:
    """A client that was away for longer than events are kept hears so, whatever it gets then."""
    _, hers = sign_in(live.url)
    poto: Poto = live.app.state.poto
    name = f"{policy}-{time.monotonic_ns()}"
    first = live.run(poto.publish(small(name=name), Notice(text="0")))
    for number in range(1, 10):
        live.run(poto.publish(small(name=name), Notice(text=str(number))))
    path = f"/Push/small?name={name}&policy={policy}"
    listener = Listener(live.url, path, {**hers, "Last-Event-ID": first})
    if not kept:
        deadline = time.monotonic() + 10
        while listener.failure is None and not listener.named("error") and time.monotonic() < deadline:
            time.sleep(0.01)
        told = listener.failure[1] if listener.failure else json.loads(listener.named("error")[0].data)["$error"]
        assert told["code"] == "past_replay"
        return
    assert listener.wait(1, "gap") == [{"after": first}]
    live.run(poto.publish(small(name=name), Notice(text="now")))
    assert [one["text"] for one in listener.wait(len(kept))] == kept


def test_a_wrong_model_is_an_error(live: LiveApp) -> None:
    """At run time as well as for type checkers; so is an event that is too large, and a name that is none."""
    poto: Poto = live.app.state.poto
    with pytest.raises(TypeError, match="Notice"):
        live.run(poto.publish(inbox(user="ada"), Tick(number=1)))  # type: ignore[type-var]
    with pytest.raises(TypeError):
        live.run(poto.publish(inbox(user="ada"), {"text": "hi"}))  # type: ignore[type-var]
    with pytest.raises(TooLarge):
        live.run(poto.publish(inbox(user="ada"), Notice(text="x" * 70_000)))
    with pytest.raises(TypeError, match="takes user, not usr"):
        inbox(usr="ada")
    with pytest.raises(TypeError, match="takes user, not no names"):
        inbox()
    with pytest.raises(BadRequest):
        inbox(user="")
    with pytest.raises(ConfigurationError):
        Topic("inbox:{}", Notice)
    with pytest.raises(ConfigurationError):
        Topic("inbox:{user", Notice)


def test_a_union(live: LiveApp) -> None:
    """A topic of several kinds of events takes and gives each of them."""
    poto: Poto = live.app.state.poto
    either: Topic[Notice | Tick] = Topic("either", Notice | Tick)

    async def heard() -> list[Any]:
        await poto.publish(either(), Tick(number=1))
        await poto.publish(either(), Notice(text="hi"))
        events = poto.subscribe(either(), after="start")
        return [(await anext(events)).data, (await anext(events)).data]

    assert live.run(heard()) == [Tick(number=1), Notice(text="hi")]


def test_a_topic_is_no_channel(live: LiveApp) -> None:
    """Who forgets to call it is told so, wherever a channel is taken."""
    poto: Poto = live.app.state.poto
    topic: Any = inbox
    said = r"Topic\('inbox:\{user\}'\) is no channel. Call its topic"
    with pytest.raises(TypeError, match=said):
        live.run(poto.publish(topic, Notice(text="hi")))
    with pytest.raises(TypeError, match=said):
        live.run(poto.who(topic))
    with pytest.raises(TypeError, match=said):
        live.run(anext(poto.subscribe(topic)))


def test_no_value_names_another_channel() -> None:
    """Whatever stands in a value, it is one value of its own topic."""
    topic = Topic("a:{one}:{two}", Notice)
    names = {topic(one=one, two=two).key for one in ("x", "x:y", "", "é")[:2] for two in ("z", "y:z")}
    assert len(names) == 4
    assert isinstance(topic(one=1, two="/"), Channel)


def test_a_job_outside_any_call(live: LiveApp) -> None:
    """An agent of the application subscribes, and answers what users say."""
    poto: Poto = live.app.state.poto

    async def agent() -> None:
        async for event in poto.subscribe(room(name="agent"), after=timedelta(seconds=60)):
            if event.data.text == "ping":
                await poto.publish(room(name="agent"), Notice(text="pong"))
                return

    async def both() -> list[str]:
        heard: list[str] = []
        answering = asyncio.create_task(agent())
        await poto.publish(room(name="agent"), Notice(text="ping"))
        events: AsyncIterator[Any] = poto.subscribe(room(name="agent"), after="start")
        async for event in events:
            heard.append(event.data.text)
            if event.data.text == "pong":
                break
        await answering
        return heard

    assert live.run(both()) == ["ping", "pong"]


def test_a_slow_reader_costs_no_one_else(live: LiveApp) -> None:
    """One that does not read at all keeps nobody from hearing, and holds no queue."""
    ada, hers = sign_in(live.url)
    poto: Poto = live.app.state.poto
    with httpx.Client(timeout=20) as client, client.stream("GET", f"{live.url}/Push/notices", headers=hers):
        listener = Listener(live.url, "/Push/notices", hers).opened()
        for number in range(300):
            live.run(poto.publish(inbox(user=ada), Notice(text=f"{number} " + "x" * 1000)))
        assert [one["text"].split()[0] for one in listener.wait(300)] == [str(number) for number in range(300)]


def test_subscriptions_are_limited() -> None:
    """The one past the limit is 429, which says whose limit it is; a closed one makes room."""
    with serve(make_app(subscriptions_per_user=2, subscriptions_per_address=None)) as server:
        _, hers = sign_in(server.url)
        _, his = sign_in(server.url)
        with httpx.Client(timeout=10) as client:
            with ExitStack() as open_streams:
                for _ in range(2):
                    stream = client.stream("GET", f"{server.url}/Push/notices", headers=hers)
                    assert open_streams.enter_context(stream).status_code == 200
                refused = httpx.get(f"{server.url}/Push/notices", headers=hers)
                assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
                assert "This user has 2" in refused.json()["detail"]
                assert "retry-after" in refused.headers
                with client.stream("GET", f"{server.url}/Push/notices", headers=his) as other:
                    assert other.status_code == 200
            deadline = time.monotonic() + 10
            status = 429
            while status == 429 and time.monotonic() < deadline:
                with client.stream("GET", f"{server.url}/Push/notices", headers=hers) as again:
                    status = again.status_code
            assert status == 200


def test_an_event_dies(live: LiveApp) -> None:
    """After its life it is not given to anybody."""
    brief = Topic("brief:{name}", Notice, life=0.05)
    poto: Poto = live.app.state.poto

    async def kept() -> int:
        await poto.publish(brief(name="x"), Notice(text="old"))
        await asyncio.sleep(0.1)
        await poto.publish(brief(name="x"), Notice(text="new"))
        async for event in poto.subscribe(brief(name="x"), after="start"):
            return len(event.data.text) if event.data.text == "new" else -1
        return 0

    assert live.run(kept()) == 3


def test_poto_without_a_server_publishes() -> None:
    """A job of its own process needs no router."""

    async def job() -> str:
        poto = Poto(SECRET)
        try:
            return await poto.publish(room(name="x"), Notice(text="done"))
        finally:
            await poto.close()

    assert len(asyncio.run(job())) == 16


def test_a_gap_outside_a_stream_is_an_error() -> None:
    """Code has no client to be told: it gets the exception."""

    async def late() -> None:
        poto = Poto(SECRET)
        try:
            first = await poto.publish(small(name="x"), Notice(text="0"))
            for number in range(5):
                await poto.publish(small(name="x"), Notice(text=str(number)))
            async for _ in poto.subscribe(small(name="x"), after=first):
                raise AssertionError("the first event is gone")
        finally:
            await poto.close()

    with pytest.raises(PastReplay) as raised:
        asyncio.run(late())
    assert isinstance(raised.value, PotoError)
