"""An application under one tracer, TRACER. What the tracer gives away is told in lines of the file TOLD.

A line is of a request, of a span of the application's own, or of an error that is reported apart from both.
"""

import asyncio
import json
import os
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI

from fastapi_poto import Poto, PotoError, PotoModule, poto_router, public, rpc

TRACER = os.environ["TRACER"]
TOLD = os.environ["TOLD"]


Spans = Callable[[str], AbstractContextManager[Any]]
"""Makes a span of the application's own."""


def tell(kind: str, **what: Any) -> None:
    with open(TOLD, "a") as file:
        file.write(json.dumps({"kind": kind, **what}, default=str) + "\n")


def use_opentelemetry(app: FastAPI) -> Spans:
    """FastAPI's own telemetry, contrib's instrumentation, or Logfire."""
    from opentelemetry import _logs, trace
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

    class Exporter(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            for span in spans:
                assert span.context is not None
                tags = dict(span.attributes or {})
                tell(
                    "request" if span.kind is trace.SpanKind.SERVER else "span",
                    name=span.name,
                    route=tags.get("http.route"),
                    trace=f"{span.context.trace_id:032x}",
                    id=f"{span.context.span_id:016x}",
                    parent=f"{span.parent.span_id:016x}" if span.parent else None,
                    failed=span.status.status_code is trace.StatusCode.ERROR,
                    errors=[(one.attributes or {})["exception.type"] for one in span.events if one.name == "exception"],
                    tags=tags,
                )
            return SpanExportResult.SUCCESS

    class Logs:
        """A processor of log records: FastAPI's telemetry tells them its exceptions."""

        def on_emit(self, record: Any) -> None:
            tags = record.log_record.attributes or {}
            if "exception.type" in tags:
                tell("error", name=tags["exception.type"], of=tags["http.route"])

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    exporting = SimpleSpanProcessor(Exporter())
    if TRACER == "logfire":
        import logfire

        logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[exporting])
        logfire.instrument_fastapi(app)
        return logfire.span
    provider = TracerProvider()
    provider.add_span_processor(exporting)
    trace.set_tracer_provider(provider)
    if TRACER == "native":
        logs: Any = LoggerProvider()
        logs.add_log_record_processor(Logs())
        _logs.set_logger_provider(logs)
    else:
        from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

        FastAPIInstrumentor.instrument_app(app, exclude_spans=["receive", "send"])
    return trace.get_tracer("shop").start_as_current_span


def use_sentry() -> Spans:
    import sentry_sdk  # type: ignore[import-not-found]
    from sentry_sdk.transport import Transport  # type: ignore[import-not-found]

    class ToFile(Transport):  # type: ignore[misc]
        def capture_envelope(self, envelope: Any) -> None:
            for item in envelope.items:
                if (made := item.get_transaction_event()) is not None:
                    about = made["contexts"]["trace"]
                    trace, status = about["trace_id"], about.get("status")
                    for span in made["spans"]:
                        tell("span", name=span["description"], trace=trace, parent=span["parent_span_id"])
                    tell(
                        "request",
                        name=made["transaction"],
                        route=made["transaction"] if made["transaction_info"]["source"] == "route" else None,
                        trace=trace,
                        id=about["span_id"],
                        parent=about.get("parent_span_id"),
                        failed=status == "internal_error",
                        errors=[],
                        tags={},
                    )
                elif (event := item.get_event()) is not None:
                    names = [one["type"] for one in event["exception"]["values"]]
                    tell("error", name=names[-1], of=event.get("transaction"))

    sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", transport=ToFile, traces_sample_rate=1.0)
    return lambda name: sentry_sdk.start_span(op="shop", name=name)  # type: ignore[no-any-return]


