"""`manaflow backup`, `restore` and `prune`: copies of a state directory, and letting go of old bodies."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from manaflow.cli.files import read_bounded
from manaflow.cli.options import Json
from manaflow.cli.output import show
from manaflow.errors import Failure, Locked
from manaflow.moves.view import hexed

if TYPE_CHECKING:
    from manaflow.validator.validator import Validator

MAX_ADMIN_BYTES: Final = 4096
Directory = Annotated[Path, typer.Argument(help="A state directory: a node's, or a validator's alone.")]


class _Admin(msgspec.Struct):
    """What a running node leaves in its directory."""

    url: str
    token: str


def backup(
    directory: Directory,
    to: Annotated[Path, typer.Option(help="Where the copy goes; nothing may be there.")],
    as_json: Json = False,
) -> None:
    """Copy a state directory, also while its node runs: then the node itself makes the copy.

    The copy is consistent, without free pages, and complete when the command ends. Not in it: what is acknowledged
    after it began.
    """
    from manaflow.node.backup import copies_of, copy_whole

    try:
        size, by = copy_whole(to, copies_of(directory)), "this command"
    except Locked:
        size, by = _ask_node(directory, to), "the running node"
    found = {"backup": str(to), "bytes": size, "by": by}
    show(as_json, found, [f"{to}  {size} bytes, copied by {by}"])


def _ask_node(directory: Path, to: Path) -> int:
    """The node that has the directory open copies it. Raises Failure if it is another command that has it open."""
    from manaflow.node.backup import ADMIN_NAME
    from manaflow.node.client import RpcClient

    path = directory / ADMIN_NAME
    if not path.is_file():
        raise Failure(f"{directory} is in use by a process that is no node: end it first")
    try:
        admin = msgspec.json.decode(read_bounded(path, MAX_ADMIN_BYTES), type=_Admin)
    except msgspec.DecodeError as error:
        raise Failure(f"{path} is damaged: {error}") from error

    async def ask() -> int:
        async with RpcClient(admin.url) as client:
            while True:
                answer: Any = await client.call("mana_backup", admin.token, str(to.absolute()))
                if answer["done"]:
                    return int(answer["bytes"])

    return asyncio.run(ask())


def restore(
    source: Annotated[Path, typer.Argument(help="A backup.")],
    to: Annotated[Path, typer.Option(help="The new state directory; nothing may be there.")],
    as_json: Json = False,
) -> None:
    """Make a state directory from a backup: versions and contents are checked before its name appears.

    A node's latest index is brought in step with the chain, or built anew if the backup has none.
    """
    from manaflow.node.backup import copy_whole, environments

    def copier(path: Path) -> Any:
        return lambda folder: shutil.copyfile(path / "data.mdb", folder / "data.mdb")

    unchecked = to.with_name(to.name + ".unchecked")
    if to.exists():
        raise Failure(f"{to} exists already: a restore never overwrites")
    shutil.rmtree(unchecked, ignore_errors=True)
    try:
        copy_whole(unchecked, {name: copier(path) for name, path in environments(source).items()})
        found = _checked(unchecked)
        unchecked.rename(to)
    finally:
        shutil.rmtree(unchecked, ignore_errors=True)
    lines = [
        f"{to}  no fault in {found['blocks']} blocks; head: block {found['number']}, {hexed(found['hash'])}",
        "Before a producer signs on it: make sure that the old one is gone for good, and follow the chain to its end",
    ]
    show(as_json, {"state": str(to), **found}, lines)


def _checked(directory: Path) -> dict[str, Any]:
    """Open and check everything. Raises StorageFailure for a newer version or a fault."""
    from manaflow.node.backup import environments
    from manaflow.node.opening import LATEST, VALIDATOR
    from manaflow.validator.validator import Validator

    with Validator.open(environments(directory).get(VALIDATOR, directory)) as validator:
        report = validator.check()
        if VALIDATOR in environments(directory):
            _bring_in_step(validator, directory / LATEST)
        header, block_hash = validator.head
    return {"blocks": report.blocks, "number": header.number, "hash": block_hash}


def _bring_in_step(validator: Validator, path: Path) -> None:
    from manaflow.coordinator.following import Follower
    from manaflow.coordinator.latest_index import LatestIndex

    with LatestIndex.open(path, keep_undo=validator.config.challenge_blocks) as latest:
        for _ in Follower(validator, latest).catch_up():
            pass


def prune(
    directory: Directory,
    keep: Annotated[int, typer.Option(help="Bodies of final blocks to keep, counted from the last final one.", min=0)],
    as_json: Json = False,
) -> None:
    """Let go of the bodies of old final blocks, for space. Headers, history, index and codes stay.

    What needs an old body is refused from then on, and says so: handing it out, proofs of V rules that point to it,
    building the latest index anew. The file does not shrink, but new blocks fill what is free; a backup is compact.
    """
    from manaflow.node.backup import environments
    from manaflow.node.opening import VALIDATOR
    from manaflow.validator.pruning import prune as prune_bodies
    from manaflow.validator.validator import Validator

    with Validator.open(environments(directory).get(VALIDATOR, directory)) as validator:
        report = prune_bodies(validator, keep)
    found = {"state": str(directory), "below": report.below, "bodies": report.bodies, "freed": report.freed}
    line = f"{report.bodies} bodies of blocks below {report.below} are gone, {report.freed} bytes free for new ones"
    show(as_json, found, [line])
