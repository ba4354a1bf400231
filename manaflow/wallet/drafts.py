"""Files between declaring, signing and submitting: a draft (JSON) and a signed envelope (hex)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from manaflow.errors import Failure, Verdict
from manaflow.moves.declared import encode_declared, signing_hash, typed_data
from manaflow.moves.envelopes import MAX_ENVELOPE_BYTES, decode_envelope, recover_sender
from manaflow.moves.signatures import recover_address
from manaflow.moves.transactions import DeclaredTransaction, EthereumTransaction
from manaflow.rules.signing import ETHEREUM_CHAIN_IDS
from manaflow.wallet.strict_json import parse

KIND: Final = "manaflow declaration"
VERSION: Final = 1
MAX_FILE_BYTES: Final = 16 * MAX_ENVELOPE_BYTES
"""Of a draft: the envelope as hex, and once more as typed data, where a short move is some 400 letters."""
_SIGNATURE_BYTES: Final = 65


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction that waits for its signature."""

    transaction: DeclaredTransaction
    sender: bytes

    def encode(self) -> bytes:
        """JSON; `typedData` is what eth_signTypedData_v4 takes."""
        fields = {
            "kind": KIND,
            "version": VERSION,
            "sender": "0x" + self.sender.hex(),
            "unsigned": "0x" + encode_declared(self.transaction).hex(),
            "typedData": typed_data(self.transaction),
        }
        return json.dumps(fields, indent=1).encode() + b"\n"

    def with_signature(self, signature: bytes) -> bytes:
        """The envelope, signed elsewhere. signature: r | s | v, v of 0, 1, 27 or 28.

        Raises Failure if it is not the sender's.
        """
        parity = signature[-1] % 27 if len(signature) == _SIGNATURE_BYTES else 2
        if parity > 1:
            raise Failure(f"a signature is {_SIGNATURE_BYTES} bytes, r, s and v, with v of 0, 1, 27 or 28")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big")
        if recover_address(signing_hash(self.transaction), parity, r, s) != self.sender:
            raise Failure(f"the signature is not one of 0x{self.sender.hex()} over this transaction")
        envelope = encode_declared(replace(self.transaction, y_parity=parity, r=r, s=s))
        try:
            decode_envelope(envelope)
        except Verdict as verdict:
            raise Failure(f"the signature is in no form that is accepted: {verdict}") from None
        return envelope


def read_draft(data: bytes) -> Draft:
    """A draft file. Raises Failure, also if its typed data is of another transaction than its envelope."""
    try:
        fields: Any = parse(data)
        kind, version = fields["kind"], fields["version"]
        sender, unsigned = bytes.fromhex(fields["sender"][2:]), bytes.fromhex(fields["unsigned"][2:])
        shown = fields["typedData"]
    except (ValueError, KeyError, TypeError):
        raise Failure("the file is no declaration") from None
    if (kind, version) != (KIND, VERSION) or len(sender) != 20:
        raise Failure(f"the file is no declaration of version {VERSION}")
    transaction = _decoded(unsigned)
    if not isinstance(transaction, DeclaredTransaction):
        raise Failure("the file holds another transaction than a declared one")
    if transaction.chain_id in ETHEREUM_CHAIN_IDS:
        raise Failure(f"chain id {transaction.chain_id} is an Ethereum network's: nothing is signed for it here")
    if shown != typed_data(transaction):
        raise Failure("the file shows typed data of another transaction than it holds: do not sign it")
    return Draft(replace(transaction, txid=b""), sender)


def read_envelope(data: bytes) -> bytes:
    """A signed envelope from a file of hex. Raises Failure."""
    try:
        return bytes.fromhex(data.decode("ascii").strip().removeprefix("0x"))
    except ValueError:
        raise Failure("the file holds no envelope: 0x and hex digits") from None


def read_any(data: bytes) -> tuple[EthereumTransaction, bytes]:
    """(transaction, sender) of a draft or a signed envelope. Raises Failure, or Verdict (S1, S2)."""
    if data.lstrip()[:1] == b"{":
        draft = read_draft(data)
        return draft.transaction, draft.sender
    transaction = decode_envelope(read_envelope(data))
    return transaction, recover_sender(transaction)


def _decoded(unsigned: bytes) -> EthereumTransaction:
    try:
        return decode_envelope(unsigned)
    except Verdict as verdict:
        raise Failure(f"the file holds no transaction: {verdict}") from None
