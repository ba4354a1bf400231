"""A server in a process of its own: prints its port, serves until Ctrl-C. Its peak memory is what the tests look at."""

from __future__ import annotations

import asyncio

import uvloop

from manaflow.node.limits import Limits, Rate
from manaflow.node.logs import configure_logging
from manaflow.node.server import RpcServer
from manaflow.node.subscriptions import Hub
from tests.node.served import METHODS

LIMITS = Limits(
    max_buffered_bytes=32 << 20,
    max_queued_bytes=8 << 20,
    rate=Rate(1e9, 1e9),
    write_timeout=5.0,
)


async def main() -> None:
    hub = Hub(LIMITS)

    async def publish(count: int, size: int) -> int:
        for number in range(count):
            hub.publish("newHeads", {"number": number, "extra": "x" * size})
            if number % 10 == 0:
                await asyncio.sleep(0)
        return hub.count()

    server = RpcServer({**METHODS, "t_publish": publish}, hub, LIMITS, port=0)
    task = asyncio.create_task(server.serve(handle_signals=True))
    await server.started.wait()
    print(server.port, flush=True)
    await task


if __name__ == "__main__":
    configure_logging(as_json=True)
    uvloop.run(main())
