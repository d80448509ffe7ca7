"""Runs moto's server for KMS, with three of its shortcuts put right.

moto 5.2 hashes what it is told is a digest (MessageType=DIGEST), and salts
RSA-PSS with as many bytes as fit. KMS signs a digest as it stands, and salts
with the length of the hash (KMS API Reference, Sign; Developer Guide, "Key
spec reference"). moto signs with keys that are disabled or pending deletion,
and shows their public halves; KMS does neither (Developer Guide, "Key states").
`--as-it-is` leaves moto alone. `--throttle FILE` answers
ThrottlingException while the file is there.

Prints its port, then serves until stdin ends.
"""

import os
import sys
import threading

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from moto.kms import responses
from moto.kms.exceptions import ValidationException
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def prepared(message, algorithm, message_type):
    kind = HASHES[algorithm[-3:]]()
    if message_type != "DIGEST":
        return message, kind
    if len(message) != kind.digest_size:
        raise ValidationException("Digest is invalid length for algorithm " + algorithm)
    return message, utils.Prehashed(kind)


def put_right():
    message_type = threading.local()
    original = responses.KmsResponse.sign

    def enabled(self):
        from moto.core.exceptions import JsonRESTError

        key = self.kms_backend.describe_key(self._get_param("KeyId"))
        if key.key_state == "PendingDeletion":
            raise JsonRESTError("KMSInvalidStateException", key.arn + " is pending deletion.")
        if not key.enabled:
            raise JsonRESTError("DisabledException", key.arn + " is disabled.")

    shown = responses.KmsResponse.get_public_key

    def get_public_key(self):
        self._validate_key_id(self._get_param("KeyId"))
        enabled(self)
        return shown(self)

    def sign(self):
        self._validate_key_id(self._get_param("KeyId"))
        enabled(self)
        message_type.value = self._get_param("MessageType")
        return original(self)

    def ecdsa(self, message, algorithm):
        message, kind = prepared(message, algorithm, message_type.value)
        return self.private_key.sign(message, ec.ECDSA(kind))

    def rsa(self, message, algorithm):
        message, kind = prepared(message, algorithm, message_type.value)
        hash_kind = HASHES[algorithm[-3:]]()
        pad = padding.PKCS1v15()
        if algorithm.startswith("RSASSA_PSS"):
            pad = padding.PSS(mgf=padding.MGF1(hash_kind), salt_length=hash_kind.digest_size)
        return self.private_key.sign(message, pad, kind)

    responses.KmsResponse.get_public_key = get_public_key
    responses.KmsResponse.sign = sign
    ECDSAPrivateKey.sign = ecdsa
    RSAPrivateKey.sign = rsa


def throttle(path):
    from moto.core.exceptions import JsonRESTError

    original = responses.KmsResponse.sign

    def sign(self):
        if os.path.exists(path):
            raise JsonRESTError("ThrottlingException", "Rate exceeded")
        return original(self)

    responses.KmsResponse.sign = sign


def main():
    arguments = sys.argv[1:]
    if "--as-it-is" not in arguments:
        put_right()
    if "--throttle" in arguments:
        throttle(arguments[arguments.index("--throttle") + 1])
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    sys.stdin.read()
    server.stop()


main()
