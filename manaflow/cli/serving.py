"""What the commands share that run until they are told to end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manaflow.cli.output import show

if TYPE_CHECKING:
    from manaflow.node.opening import Plan
    from manaflow.node.service import Options

Host = Annotated[str, typer.Option(help="Address to listen on; whoever reaches it may call every method.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.", min=0, max=65_535)]


@dataclass(frozen=True, slots=True)
class Greeting:
    """What is shown when the port is open."""

    as_json: bool
    fields: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[str] = ()

    def show(self, host: str, port: int) -> None:
        """Last comes where it listens."""
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        show(self.as_json, {**self.fields, "url": f"http://{where}"}, [*self.lines, f"Listening on {where}"])


def serve(plan: Plan, options: Options, greeting: Greeting) -> None:
    """Open the chain, listen, greet, until Ctrl-C or SIGTERM. Raises Failure."""
    import uvloop

    from manaflow.node.logs import configure_logging

    configure_logging(as_json=not sys.stderr.isatty())
    uvloop.run(_serve(plan, options, greeting))


async def _serve(plan: Plan, options: Options, greeting: Greeting) -> None:
    from manaflow.node.opening import open_chain
    from manaflow.node.service import Service

    service = Service(lambda events: open_chain(plan, events), options)
    await service.run(lambda: greeting.show(options.host, service.port))
