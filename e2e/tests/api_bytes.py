"""For schemathesis: bodies of our own media types are bytes, as they are."""

import schemathesis


@schemathesis.serializer("application/cbor", "application/suit-envelope+cose")
def as_they_are(_context, value):
    data = getattr(value, "data", value)
    return data if isinstance(data, bytes) else str(data).encode(errors="ignore")
