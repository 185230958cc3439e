"""Annotations of three labelled clips, and a server of their review."""

import http.client
import json
import threading
from pathlib import Path

import pytest

pytest.importorskip("av")

import numpy as np
from preflight_worlds import make_record

from tao_skill_bank.labelling import records_file, review_file
from tao_skill_bank.samples._folder import write_video


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Return a run directory with three records, their clips in `media`."""
    folder = tmp_path / "run"
    (folder / "media" / "videos").mkdir(parents=True)
    for index in range(3):
        frames = np.full((4, 64, 64, 3), 60 * index, np.uint8)
        write_video(folder / "media" / "videos" / f"{index}.mp4", frames)
    (folder / "annotations.json").write_text(json.dumps([make_record(index) for index in range(3)]))
    return folder


@pytest.fixture
def review(labelled: Path) -> review_file.Review:
    return review_file.export(records_file.read(*records_file.locate(str(labelled))), labelled / "review.jsonl")


class Server:
    """A running page of a review; `decide` sends what the page would send."""

    def __init__(self, port: int, token: str) -> None:
        self.port, self.token, self.cookie = port, token, ""
        self.origin = f"http://127.0.0.1:{port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/?token={self.token}"

    def ask(self, path: str, method: str = "GET", body: str | None = None, **headers: str):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {"cookie": self.cookie, **headers})
        answer = connection.getresponse()
        found = answer.status, dict(answer.getheaders()), answer.read()
        connection.close()
        return found

    def enter(self) -> "Server":
        status, headers, _ = self.ask(f"/?token={self.token}")
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]
        return self

    def decide(self, index: int, decision: str, correction: str = "", **headers: str):
        body = json.dumps({"decision": decision, "correction": correction})
        status, _, content = self.ask(f"/records/{index}/decision", "POST", body, **{"origin": self.origin, **headers})
        return status, content.decode()


@pytest.fixture
def serve():
    """Serve reviews until the test ends."""
    pytest.importorskip("uvicorn")
    from tao_skill_bank.labelling.application import ReviewPages
    from tao_skill_bank.ui import access, server

    running = []

    def start(review: review_file.Review, media: Path) -> Server:
        listening = server.bind(0)
        found = Server(server.port_of(listening), access.new_token())
        site = access.Site(ReviewPages(review, media).application(), "tao-skills label review", writes=True)
        serving = server.server(listening, found.token, site)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((serving, thread, listening))
        return found

    yield start
    for serving, thread, listening in running:
        serving.should_exit = True
        thread.join(timeout=60)
        listening.close()
