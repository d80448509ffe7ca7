"""A signed checkpoint, judged by `cryptography` (OpenSSL).

Arguments are a file with a checkpoint and verifier keys. For each key one
line is printed: its type, and `good`, `bad` or `missing`.

Written from C2SP signed-note, tlog-checkpoint and tlog-cosignature; nothing
here comes from the code that it judges.
"""

import base64
import hashlib
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey, MLDSA87PublicKey

OWN = b"\xfffirmseal/ml-dsa-87-subtree/v1\n"


def cosigned(name, time, text):
    """struct cosigned_message of tlog-cosignature, for a checkpoint."""
    origin, size, root = text.split("\n")[:3]
    out = b"subtree/v1\n\0" + bytes([len(name)]) + name.encode() + time.to_bytes(8, "big")
    out += bytes([len(origin)]) + origin.encode() + (0).to_bytes(8, "big") + int(size).to_bytes(8, "big")
    return out + base64.b64decode(root, validate=True)


def check(key, line, text, name):
    if key[:1] == b"\x01":
        Ed25519PublicKey.from_public_bytes(key[1:]).verify(line, text.encode())
        return
    time, signature = int.from_bytes(line[:8], "big"), line[8:]
    message = cosigned(name, time, text)
    if key[:1] == b"\x06":
        MLDSA44PublicKey.from_public_bytes(key[1:]).verify(signature, message)
    elif key.startswith(OWN):
        MLDSA87PublicKey.from_public_bytes(key[len(OWN):]).verify(signature, message)
    else:
        raise ValueError("a type that is not known here")


with open(sys.argv[1], "rb") as file:
    note = file.read().decode()
text, lines = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
for vkey in sys.argv[2:]:
    name, id, key = vkey.split("+", 2)
    key = base64.b64decode(key, validate=True)
    assert hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == id
    answer = "missing"
    for line in lines.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature, validate=True)
        if (dash, signer, signature[:4].hex()) != ("\u2014", name, id):
            continue
        try:
            check(key, signature[4:], text, name)
            answer = "good"
        except InvalidSignature:
            answer = "bad"
    print("0x%02x" % key[0], answer)
