"""Push: a room where users talk, an agent that listens to it, and an answer that can be found again and stopped."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import BaseModel, Field

from fastapi_poto import Event, Poto, PotoModule, Topic, rpc
from fastapi_poto.streaming import Member

from .chat import model
from .warehouse import warehouse

Name = Annotated[str, Field(pattern=r"^[a-z]{1,20}$")]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Said(BaseModel):
    sender: str
    text: str


talk = Topic("talk:{room}", Said, keep=200, life=3600)


class Room(PotoModule):
    """A room in which users talk, over all tabs and processes."""

    async def say(self, text: Text, room: Name = "tea") -> None:
        """Say something to everybody in the room."""
        await self.context.runtime.publish(talk(room=room), Said(sender=self.user.id, text=text))

    async def get_talk(self, room: Name = "tea") -> AsyncIterator[Event[Said]]:
        """What was said in the last hour, and what is said from now on."""
        async for event in self.subscribe(talk(room=room), after="start", presence=True):
            yield event

    async def get_people(self, room: Name = "tea") -> list[Member]:
        """Who is in the room, on whatever server."""
        people: list[Member] = await self.context.runtime.who(talk(room=room))
        return people

    @rpc(resumable=True, key="{room}")
    async def answer(
        self, question: Text, room: Name = "tea", delay: Annotated[float, Field(ge=0, le=1)] = 0.1
    ) -> AsyncIterator[str]:
        """Answer at length, word by word. Another tab that asks meanwhile follows; `DELETE /streams/{id}` stops it."""
        said = Said(sender=self.user.id, text=f"asks: {question}")
        await self.context.runtime.publish(talk(room=room), said)
        for _ in range(5):
            async for word in model(question, delay=delay):
                yield word


async def agent(poto: Poto) -> None:
    """Listens to the room in the same process, and says what is on sale when somebody asks for it."""
    async for event in poto.subscribe(talk(room="tea")):
        if "@shop" in event.data.text:
            names = ", ".join(article.name for article in warehouse.articles()[:3])
            await poto.publish(talk(room="tea"), Said(sender="agent", text=f"We have {names}."))


async def keep_listening(poto: Poto) -> None:
    """An agent that starts again where it failed, for as long as the application runs."""
    while True:
        try:
            await agent(poto)
        except Exception:
            await asyncio.sleep(1)
