"""libavb and avbtool judge images: one verdict for each, an exception is a refusal.

Arguments: where both are, the key (PEM, and as avbtool extracts it), the rollback
index that the device has stored, and how many images there are: 0.img, 1.img...
An image that begins with vbmeta is the partition vbmeta, any other one boot.
"""
import contextlib
import ctypes as c
import io
import os
import shutil
import sys

place, pem, blob, stored, count = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read(), int(sys.argv[4]), int(sys.argv[5])
sys.path.insert(0, place)
sys.dont_write_bytecode = True
import avbtool

lib = c.CDLL(os.path.join(place, "libavb.so"))
OK, IO, NO_SUCH, OUTSIDE = 0, 2, 3, 4
partitions = {}


def callback(*arguments):
    return lambda function: c.CFUNCTYPE(c.c_int, c.c_void_p, *arguments)(function)


@callback(c.c_char_p, c.c_int64, c.c_size_t, c.c_void_p, c.POINTER(c.c_size_t))
def read(_, name, offset, size, buffer, done):
    data = partitions.get(name)
    if data is None:
        return NO_SUCH
    offset = offset + len(data) if offset < 0 else offset
    piece = data[offset:offset + size] if 0 <= offset <= len(data) else None
    if piece is None:
        return OUTSIDE
    c.memmove(buffer, piece, len(piece))
    done[0] = len(piece)
    return OK


@callback(c.POINTER(c.c_uint8), c.c_size_t, c.POINTER(c.c_uint8), c.c_size_t, c.POINTER(c.c_bool))
def trusted(_, key, size, metadata, metadata_size, out):
    out[0] = bytes(key[:size]) == blob
    return OK


@callback(c.c_size_t, c.POINTER(c.c_uint64))
def rollback(_, location, out):
    out[0] = stored
    return OK


@callback(c.POINTER(c.c_bool))
def unlocked(_, out):
    out[0] = False
    return OK


@callback(c.c_char_p, c.c_void_p, c.c_size_t)
def guid(_, name, buffer, size):
    c.memmove(buffer, b"guid\0", 5)
    return OK


@callback(c.c_char_p, c.POINTER(c.c_uint64))
def size_of(_, name, out):
    if name not in partitions:
        return NO_SUCH
    out[0] = len(partitions[name])
    return OK


as_pointer = lambda function: c.cast(function, c.c_void_p)
# In the order of struct AvbOps.
ops = (c.c_void_p * 15)(
    None, None, None, as_pointer(read), None, None, as_pointer(trusted), as_pointer(rollback), None,
    as_pointer(unlocked), as_pointer(guid), as_pointer(size_of), None, None, None,
)
lib.avb_slot_verify.argtypes = [c.c_void_p, c.c_void_p, c.c_char_p, c.c_int, c.c_int, c.c_void_p]


def libavb(data):
    """In a process of its own: an assertion in libavb ends it."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        is_vbmeta = data[:4] == b"AVB0"
        partitions[b"vbmeta" if is_vbmeta else b"boot"] = data
        requested = (c.c_char_p * 2)(None if is_vbmeta else b"boot", None)
        if is_vbmeta:
            # Chained partitions are others' affair: what is asked is whether this one counts.
            result = lib.avb_vbmeta_image_verify(data, c.c_size_t(len(data)), None, None)
            index = int.from_bytes(data[112:120], "big")
            start = 256 + int.from_bytes(data[12:20], "big") + int.from_bytes(data[64:72], "big")
            same = data[start:start + int.from_bytes(data[72:80], "big")] == blob
            os._exit(0 if result == 0 and index >= stored and same else 1)
        out = c.c_void_p()
        os._exit(lib.avb_slot_verify(ops, requested, b"", 0, 0, c.byref(out)) & 0x7f)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def tool(index, data):
    """What vbmeta says of partitions that are not here has a test of its own."""
    is_vbmeta = data[:4] == b"AVB0"
    name = "vbmeta.img" if is_vbmeta else "boot.img"
    os.makedirs("beside", exist_ok=True)
    shutil.copy(f"{index}.img", f"beside/{name}")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if is_vbmeta:
                for kind in avbtool.DESCRIPTOR_CLASSES:
                    kind.verify = lambda *_: True
            else:
                for kind, verify in VERIFY.items():
                    kind.verify = verify
            avbtool.Avb().verify_image(f"beside/{name}", pem, None, False, False)
        return True
    except (Exception, SystemExit):
        return False


VERIFY = {kind: kind.verify for kind in avbtool.DESCRIPTOR_CLASSES}
verdicts = []
for index in range(count):
    data = open(f"{index}.img", "rb").read()
    verdicts.append("1" if libavb(data) and tool(index, data) else "0")
open("verdicts", "w").write("".join(verdicts))
