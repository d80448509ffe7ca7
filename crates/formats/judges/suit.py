"""Makes and judges SUIT envelopes with other people's code: cbor2, pycose, cryptography.

suit.py make KEYS OUT    envelopes, among them the examples of draft-ietf-suit-manifest-37 from their text, signed
                         with the keys KEYS/*.pem, into OUT/*.bin
suit.py judge            reads lines `<name> <public key, PEM file> <envelope, hexadecimal>`, answers `<name> <verdict>`:
                         `good`, or what is wrong

It shares nothing with Firmseal but the specifications.
"""

import hashlib
import pathlib
import sys

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pycose import headers
from pycose.algorithms import HMAC256, EdDSA, Es256, Es384, Ps256
from pycose.keys import CoseKey, SymmetricKey
from pycose.messages import CoseMessage, Mac0Message, Sign1Message, SignMessage
from pycose.messages.signer import CoseSignature

VENDOR = bytes.fromhex("fa6b4a53d5ad5fdfbe9de663e4d41ffe")
CLASS = bytes.fromhex("1492af1425695e48bf429b2d51f2ab45")
FIRST = bytes.fromhex("00112233445566778899aabbccddeeff0123456789abcdeffedcba9876543210")
EXAMPLE_TEXT = bytes.fromhex("302196d452bce5e8bfeaf71e395645ede6d365e63507a081379721eeecf00007")
SECOND = bytes.fromhex("0123456789abcdeffedcba987654321000112233445566778899aabbccddeeff")
OLDER = {"p256": Es256, "p384": Es384, "ed25519": EdDSA, "rsa3072": Ps256}
FUNCTIONS = {-16: "sha256", -43: "sha384", -44: "sha512"}


def digest(value, function=-16):
    return [function, hashlib.new(FUNCTIONS[function], value).digest()]


def dumps(value):
    return cbor2.dumps(value, canonical=True)


def image(value, size):
    return {3: dumps([-16, value]), 14: size}


def examples():
    """The manifests of the draft's appendix B, and what it severs."""
    ids = {1: VENDOR, 2: CLASS}
    same = [1, 15, 2, 15]

    def common(components, *shared):
        return dumps({2: components, 4: dumps(list(shared))})

    def manifest(number, common, **members):
        out = {1: 1, 2: number, 3: common}
        out.update({int(key[1:]): dumps(value) for key, value in members.items()})
        return out

    one = common([[b"\0"]], 20, ids | image(FIRST, 34768), *same)
    fetch = [20, {21: "http://example.com/file.bin"}, 21, 2, 3, 15]
    yield "example0", manifest(0, one, _7=[3, 15], _9=[23, 2]), {}
    yield "example1", manifest(1, one, _7=[3, 15], _20=fetch), {}
    two = manifest(2, one, _7=[3, 15], _9=[23, 2])
    # The text is long, and left out: the manifest has its digest.
    two |= {4: "https://git.io/JJYoj", 23: [-16, EXAMPLE_TEXT]}
    uri = "http://example.com/very/long/path/to/file/file.bin"
    yield "example2", two, {20: dumps([20, {21: uri}, 21, 2, 3, 15])}

    def slot(index, parameters):
        return dumps([20, {5: index}, 5, 5, 20, parameters])

    each = [slot(0, image(FIRST, 34768)), slot(1, image(SECOND, 76834))]
    uris = [slot(index, {21: f"http://example.com/file{index + 1}.bin"}) for index in (0, 1)]
    slots = common([[b"\0"]], 20, ids, 15, each, *same)
    yield "example3", manifest(3, slots, _7=[3, 15], _20=[15, uris, 21, 2, 3, 15]), {}
    load = [12, 2, 20, image(SECOND, 76834) | {22: 0}, 22, 2, 3, 15]
    yield "example4", manifest(
        4,
        common([[b"\0"], [b"\2"], [b"\1"]], 12, 0, 20, ids | image(FIRST, 34768), *same),
        _7=[12, 0, 3, 15],
        _8=load,
        _9=[12, 2, 23, 2],
        _16=[12, 1, 20, {3: dumps([-16, FIRST]), 21: "http://example.com/file.bin"}, 21, 2, 3, 15],
        _20=[12, 0, 20, {22: 1}, 22, 2, 3, 15],
    ), {}
    files = [[12, at, 20, {21: f"http://example.com/file{at + 1}.bin"}, 21, 2, 3, 15] for at in (0, 1)]
    yield "example5", manifest(
        5,
        common(
            [[b"\0"], [b"\1"]],
            *[12, 0, 20, ids | image(FIRST, 34768), *same, 12, 1, 20, image(SECOND, 76834)],
        ),
        _7=[12, 0, 3, 15, 12, 1, 3, 15],
        _9=[12, 0, 23, 2],
        _20=files[0] + files[1],
    ), {}


