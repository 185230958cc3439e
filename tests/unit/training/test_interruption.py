"""The first signal is noted where a training defers it; everything else ends at once."""

import json
import os
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tao_skill_bank.training import distributed, entrypoint, interruption
from tao_skill_bank.training.interruption import Canceled, Interruption


@pytest.fixture
def watched() -> Interruption:
    watching = Interruption()
    watching.watch()
    return watching


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_a_signal_ends_at_once_where_nothing_is_deferred(watched: Interruption, number: int) -> None:
    with pytest.raises(Canceled) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert not watched.is_requested


@pytest.mark.parametrize("number", interruption.SIGNALS)
def test_the_first_deferred_signal_is_noted_and_its_echo_changes_nothing(watched: Interruption, number: int) -> None:
    with watched.deferred():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert watched.received == number


def test_a_second_signal_later_ends_at_once(watched: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "REPEAT_SECONDS", -1.0)
    with watched.deferred(), pytest.raises(Canceled):  # noqa: PT012 - the first one must pass
        os.kill(os.getpid(), signal.SIGUSR1)
        assert watched.is_requested
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("number", interruption.SIGNALS)
@pytest.mark.parametrize(
    ("resumes", "began", "code"), [(True, False, "interrupted"), (True, True, "canceled"), (False, False, "canceled")]
)
@pytest.mark.usefixtures("watched")
def test_a_signal_interrupts_a_training_that_starts_up_and_cancels_what_loses_work(
    tmp_path: Path, number: int, resumes: bool, began: bool, code: str
) -> None:
    def body(_: None, run: entrypoint.Run) -> str:
        with run.interruption.deferred(saves=False) if began else nullcontext():
            os.kill(os.getpid(), number)
        return "not interrupted"

    try:
        ended = entrypoint.run(None, body, tmp_path, resume_key="train.resume" if resumes else None)
    finally:
        distributed.stop()
    assert ended == (75 if code == "interrupted" else 128 + number)
    told = json.loads((tmp_path / "status.jsonl").read_text().splitlines()[-1])["diagnosis"]
    assert told["code"] == code
    assert "train.resume" in told["cure"] or not resumes


def test_a_process_that_ends_anyway_is_not_disturbed(watched: Interruption) -> None:
    watched.ignore()
    for number in interruption.SIGNALS:
        os.kill(os.getpid(), number)
    assert not watched.is_requested
