"""Files that commands read and write: blocks, genesis, keys. Every read is bounded, every write whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer
from coincurve import PrivateKey

from manaflow.cli.output import naming
from manaflow.errors import Failure
from manaflow.evm.native_hashing import NATIVE
from manaflow.moves.block import Block
from manaflow.moves.bounded import read_at_most
from manaflow.moves.wire import GenesisFile, Limits, decode_block, decode_genesis

GENESIS_NAME: Final = "genesis.mana"
MAX_KEY_FILE_BYTES: Final = 16 * 1024
MAX_FILE_BYTES: Final = Limits().file_bytes


def existing(path: Path) -> Path:
    """The path itself. Raises a usage error if nothing is there."""
    if not path.exists():
        raise typer.BadParameter(f"no such file: {path}")
    return path


def read_bounded(path: Path, limit: int) -> bytes:
    """A file's bytes. Raises a usage error if it is missing or a folder, Failure if it is longer than `limit` bytes."""
    if existing(path).is_dir():
        raise typer.BadParameter(f"{path} is a folder, a file is needed")
    with path.open("rb") as file:
        data = read_at_most(file, limit)
    if data is None:
        raise Failure(f"{path} is longer than the {limit} bytes that such a file may have")
    return data


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that its name never stands for half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_key(path: Path) -> bytes:
    """A secret key: 32 raw bytes, 64 hex digits with or without 0x, or a keystore, whose password is asked for."""
    from manaflow.cli.keys import decrypt, is_keystore, password

    data = read_bounded(path, MAX_KEY_FILE_BYTES)
    if is_keystore(data):
        return decrypt(path, data, password(None))
    try:
        key = data if len(data) == 32 else bytes.fromhex(data.decode("ascii").strip().removeprefix("0x"))
        PrivateKey(key)
    except (UnicodeDecodeError, ValueError) as error:
        raise typer.BadParameter(f"{path} holds no secret key (32 bytes, or 64 hex digits)") from error
    if len(key) != 32:
        raise typer.BadParameter(f"{path} holds {len(key)} bytes, a secret key has 32")
    return key


def read_block(path: Path) -> Block:
    """A block file. Raises Verdict (B1) if it does not decode."""
    with naming(path):
        return decode_block(read_bounded(path, MAX_FILE_BYTES), NATIVE)


def read_genesis(path: Path) -> GenesisFile:
    """A genesis file: chain config, ancestors and the genesis block."""
    with naming(path):
        return decode_genesis(read_bounded(path, MAX_FILE_BYTES), NATIVE)


def block_paths(inputs: Sequence[Path]) -> list[Path]:
    """Block files among files and folders, by number (the file's name); genesis files are left out."""
    found: list[Path] = []
    for path in inputs:
        found += path.glob("*.mana") if existing(path).is_dir() else [path]
    paths = [path for path in found if path.name != GENESIS_NAME]
    return sorted(paths, key=lambda p: (p.parent, not p.stem.isdigit(), int(p.stem) if p.stem.isdigit() else 0, p.name))


def genesis_path(inputs: Sequence[Path], named: Path | None) -> Path | None:
    """The genesis file: the one named, the one among the inputs, or the one beside them."""
    if named is not None:
        return existing(named)
    return next(_genesis_candidates(inputs), None)


def _genesis_candidates(inputs: Sequence[Path]) -> Iterator[Path]:
    for path in inputs:
        if path.name == GENESIS_NAME:
            yield existing(path)
        candidate = (path if path.is_dir() else path.parent) / GENESIS_NAME
        if candidate.exists():
            yield candidate
