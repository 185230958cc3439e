"""A real server of the pages, over runs with real clips."""

import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from report_runs import make_evaluation, make_training
from runs import make_job, make_record

from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.jobs.store import JobStore, new_job_id
from tao_skill_bank.runs.run_directory import RunDirectory, timestamp
from tao_skill_bank.ui import access, server


@dataclass
class Answer:
    """What the server sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Pages:
    """A client of a running server; it sends the token's cookie once it has one."""

    port: int
    token: str
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/?{access.PARAMETER}={self.token}"

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {"cookie": self.cookie} if self.cookie else {}
        connection.request(
            method, path, headers={**sent, **{name.replace("_", "-"): text for name, text in headers.items()}}
        )
        answer = connection.getresponse()
        found = Answer(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def enter(self) -> "Pages":
        """Open the address with the token, as its user does first."""
        answer = self.get(f"/?{access.PARAMETER}={self.token}")
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return self


@pytest.fixture
def without_token() -> Iterator[Pages]:
    """The server as one sees it who lacks the token."""
    listening = server.bind(0)
    pages = Pages(server.port_of(listening), access.new_token())
    running = server.server(listening, pages.token)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    yield pages
    running.should_exit = True
    thread.join(timeout=60)
    listening.close()
    assert not thread.is_alive()


@pytest.fixture
def pages(without_token: Pages) -> Pages:
    return without_token.enter()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """A finished evaluation of 24 clips, of which two are wrong, and a finished training."""
    folder = tmp_path_factory.mktemp("runs")
    return {
        "evaluate": make_evaluation(folder / "evaluation", folder / "data", lambda position: position not in (4, 17)),
        "train": make_training(folder / "training", folder / "data"),
    }


@pytest.fixture
def recorded(folders: dict[str, RunDirectory]) -> Callable[..., str]:
    """Record a run as a job of this machine; returns its id."""

    def record(action: str, state: State = State.COMPLETE, message: str = "Done.", folder: Path | None = None) -> str:
        path = folder or folders[action].path
        moved = tuple(Transition(timestamp(), each, message) for each in (State.RUNNING, state))
        job = make_job(path, id=new_job_id("cosmos-rl", action), action=action)
        terminal = state if state.is_terminal else None
        JobStore().create(make_record(job, transitions=moved, terminal_state=terminal))
        return str(job.id)

    return record
