"""An authorization plugin of a Docker daemon, which refuses what a test says, in the words of the test."""

import json
import re
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SOCKETS = Path("/run/docker/plugins")  # where a daemon looks for plugins


class Rules(socketserver.ThreadingUnixStreamServer):
    """The plugin's server; `refused` is a pattern of "METHOD URI", `words` why; `num_asked` counts the requests."""

    refused, words = "", ""
    num_asked = 0
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        asked = f"{body.get('RequestMethod')} {body.get('RequestUri')}"
        is_refused = self.path.endswith("AuthZReq") and self.server.refused and re.search(self.server.refused, asked)
        self.server.num_asked += 1
        answer = {"Implements": ["authz"]} if self.path.endswith("Activate") else {"Allow": not is_refused}
        if is_refused:
            answer["Msg"] = self.server.words
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass

    def address_string(self) -> str:
        return "dockerd"


@contextmanager
def serving(name):
    """Serve a plugin of this name."""
    SOCKETS.mkdir(parents=True, exist_ok=True)
    path = SOCKETS / f"{name}.sock"
    path.unlink(missing_ok=True)
    with Rules(str(path), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            path.unlink(missing_ok=True)
