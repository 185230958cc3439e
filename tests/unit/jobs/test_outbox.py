"""What a receiver did not take, from one watch to the next."""

import json
import stat

import pytest

from tao_skill_bank.core import settings
from tao_skill_bank.errors import Problem
from tao_skill_bank.jobs import events, outbox
from tao_skill_bank.jobs.outbox import Outbox

URL = "https://chat.example.org/hooks/s3cret"


def event(number):
    values = dict.fromkeys(("skill", "action", "platform", "message", "ts", "results_dir", "text"), "x")
    return events.Event(id=f"job/{number}", job_id="job", previous=None, state="RUNNING", retry_of=None, **values)


def ids(box):
    return [one["id"] for one in box.events]


@pytest.fixture
def receiver(monkeypatch):
    """A receiver that is away while `taken` is None, else keeps what it gets."""

    class Receiver:
        taken = None

        def send(self, _webhook, document):
            if self.taken is None:
                return Problem("post_failed", "away", "wait", "--post")
            self.taken.append(document["id"])
            return None

    found = Receiver()
    monkeypatch.setattr(events.Webhook, "_send", lambda *given: found.send(*given))  # noqa: PLW0108 - replaced later
    return found


def test_the_next_watch_delivers_in_order_what_the_last_one_could_not(receiver):
    first = events.Webhook(URL)
    for number in (1, 2, 3):
        assert first.offer(event(number)).code == "post_failed"
    receiver.taken = []
    second = events.Webhook(URL)
    assert second.offer() is None
    assert second.offer(event(3)) is None  # the state of the job when the second watch begins
    assert second.offer(event(4)) is None
    assert receiver.taken == ["job/1", "job/2", "job/3", "job/4"]
    assert not second.outbox.path.exists()


def test_two_receivers_have_their_own_outbox_and_no_file_names_an_address(receiver):
    events.Webhook(URL).offer(event(1))
    events.Webhook(f"{URL}2").offer(event(2))
    folder = settings.state_dir() / "outbox"
    assert len(list(folder.glob("*.json"))) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [path for path in folder.iterdir() if "s3cret" in path.name + path.read_text()]
    receiver.taken = []
    events.Webhook(URL).offer()
    assert receiver.taken == ["job/1"]


def test_the_same_event_waits_once_and_the_oldest_are_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_EVENTS", 3)
    for number in (0, 1, 2, 3, 4, 4):
        with Outbox(URL, tmp_path).opened([{"id": str(number)}]):
            pass
    box = Outbox(URL, tmp_path)
    with box.opened() as waiting:
        assert len(waiting) == 3
    assert ids(box) == ["2", "3", "4"]
    assert box.num_dropped == 2
    webhook = events.Webhook(URL)
    webhook.outbox = box
    assert "dropped" in webhook._waiting()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"events": 3}', '{"events": [1, {"id": 2}]}', "\x00"])
def test_a_file_that_is_no_outbox_stops_nothing(tmp_path, text):
    box = Outbox(URL, tmp_path)
    box.path.write_text(text)
    with box.opened([{"id": "1"}]) as waiting:
        assert [one["id"] for one in waiting] == ["1"]
    assert json.loads(box.path.read_text())["events"] == [{"id": "1"}]


def test_without_a_state_folder_events_wait_in_the_process_and_that_is_said(tmp_path, receiver):
    (tmp_path / "file").touch()
    webhook = events.Webhook(URL)
    webhook.outbox = Outbox(URL, tmp_path / "file" / "outbox")
    webhook.offer(event(1))
    assert "lost when this command ends" in webhook._waiting()
    receiver.taken = []
    assert webhook.offer(event(2)) is None
    assert receiver.taken == ["job/1", "job/2"]


def test_a_process_that_is_killed_while_it_posts_has_kept_the_event(receiver):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    receiver.send = die
    with pytest.raises(Killed):
        events.Webhook(URL).offer(event(1))
    box = Outbox(URL)
    with box.opened() as waiting:
        assert [one["id"] for one in waiting] == ["job/1"]
