"""An OpenAI-compatible chat server on the loopback that says what a test tells it to."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ChatServer(ThreadingHTTPServer):
    """`reply` maps a request's body to a text, or to (status, raw bytes, headers). Requests are kept.

    `models` are the names that it lists.
    """

    request_queue_size = 64

    def __init__(self, reply, models=("judge-1",)):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.models, self.requests = reply, models, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.path == "/v1/models"
        content = json.dumps({"object": "list", "data": [{"id": name} for name in self.server.models]}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(
            {"path": self.path, "headers": {name.title(): value for name, value in self.headers.items()}, "body": body}
        )
        reply = self.server.reply(body)
        status, content, headers = reply if isinstance(reply, tuple) else (200, completion(reply), {})
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def completion(text, **more):
    """Return the body of a completion; `more` are further keys, such as usage."""
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], **more}).encode()


def question_of(body):
    """Return the text of a request."""
    return "".join(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")


@contextmanager
def serving(reply, models=("judge-1",)):
    server = ChatServer(reply, models)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
