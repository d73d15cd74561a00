"""What several callers ask at the same time goes to the server together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Generic, TypeVar

from ..errors import Unavailable
from .deadline import Deadline, within
from .outage import Outage

Job = TypeVar("Job")


class Batches(Generic[Job]):
    """Jobs of one event loop: those that come while `at_once` batches are on their way make the next one.

    Where nothing is on its way, the caller's own task sees to the job: that spares two turns of the loop.

    `run` gives a result, or an exception, for each job of a batch. What it raises, every job of the batch raises. A
    batch ends when the server has answered nobody for `patience` seconds, which `outage` is told.
    """

    def __init__(
        self,
        run: Callable[[list[Job]], Awaitable[Sequence[Any]]],
        outage: Outage,
        *,
        at_once: int,
        patience: float,
        most: int = 100,
    ) -> None:
        self._run = run
        self._outage = outage
        self._at_once = at_once
        self._patience = patience
        self._most = most
        self._waiting: deque[tuple[Job, asyncio.Future[Any], float]] = deque()
        self._runners: set[asyncio.Task[None]] = set()
        self._running = 0
        self._starting = False
        self._answered = 0.0
        """When, by the loop's clock; 0 before the first answer and where a connection may have been dropped since."""

    async def ask(self, job: Job) -> Any:
        """The job's result. A caller who is cancelled leaves it to be done or not."""
        (done,) = self._wait_for([job])
        await self._hurry()
        return await done

    async def ask_many(self, jobs: Sequence[Job]) -> list[Any]:
        """The results of several jobs, which go out together."""
        results = self._wait_for(jobs)
        await self._hurry()
        return await asyncio.gather(*results)

    def _wait_for(self, jobs: Sequence[Job]) -> list[asyncio.Future[Any]]:
        loop = asyncio.get_running_loop()
        waiting = [(job, loop.create_future(), loop.time()) for job in jobs]
        self._waiting += waiting
        return [done for _, done, _ in waiting]

    async def _hurry(self) -> None:
        """See that what waits is begun: here, if nothing else is on its way."""
        loop = asyncio.get_running_loop()
        if self._running or not self._answered:  # the first one connects, which would keep its caller's context
            self._start(loop)
            return
        self._running += 1
        try:
            await self._next(loop)
        finally:
            self._running -= 1
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._starting and self._running < self._at_once:
            self._starting = True  # it begins in the loop's next turn, with all that was asked in this one
            self._running += 1
            runner = loop.create_task(self._work(loop), context=Context())
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)

    async def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        self._starting = False
        try:
            while self._waiting:
                await self._next(loop)
        finally:
            self._running -= 1

    async def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most))]
        batch = [waiting for waiting in batch if not waiting[1].done()]
        if not batch:
            return
        results: Sequence[Any]
        try:
            async with Deadline(max(batch[0][2], self._answered) + self._patience, self._patience / 5):
                results = await self._run([job for job, _, _ in batch])
            self._answered = loop.time()
        except TimeoutError as error:
            self._answered = 0.0
            results = [self._outage.failed(error) for _ in batch]
        except Exception as error:
            self._answered = 0.0
            results = await self._alone(batch, error)
        except BaseException:  # the caller has given up, or the loop ends
            self._answered = 0.0
            for _, done, _ in batch:
                done.cancel()
            raise
        for (_, done, _), result in zip(batch, results, strict=True):
            if done.done():
                continue
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)

    async def _alone(self, batch: Sequence[tuple[Job, Any, float]], error: Exception) -> Sequence[Any]:
        """Results where a batch failed: who asked for what cannot be done spoils nothing for the others."""
        if isinstance(error, Unavailable):
            return [self._outage.failed(error.__cause__ or error) for _ in batch]
        if len(batch) == 1:
            return [error]
        results: list[Any] = []
        for job, _, _ in batch:
            try:
                async with within(self._patience):
                    results += await self._run([job])
            except Exception as failed:
                results.append(failed)
        return results
