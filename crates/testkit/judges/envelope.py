"""Judges envelopes with other people's code: cbor2, pycose, cryptography.

Reads lines `<name> <key> <envelope>` in hexadecimal from standard input, the
key as an encoded COSE_Key, and answers `<name> <verdict>` for each: `good`,
or what is wrong. It shares nothing with Firmseal but the specifications.
"""

import hashlib
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from pycose.keys import CoseKey
from pycose.messages import Sign1Message


def reencoded(item):
    """Whether bytes are what a deterministic encoder makes of their value."""
    return cbor2.dumps(cbor2.loads(item), canonical=True) == item


def verify(key, message, signature):
    """Checks a signature with the library that OpenSSL stands behind."""
    if key[1] == 1:
        ed25519.Ed25519PublicKey.from_public_bytes(key[-2]).verify(signature, message)
    elif key[1] == 3:
        numbers = rsa.RSAPublicNumbers(int.from_bytes(key[-2], "big"), int.from_bytes(key[-1], "big"))
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
        numbers.public_key().verify(signature, message, pss, hashes.SHA256())
    else:
        point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key[-2] + key[-3])
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        point.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))


def judge(cose_key, envelope):
    tag = cbor2.loads(envelope)
    if tag.tag != 107 or not reencoded(envelope):
        return "form"
    members = tag.value
    wrapper = cbor2.loads(members[2])
    algorithm, digest = cbor2.loads(wrapper[0])
    # The digest is over the byte string with its head.
    if algorithm != -16 or hashlib.sha256(cbor2.dumps(members[3])).digest() != digest:
        return "digest"
    manifest = cbor2.loads(members[3])
    if not all(map(reencoded, [members[3], manifest[3], manifest[-257], *wrapper])):
        return "form"
    for label in (16, 20, 23):
        if label in members and hashlib.sha256(cbor2.dumps(members[label])).digest() != manifest[label][1]:
            return "severed"
    key = cbor2.loads(cose_key)
    for block in wrapper[1:]:
        protected, unprotected, payload, signature = cbor2.loads(block).value
        if payload is not None:
            return "form"
        # The key id is the thumbprint of RFC 9679.
        if unprotected[4] != hashlib.sha256(cose_key).digest():
            return "key"
        try:
            verify(key, cbor2.dumps(["Signature1", protected, b"", wrapper[0]]), signature)
        except InvalidSignature:
            return "signature"
        # Of the curves' algorithms pycose knows the older names only.
        if cbor2.loads(protected)[1] in (-7, -8, -37):
            message = Sign1Message.decode(block)
            message.key = CoseKey.decode(cose_key)
            if not message.verify_signature(detached_payload=wrapper[0]):
                return "signature"
    return "good" if len(wrapper) > 1 else "unsigned"


for line in sys.stdin:
    name, key, envelope = line.split()
    try:
        verdict = judge(bytes.fromhex(key), bytes.fromhex(envelope))
    except Exception as error:  # Whatever a library says to what it cannot read.
        verdict = f"unreadable {type(error).__name__}"
    print(name, verdict)
