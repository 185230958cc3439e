"""The real trainer on two processes, killed and cancelled: the record tells the truth and nothing is left running."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import eventually

from tao_skill_bank.contracts import PlatformRequest, Request, State
from tao_skill_bank.jobs.service import JobHandle
from tao_skill_bank.planning import dispatch

FOREVER = 10_000
Launch = Callable[..., JobHandle]


@pytest.fixture
def launch(sample_data: Path, tmp_path: Path) -> Iterator[Launch]:
    """Start a long two-process training of the tiny model; it is cancelled when the test ends."""
    handles: list[JobHandle] = []

    def start(*, options: dict[str, Any] | None = None, **overrides: Any) -> JobHandle:
        values = {
            "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
            "policy.lora": None,
            "train.epoch": FOREVER,
            "train.train_batch_per_replica": 2,
            "train.param_dtype": "float32",
            "train.train_policy.mini_batch": 2,
            "train.train_policy.dataloader_num_workers": 0,
            "train.ckpt.save_freq_in_epoch": FOREVER,
            "validation.enable": False,
            "custom.vision.nframes": 4,
            **overrides,
        }
        request = Request(
            "tao-finetune-cosmos-reason",
            "train",
            automl_policy="off",
            datasets={"train": str(sample_data / "train")},
            overrides=values,
            platform=PlatformRequest(gpus=2, options=options or {"grace_seconds": 5}),
            results_dir=str(tmp_path / "run"),
        )
        handles.append(dispatch.run(dispatch.plan(request)))
        return handles[-1]

    yield start
    for handle in handles:
        if not handle.status().state.is_terminal:
            handle.cancel()


def ranks(handle: JobHandle) -> list[psutil.Process]:
    """Return the training processes of a job, by what they run."""
    config = str(handle.run_directory.path / "config" / "train.toml")
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if config in words and "tao_skill_bank.training.launcher" not in words and "bash" not in words[0]:
            found.append(process)
    return found


def is_stepping(handle: JobHandle) -> bool:
    return handle.status().state is State.RUNNING and handle.run_directory.last_status().get("step", 0) >= 1


@pytest.mark.slow
def test_a_killed_rank_ends_the_whole_job_as_an_error(launch: Launch) -> None:
    handle = launch()
    eventually(lambda: is_stepping(handle), seconds=1200)
    victims = ranks(handle)
    assert len(victims) == 2
    victims[1].kill()
    status = eventually(lambda: (now := handle.status()).state.is_terminal and now, seconds=1200)
    assert status.state is State.ERROR
    assert handle.record.terminal_state is State.ERROR
    eventually(lambda: not ranks(handle), seconds=300)


@pytest.mark.slow
def test_a_cancelled_training_saves_itself_and_leaves_no_process(launch: Launch) -> None:
    handle = launch(options={"grace_seconds": 60})
    eventually(lambda: is_stepping(handle), seconds=1200)
    now = handle.cancel()
    assert now.state is State.CANCELED
    (saved,) = (handle.run_directory.path / "checkpoints").iterdir()
    assert saved.name.startswith("step_")
    assert str(saved) in now.message
    assert now.exit_code == 75
    assert ranks(handle) == []
    assert handle.cancel().state is State.CANCELED
    assert [str(change.state) for change in handle.record.transitions].count("CANCELED") == 1


@pytest.mark.slow
def test_two_processes_train_to_the_end_and_the_result_can_be_evaluated(
    launch: Launch, sample_data: Path, command_line: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    handle = launch(**{"train.epoch": 1, "train.ckpt.save_freq_in_epoch": 1})
    assert handle.wait(timeout_seconds=1800).state is State.COMPLETE
    losses = [json.loads(line) for line in handle.run_directory.metrics_file.read_text().splitlines()]
    assert sum("train/loss_avg" in line for line in losses) == 3  # 12 records / (2 ranks x batch 2)
    code, document = command_line(
        *("run", "cosmos-rl", "evaluate", "--parent", handle.id, "--eval", sample_data / "test"),
        *("--set", "vision.nframes=4", "--set", "model.dtype=float32", "--set", "generation.max_tokens=4"),
        *("--set", "task.type=its_directionality"),
    )
    assert (code, document["state"]) == (0, "COMPLETE")
    assert document["result"]["metrics"]["accuracy"] is not None


@pytest.mark.slow
def test_a_finished_training_goes_on_in_its_own_folder_and_from_a_parent(
    launch: Launch, sample_data: Path, command_line: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    first = launch(**{"train.epoch": 1, "train.ckpt.save_freq_in_epoch": 1})
    assert first.wait(timeout_seconds=1800).state is State.COMPLETE
    run = first.run_directory.path
    request = ("run", "--request", run / "request.json")

    code, document = command_line(*request, "--set", "train.resume=true")
    assert (code, document["errors"][0]["code"]) == (3, "nothing_to_train")

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}

    before = files()
    more = ("--set", "train.resume=true", "--set", "train.epoch=2")
    code, document = command_line(*request, *more, "--set", "train.seed=7", "--set", "custom.vision.nframes=6")
    assert code == 3
    assert {error["path"]: error["code"] for error in document["errors"]} == {
        "train.seed": "resume_changed",
        "custom.vision.nframes": "resume_changed",
    }
    fixes = {error["path"]: error["fix_set"] for error in document["errors"]}
    assert fixes == {"train.seed": {"train.seed": 0}, "custom.vision.nframes": {"custom.vision.nframes": 4}}
    assert files() == before  # the earlier job's result is as it was

    code, document = command_line(*request, "--set", "train.resume=true", "--set", "train.epoch=2")
    assert (code, document["state"]) == (0, "COMPLETE")
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert (run / "logs" / f"{first.id}.status.jsonl").is_file()

    code, document = command_line(
        *("run", "cosmos-rl", "train", "--parent", document["job_id"], "--train", sample_data / "train", "--gpus", "2"),
        *(
            "--set",
            "train.epoch=3",
            "--set",
            "train.train_batch_per_replica=2",
            "--set",
            "train.train_policy.mini_batch=2",
        ),
        *("--set", "validation.enable=false", "--set", "custom.vision.nframes=4", "--set", "train.param_dtype=float32"),
        *("--automl-policy", "off"),
    )
    assert (code, document["state"]) == (0, "COMPLETE"), document["errors"]


@pytest.mark.slow
def test_a_trained_adapter_is_quantized_measured_and_evaluated(
    launch: Launch, sample_data: Path, tmp_path: Path, command_line: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    run = tmp_path / "quantized"
    lora = {"policy.lora": {"r": 4}, "train.epoch": 1, "train.ckpt.save_freq_in_epoch": 1}
    handle = launch(**lora)
    assert handle.wait(timeout_seconds=1800).state is State.COMPLETE
    code, document = command_line(
        *("run", "cosmos-rl", "quantize", "--parent", handle.id, "--eval", sample_data / "test"),
        *("--dataset", f"calibration={sample_data / 'train'}", "--set", "quantize.quantization_scheme=W8A8"),
        *("--set", "quantize.max_new_tokens=4", "--results-dir", run),
    )
    assert (code, document["state"]) == (0, "COMPLETE"), document["errors"]
    metrics = document["result"]["metrics"]
    assert metrics["token_loss_delta"] == pytest.approx(metrics["token_loss_after"] - metrics["token_loss_before"])
    assert abs(metrics["token_loss_delta"]) < 0.05
    assert metrics["bytes_ratio"] < 1
    assert json.loads((run / "plan.json").read_text())["job"]["spec"]["vision"] == {
        "nframes": 4,
        "total_pixels": 3136000,
    }
    assert json.loads((run / "results.json").read_text())["calibration"]["records"] == 12

    code, document = command_line(
        *("run", "cosmos-rl", "evaluate", "--set", f"model.model_name={run / 'safetensors' / 'quantized'}"),
        *("--eval", sample_data / "test", "--set", "vision.nframes=4", "--set", "generation.max_tokens=4"),
        *("--option", "device=cpu"),
    )
    assert (code, document["state"]) == (0, "COMPLETE"), document["errors"]