def use_datadog() -> Spans:
    from ddtrace.trace import TraceFilter, tracer  # type: ignore[import-not-found]

    class ToFile(TraceFilter):  # type: ignore[misc]
        def process_trace(self, trace: Any) -> None:
            for span in trace:
                tags = {**span.get_tags(), **span.get_metrics()}
                error = tags.get("error.type", "").removeprefix("builtins.")
                is_request = span.name == "fastapi.request"
                tell(
                    "request" if is_request else "span",
                    name=span.resource if is_request else span.name,
                    route=tags.get("http.route"),
                    trace=span.trace_id,
                    id=span.span_id,
                    parent=span.parent_id or None,
                    failed=bool(span.error),
                    errors=[error] if span.error else [],
                    tags=tags,
                )

    tracer.configure(trace_processors=[ToFile()])
    return tracer.trace  # type: ignore[no-any-return]


class SoldOut(PotoError):
    """Nothing left."""

    code = "sold_out"
    status = 409


def nothing() -> None:
    pass


@public
class Shop(PotoModule):
    async def get_status(self) -> str:
        with span("method"):
            return "open"

    async def get_way(self) -> list[str]:
        """The functions on the way to here."""
        return [frame.name for frame in traceback.extract_stack()]

    async def get_way_with_dependency(self, got: Annotated[None, Depends(nothing)]) -> list[str]:
        return await self.get_way()

    def get_status_in_thread(self) -> str:
        with span("thread"):
            return "open"

    async def get_status_of_task(self) -> str:
        await asyncio.create_task(later())
        await anyio.to_thread.run_sync(in_thread)
        return "open"

    @rpc(path="/articles/{sku}")
    async def get_article(self, sku: str) -> str:
        return sku

    async def get_sold_out(self) -> str:
        raise SoldOut

    async def post_broken(self) -> None:
        raise KeyError("broken")

    async def watch(self, how: str = "") -> AsyncIterator[str]:
        for number in range(3):
            with span("item"):
                yield str(number)
        if how == "error":
            raise ValueError("half way")
        if how == "wait":
            await asyncio.sleep(20)

    def watch_in_thread(self) -> Iterator[str]:
        for number in range(3):
            with span("item"):
                yield str(number)

    async def count(self) -> AsyncIterator[bytes]:
        with span("item"):
            yield b"1"


class Desk(PotoModule):
    @rpc(resumable=True)
    async def follow(self, how: str = "") -> AsyncIterator[str]:
        for number in range(3):
            with span("item"):
                yield str(number)
        if how == "error":
            raise ValueError("half way")


async def later() -> None:
    with span("task"):
        await asyncio.sleep(0)


def in_thread() -> None:
    with span("thread"):
        pass


async def plain(number: int) -> int:
    """An endpoint of FastAPI's own, to compare with."""
    if not number:
        raise KeyError(number)
    return number


def router_for(prefix: str, **options: Any) -> APIRouter:
    """The same modules, once more."""
    return poto_router(
        Shop,
        Desk,
        poto=poto,
        prefix=prefix,
        generate_unique_id_function=lambda route: f"{prefix.strip('/')}_{route.name}".replace(".", "_"),
        **options,
    )


def make_app() -> FastAPI:
    app = FastAPI(telemetry={"tracing": TRACER != "datadog"})  # whose spans of requests are its own
    app.get("/plain/{number}")(plain)
    app.include_router(poto_router(Shop, Desk, poto=poto))
    app.include_router(router_for("/again", auth=False))
    outer = APIRouter(prefix="/outer")
    outer.include_router(router_for("/v1", auth=False))
    app.include_router(outer)
    inner = FastAPI(telemetry={"tracing": TRACER != "datadog"})
    inner.get("/plain/{number}")(plain)
    inner.include_router(poto_router(Shop, poto=poto))
    app.mount("/mounted", inner)
    return app


poto = Poto("Jq8vN2xR5tB7wK9mZ4cH6pL1sD3fG0yA-deployments")
span: Spans
if TRACER == "sentry":
    span = use_sentry()
    app = make_app()
elif TRACER == "datadog":
    span = use_datadog()
    app = make_app()
else:
    app = make_app()
    span = use_opentelemetry(app)
