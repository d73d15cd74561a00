"""Modules that publish, subscribe, run long and are stopped."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta

from fastapi import FastAPI
from pydantic import BaseModel

from fastapi_poto import Event, Poto, PotoModule, Topic, poto_router, public, rpc
from fastapi_poto.errors import Conflict
from fastapi_poto.streaming import Member, PresenceChange
from tests.secret import SECRET


class Notice(BaseModel):
    text: str


class Tick(BaseModel):
    number: int


inbox = Topic("inbox:{user}", Notice, keep=100, life=300)
room = Topic("room:{name}", Notice)
small = Topic("small:{name}", Notice, keep=3)
ticks = Topic("ticks", Tick)


class Push(PotoModule):
    """What users say to each other."""

    poto: Poto

    async def post_notice(self, to: str, text: str) -> str:
        return await self.context.runtime.publish(inbox(user=to), Notice(text=text))

    async def get_notices(self) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(inbox(user=self.user.id)):
            yield event

    async def get_shouted(self) -> AsyncIterator[Event[str]]:
        async for event in self.subscribe(inbox(user=self.user.id)):
            yield event.map(lambda notice: notice.text.upper())

    async def get_since(self, seconds: float) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(inbox(user=self.user.id), after=timedelta(seconds=seconds)):
            yield event

    async def get_all(self, name: str) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(room(name=name), after="start"):
            yield event

    async def get_both(self) -> AsyncIterator[Event[Notice | Tick]]:
        async for event in self.subscribe(inbox(user=self.user.id), ticks()):
            yield event

    async def get_small(self, name: str, policy: str) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(small(name=name), policy=policy):  # type: ignore[arg-type]
            yield event

    async def get_room(self, name: str) -> AsyncIterator[Event[Notice]]:
        async for event in self.subscribe(room(name=name), presence=True):
            yield event

    async def who(self, name: str) -> list[str]:
        members: list[Member] = await self.context.runtime.who(room(name=name))
        return sorted(f"{member.user} {member.connections}" for member in members)

    async def get_presence(self, name: str) -> AsyncIterator[PresenceChange]:
        async for change in self.watch_presence(room(name=name)):
            yield change


@public
class Work(PotoModule):
    """What runs long."""

    runs: dict[str, list[str]] = {}

    @rpc(resumable=True)
    async def get_count(self, tag: str, pause: float = 0.02, count: int = 1000) -> AsyncIterator[int]:
        notes = self.runs.setdefault(tag, [])
        notes.append("started")
        try:
            for number in range(1, count + 1):
                yield number
                await asyncio.sleep(pause)
        finally:
            notes.append("closed")

    @rpc(resumable=True, key="chat:{chat}")
    async def answer(self, chat: str, pause: float = 0.02, count: int = 20) -> AsyncIterator[int]:
        notes = self.runs.setdefault(chat, [])
        notes.append("started")
        try:
            for number in range(1, count + 1):
                yield number
                await asyncio.sleep(pause)
        finally:
            notes.append("closed")

    async def get_notes(self, tag: str) -> list[str]:
        return self.runs.get(tag, [])


class Broken(PotoModule):
    """Its instances cannot be made."""

    def __init__(self) -> None:
        raise Conflict("not today")

    @rpc(resumable=True, key="broken")
    async def get_count(self) -> AsyncIterator[int]:
        yield 1


def make_app(store: str = "memory://", **options: object) -> FastAPI:
    app = FastAPI()
    app.state.poto = Poto(SECRET, store=store, **options)  # type: ignore[arg-type]
    app.include_router(poto_router(Push, Work, Broken, poto=app.state.poto))
    return app


def make_stored_app() -> FastAPI:
    options = json.loads(os.environ.get("TEST_OPTIONS", "{}"))
    return make_app(os.environ["TEST_STORE"], visitors_per_hour=None, **options)
