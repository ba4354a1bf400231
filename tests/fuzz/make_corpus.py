"""Make the corpus anew from real data: `python -m tests.fuzz.make_corpus`.

Findings of a fuzzer are added by hand; they stay, as every file that has no name of this script's.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import zstandard

from manaflow.fraudproof.equivocation import prove_equivocation
from manaflow.moves.batch import EMPTY_BATCH
from manaflow.moves.envelopes import decode_envelope
from manaflow.moves.marks import UNSIGNED, Mark, Mask
from manaflow.moves.reply_json import reply_as_json
from manaflow.moves.wire import GenesisFile, encode_block, encode_genesis
from manaflow.moves.wire_batch import encode_batch
from tests.builders import TYPES, envelope, real_envelopes, state_test_transactions
from tests.chain import chain_config, random_chain
from tests.conftest import ROOT, shared_data
from tests.declared import declared_envelope, named_move
from tests.fraudproof.test_equivocation import CONFIG, HEADER, ONE, OTHER
from tests.fraudproof.test_format import samples as proofs
from tests.fuzz.targets import CORPUS
from tests.light.test_inclusion import samples as inclusions
from tests.moves.test_wire_batch import some_batch, some_reply
from tests.moves.wire_blocks import honest_block, nonsense_block
from tests.replays import HOLESKY, chain, file_of
from tests.vectors.declared.generate import valid

ENVELOPE_BYTES = 2000


def envelopes() -> Iterator[tuple[str, bytes]]:
    """Made ones, and the shortest and the longest real one of each type within ENVELOPE_BYTES."""
    for kind in TYPES:
        yield f"made-{kind}", envelope(kind)
    yield "made-unprotected", envelope(0, chain_id=None)
    yield "made-create", envelope(2, to=b"")
    raws = [raw for raw, *_ in (*real_envelopes(), *state_test_transactions()) if len(raw) <= ENVELOPE_BYTES]
    for kind in TYPES:
        of_kind = sorted((raw for raw in raws if decode_envelope(raw).type == kind), key=lambda raw: (len(raw), raw))
        yield f"real-{kind}-short", of_kind[0]
        yield f"real-{kind}-long", of_kind[-1]


def declared_envelopes() -> Iterator[tuple[str, bytes]]:
    """Vectors of every kind, and many short moves."""
    vectors = {one["name"]: bytes.fromhex(one["envelope"][2:]) for one in valid()}
    for name in ("some of each kind of move", "no moves", "a create", "an access list", "equal moves", "mask 0x00"):
        yield name.replace(" ", "-"), vectors[name]
    smallest = named_move(UNSIGNED & ~Mask.MARK, Mark.STORAGE)
    yield "many-moves", declared_envelope((smallest,) * 300)


def blocks() -> Iterator[tuple[str, bytes]]:
    """The smallest real block, blocks of a synthetic chain, honest and nonsensical columns."""
    yield "real", encode_block(chain(*HOLESKY).blocks[0])
    made = random_chain(2, 5)
    yield from ((f"chain-{i}", encode_block(block)) for i, block in enumerate(made.blocks))
    yield "honest", encode_block(honest_block(3, 5))
    yield from ((f"nonsense-{n}", encode_block(nonsense_block(n, n, 3 * n))) for n in (0, 1, 7))


def batches() -> Iterator[tuple[str, bytes]]:
    """Random columns, and no transactions at all."""
    yield "empty", encode_batch(EMPTY_BATCH)
    yield from ((f"random-{n}", encode_batch(some_batch(n, n))) for n in (1, 4, 12))


def replies() -> Iterator[tuple[str, bytes]]:
    """Verdicts of several kinds, with and without cells."""
    yield from ((f"cells-{n}", json.dumps(reply_as_json(some_reply(n))).encode()) for n in (0, 2))


def genesis_files() -> Iterator[tuple[str, bytes]]:
    """The chain config and ancestors of a replay with a small block."""
    real, made = chain(*HOLESKY), random_chain(1, 5)
    yield "real-head", encode_genesis(GenesisFile(real.config.encode(), real.genesis.ancestors, honest_block(1, 2)))
    yield "chain", encode_genesis(GenesisFile(made.config.encode(), (), made.blocks[0]))


def configs() -> Iterator[tuple[str, bytes]]:
    yield "real", chain(*HOLESKY).config.encode()
    yield "made", chain_config().encode()


def headers() -> Iterator[tuple[str, bytes]]:
    real = chain(*HOLESKY)
    yield "genesis", real.genesis.block.header.encode()
    yield "real", real.blocks[1].header.encode()


def fraud_proofs() -> Iterator[tuple[str, bytes]]:
    yield from ((name.replace(" ", "-"), data) for name, (data, _) in proofs().items())
    yield "equivocation", prove_equivocation(CONFIG, ONE, OTHER).encode()
    yield "equivocation-under-a-head", prove_equivocation(CONFIG, ONE, OTHER, replace(HEADER, number=77)).encode()


def inclusion_proofs() -> Iterator[tuple[str, bytes]]:
    yield from ((name.replace(" ", "-").replace(",", ""), data) for name, (data, _) in inclusions().items())


def neutral_blocks() -> Iterator[tuple[str, bytes]]:
    """A real block with a few of its transactions and accounts: what remains fits its hashes still."""
    unpacked = zstandard.ZstdDecompressor().decompress(file_of(HOLESKY[0]).read_bytes(), max_output_size=2**27)
    fields: dict[str, Any] = json.loads(unpacked)
    fields["transactions"] = sorted(fields["transactions"], key=lambda entry: len(entry["raw"]))[:3]
    for name, kept in (("prestate", 6), ("blockHashes", 3)):
        fields[name] = dict(sorted(fields[name].items(), key=lambda item: len(str(item[1])))[:kept])
    fields["withdrawals"] = (fields["withdrawals"] or [])[:2]
    text = json.dumps(fields, separators=(",", ":")).encode()
    yield "plain", text
    yield "zstd", zstandard.compress(text, 19)


def state_tests() -> Iterator[tuple[str, bytes]]:
    """Small fixtures without their prose, one a file."""
    found: dict[str, Any] = {}
    for path in sorted((ROOT / "examples" / "statetests").glob("*.json")):
        found |= json.loads(path.read_text())
    by_size = sorted(found.items(), key=lambda item: len(json.dumps(item)))
    for i, (name, fixture) in enumerate((by_size[0], by_size[-1])):
        fixture["_info"] = {"fixture-format": "state_test"}
        yield f"example-{i}", json.dumps({name: fixture}, separators=(",", ":")).encode()


def archives() -> Iterator[tuple[str, bytes]]:
    """A fixture beside a file that is none, in each packing."""
    fixture = next(state_tests())[1]
    for mode in ("", "gz", "xz", "bz2"):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode=f"w:{mode}", format=tarfile.PAX_FORMAT) as tar:
            for name, data in (("a/index.json", b"{}"), ("a/" + "long" * 30 + "é.json", fixture)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        yield mode or "plain", target.getvalue()


SEEDS = {
    "archive": archives,
    "envelope": envelopes,
    "declared": declared_envelopes,
    "block": blocks,
    "batch": batches,
    "reply": replies,
    "genesis": genesis_files,
    "config": configs,
    "header": headers,
    "fraud_proof": fraud_proofs,
    "inclusion": inclusion_proofs,
    "neutral": neutral_blocks,
    "fixtures": state_tests,
}


def main() -> None:
    """Write every seed."""
    shared_data()
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in seeds():
            (CORPUS / target / name).write_bytes(data)
            print(f"{target}/{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()
