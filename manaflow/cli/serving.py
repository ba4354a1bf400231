"""What the commands share that run until they are told to end."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from manaflow.cli.files import existing, read_bounded, read_genesis, read_key
from manaflow.cli.keys import MAX_KEYSTORE_BYTES, decrypt, is_keystore, password
from manaflow.cli.output import show
from manaflow.coordinator.replay import DEVELOPMENT_KEY
from manaflow.errors import Failure

if TYPE_CHECKING:
    from manaflow.moves.wire import GenesisFile
    from manaflow.node.opening import Plan
    from manaflow.node.service import Options

NEW_OBJECTS: Final = 10_000
"""Containers more than there were, between two looks of the garbage collector at them."""
Host = Annotated[str, typer.Option(help="Address to listen on; whoever reaches it may call every method.")]
Port = Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.", min=0, max=65_535)]
Genesis = Annotated[Path | None, typer.Option(help="Genesis file of a directory that is new.")]
ProducerKey = Annotated[
    Path | None,
    typer.Option(
        help="File with a producer's secret key, encrypted or bare. Without it a published development key signs: "
        "anyone has it."
    ),
]


def producer_secret(path: Path | None, password_file: Path | None) -> bytes:
    """The secret key of a file, 32 bytes; the published one of none. Raises Failure, a usage error."""
    if path is None:
        return DEVELOPMENT_KEY
    data = read_bounded(path, MAX_KEYSTORE_BYTES)
    return decrypt(path, data, password(password_file)) if is_keystore(data) else read_key(path)


def named_genesis(genesis: Path | None, state: Path | None) -> GenesisFile:
    """The genesis file of a new chain in the directory `state`. Raises Failure, a usage error."""
    if genesis is None:
        raise Failure(f"{state} holds no chain yet: name its --genesis")
    return read_genesis(existing(genesis))


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


def serve(plan: Plan, options: Options, greeting: Greeting, validator: str | None = None) -> None:
    """Open the chain, listen, greet, until Ctrl-C or SIGTERM. validator: URL of the one that has the open block.

    Raises Failure.
    """
    import uvloop

    from manaflow.node.logs import configure_logging

    configure_logging(as_json=not sys.stderr.isatty())
    uvloop.run(_serve(plan, options, greeting, validator))


def spare_what_stays() -> None:
    """Let the garbage collector leave alone what is there now, and look at what is new less often.

    A node that is open keeps some hundred thousand objects of its libraries for ever, and makes few that are not freed
    by their reference counts: looking through the former took a tenth of its time.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, 10, 10)


async def _serve(plan: Plan, options: Options, greeting: Greeting, validator: str | None) -> None:
    from manaflow.node.backup import Admin
    from manaflow.node.opening import open_chain
    from manaflow.node.service import Service

    link = None
    if validator is not None:
        from manaflow.node.http_link import HttpLink

        link = HttpLink(validator)
    plan = plan if link is None else replace(plan, link=link)
    admin = Admin(plan.path)
    service = Service(lambda events: open_chain(plan, events), replace(options, admin=admin))

    def opened() -> None:
        spare_what_stays()
        admin.announce(options.host, service.port)
        greeting.show(options.host, service.port)

    try:
        await service.run(opened, None if link is None else link.run)
    finally:
        admin.withdraw()
