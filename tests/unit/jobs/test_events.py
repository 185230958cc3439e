"""Changes of state as they come, posted to a real server on the loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from runs import make_job, make_plan
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app, main
from tao_skill_bank.contracts import State
from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.jobs import events as transitions
from tao_skill_bank.jobs import service

pytestmark = pytest.mark.usefixtures("fake_trainer")
FAILURE = ("start", "fail:The acts say so.")
SUCCESS = ("start", "step:1", "succeed")


class Receiver(ThreadingHTTPServer):
    """Keeps what is posted to it; `answers` are the next status codes, then always 200."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.posts, self.retry_after = answers, [], ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        code = self.server.answers.pop(0) if self.server.answers else 200
        if code == 200:
            self.server.posts.append(body)
        self.send_response(code)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver([]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def launch(tmp_path, *acts):
    return service.launch(make_plan(make_job(tmp_path / f"run-{len(acts)}-{acts[-1][:4]}", acts)))


def test_every_change_is_told_once_and_in_order(tmp_path):
    job = launch(tmp_path, "start", "wait_for:go", "succeed")
    told = []
    for event in transitions.events([job.id], poll_seconds=0.05):
        told.append(event)
        if event.state is State.RUNNING:
            (job.run_directory.path / "go").touch()
    assert [event.state for event in told][-2:] == [State.RUNNING, State.COMPLETE]
    assert len({event.id for event in told}) == len(told)
    assert told[-1].previous is State.RUNNING
    assert told[-1].text.startswith(f"{job.id}  RUNNING -> COMPLETE")


def test_jobs_that_have_ended_are_told_as_they_are(tmp_path):
    job = launch(tmp_path, *FAILURE)
    job.wait(30)
    (event,) = transitions.events([job.id])
    assert (event.state, "The acts say so." in event.message) == (State.ERROR, True)


def test_an_unknown_job_ends_the_watching_before_it_begins():
    with pytest.raises(UnknownNameError):
        next(transitions.events(["nothing-000000000000"]))


def offered(url, events):
    """Offer events to a receiver and return the webhook; it does not wait between attempts."""
    webhook = transitions.Webhook(url, sleep=lambda _: None)
    for event in events:
        webhook.offer(event)
    return webhook


def ended(tmp_path, *ends):
    """Return the last event of jobs that ended so."""
    launched = [launch(tmp_path, *acts) for acts in ends]
    return [event for job in launched if job.wait(30) for event in transitions.events([job.id])]


def test_events_are_posted_and_a_busy_receiver_gets_them_later(tmp_path, receiver):
    (event,) = ended(tmp_path, FAILURE)
    receiver.answers[:] = [503, 429]
    assert offered(receiver.url, [event]).problem is None
    assert [(post["job_id"], post["state"], post["id"]) for post in receiver.posts] == [
        (event.job_id, "ERROR", event.id)
    ]


@pytest.mark.parametrize(
    ("said", "pauses"), [("3", [3.0, 3.0]), ("86400", [30.0, 30.0]), ("Wed, 21 Oct 2026 07:28:00 GMT", [0.5, 1.0])]
)
def test_a_receiver_is_left_alone_for_as_long_as_it_asks_within_bounds(tmp_path, receiver, said, pauses):
    (event,) = ended(tmp_path, FAILURE)
    receiver.answers[:], receiver.retry_after = [429, 503], said
    slept = []
    assert transitions.Webhook(receiver.url, sleep=slept.append).offer(event) is None
    assert slept == pauses


def test_what_a_receiver_did_not_take_is_sent_before_the_next(tmp_path, receiver):
    first, second = ended(tmp_path, FAILURE, SUCCESS)
    receiver.answers[:] = [500] * transitions.ATTEMPTS
    webhook = transitions.Webhook(receiver.url, sleep=lambda _: None)
    assert "answered 500" in webhook.offer(first).message
    assert webhook.offer(second) is None
    assert [post["state"] for post in receiver.posts] == ["ERROR", "COMPLETE"]


def test_a_refused_event_does_not_hold_up_the_next_and_the_address_is_not_told(tmp_path, receiver):
    first, second = ended(tmp_path, FAILURE, SUCCESS)
    receiver.answers[:] = [403]
    webhook = transitions.Webhook(f"{receiver.url}/s3cretpath")
    problem = webhook.offer(first)
    assert (problem.code, "answered 403" in problem.message) == ("post_refused", True)
    assert "s3cretpath" not in problem.message + problem.fix
    assert webhook.offer(second) is None
    assert [post["state"] for post in receiver.posts] == ["COMPLETE"]


def test_a_receiver_that_is_away_or_sends_elsewhere_is_told_in_one_line(tmp_path, receiver):
    (event,) = ended(tmp_path, FAILURE)
    receiver.answers[:] = [302]
    assert offered(receiver.url, [event]).problem.message == "127.0.0.1 answered 302 Found."
    receiver.server_close()
    assert "cannot be reached" in offered(receiver.url, [event]).problem.message


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "host", "http://", "http://host:99999/x", "https://me:word@host/x", ""]
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(RequestError):
        transitions.Webhook(url)


def test_a_failed_job_is_told_whatever_the_receiver_says(tmp_path, receiver, capsys):
    (event,) = ended(tmp_path, FAILURE)
    receiver.answers[:] = [403]
    with pytest.raises(SystemExit) as left:
        main(["watch", event.job_id, "--post", receiver.url, "--json"])
    document = json.loads(capsys.readouterr().out)
    assert left.value.code == 8
    assert [error["code"] for error in document["errors"]] == ["job_failed", "post_refused"]
    assert [told["state"] for told in document["events"]] == ["ERROR"]


def test_a_receiver_alone_that_is_away_ends_with_its_own_code(tmp_path, receiver, capsys):
    (event,) = ended(tmp_path, SUCCESS)
    receiver.answers[:] = [403]
    with pytest.raises(SystemExit) as left:
        main(["watch", event.job_id, "--post", receiver.url])
    assert left.value.code == 6
    assert "answered 403" in capsys.readouterr().err


def test_every_job_that_does_not_exist_is_named(capsys):
    with pytest.raises(SystemExit) as left:
        main(["watch", "a-000000000000", "b-000000000000"])
    told = capsys.readouterr().err
    assert left.value.code == 5
    assert "a-000000000000" in told
    assert "b-000000000000" in told


def test_the_command_watches_several_jobs_and_fails_with_them(tmp_path, receiver, capsys):
    failed, done = launch(tmp_path, *FAILURE), launch(tmp_path, "start", "step:1", "succeed")
    with pytest.raises(SystemExit) as ended:
        main(["watch", failed.id, done.id, "--post", receiver.url])
    shown = capsys.readouterr()
    assert ended.value.code == 8
    assert f"{done.id}  " in shown.out
    assert {(post["job_id"], post["state"]) for post in receiver.posts} >= {(failed.id, "ERROR"), (done.id, "COMPLETE")}


def test_without_a_job_every_one_that_runs_is_watched(tmp_path):
    done = launch(tmp_path, "start", "step:1", "succeed")
    told = CliRunner().invoke(app, ["watch", "--json"])
    assert told.exit_code == 0, told.output
    assert {event["job_id"] for event in json.loads(told.stdout)["events"]} == {done.id}
