#!/usr/bin/env python3
"""Verifies exported receipts with another language's tools, given only the two public keys.

    verify_receipt.py EXPORT EXECUTOR_KEY REQUESTER_KEY

Keys are Ed25519 public keys in hexadecimal and come from the person, never from the file.
Needs the module `cryptography`. Exit code 0: every receipt holds; 1: one does not, and it is
named; 2: the arguments are wrong or the module is missing.

RFC 8785 for these files is `json.dumps` with sorted keys and no spaces: they hold only objects,
lists, texts, whole numbers up to 2^53 - 1 and null, and every key is ASCII.
"""

import hashlib
import json
import sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError as err:
    print(f"missing module: {err}; run ./test.sh, which provides it", file=sys.stderr)
    sys.exit(2)

MAX_INTEGER = 2**53 - 1
BODY_FIELDS = {
    "version", "swarm_id", "task_id", "task_hash", "capability", "artifact_hash", "input_hash",
    "output_hash", "budgets", "used", "status", "rung", "executor", "requester", "started_ms",
    "ended_ms", "sequence", "previous",
}  # fmt: skip


MAX_BATCH = 4096


class Refused(Exception):
    """Says why a file or a receipt is not to be believed."""


def leaf_hash(content):
    return hashlib.sha256(b"\0" + content).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of_path(leaf, index, size, path):
    """Returns the root that an inclusion proof leads to (RFC 9162, section 2.1.3.2)."""
    if not all(isinstance(it, int) and it >= 0 for it in (index, size)) or index >= size:
        raise Refused("the place is not in the tree")
    at, last, result = index, size - 1, leaf
    for step in path:
        other = bytes.fromhex(step)
        if last == 0 or other.hex() != step or len(other) != 32:
            raise Refused("the proof is of another tree")
        if at % 2 == 1 or at == last:
            result = node_hash(other, result)
            while at % 2 == 0 and at != 0:
                at, last = at >> 1, last >> 1
        else:
            result = node_hash(result, other)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise Refused("the proof is of another tree")
    return result


def check_anchor(anchor, receipt_id, sequence, executor):
    """Checks that a receipt stands in the chain that its executor's checkpoint counts."""
    check_fields(anchor, {"checkpoint", "path"} | (set(anchor) & {"since"}), "the anchor")
    checkpoint = anchor["checkpoint"]
    check_fields(checkpoint, ["point", "signature"], "the checkpoint")
    point = checkpoint["point"]
    check_fields(
        point, ["version", "swarm_id", "node", "count", "root", "taken_ms"], "the checkpoint"
    )
    if point["version"] != "sedge-checkpoint/1" or point["node"] != executor.hex():
        raise Refused("the checkpoint is another node's")
    check_signature(executor, checkpoint["signature"], canonical(point), "node of the checkpoint")
    leaf = leaf_hash(bytes.fromhex(receipt_id))
    root = root_of_path(leaf, sequence, point["count"], anchor["path"])
    if root.hex() != point["root"]:
        raise Refused("the receipt is not in the chain of the checkpoint")


def canonical(value):
    """Returns the RFC 8785 form of a value of these files."""
    check_kind(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8")


def check_kind(value):
    if isinstance(value, dict):
        if not all(key.isascii() for key in value):
            raise Refused("a key is not ASCII")
        for field in value.values():
            check_kind(field)
    elif isinstance(value, list):
        for item in value:
            check_kind(item)
    elif isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise Refused("a value is neither a text, a whole number nor null")
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise Refused("a number is too large")


def unique(pairs):
    """Refuses a second field of the same name, which readers would take differently."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused("a field stands there twice")
    return fields


def check_fields(value, names, what):
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"{what} has other fields than it should")


def check_signature(key, signature, text, who):
    try:
        raw = bytes.fromhex(signature)
        if raw.hex() != signature:
            raise ValueError("another spelling of the same bytes")
        Ed25519PublicKey.from_public_bytes(key).verify(raw, text)
    except (InvalidSignature, TypeError, ValueError) as err:
        raise Refused(f"the {who} did not sign this") from err


def verify(receipt, executor, requester):
    """Returns the receipt's id, and whether the requester confirmed it."""
    batch = receipt.get("batch") if isinstance(receipt, dict) else None
    names = ["body", "executor_signature", "requester_signature"]
    check_fields(receipt, names + (["batch"] if batch else []), "the receipt")
    body = receipt["body"]
    replayable = body.get("rung") == "bit-replayable"
    check_fields(body, BODY_FIELDS | ({"profile"} if replayable else set()), "the body")
    if body["version"] != "sedge-receipt/1":
        raise Refused("the receipt has a form not known here")
    if body["executor"] != executor.hex():
        raise Refused("it names another executor")
    if body["requester"] != requester.hex():
        raise Refused("it names another requester")
    text = canonical(body)
    receipt_id = hashlib.sha256(text).hexdigest()
    if batch:
        check_fields(batch, ["index", "size", "path"], "the batch")
        size = batch["size"]
        leaf = leaf_hash(bytes.fromhex(receipt_id))
        root = root_of_path(leaf, batch["index"], size, batch["path"])
        if size > MAX_BATCH:
            raise Refused("the batch is too large")
        text = canonical({"version": "sedge-receipt-batch/1", "root": root.hex(), "size": size})
    check_signature(executor, receipt["executor_signature"], text, "executor")
    if receipt["requester_signature"] is None:
        return receipt_id, False
    confirmation = {
        "version": "sedge-receipt-confirmation/1",
        "receipt": receipt_id,
        "executor_signature": receipt["executor_signature"],
    }
    signature = receipt["requester_signature"]
    check_signature(requester, signature, canonical(confirmation), "requester")
    return receipt_id, True


def read(path):
    with open(path, "rb") as file:
        content = file.read().removesuffix(b"\n")
    try:
        export = json.loads(content, object_pairs_hook=unique)
    except (ValueError, RecursionError) as err:
        raise Refused("the file is not JSON") from err
    anchor = export.get("anchor") if isinstance(export, dict) else None
    check_fields(export, ["version", "receipts"] + (["anchor"] if anchor else []), "the file")
    if export["version"] != "sedge-receipts/1" or not isinstance(export["receipts"], list):
        raise Refused("the file has a form not known here")
    if canonical(export) != content:
        raise Refused("the file was rewritten: it is not in canonical form")
    return export["receipts"], anchor


def main():
    try:
        path, executor, requester = sys.argv[1:]
        executor, requester = bytes.fromhex(executor), bytes.fromhex(requester)
        if len(executor) != 32 or len(requester) != 32:
            raise ValueError
    except ValueError:
        print("usage: verify_receipt.py EXPORT EXECUTOR_KEY REQUESTER_KEY", file=sys.stderr)
        return 2
    place = "file"
    try:
        receipts, anchor = read(path)
        for index, receipt in enumerate(receipts):
            place = f"receipt {index}"
            receipt_id, confirmed = verify(receipt, executor, requester)
            if anchor and index == 0:
                check_anchor(anchor, receipt_id, receipt["body"]["sequence"], executor)
            print(receipt_id, "confirmed" if confirmed else "attested")
    except Refused as err:
        print(f"{place}: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
