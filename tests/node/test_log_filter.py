"""Log filters against a reference that is as naive as the text of the API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manaflow.node.encoding import from_json
from manaflow.node.errors import RpcError
from manaflow.node.limits import Limits
from manaflow.node.log_filter import LogFilter, LogQuery, log_filter

ADDRESSES = ["0x" + f"{i:02x}" * 20 for i in range(3)]
TOPICS = ["0x" + f"{i:02x}" * 32 for i in range(3)]


def made(query: dict[str, Any], **limits: int) -> LogFilter:
    return log_filter(msgspec.convert(query, LogQuery, dec_hook=from_json), Limits(**limits))  # type: ignore[arg-type]


def naive(query: dict[str, Any], log: dict[str, Any]) -> bool:
    """JSON against JSON, one condition after another."""
    address = query.get("address")
    if address is not None and address != []:
        if isinstance(address, str) and log["address"] != address:
            return False
        if isinstance(address, list) and log["address"] not in address:
            return False
    for place, wanted in enumerate(query.get("topics") or []):
        if place >= len(log["topics"]):
            return False
        if wanted is None or wanted == []:
            continue
        if isinstance(wanted, str) and log["topics"][place] != wanted:
            return False
        if isinstance(wanted, list) and None not in wanted and log["topics"][place] not in wanted:
            return False
    number = int(log["blockNumber"], 16)
    low, high = query.get("fromBlock"), query.get("toBlock")
    if low not in (None, "latest") and number < int(low, 16):
        return False
    return high in (None, "latest") or number <= int(high, 16)


address = st.sampled_from(ADDRESSES)
topic = st.sampled_from(TOPICS)
place = st.none() | topic | st.lists(st.none() | topic, max_size=3)
queries = st.fixed_dictionaries(
    {},
    optional={
        "address": st.none() | address | st.lists(address, max_size=2),
        "topics": st.none() | st.lists(place, max_size=4),
        "fromBlock": st.sampled_from(["latest", "0x0", "0x2"]),
        "toBlock": st.sampled_from(["latest", "0x2", "0x3"]),
    },
)
numbers = st.sampled_from(["0x1", "0x2", "0x3", "0x4"])
logs = st.fixed_dictionaries({"address": address, "topics": st.lists(topic, max_size=4), "blockNumber": numbers})


@given(queries, st.lists(logs, max_size=10))
def test_equals_the_naive_reference(query: dict[str, Any], logs: list[dict[str, Any]]) -> None:
    wanted = made(query)
    assert [wanted.matches(log) for log in logs] == [naive(query, log) for log in logs]


def test_a_log_with_fewer_topics_than_asked_for_does_not_match() -> None:
    log = {"address": ADDRESSES[0], "topics": TOPICS[:1], "blockNumber": "0x1"}
    assert made({"topics": [TOPICS[0]]}).matches(log)
    assert not made({"topics": [TOPICS[0], None]}).matches(log)
    assert not made({"topics": [TOPICS[0], TOPICS[1]]}).matches(log)


def test_case_does_not_matter_in_queries() -> None:
    log = {"address": "0x" + "ab" * 20, "topics": [], "blockNumber": "0x1"}
    assert made({"address": "0x" + "AB" * 20}).matches(log)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"topics": [None] * 5}, "exceed max topics"),
        ({"blockHash": TOPICS[0], "fromBlock": "0x1"}, "cannot specify both"),
        ({"blockHash": TOPICS[0], "toBlock": "latest"}, "cannot specify both"),
        ({"fromBlock": "0x2", "toBlock": "0x1"}, "invalid block range"),
        ({"address": ADDRESSES}, "exceed max addresses"),
        ({"topics": [TOPICS]}, "exceed max topics per place"),
    ],
)
def test_refused(query: dict[str, Any], complaint: str) -> None:
    with pytest.raises(RpcError, match=complaint) as refused:
        made(query, max_filter_addresses=2, max_filter_topics=2)
    assert refused.value.code == -32602
