"""Co-signs a SUIT envelope as users of pycose write it: what ours is timed beside.

suit_cosign.py make PAYLOAD ENVELOPE
suit_cosign.py KEY ENVELOPE SIGNED
"""

import hashlib
import sys

import cbor2
from pycose import algorithms, headers, keys, messages


def digest(value):
    return [-16, hashlib.sha256(value).digest()]


first, source, out = sys.argv[1:]
data = open(source, "rb").read()
if first == "make":
    shared = cbor2.dumps([20, {3: cbor2.dumps(digest(data)), 14: len(data)}])
    install = cbor2.dumps([20, {21: "#payload"}, 21, 2, 3, 15])
    manifest = cbor2.dumps({1: 1, 2: 7, 3: cbor2.dumps({2: [[b"\0"]], 4: shared}), 20: install})
    wrapper = cbor2.dumps([cbor2.dumps(digest(cbor2.dumps(manifest)))])
    envelope = cbor2.CBORTag(107, {2: wrapper, 3: manifest, "#payload": data})
else:
    envelope = cbor2.loads(data)
    wrapper = cbor2.loads(envelope.value[2])
    assert cbor2.loads(wrapper[0]) == digest(cbor2.dumps(envelope.value[3]))
    shared = cbor2.loads(cbor2.loads(cbor2.loads(envelope.value[3])[3])[4])
    assert cbor2.loads(shared[1][3]) == digest(envelope.value["#payload"])
    block = messages.Sign1Message(phdr={headers.Algorithm: algorithms.Es256})
    block.key = keys.CoseKey.from_pem_private_key(open(first).read())
    wrapper.append(block.encode(detached_payload=wrapper[0]))
    envelope.value[2] = cbor2.dumps(wrapper)
open(out, "wb").write(cbor2.dumps(envelope))
