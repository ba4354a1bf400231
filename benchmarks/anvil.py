"""How many transactions a second does `manaflow node --dev` take, execute, seal and give receipts for, beside anvil?

Anvil as it comes keeps a state for each of its many small blocks and puts the older ones on disk; "pruned" is anvil
--prune-history, which keeps none and loses less speed the longer a run is.

Both servers run on this machine, one after the other, each new for every run and with the same genesis accounts, chain
id and gas limit. One client drives both: transfers that many senders have signed before go in as JSON-RPC batches of
eth_sendRawTransaction, one of each sender, then batches of eth_getTransactionReceipt until every receipt is there, and
so on: anvil 1.7.1 stops mining where a sender has several transactions waiting. The clock runs from the
first byte sent to the last receipt. Then every receipt must say status 1, and every receiver must have what was sent.

    npm install --prefix benchmarks/clients             # @foundry-rs/anvil, by its own npm package
    python benchmarks/anvil.py --runs 3 --json anvil.json
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import rlp
from blocks import machine
from coincurve import PrivateKey
from fills import TOKEN_CODE, entry, selector, word
from rich.console import Console
from rich.table import Table

from manaflow.moves.hashing import keccak256
from manaflow.node.development import MNEMONIC, development_accounts

HERE: Final = Path(__file__).parent
ANVIL: Final = HERE / "clients" / "node_modules" / ".bin" / "anvil"
CHAIN_ID: Final = 31_337
GAS_LIMIT: Final = 30_000_000
GWEI: Final = 10**9
TOKENS: Final = 1_000
"""Of each sender at first."""
SENT: Final = 3
"""Tokens, or wei, of each transfer."""
PATIENCE: Final = 60
"""Seconds that a server has for anything."""


def encode(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


class Connection:
    """JSON-RPC over one kept HTTP connection."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, body: bytes) -> Any:
        """The answer to a request, decoded."""
        self._http.request("POST", "/", body, {"Content-Type": "application/json"})
        return json.loads(self._http.getresponse().read())

    def call(self, method: str, *params: Any) -> Any:
        """A call's result."""
        answer = self.post(encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        assert "result" in answer, answer
        return answer["result"]

    def results(self, method: str, params: Sequence[Sequence[Any]], size: int) -> list[Any]:
        """Many calls' results, in batches."""
        found: list[Any] = []
        for at in range(0, len(params), size):
            found += results_of(self.post(batch(method, params[at : at + size])))
        return found


def batch(method: str, params: Sequence[Sequence[Any]]) -> bytes:
    """The body of a JSON-RPC batch."""
    return encode([{"jsonrpc": "2.0", "id": i, "method": method, "params": one} for i, one in enumerate(params)])


def results_of(answers: Any) -> list[Any]:
    """Of a batch, in the order of its calls."""
    assert isinstance(answers, list), answers
    for answer in answers:
        assert "result" in answer, answer
    return [answer["result"] for answer in sorted(answers, key=lambda answer: answer["id"])]


@dataclass
class Load:
    """Signed transfers, and where each one's effect is seen."""

    name: str
    setup: list[bytes]
    """Envelopes that go first, one after another."""
    batches: list[bytes]
    """Bodies of eth_sendRawTransaction."""
    asks: list[bytes]
    """Bodies of eth_getTransactionReceipt, batch by batch the same transactions."""
    hashes: list[list[str]]
    balances: tuple[str, list[list[Any]]]
    """A method and its parameters: one call a receiver, and each must answer what `SENT` has added up to."""
    count: int


def signed(key: bytes, nonce: int, to: bytes, value: int, data: bytes, gas: int) -> bytes:
    """An envelope of type 2."""
    fields: list[Any] = [CHAIN_ID, nonce, GWEI, 1_000 * GWEI, gas, to, value, data, []]
    signature = PrivateKey(key).sign_recoverable(keccak256(b"\2" + rlp.encode(fields)), hasher=None)
    tail = [signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")]
    return b"\2" + bytes(rlp.encode([*fields, *tail]))


def token_creation(holders: Sequence[bytes]) -> bytes:
    """Initcode of the token that gives each holder TOKENS: one SSTORE each, then the token's code is returned."""
    stores = [b"\x61" + TOKENS.to_bytes(2, "big") + b"\x7f" + entry(0, holder) + b"\x55" for holder in holders]
    start, size = 37 * len(stores) + 15, len(TOKEN_CODE)
    copy = b"\x61" + size.to_bytes(2, "big") + b"\x80\x61" + start.to_bytes(2, "big") + bytes.fromhex("6000396000f3")
    return b"".join(stores) + copy.ljust(15, b"\0") + TOKEN_CODE


def load_of(name: str, senders: int, nonces: int, size: int) -> Load:
    """Transfers by so many senders, each so many. name: "transfer" or "erc20". size: of the batches."""
    accounts = development_accounts(MNEMONIC, senders + 1)
    deployer, people = accounts[0], accounts[1:]
    receivers = [keccak256(f"receiver {i}".encode())[12:] for i in range(senders)]
    if name == "erc20":
        token = keccak256(rlp.encode([deployer.address, 0]))[12:]
        setup = [signed(deployer.key, 0, b"", 0, token_creation([one.address for one in people]), 16_000_000)]
        transfer = selector("transfer(address,uint256)")
        calls = [(token, 0, transfer + to.rjust(32, b"\0") + word(SENT), 60_000) for to in receivers]
        balance_of = [selector("balanceOf(address)") + to.rjust(32, b"\0") for to in receivers]
        balances = "eth_call", [[{"to": _hex(token), "data": _hex(data)}, "latest"] for data in balance_of]
    else:
        setup = []
        calls = [(to, SENT, b"", 21_000) for to in receivers]
        balances = "eth_getBalance", [[_hex(to), "latest"] for to in receivers]
    raws = [
        signed(person.key, nonce, *call) for nonce in range(nonces) for person, call in zip(people, calls, strict=True)
    ]
    parts = [raws[at : at + size] for at in range(0, len(raws), size)]
    hashes = [[_hex(keccak256(raw)) for raw in part] for part in parts]
    sends = [batch("eth_sendRawTransaction", [[_hex(raw)] for raw in part]) for part in parts]
    asks = [batch("eth_getTransactionReceipt", [[one] for one in part]) for part in hashes]
    return Load(name, setup, sends, asks, hashes, balances, len(raws))


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command_of(server: str, port: int, senders: int) -> list[str]:
    """How a server is started."""
    shared = ["--port", str(port), "--accounts", str(senders + 1), "--gas-limit", str(GAS_LIMIT)]
    if server != "manaflow":
        return [str(ANVIL), "--silent", *(["--prune-history"] if server == "pruned" else []), *shared]
    return [sys.executable, "-m", "manaflow.cli", "node", "--dev", *shared]


@contextmanager
def running(server: str, senders: int) -> Iterator[int]:
    """A new server; its port."""
    port = free_port()
    environment = os.environ | {"ETH_HASH_BACKEND": "pysha3"}
    with tempfile.TemporaryFile() as said:
        command = command_of(server, port, senders)
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=environment)
        try:
            _await(port, process)
            yield port
        except BaseException:
            said.seek(0)
            sys.stderr.write(said.read()[-4_000:].decode(errors="replace"))
            raise
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server has ended"
        try:
            assert int(Connection(port).call("eth_chainId"), 16) == CHAIN_ID
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


class Driver(threading.Thread):
    """One client's connection: wave by wave it sends its share of the batches, then collects their receipts."""

    def __init__(self, port: int, load: Load, waves: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self._connection, self._load, self._waves = Connection(port), load, waves
        self.receipts: dict[str, Any] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        """See the class."""
        try:
            for wave in self._waves:
                for i in wave:
                    assert results_of(self._connection.post(self._load.batches[i])) == self._load.hashes[i]
                for i in wave:
                    self._collect(i)
        except BaseException as error:  # told by the main thread
            self.error = error

    def _collect(self, i: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            found = results_of(self._connection.post(self._load.asks[i]))
            if all(found):
                self.receipts |= dict(zip(self._load.hashes[i], found, strict=True))
                return
            assert time.monotonic() < deadline, f"{sum(not one for one in found)} receipts are missing in batch {i}"
            time.sleep(0.01)


def set_up(connection: Connection, load: Load) -> None:
    """What must be there before the clock runs."""
    for raw in load.setup:
        txid = connection.call("eth_sendRawTransaction", _hex(raw))
        while (receipt := connection.call("eth_getTransactionReceipt", txid)) is None:
            time.sleep(0.05)
        assert receipt["status"] == "0x1", receipt


def assert_done(connection: Connection, load: Load, receipts: dict[str, Any], nonces: int) -> None:
    """Every transaction has succeeded, and every receiver has what was sent to it."""
    assert len(receipts) == load.count
    for txid, receipt in receipts.items():
        assert (receipt["transactionHash"], receipt["status"]) == (txid, "0x1"), receipt
        assert len(receipt["logs"]) == (load.name == "erc20"), receipt
    method, params = load.balances
    assert {int(one, 16) for one in connection.results(method, params, 100)} == {SENT * nonces}


def shares_of(load: Load, nonces: int, connections: int) -> list[list[list[int]]]:
    """The batches of each connection, by nonce: all of a sender's come by one connection."""
    round_ = len(load.batches) // nonces
    assert round_ * nonces == len(load.batches), "the senders fill whole batches"
    return [
        [list(range(n * round_ + k, (n + 1) * round_, connections)) for n in range(nonces)] for k in range(connections)
    ]


def run_once(server: str, load: Load, senders: int, nonces: int, connections: int) -> dict[str, float]:
    """Start a server, drive it, check what it did. Transactions a second, with receipts."""
    with running(server, senders) as port:
        connection = Connection(port)
        set_up(connection, load)
        before = int(connection.call("eth_blockNumber"), 16)
        drivers = [Driver(port, load, share) for share in shares_of(load, nonces, connections)]
        started = time.perf_counter()
        for driver in drivers:
            driver.start()
        for driver in drivers:
            driver.join()
        elapsed = time.perf_counter() - started
        for driver in drivers:
            if driver.error is not None:
                raise driver.error
        receipts = {txid: receipt for driver in drivers for txid, receipt in driver.receipts.items()}
        assert_done(connection, load, receipts, nonces)
        blocks = int(connection.call("eth_blockNumber"), 16) - before
    return {"with_receipts": load.count / elapsed, "blocks": blocks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--senders", type=int, default=600)
    parser.add_argument("--nonces", type=int, default=16, help="transactions of each sender")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--loads", nargs="*", default=["transfer", "erc20"])
    parser.add_argument("--servers", nargs="*", default=["anvil", "pruned", "manaflow"])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for name in args.loads:
        load = load_of(name, args.senders, args.nonces, args.batch)
        runs: dict[str, list[dict[str, float]]] = {server: [] for server in args.servers}
        for _ in range(args.runs):
            for server in args.servers:
                runs[server].append(run_once(server, load, args.senders, args.nonces, args.connections))
        rows.append({"load": name, "count": load.count, "runs": runs})
    show(rows)
    if args.json:
        args.json.write_text(json.dumps({"machine": machine(), "batch": args.batch, "rows": rows}) + "\n")


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table of medians."""
    table = Table("load", "server", "with receipts / s (each run)", "blocks", "beside anvil")
    for row in rows:
        rates = {
            server: statistics.median(run["with_receipts"] for run in runs) for server, runs in row["runs"].items()
        }
        for server, runs in row["runs"].items():
            blocks = statistics.median(run["blocks"] for run in runs)
            each = ", ".join(f"{run['with_receipts']:,.0f}" for run in runs)
            ratio = f"{rates[server] / rates['anvil']:.2f}" if "anvil" in rates else ""
            cells = f"{rates[server]:,.0f} ({each})", f"{blocks:,.0f}", ratio
            table.add_row(f"{row['count']:,} {row['load']}", server, *cells)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
