"""The app that the end-to-end suites call: what clients of the original framework relied on, one module a subject."""

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, Literal

from fastapi import Body, FastAPI, Request
from pydantic import BaseModel, Field

from fastapi_poto import PotoError, PotoModule, current_context, poto_router, public, rpc

from .types_module import Kept, Types


class Who(PotoModule):
    """Who calls, asked in every way that code can ask."""

    async def me(self, pause: float = 0) -> str:
        before = self.user.id
        await asyncio.sleep(pause)
        assert before == self.user.id == current_context().user.id  # type: ignore[union-attr]
        return self.user.id

    def me_in_thread(self) -> str:
        assert threading.current_thread() is not threading.main_thread()
        return current_context().user.id  # type: ignore[union-attr]

    @public
    async def anybody(self, pause: float = 0) -> str | None:
        await asyncio.sleep(pause)
        user = current_context().user
        assert user == self.get_current_user()
        return user.id if user else None

    async def everywhere(self) -> list[str]:
        """The caller as a task, a task group, a thread and plain code see them."""

        async def ask() -> str:
            await asyncio.sleep(0)
            return current_context().user.id  # type: ignore[union-attr]

        def ask_blocking() -> str:
            return current_context().user.id  # type: ignore[union-attr]

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()) for _ in range(3)]
        return [await ask(), *(task.result() for task in tasks), await asyncio.to_thread(ask_blocking)]

    async def names(self, count: int = 3, pause: float = 0) -> AsyncIterator[str]:
        for _ in range(count):
            await asyncio.sleep(pause)
            yield current_context().user.id  # type: ignore[union-attr]

    def names_from_thread(self, count: int = 3) -> Iterator[str]:
        for _ in range(count):
            yield current_context().user.id  # type: ignore[union-attr]

    async def upload(self, text: str) -> tuple[str, int]:
        return self.user.id, len(text)


class Keep(PotoModule):
    """What a user keeps."""

    async def set(self, key: str, value: Any, pause: float = 0) -> None:
        await asyncio.sleep(pause)
        await self.set_session_value(key, value)

    async def value(self, key: str) -> Any:
        return await self.get_session_value(key)

    async def get_all(self) -> dict[str, Any]:
        return await self.session.all()

    async def add(self, key: str, by: int = 1) -> int:
        return await self.session.increment(key, by=by)

    async def append(self, key: str, item: int) -> list[int]:
        done: list[int] = await self.session.update(key, lambda items: [*items, item], [])
        return done

    async def delete(self, key: str) -> None:
        await self.session.delete(key)

    async def clear(self) -> None:
        await self.session.clear()

    async def count_up(self, key: str, count: int) -> AsyncIterator[int]:
        for _ in range(count):
            yield await self.session.increment(key)


class QuotaData(BaseModel):
    limit: int


class QuotaExceeded(PotoError):
    """The quota is used up."""

    code = "quota_exceeded"
    status = 429
    data: QuotaData


class Verbs(PotoModule):
    """One method a verb, and every kind of answer."""

    async def get_item(self, number: int, tags: Annotated[list[str] | None, Field(description="Any")] = None) -> str:
        return f"got {number} {tags}"

    async def post_item(self, number: int) -> str:
        return f"posted {number}"

    async def put_item(self, number: int, name: str = "nameless") -> str:
        return f"put {number} {name}"

    async def patch_item(self, number: int) -> str:
        return f"patched {number}"

    async def delete_item(self, number: int) -> str:
        return f"deleted {number}"

    async def plain(self, left: int, right: int = 2) -> int:
        return left + right

    async def nothing(self) -> None: ...

    @rpc(method="PUT", path="renamed-over-the-wire")
    async def renamed(self) -> str:
        return "renamed"

    async def empty(self) -> AsyncIterator[int]:
        return
        yield

    @rpc(errors=[QuotaExceeded])
    async def fail(self, how: Literal["own", "value", "plain"]) -> int:
        raise _error(how)

    @rpc(errors=[QuotaExceeded])
    async def fail_after(self, items: int, how: Literal["own", "value", "plain"]) -> AsyncIterator[int]:
        for number in range(items):
            yield number
        raise _error(how)

    async def large(self, size: int) -> str:
        return "ä" * size

    async def length(self, text: str) -> int:
        return len(text)

    async def many(self, count: int, size: int = 10) -> AsyncIterator[str]:
        for number in range(count):
            yield f"{number}:" + "x" * size


def _error(how: str) -> Exception:
    if how == "own":
        return QuotaExceeded("enough for today", data=QuotaData(limit=3))
    return ValueError("a secret detail") if how == "value" else RuntimeError("another secret detail")


class Usage(BaseModel):
    type: Literal["usage"] = "usage"
    tokens: int


class Delta(BaseModel):
    type: Literal["delta"] = "delta"
    text: str


class Llm(PotoModule):
    """Streams as language models make them."""

    async def answer(
        self, prompt: str, tokens: int, pause: float = 0.005
    ) -> AsyncIterator[Annotated[Delta | Usage, Field(discriminator="type")]]:
        ended = "abandoned"
        try:
            for number in range(tokens):
                await asyncio.sleep(pause)
                yield Delta(text=f"{prompt}-{number} ")
            yield Usage(tokens=tokens)
            ended = "finished"
        finally:
            await asyncio.sleep(0)  # a real one closes its upstream here
            await self.session.increment("answers")
            await self.session.increment(ended)

    async def get_ends(self) -> dict[str, int]:
        return {name: await self.session.get(name, 0) for name in ("finished", "abandoned")}


class Files(PotoModule):
    """Bytes, whole and in chunks."""

    async def whole(self, size: int) -> bytes:
        return bytes(range(256)) * (size // 256)

    async def chunks(self, count: int, size: int = 65_536) -> AsyncIterator[bytes]:
        for number in range(count):
            yield bytes([number % 256]) * size

    def chunks_from_thread(self, count: int, size: int = 1024) -> Iterator[bytes]:
        for number in range(count):
            yield bytes([number % 256]) * size

    async def broken(self) -> AsyncIterator[bytes]:
        yield b"a beginning"
        raise RuntimeError("a disk has gone")

    async def refused(self) -> AsyncIterator[bytes]:
        raise QuotaExceeded(data=QuotaData(limit=0))
        yield b""

    async def digest(self, request: Request, note: Annotated[str, Body()] = "") -> str:
        return hashlib.sha256(await request.body()).hexdigest() + note


def make_app() -> FastAPI:
    app = FastAPI()
    app.include_router(poto_router(Who, Keep, Verbs, Llm, Files, Types, Kept))
    if (
        os.environ.get("E2E_PATH") == "dependency path"
    ):  # an override of anything sends every call through FastAPI's solver
        app.dependency_overrides[make_app] = make_app
    return app
