"""What a server counts, beside what prometheus_client counts of the same."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from manaflow.node.metrics import SECONDS, CallCounts, Metrics

CALLS = st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, *SECONDS, 0.25, 31.0]) | st.floats(0, 60))


def exposed(registry: CollectorRegistry) -> list[str]:
    """The lines of a registry; a sum is rounded, as it depends on the order, and times of creation are left out."""
    text = re.sub(r"(_created\{\S+) \S+", r"\1", generate_latest(registry).decode())
    return re.sub(r"(_sum\{\S+) (\S+)", lambda found: f"{found[1]} {float(found[2]):.6f}", text).splitlines()


@given(st.lists(st.tuples(CALLS, st.integers(1, 5)), max_size=20))
def test_calls_are_counted_as_one_by_one(calls: list[tuple[tuple[str, float], int]]) -> None:
    one_by_one, together = CollectorRegistry(), CollectorRegistry()
    counter = Counter("manaflow_rpc_calls", "Calls by method", ["method"], registry=one_by_one)
    histogram = Histogram("manaflow_rpc_seconds", "Time of calls", ["method"], buckets=SECONDS, registry=one_by_one)
    counts = CallCounts()
    together.register(counts)
    for (method, seconds), count in calls:
        counts.add(method, seconds, count)
        for _ in range(count):
            counter.labels(method).inc()
            histogram.labels(method).observe(seconds)
    assert exposed(together) == exposed(one_by_one)


def test_errors_are_counted_by_code() -> None:
    metrics = Metrics()
    metrics.answered("eth_call", 0.1, None, 3)
    metrics.answered("eth_call", 0.1, -32000, 2)
    text = metrics.exposition().decode()
    assert 'manaflow_rpc_calls_total{method="eth_call"} 5.0' in text
    assert 'manaflow_rpc_seconds_count{method="eth_call"} 5.0' in text
    assert 'manaflow_rpc_errors_total{code="-32000",method="eth_call"} 2.0' in text
