"""A real S3 server on loopback (moto) that counts its requests and breaks when it is told to."""

import functools
import io
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

BUCKET = "lab"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: str
    range: str | None


@dataclass
class ObjectStore:
    """What tests ask of the server, and how they have it misbehave.

    `cuts` maps a key to the bytes after which its next answers break off, one after the other; `spoiled` keys come with
    a flipped byte; `refused_writes` says how many writes are answered with `refusal`.
    """

    address: str
    app: object
    asked: list[Asked] = field(default_factory=list)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    spoiled: set[str] = field(default_factory=set)
    refused_writes: int = 0
    refusal: tuple[str, str] = ("503 Slow Down", "SlowDown")  # HTTP status, S3's code

    @functools.cached_property
    def client(self):
        """Return a plain client with the right keys, whatever the environment says later."""
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.address, aws_access_key_id="testing", aws_secret_access_key="testing"
        )

    def put(self, key, body, **options):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=body, **options)

    def put_many(self, bodies):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: self.put(*item), bodies.items()))

    def put_folder(self, folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.client.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")

    def keys(self, prefix=""):
        answer = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in answer.get("Contents", [])]

    def body(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def downloads(self, ending=""):
        """Return the keys of objects whose bytes were asked for, once for each request."""
        gets = [one for one in self.asked if one.method == "GET" and one.path.count("/") > 1]
        return [key for one in gets if (key := one.path.removeprefix(f"/{BUCKET}/")).endswith(ending)]


class _Application:
    """The WSGI application between the server and moto."""

    def __init__(self, inner):
        self.inner = inner
        self.store = None

    def __call__(self, environ, start_response):
        store, path = self.store, unquote(environ["PATH_INFO"])
        method = environ["REQUEST_METHOD"]
        store.asked.append(Asked(method, path, environ.get("QUERY_STRING", ""), environ.get("HTTP_RANGE")))
        if method in ("PUT", "POST") and store.refused_writes and path.count("/") > 1:
            store.refused_writes -= 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            status, code = store.refusal
            start_response(status, [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>The test refuses it.</Message></Error>".encode()]
        key = path.removeprefix(f"/{BUCKET}/")
        if method == "GET" and key in store.spoiled:
            body = b"".join(self.inner(environ, _without_checksums(start_response)))
            return [bytes([body[0] ^ 1]) + body[1:]]
        answer = self.inner(environ, start_response)
        if method != "GET" or key == path:
            return answer
        if store.cuts.get(key):
            return _cut(b"".join(answer), store.cuts[key].pop(0))
        return answer


def _without_checksums(start_response):
    def start(status, headers, *rest):
        kept = [(name, value) for name, value in headers if not name.lower().startswith("x-amz-checksum")]
        return start_response(status, kept, *rest)

    return start


def _cut(body, after):
    if len(body) > after:
        yield body[:after]
        raise ConnectionResetError("the test cuts the connection here")
    yield body


@contextmanager
def serving(monkeypatch):
    """Start a server with an empty bucket and point the environment to it."""
    from moto.core import DEFAULT_ACCOUNT_ID  # noqa: F401 - fails here, and not in a thread, without moto
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgement of its headers

        def log(self, *args):
            """Stay quiet."""

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    app = _Application(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    store = app.store = ObjectStore(f"http://127.0.0.1:{server.server_port}", app)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    for name in KEYS:
        monkeypatch.setenv(name, "testing")
    import requests

    requests.post(f"{store.address}/moto-api/reset", timeout=100)
    requests.post(f"{store.address}/moto-api/reset-auth", data=b"inf", timeout=100)  # of an earlier test
    store.client.create_bucket(Bucket=BUCKET)
    store.asked.clear()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()


def refuse_keys(store, monkeypatch):
    """Have the server check credentials from now on; the ones in the environment are wrong."""
    import requests

    requests.post(f"{store.address}/moto-api/reset-auth", data=b"0", timeout=100)
    for name in KEYS:
        monkeypatch.setenv(name, "AKIAWRONG")


def tar_of(files):
    """Return the bytes of a tar archive."""
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, body in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()
