"""What a server counts, in Prometheus' format. Labels take values from closed sets only."""

from __future__ import annotations

import secrets
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import inf
from time import time
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from manaflow.node.chain import SealedBlock

SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class CallCounts(Collector):
    """Calls by method and how long they took, exposed as a Counter and a Histogram would be: those take calls one by
    one, and longer over it than a call of a large batch may take. One thread.
    """

    def __init__(self) -> None:
        self._methods: dict[str, _Calls] = {}

    def add(self, method: str, seconds: float, count: int) -> None:
        """So many calls, and what each took."""
        calls = self._methods.get(method)
        if calls is None:
            calls = self._methods[method] = _Calls()
        calls.count += count
        calls.seconds += seconds * count
        calls.within[bisect_left(SECONDS, seconds)] += count

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        counts = CounterMetricFamily("manaflow_rpc_calls", "Calls by method", labels=["method"])
        times = HistogramMetricFamily("manaflow_rpc_seconds", "Time of calls", labels=["method"])
        for method, calls in self._methods.items():
            counts.add_metric([method], calls.count, created=calls.created)
            ends = zip(map(floatToGoString, (*SECONDS, inf)), accumulate(calls.within), strict=True)
            times.add_metric([method], list(ends), calls.seconds)
            times.add_sample("manaflow_rpc_seconds_created", {"method": method}, calls.created)
        return counts, times


class _Calls:
    """Of one method."""

    def __init__(self) -> None:
        self.count, self.seconds, self.created = 0, 0.0, time()
        self.within = [0] * (len(SECONDS) + 1)
        """How many took at most SECONDS[i], and more than the one before; the last: longer than all."""


class Metrics:
    """The counters of one server, in a registry of its own; also the dispatcher's Observer."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry`: where other parts of the node count too."""
        self.registry = registry or CollectorRegistry()
        self._log = structlog.get_logger("manaflow.node")
        self._calls = CallCounts()
        self.registry.register(self._calls)
        self._errors = Counter("manaflow_rpc_errors", "Error answers", ["method", "code"], registry=self.registry)
        self.http = Counter("manaflow_http_responses", "HTTP answers", ["status"], registry=self.registry)
        self.connections = Gauge("manaflow_connections", "Open sockets", registry=self.registry)
        self.refused = Counter("manaflow_connections_refused", "Sockets above the bound", registry=self.registry)
        self.websockets = Gauge("manaflow_websockets", "Open WebSockets", registry=self.registry)
        self.subscriptions = Gauge("manaflow_subscriptions", "Subscriptions", registry=self.registry)
        self.dropped = Counter("manaflow_clients_dropped", "Clients cut off", ["why"], registry=self.registry)
        self.head = Gauge("manaflow_head_block", "Number of the head", registry=self.registry)
        self.taken = Counter("manaflow_blocks_taken", "Blocks that became the head", registry=self.registry)
        self.undone = Counter("manaflow_blocks_undone", "Blocks that were taken back", registry=self.registry)
        self.accepted = Counter("manaflow_transactions_accepted", "Into the pool", registry=self.registry)
        self._proofs = Counter("manaflow_proofs", "Fraud proofs by outcome", ["outcome"], registry=self.registry)

    def proof(self, outcome: str) -> None:
        """See proofs.Judging."""
        self._proofs.labels(outcome).inc()

    def answered(self, method: str, seconds: float, code: int | None, count: int = 1) -> None:
        """See rpc.Observer. Codes are the node's own, so there are few of them."""
        self._calls.add(method, seconds, count)
        if code is not None:
            self._errors.labels(method, str(code)).inc(count)

    def fault(self, method: str, error: BaseException) -> str:
        """See rpc.Observer: logged with its traceback."""
        name = secrets.token_hex(8)
        self._log.error("rpc_internal_error", id=name, method=method, exc_info=error)
        return name

    def drop(self, why: str) -> None:
        """A client was cut off: `why` is one of a few words of http_protocol.py and socket_protocol.py."""
        self.dropped.labels(why).inc()

    def exposition(self) -> bytes:
        """The body of GET /metrics."""
        return generate_latest(self.registry)


class ChainMetrics:
    """`chain.Events` as counts; on the chain's thread."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sealed(self, block: SealedBlock) -> None:
        """See chain.Events."""
        self._metrics.taken.inc()
        self._metrics.head.set(block.block.header.number)

    def undone(self, block: SealedBlock) -> None:
        """See chain.Events."""
        self._metrics.undone.inc()
        self._metrics.head.set(block.block.header.number - 1)

    def accepted(self, txid: bytes, envelope: bytes) -> None:
        """See chain.Events."""
        self._metrics.accepted.inc()

    def notice(self, kind: str, item: Mapping[str, Any]) -> None:
        """Nothing."""