def integrated(payload, function=-16):
    """A manifest whose payload stands in the envelope."""
    own = {1: VENDOR, 2: CLASS, 3: dumps(digest(payload, function)), 14: len(payload)}
    shared = dumps([20, own, 1, 15, 2, 15])
    install = dumps([20, {21: "#app.bin"}, 21, 2, 3, 15])
    return {1: 1, 2: 7, 3: dumps({2: [[b"app"]], 4: shared}), 6: [1, 2, 3], 7: dumps([3, 15]), 20: install}


def wrap(manifest, severed, blocks, more=(), function=-16, tag=True):
    """An envelope: blocks are made of the encoded digest."""
    manifest = dict(manifest)
    for label, member in severed.items():
        manifest[label] = digest(cbor2.dumps(member))
    content = dumps(manifest)
    encoded = dumps(digest(cbor2.dumps(content), function))
    wrapper = dumps([encoded, *(block(encoded) for block in blocks)])
    members = {2: wrapper, 3: content, **severed, **dict(more)}
    return dumps(cbor2.CBORTag(107, members)) if tag else dumps(members)


class Keys:
    """Private keys, and blocks that they make."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def load(self, name):
        return CoseKey.from_pem_private_key((self.directory / f"{name}.pem").read_text())

    def sign1(self, name, protected=(), unprotected=()):
        def block(encoded):
            message = Sign1Message(phdr={headers.Algorithm: OLDER[name], **dict(protected)}, uhdr=dict(unprotected))
            message.key = self.load(name)
            return message.encode(detached_payload=encoded)

        return block

    def sign(self, *names):
        def block(encoded):
            signers = []
            for name in names:
                signer = CoseSignature(phdr={headers.Algorithm: OLDER[name]}, uhdr={headers.KID: name.encode()})
                signer.key = self.load(name)
                signers.append(signer)
            message = SignMessage(phdr={}, payload=encoded, signers=signers)
            whole = cbor2.loads(message.encode(detached_payload=None))
            # The payload is detached; pycose takes it from the message here.
            whole.value[2] = None
            return cbor2.dumps(whole)

        return block

    def mac0(self, encoded):
        message = Mac0Message(phdr={headers.Algorithm: HMAC256}, uhdr={headers.KID: b"shared"}, payload=encoded)
        message.key = SymmetricKey(k=bytes(32))
        whole = cbor2.loads(message.encode())
        whole.value[2] = None
        return cbor2.dumps(whole)


def make(directory, out):
    keys, out = Keys(directory), pathlib.Path(out)
    out.mkdir(exist_ok=True)
    for name, manifest, severed in examples():
        (out / f"{name}.bin").write_bytes(wrap(manifest, severed, [keys.sign1("p256")]))
    name, manifest, severed = list(examples())[2]
    whole = cbor2.loads(wrap(manifest, severed, [keys.sign1("p256")]))
    for label in severed:
        del whole.value[label]
    (out / "left_out.bin").write_bytes(dumps(whole))
    payload = bytes((index * index * 7 + 3) & 255 for index in range(300))
    own, more = integrated(payload), [("#app.bin", payload)]
    kid = [(headers.KID, b"maker")]
    text = {"en": {1: "fixture", (b"app",): {5: "an app"}}}
    severed = {20: own[20], 23: dumps(text)}
    cases = {
        "severable": wrap(own, severed, [keys.sign1("p256")], more),
        "unsigned": wrap(own, {}, [], more),
        "untagged": wrap(own, {}, [keys.sign1("p256")], more, tag=False),
        "p256": wrap(own, {}, [keys.sign1("p256", unprotected=kid)], more),
        "p384": wrap(integrated(payload, -43), {}, [keys.sign1("p384", protected=kid)], more, function=-43),
        "ed25519": wrap(own, {}, [keys.sign1("ed25519")], more),
        "rsa3072": wrap(own, {}, [keys.sign1("rsa3072")], more),
        "all_kinds": wrap(
            own,
            {},
            [keys.sign("p256", "ed25519"), keys.mac0, keys.sign1("p384", unprotected=kid)],
            [(1, dumps([[keys.sign1("p256")(b"claims")]])), (99, b"of another maker"), *more],
        ),
    }
    for name, envelope in cases.items():
        (out / f"{name}.bin").write_bytes(envelope)


def verifies(key, algorithm, structure, signature):
    """Checks a signature that pycose has no name for."""
    if algorithm in (-9, -51):
        field, function = (32, hashes.SHA256()) if algorithm == -9 else (48, hashes.SHA384())
        r, s = (int.from_bytes(half, "big") for half in (signature[:field], signature[field:]))
        curve = key.curve.key_size == field * 8 and len(signature) == 2 * field
        if not curve:
            raise InvalidSignature
        key.verify(utils.encode_dss_signature(r, s), structure, ec.ECDSA(function))
    else:
        key.verify(signature, structure)


def judge_block(pem, block, encoded):
    """Whether a block is a signature of a key."""
    tag = cbor2.loads(block)
    if tag.tag not in (18, 98) or tag.value[2] is not None:
        return False
    body = tag.value[0]
    signers = [(body, tag.value[3])] if tag.tag == 18 else [(one[0], one[2]) for one in tag.value[3]]
    for at, (protected, signature) in enumerate(signers):
        algorithm = cbor2.loads(protected).get(1)
        try:
            if algorithm in (-7, -8, -35, -37):
                key = CoseKey.from_pem_public_key(pem)
                message = CoseMessage.decode(block)
                if tag.tag == 98:
                    message.payload = encoded
                    own = message.signers[at]
                    own.key = key
                    good = own.verify_signature()
                else:
                    message.key = key
                    good = message.verify_signature(detached_payload=encoded)
                if good:
                    return True
            elif algorithm is not None:
                context = ["Signature1", body] if tag.tag == 18 else ["Signature", body, protected]
                verifies(load_pem_public_key(pem.encode()), algorithm, cbor2.dumps([*context, b"", encoded]), signature)
                return True
        except Exception:  # Whatever a library says to another kind of key.
            continue
    return False


def judge(pem, envelope):
    whole = cbor2.loads(envelope)
    if isinstance(whole, cbor2.CBORTag) and whole.tag != 107:
        return "form"
    members = whole.value if isinstance(whole, cbor2.CBORTag) else whole
    if dumps(whole) != envelope:
        return "form"
    wrapper = cbor2.loads(members[2])
    function, value = cbor2.loads(wrapper[0])
    if digest(cbor2.dumps(members[3]), function)[1] != value:
        return "digest"
    manifest = cbor2.loads(members[3])
    for label in (14, 15, 16, 18, 20, 23):
        if label in members:
            function, value = manifest[label]
            if digest(cbor2.dumps(members[label]), function)[1] != value:
                return "severed"
    return "good" if any(judge_block(pem, block, wrapper[0]) for block in wrapper[1:]) else "signature"


def main():
    if sys.argv[1:2] == ["make"]:
        return make(*sys.argv[2:])
    for line in sys.stdin:
        name, path, envelope = line.split()
        try:
            verdict = judge(pathlib.Path(path).read_text(), bytes.fromhex(envelope))
        except Exception as error:  # Whatever a library says to what it cannot read.
            verdict = f"unreadable:{type(error).__name__}"
        print(name, verdict)


main()
