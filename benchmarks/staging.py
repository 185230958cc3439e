"""Measures how a dataset comes from an object store, beside the ways at hand: python benchmarks/staging.py

400 clips lie in one folder and 40 of them are named. The store is moto on loopback in a process of its own; a proxy
adds a round-trip time to every request, since loopback has none. Ours looks names up, downloads, compares checksums and
links; the peers download, and compare nothing.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from tao_skill_bank.staging import inputs

BUCKET, PREFIX = "lab", "data/videos"
SERVER = """
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log(self, *args): pass
app = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def store() -> Iterator[int]:
    """Run an S3 server in a process of its own; yields its port."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield int(server.stdout.readline())
    finally:
        server.terminate()
        server.wait()


class Delay:
    """A proxy that passes what a client sends on after a while, as a round trip to a real store takes."""

    def __init__(self, port: int, seconds: float) -> None:
        self.target, self.seconds = port, seconds
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(("127.0.0.1", self.target))
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._pass, args=(client, server, self.seconds), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, 0), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, seconds: float) -> None:
        with source, sink, suppress(OSError):  # either end may hang up, which ends the other
            while data := source.recv(2**18):
                time.sleep(seconds)
                sink.sendall(data)


def fill(port: int, clip_bytes: int) -> list[str]:
    """Put 400 clips there; return the names of those that are wanted."""
    import boto3

    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")
    client.create_bucket(Bucket=BUCKET)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{number:03}.mp4",
                                                       Body=os.urandom(clip_bytes)), range(400)))  # fmt: skip
    return [f"{number:03}.mp4" for number in range(0, 400, 10)]


def ours(names: list[str], out: Path) -> None:
    """Stage what an annotation file names, with an empty cache."""
    os.environ["TAO_STATE_DIR"] = str(out / "state")
    annotation = out / "annotations.json"
    annotation.write_text(json.dumps([{"id": name, "video": name} for name in names]))
    inputs.stage(f"s3://{BUCKET}/{PREFIX}#named-in={annotation}", out / "media", lambda _: None)


def ours_again(names: list[str], out: Path) -> None:
    """Stage what is here already."""
    ours(names, out)


def boto3_loop(names: list[str], out: Path) -> None:
    """Download one after the other, as most scripts do."""
    import boto3

    client = boto3.client("s3")
    for name in names:
        client.download_file(BUCKET, f"{PREFIX}/{name}", str(out / name))


def boto3_threads(names: list[str], out: Path) -> None:
    """Download with one client and 16 threads."""
    import boto3

    client = boto3.client("s3")
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: client.download_file(BUCKET, f"{PREFIX}/{name}", str(out / name)), names))


def s3fs_get(names: list[str], out: Path) -> None:
    """Download a list of names with s3fs."""
    import s3fs

    files = s3fs.S3FileSystem(skip_instance_cache=True)
    files.get([f"{BUCKET}/{PREFIX}/{name}" for name in names], [str(out / name) for name in names])


def whole_folder(names: list[str], out: Path) -> None:  # noqa: ARG001 - the others take the names
    """Download the folder, as `aws s3 cp --recursive` does, with s3fs."""
    import s3fs

    s3fs.S3FileSystem(skip_instance_cache=True).get(f"{BUCKET}/{PREFIX}", str(out / "all"), recursive=True)


WAYS: tuple[Callable[[list[str], Path], None], ...] = (
    ours, ours_again, boto3_loop, boto3_threads, s3fs_get, whole_folder,
)  # fmt: skip


def measure(way: Callable[[list[str], Path], None], names: list[str], repeats: int) -> float:
    """Return the median of several runs, each into an empty folder; `ours_again` finds all of it there."""
    seconds = []
    for _ in range(repeats):
        out = Path(tempfile.mkdtemp())
        try:
            if way is ours_again:
                ours(names, out)
            began = time.perf_counter()
            way(names, out)
            seconds.append(time.perf_counter() - began)
        finally:
            shutil.rmtree(out)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip-kib", type=int, default=256)
    parser.add_argument("--round-trips-ms", type=float, nargs="*", default=[0, 30])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one run, small clips")
    arguments = parser.parse_args()
    repeats, clip_kib = (1, 16) if arguments.smoke else (arguments.repeats, arguments.clip_kib)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ[name] = "testing"
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    with store() as port:
        names = fill(port, clip_kib * 1024)
        columns = [Delay(port, milliseconds / 1000) for milliseconds in arguments.round_trips_ms]
        told = " | ".join(f"{milliseconds:g} ms round trip: s" for milliseconds in arguments.round_trips_ms)
        print(f"40 of 400 clips of {clip_kib} KiB\n\n| | {told} |\n|---|{'---|' * len(columns)}")
        for way in WAYS:
            cells = []
            for column in columns:
                os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{column.port}"
                cells.append(f"{measure(way, names, repeats):.2f}")
            print(f"| {way.__name__} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
