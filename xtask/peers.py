"""Other people's implementations, asked about every vector of the specification.

cbor2 decodes, pycose rebuilds what a COSE signature covers and verifies it.
Neither knows Firmseal. They judge what they can: whether the manifest has the
digest that was signed, and how many holders of the release role have signed.
A vector that is accepted, or refused for a reason that comes later, must
satisfy both; one refused for a digest or a threshold must fail exactly there.
"""

import hashlib
import pathlib
import sys

import cbor2
from pycose.algorithms import CoseAlgorithm, EdDSA, Es256
from pycose.keys import CoseKey
from pycose.messages import Sign1Message

VECTORS = pathlib.Path("spec/vectors")
RELEASE = 1

FORM = range(100, 200)
DIGEST = 200
SIGNATURES = range(201, 204)
TRUST = range(204, 300)


@CoseAlgorithm.register_attribute()
class Esp256(Es256):
    """What RFC 9864 calls ECDSA with SHA-256 on P-256; pycose knows the older name."""

    identifier = -9
    fullname = "ESP256"


@CoseAlgorithm.register_attribute()
class FullySpecifiedEd25519(EdDSA):
    """What RFC 9864 calls Ed25519."""

    identifier = -19
    fullname = "ED25519"


def fields(path):
    """The lines of a vector."""
    pairs = (line.split(": ", 1) for line in path.read_text(encoding="utf-8").splitlines())
    return {key: value for key, value in pairs}


def holders(root, product):
    """Threshold and holders of the release role for a product."""
    body = cbor2.loads(cbor2.loads(root)[0])
    roles = [role for role in body[5] if role[1] == RELEASE]
    special = [role for role in roles if product in role.get(4, [])]
    general = [role for role in roles if 4 not in role]
    role = (special + general)[0]
    return role[2], role[3]


def verifies(encoded, key, digest):
    """Whether one COSE_Sign1 is a signature of one key over the detached digest."""
    try:
        message = Sign1Message.decode(encoded)
        message.key = CoseKey.from_dict(dict(key))
        return message.verify_signature(detached_payload=digest)
    except Exception:  # pycose raises several kinds for a key that does not fit
        return False


def judge(vector):
    """Digest right, holders that signed, threshold; None where it is no envelope."""
    try:
        envelope = cbor2.loads(bytes.fromhex(vector["envelope"])).value
        wrapper = cbor2.loads(envelope[2])
        manifest = envelope[3]
        algorithm, digest = cbor2.loads(wrapper[0])
    except Exception:  # cbor2 raises whatever the first odd byte leads to
        return None
    # SUIT digests the manifest's byte string with its head.
    wrapped = cbor2.dumps(manifest)
    right = algorithm == -16 and hashlib.sha256(wrapped).digest() == digest
    threshold, people = holders(bytes.fromhex(vector["root"]), vector["product"])
    signed = sum(
        any(verifies(encoded, key, wrapper[0]) for encoded in wrapper[1:] for key in keys) for _, keys in people
    )
    return right, signed, threshold


def complaint(vector):
    """What the peers hold against the expected verdict; "" for nothing, None where they cannot judge."""
    expect = vector["expect"]
    code = 0 if expect == "ok" else int(expect.removeprefix("refused "))
    if code in FORM or code in TRUST:
        return None
    verdict = judge(vector)
    if verdict is None:
        return f"expected {expect}, and the peers cannot even decode it"
    right, signed, threshold = verdict
    if code == DIGEST:
        return "the digest is right for the peers" if right else ""
    if not right:
        return "the digest is wrong for the peers"
    enough = signed >= threshold
    # 201 refuses one bad signature even among enough good ones.
    if code in SIGNATURES:
        return f"{signed} of {threshold} holders have signed for the peers" if enough and code != 201 else ""
    return "" if enough else f"only {signed} of {threshold} holders have signed for the peers"


def main():
    passed = failed = beyond = 0
    for path in sorted(VECTORS.glob("*.txt")):
        problem = complaint(fields(path))
        if problem is None:
            beyond += 1
        elif not problem:
            passed += 1
        else:
            failed += 1
            print(f"{path}: {problem}")
    if passed + failed == 0:
        print("there are no vectors in spec/vectors")
        failed = 1
    print(f"{beyond} vectors are refused for their form or their root, which the peers do not judge")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
