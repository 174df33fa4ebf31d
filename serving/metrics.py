"""What Prometheus reads: this process's own counts, and those the stream leaves in Redis."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from events.counters import WORKERS_KEY, counters_key
from features.feast_store import WATERMARKS_KEY
from serving.redis_line import RedisAway, RedisLine

STREAM_PROCESSES: Final = ("intake", "behaviour", "learner", "push", "parity")
BUCKETS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """The counters of one serving process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.decisions = Counter(
            "kairos_decisions", "Decisions answered", ["placement", "rung"], registry=self.registry
        )
        self.repeats = Counter(
            "kairos_decision_repeats", "Requests answered from the ledger", registry=self.registry
        )
        self.seconds = Histogram(
            "kairos_decision_seconds", "Time to a decision, s", registry=self.registry, buckets=BUCKETS
        )
        self.unreadable = Counter(
            "kairos_states_unreadable", "States damaged or of an unknown plan", registry=self.registry
        )
        self.model_failures = Counter(
            "kairos_model_failures", "Decisions the prior made as a model failed", registry=self.registry
        )
        self.accepted = Counter(
            "kairos_accepted", "Events and outcomes put on the bus", ["what"], registry=self.registry
        )
        self.problems = Counter("kairos_problems", "Requests refused", ["status"], registry=self.registry)
        self.pending = Gauge(
            "kairos_outbox_pending", "Decisions recorded here, not on the bus yet", registry=self.registry
        )
        self.relayed = Gauge("kairos_outbox_moved", "Decisions moved to the bus", registry=self.registry)
        self.models = Gauge(
            "kairos_model", "The model in use (1)", ["placement", "model", "version"], registry=self.registry
        )
        self.learned_to = Gauge(
            "kairos_model_learned_to_ms", "What the online model has learned", ["placement"],
            registry=self.registry,
        )  # fmt: skip
        self.stream = Gauge(
            "kairos_stream",
            "Counters of the stream's processes",
            ["process", "counter"],
            registry=self.registry,
        )
        self.watermark = Gauge(
            "kairos_watermark_ms", "How far each partition is folded", ["partition"], registry=self.registry
        )
        self.redis_up = Gauge("kairos_redis_up", "1 when Redis answered this scrape", registry=self.registry)

    async def gather(self, line: RedisLine) -> None:
        """Fetch the stream's counters and watermarks; without Redis they keep their last values."""
        try:
            (workers,) = await line.ask(("HKEYS", WORKERS_KEY))
            names = sorted({*STREAM_PROCESSES, *(name.decode() for name in workers)})
            *counters, marks = await line.ask(
                *[("HGETALL", counters_key(name)) for name in names],
                ("HGETALL", WATERMARKS_KEY),
            )
        except RedisAway:
            self.redis_up.set(0)
            return
        self.redis_up.set(1)
        for process, flat in zip(names, counters, strict=True):
            for name, value in zip(flat[::2], flat[1::2], strict=True):
                try:
                    number = float(value)
                except ValueError:
                    continue  # a note for people, not a number
                self.stream.labels(process, name.decode()).set(number)
        for partition, mark in zip(marks[::2], marks[1::2], strict=True):
            self.watermark.labels(partition.decode()).set(float(mark))

    def render(self) -> bytes:
        """Give everything in Prometheus's text format."""
        return generate_latest(self.registry)
