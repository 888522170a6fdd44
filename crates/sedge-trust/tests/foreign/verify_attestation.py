#!/usr/bin/env python3
"""Verifies a receipt in an envelope with the libraries that other tools use for such envelopes.

    verify_attestation.py cose|in-toto FILE KEY

KEY is the Ed25519 public key, in hexadecimal, of the node that handed the file out. Prints the
SHA-256 of the receipt's body and of the task's output. Exit code 0: the envelope holds; 1: it does
not; 2: the arguments are wrong or a module is missing.
"""

import hashlib
import json
import sys

try:
    from pycose.headers import KID, Algorithm, ContentType
    from pycose.algorithms import EdDSA
    from pycose.keys import OKPKey
    from pycose.keys.curves import Ed25519
    from pycose.messages import CoseMessage, Sign1Message
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey
except ImportError as err:
    print(f"missing module: {err}; run ./test.sh, which provides it", file=sys.stderr)
    sys.exit(2)


class Refused(Exception):
    """Says why an envelope is not to be believed."""


def open_cose(content, key):
    try:
        message = CoseMessage.decode(content)
    except Exception as err:
        raise Refused("the file is no COSE message") from err
    if not isinstance(message, Sign1Message) or message.uhdr:
        raise Refused("the file is no COSE_Sign1 with protected headers alone")
    expected = {Algorithm: EdDSA, ContentType: "application/vnd.sedge.receipt+json", KID: key}
    if message.phdr != expected:
        raise Refused(f"the protected header is {message.phdr}")
    message.key = OKPKey(crv=Ed25519, x=key)
    if not message.verify_signature():
        raise Refused("the COSE signature is wrong")
    return json.loads(message.payload)


def open_in_toto(content, key):
    envelope = Envelope.from_dict(json.loads(content))
    name = key.hex()
    known = SSlibKey(name, "ed25519", "ed25519", {"public": name})
    try:
        envelope.verify([known], 1)
    except VerificationError as err:
        raise Refused("the DSSE signature is wrong") from err
    if envelope.payload_type != "application/vnd.in-toto+json":
        raise Refused("the payload is no in-toto statement")
    statement = json.loads(envelope.payload)
    if statement["_type"] != "https://in-toto.io/Statement/v1":
        raise Refused("the statement is of another version")
    if statement["predicateType"] != "urn:sedge:receipt:1":
        raise Refused("the statement says something else")
    receipt = statement["predicate"]
    output = {"name": "output", "digest": {"sha256": receipt["body"]["output_hash"]}}
    if statement["subject"] != [output]:
        raise Refused("the statement is about something else than the receipt")
    return receipt


def main():
    forms = {"cose": open_cose, "in-toto": open_in_toto}
    try:
        form, path, key = sys.argv[1:]
        opener, key = forms[form], bytes.fromhex(key)
    except (KeyError, ValueError):
        print("usage: verify_attestation.py cose|in-toto FILE KEY", file=sys.stderr)
        return 2
    try:
        with open(path, "rb") as file:
            body = opener(file.read(), key)["body"]
    except Refused as err:
        print(err, file=sys.stderr)
        return 1
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    print(hashlib.sha256(text.encode()).hexdigest(), body["output_hash"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
