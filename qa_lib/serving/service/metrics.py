"""What `/metrics` shows, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from qa_lib.serving.service.protocol import Reply

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_QUESTIONS = (1, 2, 4, 8, 16, 32, 64, 128)
_TOKENS = tuple(2**power for power in range(6, 17))


class Metrics:
    """Latency, queue and batches of one application, by model."""

    def __init__(self, models: Sequence[str]) -> None:
        """Declare the metrics; those of every model show from the start, at zero."""
        self._registry = CollectorRegistry()
        by_model: dict[str, Any] = {"labelnames": ["model"], "registry": self._registry}
        self.seconds = Histogram(
            "qa_request_seconds",
            "From the request's last byte to its answer.",
            buckets=_SECONDS,
            **by_model,
        )
        self.requests = Counter(
            "qa_requests",
            "Requests by status of the response.",
            labelnames=["model", "status"],
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "qa_requests_in_progress", "Requests that wait or are being answered.", **by_model
        )
        self.queue_seconds = Histogram(
            "qa_queue_seconds", "A question's wait for its batch.", buckets=_SECONDS, **by_model
        )
        self.batch_questions = Histogram(
            "qa_batch_questions", "Questions answered at once.", buckets=_QUESTIONS, **by_model
        )
        self.batch_tokens = Histogram(
            "qa_batch_tokens", "Tokens answered at once, about.", buckets=_TOKENS, **by_model
        )
        self.retries = Counter(
            "qa_retries", "Calls repeated because a replica was lost.", **by_model
        )
        for model in models:
            for metric in (self.seconds, self.in_progress, self.queue_seconds, self.retries):
                metric.labels(model)

    def answered(self, model: str, replies: Sequence[Reply], seconds: float) -> None:
        """Count a request that was answered."""
        self.seconds.labels(model).observe(seconds)
        for reply in replies:
            self.queue_seconds.labels(model).observe(reply.waited_s)
            if reply.batch is not None:
                self.batch_questions.labels(model).observe(reply.batch.num_questions)
                self.batch_tokens.labels(model).observe(reply.batch.num_tokens)

    def text(self) -> bytes:
        """Return all metrics as Prometheus reads them."""
        return generate_latest(self._registry)
