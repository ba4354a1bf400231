"""How many JSON-RPC calls a second does one core of a node answer over HTTP, before any method does work?

Calls of a method without work, one by one and in batches of 100, with and without parameters, on 8 connections that
wait for each answer. Beside it: uvicorn alone, which reads the same body and sends the same bytes back without looking
at them. Every answer is compared with what it must be before anything is timed. CPU time of the server's process; the
client has one of its own.

    taskset -c 0,1 python benchmarks/rpc.py --seconds 5 --json rpc.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import uvicorn
import uvloop
from blocks import machine

from manaflow.node.encoding import LATEST, Address, BlockTag
from manaflow.node.limits import Limits, Rate
from manaflow.node.server import RpcServer
from manaflow.node.subscriptions import Hub

CONNECTIONS: Final = 8
CHAIN_ID: Final = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
BALANCE: Final = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBalance", "params": ["0x" + "ab" * 20, "latest"]}
ANSWER: Final = {"jsonrpc": "2.0", "id": 1, "result": "0x1"}
CASES: Final[dict[str, tuple[Any, Any, int]]] = {
    "eth_chainId": (CHAIN_ID, ANSWER, 1),
    "100 eth_chainId": ([CHAIN_ID] * 100, [ANSWER] * 100, 100),
    "100 eth_getBalance": ([BALANCE] * 100, [ANSWER] * 100, 100),
}


async def eth_chain_id() -> str:
    """No work."""
    return "0x1"


async def eth_get_balance(address: Address, tag: BlockTag = LATEST) -> str:
    """No work but reading the parameters."""
    return "0x1"


async def ours(ready: Connection) -> None:
    """A node's server."""
    limits = Limits(rate=Rate(1e9, 1e9))
    methods = {"eth_chainId": eth_chain_id, "eth_getBalance": eth_get_balance}
    server = RpcServer(methods, Hub(limits), limits, port=0)
    task = asyncio.create_task(server.serve())
    await server.started.wait()
    ready.send(server.port)
    await task


async def plain(ready: Connection) -> None:
    """uvicorn, and an app that answers each length of body with bytes made before."""
    fixed = {len(json.dumps(call)): json.dumps(answer).encode() for call, answer, _ in CASES.values()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        answer = fixed[len(body)]
        headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, http="httptools")
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    ready.send(server.servers[0].sockets[0].getsockname()[1])
    await task


def run(name: str, ready: Connection) -> None:
    """A server's process."""
    uvloop.run({"ours": ours, "plain": plain}[name](ready))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """One request, one answer."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    return await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))


async def load(port: int, call: Any, answer: Any, seconds: float) -> int:
    """Keep every connection busy; how many requests were answered."""
    body = json.dumps(call).encode()
    head = (
        f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    request = head.encode() + body

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert json.loads(await ask(reader, writer, request)) == answer
        end, done = time.monotonic() + seconds, 1
        while time.monotonic() < end:
            await ask(reader, writer, request)
            done += 1
        writer.close()
        return done

    return sum(await asyncio.gather(*(client() for _ in range(CONNECTIONS))))


def measure(seconds: float, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Calls a second of CPU time: by case, by server, one figure a round; the servers take turns."""
    pids, ports = {}, {}
    context = multiprocessing.get_context("spawn")
    processes = []
    for name in ("ours", "plain"):
        here, there = context.Pipe()
        processes.append(context.Process(target=run, args=(name, there), daemon=True))
        processes[-1].start()
        ports[name], pids[name] = here.recv(), processes[-1].pid
    found: dict[str, dict[str, list[float]]] = {case: {"ours": [], "plain": []} for case in CASES}
    for _ in range(rounds):
        for case, (call, answer, calls) in CASES.items():
            for name in ports:
                before = cpu_seconds(pids[name])
                done = uvloop.run(load(ports[name], call, answer, seconds))
                found[case][name].append(done * calls / (cpu_seconds(pids[name]) - before))
    for process in processes:
        process.terminate()
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="per case, server and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    ran_on = machine()
    found = measure(options.seconds, options.rounds)
    for case, by_server in found.items():
        middle = {name: statistics.median(figures) for name, figures in by_server.items()}
        print(f"{case:>20}: {middle['ours']:>9,.0f} calls a CPU second; uvicorn alone {middle['plain']:>9,.0f}")
    if options.json:
        options.json.write_text(json.dumps({"machine": ran_on, "calls_per_cpu_second": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
