"""Training from spec to checkpoints, with the real tiny model and real clips."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.models.cosmos_reason import data, loader, train
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.processor import Processor

from .conftest import Document, diagnosis, losses, read_lines

Run = Callable[[str, Document], int]
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "attn.qkv"]}


def _load(folder: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(str(folder), dtype=torch.float32)


def _batch(clips: Path, processor: Processor, split: str = "val", count: int = 4) -> loader.Batch:
    shown = data.Presentation(VideoSampling(nframes=4), 2048)
    records = data.Records(
        data.read_annotations(str(clips / split / "annotations.json")), str(clips / split), processor, shown
    )
    batch = loader.collate([records[index] for index in range(count)], loader.Padding(processor))
    return loader.to_device(batch, torch.device("cpu"), processor)


def _mean_loss(network: Any, batch: loader.Batch) -> float:
    """Return the token mean of the loss by transformers' own forward pass."""
    targets = batch.labels[:, 1:].flatten()
    with torch.no_grad():
        logits = network(**batch.inputs).logits[:, :-1].flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(logits, targets, ignore_index=-100))


@pytest.mark.slow
def test_a_full_training_leaves_a_complete_run_directory(
    train_spec: Document, run_program: Run, clips: Path, processor: Processor
) -> None:
    assert run_program("train", train_spec) == 0
    run_dir = Path(train_spec["results_dir"])
    status = read_lines(run_dir / "status.jsonl")
    assert [status[0]["state"], status[-1]["state"]] == ["STARTED", "SUCCESS"]
    assert (status[-1]["step"], status[-1]["total"]) == (6, 6)
    metrics = read_lines(run_dir / "metrics.jsonl")
    steps = [line for line in metrics if "train/loss_avg" in line]
    scores = [line["val/avg_loss"] for line in metrics if "val/avg_loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert [line["epoch"] for line in steps][2::3] == [1.0, 2.0]
    assert steps[0]["optimizer/lr"] == 1e-3
    assert steps[0]["train/mfu"] is None
    assert all(line["train/loss_max"] >= line["train/loss_avg"] for line in steps)
    assert json.loads((run_dir / "exit" / "rank_0.json").read_text()) == {"rank": 0, "exit_code": 0, "error": None}

    best = json.loads((run_dir / "best" / "best_score.json").read_text())
    assert best["best_score"] == pytest.approx(min(scores))
    assert best["metric"] == "val/avg_loss"
    exported = Path(best["best_ckpt_abs_dir"])
    assert (exported / "config.json").is_file()
    batch = _batch(clips, processor, count=9)
    reloaded = _mean_loss(_load(run_dir / "best").eval(), batch)
    assert reloaded == pytest.approx(best["best_score"], rel=1e-4)
    assert Processor.load(run_dir / "best").tokenizer.chat_template == processor.tokenizer.chat_template


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lora", "meshes"), [(False, [(1, 2), (2, 1), (2, 2)]), (True, [(2, 1)])], ids=["full", "adapters"]
)
def test_losses_and_weights_are_the_same_on_any_mesh(
    lora: bool,
    meshes: list[tuple[int, int]],
    train_spec: Document,
    run_program: Run,
    write_config: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """Meshes are (replicas, shards). Adam turns noise in tiny gradients into whole steps, hence the tolerances."""
    train_spec["train"] |= {"epoch": 1, "epsilon": 1e-4}
    train_spec["policy"] |= {"lora": LORA} if lora else {}
    assert run_program("train", train_spec) == 0
    expected, weights = losses(tmp_path / "run"), _exported(tmp_path / "run")
    assert len(expected) == 3
    for replicas, shards in meshes:
        spec, name = copy.deepcopy(train_spec), f"{replicas}x{shards}"
        spec["results_dir"] = str(tmp_path / name)
        spec["train"]["train_batch_per_replica"] = 8 // (replicas * shards)
        spec["train"]["train_policy"]["mini_batch"] = 2
        spec["policy"]["parallelism"] = {"dp_replicate_size": replicas, "dp_shard_size": shards}
        finished = _torchrun(write_config(spec, name), replicas * shards)
        assert finished.returncode == 0, finished.stderr[-3000:]
        assert losses(tmp_path / name) == pytest.approx(expected, rel=2e-4)
        for key, weight in _exported(tmp_path / name).items():
            torch.testing.assert_close(weight, weights[key], rtol=1e-3, atol=2e-5, msg=f"{name}: {key}")
        validation = [line for line in read_lines(tmp_path / name / "metrics.jsonl") if "val/avg_loss" in line]
        assert len(validation) == 1


def _exported(run_dir: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    (file,) = (run_dir / "safetensors" / "epoch_1").glob("*model.safetensors")
    weights: dict[str, torch.Tensor] = load_file(str(file))
    return weights


@pytest.mark.slow
def test_adapters_on_a_base_that_is_read_in_shards_train_as_on_a_whole_one(
    train_spec: Document, run_program: Run, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    train_spec["policy"]["lora"] = LORA
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    spec = copy.deepcopy(train_spec)
    spec["results_dir"] = str(tmp_path / "sharded")
    spec["train"]["train_batch_per_replica"] = 4
    spec["policy"]["parallelism"] = {"dp_shard_size": 2}
    finished = _torchrun(write_config(spec, "sharded"), 2)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert losses(tmp_path / "sharded") == pytest.approx(losses(tmp_path / "run"), rel=2e-4)
    spec["train"] |= {"epoch": 2, "resume": True, "train_batch_per_replica": 8}
    spec["policy"]["parallelism"] = {}
    assert run_program("train", spec) == 0  # on one process, with the same samples a step


@pytest.mark.slow
def test_a_resumed_training_continues_the_same_curve(train_spec: Document, run_program: Run, tmp_path: Path) -> None:
    train_spec["policy"]["lora"] = {**LORA, "lora_dropout": 0.1}
    train_spec["train"]["optm_decay_type"] = "none"
    train_spec["train"]["epoch"] = 3
    assert run_program("train", train_spec) == 0
    whole = losses(tmp_path / "run")
    spec = copy.deepcopy(train_spec)
    spec["results_dir"] = str(tmp_path / "parts")
    spec["train"]["epoch"] = 1
    assert run_program("train", spec) == 0
    spec["train"]["epoch"], spec["train"]["resume"] = 3, True
    assert run_program("train", spec) == 0
    assert losses(tmp_path / "parts") == pytest.approx(whole, rel=1e-4)
    assert run_program("train", spec) == 2
    assert diagnosis(tmp_path / "parts")["code"] == "nothing_to_train"
    assert "above 3" in diagnosis(tmp_path / "parts")["cure"]
    spec["train"]["resume"] = str(tmp_path / "run" / "checkpoints" / "epoch_2")
    spec["results_dir"] = str(tmp_path / "named")
    assert run_program("train", spec) == 0
    assert losses(tmp_path / "named") == pytest.approx(whole[6:], rel=1e-4)


@pytest.mark.slow
def test_a_training_interrupted_inside_an_epoch_continues_the_same_curve(
    train_spec: Document, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_spec["policy"]["lora"] = {**LORA, "lora_dropout": 0.1}
    train_spec["train"] |= {"epoch": 3, "ckpt": {"save_mode": "async"}}
    train_spec["train"]["train_policy"]["dataloader_num_workers"] = 1
    assert run_program("train", train_spec) == 0
    whole = losses(tmp_path / "run")
    spec = copy.deepcopy(train_spec)
    spec["results_dir"] = str(tmp_path / "parts")
    with monkeypatch.context() as patch:
        _signal_before(5, signal.SIGUSR1, patch)
        assert run_program("train", spec) == 75
    assert diagnosis(tmp_path / "parts")["code"] == "interrupted"
    assert {path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()} == {"epoch_1", "step_5"}
    spec["train"]["resume"] = True
    assert run_program("train", spec) == 0
    assert losses(tmp_path / "parts") == whole
    assert {path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()} == {"epoch_1", "epoch_2", "epoch_3"}
    best = Path(json.loads((tmp_path / "parts" / "best" / "best_score.json").read_text())["best_ckpt_abs_dir"])
    assert (best / "adapter_config.json").is_file()


@pytest.mark.slow
def test_a_signal_during_a_validation_ends_it_and_the_resumed_run_repeats_it(
    train_spec: Document, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_spec["policy"]["lora"] = LORA
    train_spec["train"]["epoch"] = 1
    with monkeypatch.context() as patch:
        validate = train.validate

        def interrupted(trainer: train.Trainer, stream: Any) -> float:
            os.kill(os.getpid(), signal.SIGTERM)
            return validate(trainer, stream)

        patch.setattr(train, "validate", interrupted)
        assert run_program("train", train_spec) == 75
    run = tmp_path / "run"
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"step_3"}
    assert not any("val/avg_loss" in line for line in read_lines(run / "metrics.jsonl"))
    train_spec["train"]["resume"] = True
    assert run_program("train", train_spec) == 0
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"epoch_1"}
    assert len([line for line in read_lines(run / "metrics.jsonl") if "val/avg_loss" in line]) == 1
    assert len(losses(run)) == 3


@pytest.mark.slow
def test_a_signal_to_trainer_and_loader_processes_alike_saves_the_training(
    train_spec: Document, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    train_spec["policy"]["lora"] = LORA
    train_spec["train"]["epoch"] = 1000
    train_spec["train"]["train_policy"] |= {"dataloader_num_workers": 2, "dataloader_prefetch_factor": 2}
    program = [sys.executable, "-m", "tao_skill_bank.models.cosmos_reason.train", "--config"]
    command = [*program, str(write_config(train_spec))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    _wait_until((tmp_path / "run" / "metrics.jsonl").exists, process)
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 75, errors[-2000:]
    assert diagnosis(tmp_path / "run")["code"] == "interrupted"
    (saved,) = (tmp_path / "run" / "checkpoints").glob("*_*")
    assert json.loads((saved / "progress.json").read_text())["step"] == len(losses(tmp_path / "run"))
    assert b"Traceback" not in errors


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    train_spec: Document, run_program: Run, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    train_spec["policy"]["lora"] = {**LORA, "lora_dropout": 0.1}
    train_spec["train"] |= {"epoch": 3, "ckpt": {"save_mode": "async", "max_keep": 1}}
    assert run_program("train", train_spec) == 0
    whole = losses(tmp_path / "run")
    spec = copy.deepcopy(train_spec)
    spec["results_dir"] = str(tmp_path / "parts")
    process = subprocess.Popen([sys.executable, "-c", STUCK_WRITE, "--config", str(write_config(spec))])
    _wait_until((tmp_path / "parts" / "checkpoints" / ".epoch_2" / "stuck").exists, process)
    _wait_until(lambda: len(losses(tmp_path / "parts")) > 6, process)  # training went on meanwhile
    process.kill()
    process.wait()
    assert {path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()} == {"epoch_1", ".epoch_2"}
    assert (tmp_path / "parts" / "best" / "adapter_config.json").is_file()
    (tmp_path / "parts" / "metrics.jsonl").rename(tmp_path / "killed.jsonl")
    spec["train"]["resume"] = True
    assert run_program("train", spec) == 0
    # A few units of float32: where tensors are read back to decides how a vectorized sum is split.
    assert losses(tmp_path / "parts") == pytest.approx(whole[3:], rel=1e-6)


@pytest.mark.slow
def test_changed_records_are_refused_with_what_changed(train_spec: Document, run_program: Run, tmp_path: Path) -> None:
    train_spec["policy"]["lora"] = LORA
    train_spec["train"]["epoch"] = 1
    assert run_program("train", train_spec) == 0
    records = json.loads(Path(train_spec["custom"]["train_dataset"]["annotation_path"]).read_text())
    (tmp_path / "annotations.json").write_text(json.dumps(records[:-1]))
    train_spec["custom"]["train_dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    train_spec["custom"]["vision"] = {"nframes": 6}
    train_spec["train"] |= {"epoch": 2, "resume": True}
    assert run_program("train", train_spec) == 3
    cause = diagnosis(tmp_path / "run")["cause"]
    assert "the number of training records was 24" in cause
    assert "and is 23 now" in cause
    assert "custom.vision.nframes was 4" in cause
    assert "train.seed" not in cause


@pytest.mark.slow
@pytest.mark.parametrize("start", [True, "pissa"])
def test_plain_peft_loads_the_adapter_and_gives_the_trainers_loss(
    start: bool | str, train_spec: Document, run_program: Run, tiny_model: Path, clips: Path, processor: Processor
) -> None:
    from peft import PeftModel

    train_spec["policy"]["lora"] = {**LORA, "init_lora_weights": start}
    train_spec["train"] |= {"epoch": 1, "optm_lr": 1e-2}
    assert run_program("train", train_spec) == 0
    run_dir = Path(train_spec["results_dir"])
    adapted = PeftModel.from_pretrained(_load(tiny_model), str(run_dir / "best")).eval()
    batch = _batch(clips, processor, count=9)
    loss, base = _mean_loss(adapted, batch), _mean_loss(_load(tiny_model).eval(), batch)
    expected = json.loads((run_dir / "best" / "best_score.json").read_text())["best_score"]
    assert loss == pytest.approx(expected, rel=1e-4)
    assert abs(loss - base) > 1e-3
    assert not list((run_dir / "best").glob("model*.safetensors"))
    assert (run_dir / "best" / "tokenizer.json").is_file()


@pytest.mark.slow
def test_old_epochs_are_deleted_but_never_the_best_or_the_newest(
    train_spec: Document, run_program: Run, tmp_path: Path
) -> None:
    train_spec["train"] |= {"epoch": 4, "ckpt": {"max_keep": 1}, "optm_lr": [1e-3, 5e-4]}
    train_spec["policy"]["lora"] = LORA
    assert run_program("train", train_spec) == 0
    assert read_lines(tmp_path / "run" / "metrics.jsonl")[0]["optimizer/lr"] == 1e-3  # the language model's
    best = Path(json.loads((tmp_path / "run" / "best" / "best_score.json").read_text())["best_ckpt_abs_dir"]).name
    for kind in ("checkpoints", "safetensors"):
        assert {path.name for path in (tmp_path / "run" / kind).iterdir()} == {"epoch_4", best}


def test_test_size_splits_validation_off_and_records_it(train_spec: Document, run_program: Run, tmp_path: Path) -> None:
    del train_spec["custom"]["val_dataset"]
    train_spec["train"]["epoch"] = 1
    train_spec["train"]["train_policy"]["dataset"] = {"test_size": 0.25}
    train_spec["train"]["ckpt"] = {"enable_checkpoint": False}
    assert run_program("train", train_spec) == 0
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert (len(split["train"]), len(split["val"])) == (18, 6)
    assert len(losses(tmp_path / "run")) == 18 // 8


def test_a_loss_that_is_no_number_stops_with_a_diagnosis(
    train_spec: Document, run_program: Run, tmp_path: Path
) -> None:
    train_spec["train"] |= {"optm_lr": 4e9, "optm_grad_norm_clip": 0.0}
    assert run_program("train", train_spec) == 8
    assert diagnosis(tmp_path / "run")["code"] == "nan_loss"
    assert "optm_lr" in diagnosis(tmp_path / "run")["cure"]
    assert len(losses(tmp_path / "run")) < 6


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        (("train", "train_batch_per_replica"), 48, "batch_too_large"),
        (("train", "train_batch_per_replica"), 6, "batch_not_a_multiple"),
        (("train", "resume"), "/nowhere/epoch_3", "checkpoint_missing"),
        (("policy", "model_max_length"), 40, "sequence_too_long"),
        (("policy", "model_name_or_path"), "/nowhere", "checkpoint_missing"),
        (("policy", "parallelism"), {"dp_shard_size": 2}, "world_size"),
        (("custom", "vision"), {"nframes": 9}, "clip_too_short"),
    ],
)
def test_a_users_mistake_is_one_line_and_no_traceback(
    path: tuple[str, str],
    value: Any,
    code: str,
    train_spec: Document,
    run_program: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_spec[path[0]][path[1]] = value
    assert run_program("train", train_spec) in (2, 3, 5)
    found = diagnosis(Path(train_spec["results_dir"]))
    assert found["code"] == code
    assert found["cause"]
    assert found["cure"]
    errors = capsys.readouterr().err
    assert "error: " in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_sigterm_ends_a_training_promptly_with_a_status(
    train_spec: Document, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    train_spec["train"]["epoch"] = 1000
    train_spec["train"]["ckpt"] = {"enable_checkpoint": False}
    process = subprocess.Popen(
        [sys.executable, "-m", "tao_skill_bank.models.cosmos_reason.train", "--config", str(write_config(train_spec))],
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 1200
    while not metrics.exists() and process.poll() is None and time.monotonic() < deadline:
        select_nothing(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM
    assert diagnosis(tmp_path / "run")["code"] == "canceled"
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_mistake_that_only_one_rank_meets_is_the_recorded_cause(
    train_spec: Document, write_config: Callable[..., Path], tmp_path: Path
) -> None:
    records = json.loads(Path(train_spec["custom"]["train_dataset"]["annotation_path"]).read_text())
    records[7]["video"] = "videos/missing.mp4"
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    train_spec["custom"]["train_dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    train_spec["policy"]["parallelism"] = {"dp_shard_size": 2}
    finished = _torchrun(write_config(train_spec), 2)
    assert finished.returncode != 0
    failures = [line for line in read_lines(tmp_path / "run" / "status.jsonl") if line["state"] == "FAILURE"]
    assert [line["diagnosis"]["code"] for line in failures] == ["missing_media"]
    assert records[7]["id"] in failures[0]["message"]
    codes = [json.loads(path.read_text())["exit_code"] for path in (tmp_path / "run" / "exit").glob("rank_*.json")]
    assert 3 in codes


def test_wandb_without_the_library_names_the_extra(
    train_spec: Document, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    train_spec["logging"]["logger"] = ["wandb"]
    assert run_program("train", train_spec) == 3
    assert "tao-skill-bank[wandb]" in diagnosis(tmp_path / "run")["cure"]


def test_learning_rates_go_to_the_parts_of_the_model(tiny_model: Path) -> None:
    from tao_skill_bank.models.cosmos_reason.optimizer import parameter_groups

    network = _load(tiny_model)
    peaks = {}
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    for group in parameter_groups(network, [1.0, 2.0, 3.0, 4.0]):
        for parameter in group["params"]:
            peaks[names[id(parameter)]] = group["peak"]
            assert ("weight_decay" in group) == (parameter.ndim < 2)
    assert set(peaks) == set(names.values())
    assert peaks["lm_head.weight"] == 4.0
    assert peaks["model.visual.merger.linear_fc1.weight"] == 3.0
    assert peaks["model.visual.blocks.0.attn.qkv.weight"] == 2.0
    assert peaks["model.language_model.layers.0.self_attn.q_proj.weight"] == 1.0


STUCK_WRITE = """
import os, runpy, time
from torch.distributed.checkpoint.filesystem import FileSystemWriter
write = FileSystemWriter.write_data
def stuck(self, *arguments):
    if str(self.path).endswith(".epoch_2"):
        open(os.path.join(self.path, "stuck"), "w").close()
        time.sleep(600)
    return write(self, *arguments)
FileSystemWriter.write_data = stuck
runpy.run_module("tao_skill_bank.models.cosmos_reason.train", run_name="__main__")
"""


def _signal_before(step: int, number: int, patch: pytest.MonkeyPatch) -> None:
    """Have this process get a signal when it begins a step, counted from 1."""
    take = train._step

    def interrupted(trainer: train.Trainer, taken: Any) -> train.Pending:
        if trainer.step == step - 1:
            os.kill(os.getpid(), number)
        return take(trainer, taken)

    patch.setattr(train, "_step", interrupted)


def _wait_until(question: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 1200
    while not question():
        assert process.poll() is None
        assert time.monotonic() < deadline
        select_nothing(0.02)


def select_nothing(seconds: float) -> None:
    """Give the other process time between two looks at its output."""
    import select

    select.select([], [], [], seconds)


def _torchrun(config: Path, processes: int) -> "subprocess.CompletedProcess[str]":
    module = "tao_skill_bank.models.cosmos_reason.train"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), "-m", module]
    return subprocess.run(
        [sys.executable, *command, "--config", str(config)], capture_output=True, text=True, timeout=1800, check=False
    )


@pytest.mark.slow
def test_two_deterministic_trainings_are_equal_to_the_last_bit(
    train_spec: Document, run_program: Run, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    train_spec["policy"]["lora"] = {**LORA, "lora_dropout": 0.1}
    train_spec["train"] |= {"epoch": 1, "deterministic": True}
    found = []
    try:
        for name in ("first", "second"):
            train_spec["results_dir"] = str(tmp_path / name)
            assert run_program("train", train_spec) == 0
            weights = load_file(str(tmp_path / name / "best" / "adapter_model.safetensors"))
            found.append((losses(tmp_path / name), weights))
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert found[0][0] == found[1][0]
    assert found[0][1].keys() == found[1][1].keys()
    assert all(torch.equal(found[0][1][name], found[1][1][name]) for name in found[0][1])
