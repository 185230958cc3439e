"""A pod's first process: real commands, real signals, and what it leaves behind."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from runs import eventually

SAVES = (
    "trap 'touch saved; exit 75' TERM; echo '{\"state\": \"RUNNING\"}' >> status.jsonl; while :; do sleep 0.05; done"
)


class Started:
    """One pod, in a folder as its run directory."""

    def __init__(self, folder: Path, command: str, *options: str, index: int = 0, uid: str = "a") -> None:
        self.folder = folder
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        words = ["--job", "x", "--config", "train.toml", "--termination-log", str(folder / f"message_{index}")]
        environment = {
            **os.environ, "JOB_COMPLETION_INDEX": str(index), "TAO_POD_UID": uid, "TAO_POD_IP": "127.0.0.1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tao_skill_bank.training.pod", *words, *options, command],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=600)
        return self.process.returncode, out

    @property
    def message(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.folder / "message_0").read_text())
        return found

    @property
    def exit_code(self) -> str:
        return (self.folder / "logs" / "exit_code").read_text()


def test_what_a_command_prints_is_in_the_pods_log_and_in_the_run_directory(tmp_path: Path) -> None:
    pod = Started(tmp_path, 'echo hello; echo "$TAO_CONFIG"; echo \'{"state": "SUCCESS"}\' > status.jsonl')
    code, out = pod.end()
    assert code == 0
    lines = out.splitlines()
    assert lines[:3] == ["Attempt 1 of 1 pod(s).", "hello", "train.toml"]
    assert lines[3] == 'tao-status {"state": "SUCCESS"}'
    assert (tmp_path / "logs" / "job.log").read_text().splitlines() == lines[:3]
    assert pod.exit_code == "0\n"
    assert pod.message == {"exit_code": 0, "status": {"state": "SUCCESS"}}


def test_what_runs_beside_a_command_ends_with_it_and_what_comes_after_sees_its_exit_code(tmp_path: Path) -> None:
    beside = "python3 -c \"import time; open('beside', 'w').close(); time.sleep(60)\""
    after = "cp logs/exit_code after"
    pod = Started(tmp_path, "until [ -e beside ]; do :; done; exit 3", "--beside", beside, "--afterwards", after)
    assert pod.end()[0] == 3
    assert (tmp_path / "after").read_text() == "3\n"


def test_other_pods_run_nothing_beside_their_command(tmp_path: Path) -> None:
    words = ("--nodes", "2", "--beside", "touch beside", "--afterwards", "touch after_$JOB_COMPLETION_INDEX")
    pods = [Started(tmp_path, "true", *words, index=index, uid=str(index)) for index in (0, 1)]
    assert [pod.end()[0] for pod in pods] == [0, 0]
    assert (tmp_path / "after_0").exists()
    assert not (tmp_path / "after_1").exists()


def test_the_exit_code_of_a_command_is_that_of_its_pod(tmp_path: Path) -> None:
    pod = Started(tmp_path, "exit 3")
    assert pod.end()[0] == 3
    assert pod.exit_code == "3\n"


def test_a_command_that_a_signal_ended_gives_a_shells_code(tmp_path: Path) -> None:
    assert Started(tmp_path, "kill -KILL $$").end()[0] == 137


def test_the_signal_that_ends_a_pod_reaches_the_command_which_saves_itself(tmp_path: Path) -> None:
    pod = Started(tmp_path, SAVES, "--restart-config", "again.toml")
    eventually((tmp_path / "status.jsonl").exists)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.end()[0] == 75
    assert (tmp_path / "saved").exists()
    assert pod.exit_code == "75\n"


def test_a_training_that_ended_before_its_first_step_has_lost_nothing(tmp_path: Path) -> None:
    pod = Started(tmp_path, "touch here; sleep 60", "--restart-config", "again.toml")
    eventually((tmp_path / "here").exists)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.end()[0] == 75


def test_what_is_no_training_ends_by_the_signal(tmp_path: Path) -> None:
    pod = Started(tmp_path, "touch here; sleep 60")
    eventually((tmp_path / "here").exists)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.end()[0] == 143


def test_a_pod_that_waits_for_others_ends_when_it_is_told_to(tmp_path: Path) -> None:
    pod = Started(tmp_path, "touch here", "--nodes", "2")
    eventually((tmp_path / "logs" / "pods.x" / "0.json").exists)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.end()[0] == 75
    assert not (tmp_path / "here").exists()


@pytest.mark.slow
def test_a_second_start_goes_on_from_what_the_first_one_saved(tmp_path: Path) -> None:
    options = ("--restart-config", "again.toml")
    show = 'echo "config $TAO_CONFIG"; exit 75'
    assert "config train.toml" in Started(tmp_path, show, *options, uid="a").end()[1]
    assert "config train.toml" in Started(tmp_path, show, *options, uid="b").end()[1]  # nothing was saved
    (tmp_path / "checkpoints" / "epoch_1").mkdir(parents=True)
    assert "config again.toml" in Started(tmp_path, show, *options, uid="c").end()[1]


@pytest.mark.slow
def test_a_pod_whose_peer_was_started_again_ends_its_command_and_says_why(tmp_path: Path) -> None:
    meet = ("--nodes", "2", "--host", "localhost", "--port", "29400")
    wait = 'echo "$TAO_RENDEZVOUS" > where_$JOB_COMPLETION_INDEX; sleep 60'
    first, second = Started(tmp_path, wait, *meet), Started(tmp_path, wait, *meet, index=1, uid="b")
    eventually(lambda: (tmp_path / "where_0").exists() and (tmp_path / "where_1").exists())
    assert (tmp_path / "where_1").read_text() == "localhost:29400\n"
    second.process.kill()
    second.process.communicate()
    again = Started(tmp_path, "true", *meet, index=1, uid="c")
    code, out = first.end()
    assert code == 76
    assert "Pod 1 was restarted." in out
    assert not (tmp_path / "logs" / "exit_code").exists()  # it is not over
    again.process.kill()
    again.process.communicate()


@pytest.mark.slow
def test_the_code_of_the_pod_that_failed_by_itself_is_kept(tmp_path: Path) -> None:
    pods = [
        Started(tmp_path, f"exit {code}", "--nodes", "2", index=index, uid=str(index))
        for index, code in enumerate((76, 3))
    ]
    assert [pod.end()[0] for pod in pods] == [76, 3]
    assert pods[0].exit_code == "3\n"
    assert (tmp_path / "logs" / "node_1.log").exists()


def test_a_long_status_is_cut_to_what_kubernetes_keeps(tmp_path: Path) -> None:
    line = json.dumps({"state": "FAILURE", "step": 3, "message": "m", "diagnosis": {"cause": "c" * 9000, "cure": "x"}})
    (tmp_path / "status.jsonl").write_text(line + "\n")
    pod = Started(tmp_path, "exit 1")
    pod.end()
    text = (tmp_path / "message_0").read_text()
    assert len(text) < 4096
    status = pod.message["status"]
    assert isinstance(status, dict)
    assert (status["state"], status["step"], status["message"][:3]) == ("FAILURE", 3, "ccc")


@pytest.mark.slow
def test_an_output_that_is_held_open_does_not_hold_up_the_end(tmp_path: Path) -> None:
    pod = Started(tmp_path, "sleep 30 & echo done")
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(pod.process.wait()), daemon=True)
    thread.start()
    thread.join(timeout=200)
    assert found == [0]
