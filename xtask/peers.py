"""Other people's implementations, asked about every vector of the specification.

cbor2 decodes, pycose rebuilds what a COSE signature covers and verifies it.
Neither knows Firmseal. They judge what they can: whether the manifest has the
digest that was signed, and how many holders of the release role have signed.
A vector that is accepted, or refused for a reason that comes later, must
satisfy both; one refused for a digest or a threshold must fail exactly there.

The crate cddl reads the grammar, spec/firmseal.cddl, and judges form alone: what
is accepted, or refused for anything but its form, must be in the grammar. What
is refused for its form may be: order, shortest encodings and counts over several
members are beyond a grammar.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import cbor2
from pycose.algorithms import CoseAlgorithm, EdDSA, Es256
from pycose.keys import CoseKey
from pycose.messages import Sign1Message

VECTORS = pathlib.Path("spec/vectors")
RELEASE = 1

GRAMMAR = pathlib.Path("spec/firmseal.cddl")
CDDL = "0.10.7"

FORM = range(100, 200)
DIGEST = 200
# COSE algorithms (IANA): HSS-LMS, and ML-DSA-44, -65 and -87.
LMS, ML_DSA = -46, (-48, -49, -50)
SIGNATURES = range(201, 204)
DELEGATION_MISSING = 702
TRUST = range(204, 300)
# Thresholds out of range, facts that are absent or lack a member, and commands
# and parameters that do not exist: form to the grammar, more to a device.
FORMLIKE = {205, 300, 301, 500, 501}


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


def beyond_release_keys(vector, code):
    """Whether it is not about the release role's own keys: a delegate or the recovery role signs, or a
    document that the device was told is refused before the envelope is looked at."""
    try:
        delegated = 1 in cbor2.loads(bytes.fromhex(vector["envelope"])).value
    except Exception:  # cbor2 raises whatever the first odd byte leads to
        delegated = False
    told = code in SIGNATURES and ("revocation" in vector or "freshness" in vector)
    return delegated or told or code == DELEGATION_MISSING or "stranded" in vector


def algorithms(vector):
    """The algorithms that the signatures of an envelope name."""
    try:
        wrapper = cbor2.loads(cbor2.loads(bytes.fromhex(vector["envelope"])).value[2])
        return {cbor2.loads(cbor2.loads(block).value[0])[1] for block in wrapper[1:]}
    except Exception:  # cbor2 raises whatever the first odd byte leads to
        return set()


def complaint(vector):
    """What the peers hold against the expected verdict; "" for nothing, None where they cannot judge."""
    expect = vector["expect"]
    code = 0 if expect == "ok" else int(expect.removeprefix("refused "))
    if code in FORM or code in TRUST or beyond_release_keys(vector, code):
        return None
    # pycose has neither; the tests of core and keys have peers of their own.
    if algorithms(vector) & {LMS, *ML_DSA}:
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


class Grammar:
    """The grammar, as the crate cddl understands it."""

    def __init__(self, program, directory):
        self.program = program
        self.file = directory / "document.cbor"
        text = GRAMMAR.read_text(encoding="utf-8")
        start = next(line for line in text.splitlines() if line.startswith("start = "))
        names = next(line for line in text.splitlines() if line.startswith("  * integrated-name"))
        # Two things the crate does not do: a label by the name of a rule, and a
        # member that may be absent whose key is a type. So the label is written
        # out, and envelopes with and without integrated payloads have a grammar each.
        text = text.replace(start, "").replace("  facts-label =>", "  -257 =>")
        named = text.replace("* integrated-name", "* tstr")
        self.envelopes = [self.write(directory, "plain", "envelope", text.replace(names, ""))]
        self.envelopes.append(self.write(directory, "integrated", "envelope", named))
        self.roots = [self.write(directory, "root", "root-document", text)]

    @staticmethod
    def write(directory, name, start, text):
        path = directory / f"{name}.cddl"
        path.write_text(f"start = {start}\n{text}", encoding="utf-8")
        return path

    def has(self, grammars, document):
        """Whether a document is in one of the grammars."""
        self.file.write_bytes(document)
        asked = (
            subprocess.run(
                [self.program, "validate", "--cddl", grammar, "--cbor", self.file],
                capture_output=True, text=True, check=False,
            )
            for grammar in grammars
        )
        return any("is successful" in answer.stdout + answer.stderr for answer in asked)


def judge_form():
    """Asks the grammar about every envelope and root document; how many were judged, and failures."""
    program = os.environ.get("FIRMSEAL_CDDL") or shutil.which("cddl")
    if program is None:
        print(f"NOT JUDGED: the grammar; `cargo install cddl --version {CDDL} --locked` brings who judges it")
        return 0, 0
    judged = refused = failed = 0
    with tempfile.TemporaryDirectory() as directory:
        grammar = Grammar(program, pathlib.Path(directory))
        cases = [(path, "envelope", grammar.envelopes) for path in sorted(VECTORS.glob("*.txt"))]
        cases += [(path, "root", grammar.roots) for path in sorted((VECTORS / "roots").glob("*.txt"))]
        for path, member, grammars in cases:
            vector = fields(path)
            code = 0 if vector["expect"] == "ok" else int(vector["expect"].removeprefix("refused "))
            has = grammar.has(grammars, bytes.fromhex(vector[member]))
            refused += not has
            if code in FORM or code in FORMLIKE:
                continue
            judged += 1
            if not has:
                failed += 1
                print(f"{path}: expected {vector['expect']}, and it is not in the grammar")
    if refused == 0:
        print("the grammar refuses nothing at all")
        failed += 1
    print(f"the grammar has {judged - failed} documents that it must have, and refuses {refused}")
    return judged, failed


def main():
    passed, failed = judge_form()
    passed -= failed
    beyond = 0
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
    print(f"{beyond} vectors are about what the peers do not judge: form, roots, LMS, ML-DSA")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
