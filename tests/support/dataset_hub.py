"""A stub of the Hub on loopback that serves a folder as the dataset acme/robot and refuses acme/gated.

Files of LARGE bytes or more are told with their sha256, as the real Hub does. Ranges are answered.
"""

import hashlib
import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

COMMIT = "b" * 40
LARGE = 1000


class DatasetHub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        """Answer what is asked about single paths."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
        self.server.asked.append(self.path)
        if "acme/gated" in self.path:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        folder = self.server.folder
        found = [described(folder, folder / name) for name in wanted if (folder / name).exists()]
        return self._send(200, json.dumps(found).encode())

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        server.asked.append(path)
        if "acme/gated" in path:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        if "acme/robot" in path and "/nowhere" in path:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = {file.relative_to(server.folder).as_posix(): file for file in server.folder.rglob("*.*")}
        if path.startswith("/api/datasets/acme/robot"):
            below = path.partition("/tree/")[2].partition("/")[2]
            tree = [described(server.folder, file) for name, file in files.items() if name.startswith(below)]
            siblings = [{"rfilename": name} for name in files]
            listing = tree if "/tree/" in path else {"id": "acme/robot", "sha": COMMIT, "siblings": siblings}
            return self._send(200, json.dumps(listing).encode())
        name = path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith("/datasets/acme/robot/") and name in files and name not in server.broken:
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(name.encode()).hexdigest()}"'}
            return self._send_part(name, files[name].read_bytes(), headers)
        if name in server.broken:
            return self._send(409, b"{}")  # a status that the client does not try again
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send_part(self, name, body, headers):
        """Send the range that is asked for; break off where the test says so."""
        code, cuts = 200, self.server.cuts.get(name)
        if asked := self.headers.get("Range"):
            start, _, end = asked.removeprefix("bytes=").partition("-")
            body, code = body[int(start) : int(end) + 1 if end else None], 206
            self.server.ranges.append((name, asked))
        if self.command == "GET" and cuts:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: cuts.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self._send(code, body, headers)

    def _send(self, code, body, headers=None):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        """Stay quiet."""


def described(folder, file):
    """Return what the Hub tells of a file: its git blob id, and its sha256 where it is large."""
    name = file.relative_to(folder).as_posix()
    if file.is_dir():
        return {"type": "directory", "path": name, "oid": "0" * 40}
    body = file.read_bytes()
    told = {
        "type": "file",
        "path": name,
        "size": len(body),
        "oid": hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest(),
    }
    if len(body) >= LARGE:
        told["lfs"] = {"oid": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
    return told


@contextmanager
def serving(folder: Path):
    """Serve a folder; yields the server.

    `asked` lists the paths of requests, `ranges` what was asked for in part; `broken` files fail, and those of `cuts`
    break off after so many bytes.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), DatasetHub)
    server.folder, server.asked, server.broken = folder, [], set()
    server.cuts, server.ranges = {}, []
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
