"""A stub of the Hub on loopback that serves a folder as the dataset acme/robot and refuses acme/gated."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "b" * 40


class DatasetHub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server, path = self.server, self.path.partition("?")[0]
        server.asked.append(path)
        if "acme/gated" in path:
            return self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        if "acme/robot" in path and "/nowhere" in path:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        files = {file.relative_to(server.folder).as_posix(): file for file in server.folder.rglob("*.*")}
        if path.startswith("/api/datasets/acme/robot"):
            tree = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0" * 40}
                for name, file in files.items()
            ]
            siblings = [{"rfilename": name} for name in files]
            listing = tree if "/tree/" in path else {"id": "acme/robot", "sha": COMMIT, "siblings": siblings}
            return self._send(200, json.dumps(listing).encode())
        name = path.partition("/resolve/")[2].partition("/")[2]
        if path.startswith("/datasets/acme/robot/") and name in files and name not in server.broken:
            return self._send(
                200,
                files[name].read_bytes(),
                {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(name.encode()).hexdigest()}"'},
            )
        if name in server.broken:
            return self._send(409, b"{}")  # a status that the client does not try again
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _send(self, code, body, headers=None):
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        """Stay quiet."""


@contextmanager
def serving(folder: Path):
    """Serve a folder; yields the server, whose `asked` lists the paths of requests and whose `broken` files fail."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), DatasetHub)
    server.folder, server.asked, server.broken = folder, [], set()
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
