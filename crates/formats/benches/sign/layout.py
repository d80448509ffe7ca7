"""An image layout (OCI) with one layer around a file: the file, the layout."""

import hashlib
import io
import json
import sys
import tarfile

IMAGE = "application/vnd.oci.image."


def tar(members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


blobs = []


def blob(kind, content):
    sha256 = hashlib.sha256(content).hexdigest()
    blobs.append((f"blobs/sha256/{sha256}", content))
    return {"mediaType": IMAGE + kind, "digest": f"sha256:{sha256}", "size": len(content)}


def text(value):
    return json.dumps(value).encode()


layer = blob("layer.v1.tar", tar([("firmware", open(sys.argv[1], "rb").read())]))
rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
config = blob("config.v1+json", text({"architecture": "arm64", "os": "linux", "config": {}, "rootfs": rootfs}))
manifest = {"schemaVersion": 2, "mediaType": IMAGE + "manifest.v1+json", "config": config, "layers": [layer]}
index = {"schemaVersion": 2, "manifests": [blob("manifest.v1+json", text(manifest))]}
ends = [("index.json", text(index)), ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')]
open(sys.argv[2], "wb").write(tar(blobs + ends))
