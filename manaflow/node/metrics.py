"""What a server counts, in Prometheus' format. Labels take values from closed sets only."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from manaflow.node.chain import SealedBlock

SECONDS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The counters of one server, in a registry of its own; also the dispatcher's Observer."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        """`registry`: where other parts of the node count too."""
        self.registry = registry or CollectorRegistry()
        self._log = structlog.get_logger("manaflow.node")
        self._calls = Counter("manaflow_rpc_calls", "Calls by method", ["method"], registry=self.registry)
        self._errors = Counter("manaflow_rpc_errors", "Error answers", ["method", "code"], registry=self.registry)
        self._seconds = Histogram(
            "manaflow_rpc_seconds", "Time of calls", ["method"], buckets=SECONDS, registry=self.registry
        )
        self._children: dict[str, tuple[Counter, Histogram]] = {}
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

    def answered(self, method: str, seconds: float, code: int | None) -> None:
        """See rpc.Observer. Codes are the node's own, so there are few of them."""
        children = self._children.get(method)
        if children is None:
            children = self._children[method] = self._calls.labels(method), self._seconds.labels(method)
        children[0].inc()
        children[1].observe(seconds)
        if code is not None:
            self._errors.labels(method, str(code)).inc()

    def fault(self, method: str, error: BaseException) -> str:
        """See rpc.Observer: logged with its traceback."""
        name = secrets.token_hex(8)
        self._log.error("rpc_internal_error", id=name, method=method, exc_info=error)
        return name

    def drop(self, why: str) -> None:
        """A client was cut off: `why` is one of a few words of node/protocols.py."""
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
