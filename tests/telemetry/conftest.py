"""Providers of OpenTelemetry's SDK that keep what they are told."""

from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


@dataclass
class Told:
    spans: InMemorySpanExporter
    reader: InMemoryMetricReader

    def server_spans(self) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.kind is trace.SpanKind.SERVER]

    def metric(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        found = []
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        found += metric.data.data_points
        return found


@pytest.fixture(scope="session")
def providers() -> Told:
    """They are global, and can be set once a process."""
    told = Told(InMemorySpanExporter(), InMemoryMetricReader())
    tracer_provider = TracerProvider()
    tracer_provider.add_span_processor(SimpleSpanProcessor(told.spans))
    trace.set_tracer_provider(tracer_provider)
    metrics.set_meter_provider(MeterProvider(metric_readers=[told.reader, PrometheusMetricReader()]))
    return told


@pytest.fixture
def told(providers: Told) -> Told:
    providers.spans.clear()
    return providers
