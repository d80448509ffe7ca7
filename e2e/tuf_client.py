"""PyPI's `tuf`, the reference client of TUF, against a directory that is served on loopback.

    tuf_client.py REPOSITORY STATE ROOT [--days DAYS] [TARGET...]

Refreshes from REPOSITORY, with what the client remembers in STATE; a client
without a memory begins with the file ROOT. Then it downloads each TARGET.
Prints one JSON object: what it has, or the class of the exception with which
it refused.
"""

import argparse
import datetime
import functools
import hashlib
import http.server
import json
import pathlib
import sys
import threading

from tuf.ngclient import Updater


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("repository")
    arguments.add_argument("state", type=pathlib.Path)
    arguments.add_argument("root", type=pathlib.Path)
    arguments.add_argument("--days", type=int, default=0)
    arguments.add_argument("target", nargs="*")
    given = arguments.parse_args()

    handler = functools.partial(Quiet, directory=given.repository)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"

    metadata, targets = given.state / "metadata", given.state / "targets"
    metadata.mkdir(parents=True, exist_ok=True)
    targets.mkdir(exist_ok=True)
    known = (metadata / "root.json").exists()
    try:
        updater = Updater(
            metadata_dir=str(metadata),
            metadata_base_url=f"{base}/metadata/",
            target_dir=str(targets),
            target_base_url=f"{base}/targets/",
            bootstrap=None if known else given.root.read_bytes(),
        )
        # What the client takes for now: so many days from now.
        updater._trusted_set.reference_time += datetime.timedelta(days=given.days)
        updater.refresh()
        have = {}
        for name in given.target:
            info = updater.get_targetinfo(name)
            if info is None:
                have[name] = None
                continue
            content = pathlib.Path(updater.download_target(info)).read_bytes()
            have[name] = {"sha256": hashlib.sha256(content).hexdigest(), "custom": info.custom}
        trusted = updater._trusted_set
        said = {
            "versions": {
                "root": trusted.root.version,
                "timestamp": trusted.timestamp.version,
                "snapshot": trusted.snapshot.version,
                "targets": trusted.targets.version,
            },
            "names": sorted(trusted.targets.targets),
            "targets": have,
        }
    except Exception as refused:  # whatever it is called, it is the answer
        said = {"refused": type(refused).__name__, "because": str(refused)}
    server.shutdown()
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
