"""Streams: an answer that comes token by token, as from a language model, and a download in chunks."""

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from fastapi_poto import PotoError, PotoModule, rpc


class Token(BaseModel):
    """A piece of the answer."""

    type: Literal["token"] = "token"
    text: str


class Finished(BaseModel):
    """The last item of an answer."""

    type: Literal["finished"] = "finished"
    tokens: int
    stopped_by: Literal["end", "length"]


class Message(BaseModel):
    role: Literal["user", "assistant"]
    text: str
    at: datetime


class ContentRefused(PotoError):
    """The model will not answer that."""

    code = "content_refused"
    status = 422


class Chat(PotoModule):
    """A conversation with something that answers like a language model."""

    @rpc(errors=[ContentRefused])
    async def ask(
        self,
        question: Annotated[str, Field(max_length=200, examples=["Which tea is best in the morning?"])],
        max_tokens: Annotated[int, Field(ge=1, le=500)] = 100,
        delay: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.03,
    ) -> AsyncIterator[Annotated[Token | Finished, Field(discriminator="type")]]:
        """Answer, token by token.

        Args:
            question: What to answer. A question about passwords is refused.
            max_tokens: Stop after so many.
            delay: Seconds that the model thinks about each token.
        """
        if "password" in question.lower():
            raise ContentRefused  # before the first item: a plain 422 answer, no stream
        await self._keep(Message(role="user", text=question, at=datetime.now(UTC)))
        said: list[str] = []
        try:
            async for text in model(question, delay=delay):
                if len(said) == max_tokens:
                    break
                said.append(text)
                yield Token(text=text)
            else:
                yield Finished(tokens=len(said), stopped_by="end")
                return
            yield Finished(tokens=len(said), stopped_by="length")
        finally:
            # Also when the reader has left in the middle: what was said is kept.
            await self._keep(Message(role="assistant", text="".join(said), at=datetime.now(UTC)))

    async def get_history(self) -> list[Message]:
        """The conversation so far."""
        history: list[Message] = await self.session.get("history", [])
        return history

    async def delete_history(self) -> None:
        """Forget the conversation."""
        await self.session.delete("history")

    @rpc(media_type="text/plain")
    async def download(self) -> AsyncIterator[bytes]:
        """The conversation as a text file, in chunks."""
        for message in await self.get_history():
            yield f"[{message.at:%H:%M:%S}] {message.role}: {message.text}\n".encode()

    async def _keep(self, message: Message) -> None:
        # A session keeps models and dates as they are.
        await self.session.update("history", lambda history: [*history, message][-30:], [])


async def model(question: str, *, delay: float) -> AsyncIterator[str]:
    """Stands for a client of a language model: words and the blanks between them, one at a time."""
    words = re.findall(r"\w+", question.lower())
    longest = max(words, key=len, default="nothing")
    answer = f"You asked with {len(words)} words, and the longest of them is “{longest}”. What else about {longest}?"
    for text in re.findall(r"\s*\S+", answer):
        await asyncio.sleep(delay)
        yield text
