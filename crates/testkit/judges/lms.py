"""LMS signatures, judged by pyhsslms.

A line is an HSS public key, a message and a signature, in hexadecimal; the
answer is `good` or `bad`.
"""

import sys

from pyhsslms import HssPublicKey

for line in sys.stdin:
    key, message, signature = (bytes.fromhex(word) for word in line.split(" "))
    try:
        good = HssPublicKey.deserialize(key).verify(message, signature)
    except Exception:  # It raises what it likes at what is malformed.
        good = False
    print("good" if good else "bad")
