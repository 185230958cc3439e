"""The pods of a job meet through files, and one learns of another's end."""

import threading
import time
from pathlib import Path

import pytest
from runs import eventually

from tao_skill_bank.training import pod_group
from tao_skill_bank.training.pod_group import Attempt, PodGroup


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_group, "POLL_SECONDS", 0.01)


def pod(folder: Path, index: int, uid: str, nodes: int = 2) -> PodGroup:
    made = PodGroup(folder / "pods", index, nodes, uid, f"10.0.0.{index}")
    made.join()
    return made


def meet(*pods: PodGroup, has_checkpoints: bool = False) -> list[Attempt | None]:
    """Let pods meet, each in a thread; return what each one got."""
    found: list[Attempt | None] = [None] * len(pods)

    def wait(position: int) -> None:
        found[position] = pods[position].meet(lambda: has_checkpoints, lambda: False)

    threads = [threading.Thread(target=wait, args=(position,), daemon=True) for position in range(len(pods))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=200)
    return found


def test_all_pods_belong_to_the_same_first_attempt_and_know_where_pod_0_is(tmp_path: Path) -> None:
    first, second = meet(pod(tmp_path, 0, "a"), pod(tmp_path, 1, "b"), has_checkpoints=True)
    assert first == second == Attempt(1, "10.0.0.0", ("a", "b"), resumes=False)


def test_a_pod_waits_for_the_others_and_stops_when_it_is_told_to(tmp_path: Path) -> None:
    is_stopped = threading.Event()
    waiting = pod(tmp_path, 0, "a")
    found: list[Attempt | None] = []
    thread = threading.Thread(target=lambda: found.append(waiting.meet(lambda: False, is_stopped.is_set)), daemon=True)
    thread.start()
    thread.join(timeout=0.3)
    assert thread.is_alive()
    is_stopped.set()
    thread.join(timeout=200)
    assert found == [None]


@pytest.mark.parametrize("replaced", [0, 1])
def test_a_pod_that_is_started_again_starts_only_with_new_ones(tmp_path: Path, replaced: int) -> None:
    old = [pod(tmp_path, 0, "a"), pod(tmp_path, 1, "b")]
    attempt = meet(*old)[0]
    assert attempt is not None
    again = pod(tmp_path, replaced, "c")
    other = old[1 - replaced]
    assert other.lost(attempt) == f"Pod {replaced} was restarted."
    found: list[Attempt | None] = []
    thread = threading.Thread(target=lambda: found.append(again.meet(lambda: True, lambda: False)), daemon=True)
    thread.start()
    thread.join(timeout=0.3)
    assert thread.is_alive()  # the other is of the attempt before
    newer = pod(tmp_path, 1 - replaced, "d")
    assert newer.meet(lambda: True, lambda: False) == eventually(lambda: found and found[0])
    second = found[0]
    assert second is not None
    assert (second.number, second.resumes) == (2, True)
    assert set(second.uids) == {"c", "d"}


def test_a_pod_that_gives_no_sign_of_life_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_group, "LOST_SECONDS", 0.2)
    here, there = pod(tmp_path, 0, "a"), pod(tmp_path, 1, "b")
    attempt = meet(here, there)[0]
    assert attempt is not None
    for _ in range(10):
        there.live()
        assert here.lost(attempt) is None
        time.sleep(0.04)
    assert "no heartbeat" in eventually(lambda: here.lost(attempt))


@pytest.mark.parametrize(("code", "is_lost"), [(3, True), (0, False)])
def test_what_a_failed_pod_leaves_unfinished_is_not_waited_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, is_lost: bool
) -> None:
    monkeypatch.setattr(pod_group, "WAIT_SECONDS", 0.1)
    here, there = pod(tmp_path, 0, "a"), pod(tmp_path, 1, "b")
    attempt = meet(here, there)[0]
    assert attempt is not None
    there.end(code)
    assert here.lost(attempt) is None
    time.sleep(0.2)
    assert (here.lost(attempt) == "Pod 1 ended with 3.") is is_lost
