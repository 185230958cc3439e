"""Training from spec to adapters, with the tiny pipeline and real clips."""

import json
import os
import shutil
import signal
import subprocess
import sys

import hostile
import predict_training
import pytest
import tomli_w
import torch
from predict_training import config, curve, diagnosis
from pydantic import TypeAdapter
from safetensors.torch import load_file

from tao_skill_bank.models.cosmos_predict import adapter_folder, dataset, pipeline, train, validation
from tao_skill_bank.models.cosmos_predict.batches import Windows
from tao_skill_bank.models.cosmos_predict.config import TrainConfig
from tao_skill_bank.models.cosmos_predict.config.train import Dataset
from tao_skill_bank.models.cosmos_predict.transformer import Denoiser, Execution
from tao_skill_bank.training import entrypoint, gradients

WEIGHTS = "pytorch_lora_weights.safetensors"
CPU = torch.device("cpu")


@pytest.fixture
def train_to(tmp_path, tiny_pipeline, robot_data):
    """Train a spec into a folder of this name; returns the folder and the exit code."""

    def start(name, **groups):
        folder = tmp_path / name
        return folder, predict_training.run(config(tiny_pipeline, robot_data, **groups), folder)

    return start


# --- a whole run --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_best_adapter_is_kept_from_an_epoch_that_saves_no_checkpoint(train_to, monkeypatch):
    scores = iter([0.9, 0.8, 0.5, 0.7, 0.6])  # of the base, then of every epoch
    monkeypatch.setattr(validation.HeldOut, "loss", lambda *_: next(scores))
    folder, code = train_to("run", train={"epoch": 4}, ckpt={"save_freq_in_epoch": 100})
    assert code == 0
    best = json.loads((folder / "best" / "best_score.json").read_text())
    assert best["best_score"] == 0.5
    assert best["best_ckpt_abs_dir"].endswith("epoch_2")
    assert (folder / "best" / WEIGHTS).is_file()
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["epoch_4"]


@pytest.mark.slow
@pytest.mark.parametrize("use_dora", [False, True], ids=["lora", "dora"])
def test_a_training_leaves_metrics_checkpoints_and_adapters_that_diffusers_reads(
    use_dora, train_to, tiny_pipeline, robot_data
):
    groups = {"lora": {"use_dora": use_dora}, "train": {"epoch": 3}, "ckpt": {"max_keep": 1}}
    folder, code = train_to("run", **groups)
    assert code == 0
    told = predict_training.lines(folder / "status.jsonl")
    assert (told[-1]["state"], told[-1]["step"], told[-1]["total"]) == ("SUCCESS", 9, 9)
    assert told[-1]["message"] == "Trained 3 epochs, 9 steps."
    steps = [line for line in predict_training.lines(folder / "metrics.jsonl") if "train/loss_avg" in line]
    assert [line["step"] for line in steps] == list(range(1, 10))
    assert steps[2]["epoch"] == 1.0
    assert all(line["train/loss_public"] < line["train/loss_avg"] for line in steps)
    assert all(line["train/samples_per_second"] > 0 and line["train/mfu"] is None for line in steps)
    scores = curve(folder, "val/avg_loss")
    assert list(scores) == [0, 3, 6, 9]
    assert min(scores.values()) < scores[0]

    best = json.loads((folder / "best" / "best_score.json").read_text())
    assert best["best_score"] == min(list(scores.values())[1:])
    best_epoch = best["best_ckpt_abs_dir"].rpartition("/")[2]
    for kind in ("checkpoints", "safetensors"):
        assert {path.name for path in (folder / kind).iterdir()} == {"epoch_3", best_epoch}

    plain = pipeline.load_transformer(tiny_pipeline, torch.float32, CPU)
    plain.load_lora_adapter(str(folder / "best"), prefix="transformer", weight_name=WEIGHTS, adapter_name="mine")
    settings = plain.peft_config["mine"]
    assert (settings.r, settings.lora_alpha, settings.use_dora) == (4, 6, use_dora)
    ours = pipeline.load_transformer(tiny_pipeline, torch.float32, CPU)
    adapter_folder.load(ours, folder / "best", "mine", tiny_pipeline)
    with predict_training.one_rank(folder / "again") as run:
        spec = config(tiny_pipeline, robot_data, **groups)
        items = dataset.find_items(spec)[1]
        judged = validation.HeldOut(spec, items, train._material(spec, run, Windows(9, 0, kept=1), ([], items)))
        for dit in (plain, ours):
            assert judged.loss(Denoiser(dit.eval(), Execution("none")), run) == pytest.approx(best["best_score"])
        ours.disable_adapters()
        assert judged.loss(Denoiser(ours, Execution("none")), run) == pytest.approx(scores[0])


@pytest.mark.slow
def test_training_repeats_and_its_rate_follows_the_schedule(train_to):
    groups = {
        "train": {"epoch": 2, "warmup_steps": 2, "schedule_steps": 6, "optm_lr": 1e-3, "f_max": 0.5, "f_min": 0.2}
    }
    first, _ = train_to("first", **groups)
    again, _ = train_to("again", **groups)
    other, _ = train_to("other", train=groups["train"] | {"seed": 5})
    assert curve(first) == curve(again)
    assert curve(first) != curve(other)
    expected = [0, 0.25, 0.5, 0.5 - 0.3 / 4, 0.5 - 0.6 / 4, 0.5 - 0.9 / 4]
    assert list(curve(first, "optimizer/lr").values()) == pytest.approx([1e-3 * factor for factor in expected])


def test_the_default_rate_peaks_at_the_published_value():
    spec = TrainConfig(Dataset("clips"))
    schedule = train._schedule(spec)
    rates = {step: spec.train.optm_lr * spec.train.f_max * schedule.factor(step) for step in (0, 500, 1000, 100_000)}
    assert rates == pytest.approx({0: 0, 500: 1.075e-5, 1000: 2.15e-5, 100_000: 8.6e-6})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorboard"])
def test_metrics_go_to_the_loggers_that_the_spec_names(name, train_to):
    folder, code = train_to("run", logging={"logger": [name, "console"]}, validation={"enable": False})
    assert code == 0
    assert list((folder / name).iterdir())
    assert "best" not in {path.name for path in folder.iterdir()}  # nothing was judged


# --- resume -------------------------------------------------------------------------------------------------------

RESUMED = {
    "lora-dropout": {"lora": {"lora_dropout": 0.2}},
    "fresh-windows": {"dataset": {"cache_latents": False}},
    "dora-ema": {"lora": {"use_dora": True}, "train": {"ema_decay": 0.7}},
}


@pytest.mark.slow
@pytest.mark.parametrize("groups", RESUMED.values(), ids=RESUMED)
def test_a_killed_run_resumes_to_the_same_curve_and_the_same_adapters(groups, train_to, monkeypatch):
    groups = groups | {"train": groups.get("train", {}) | {"epoch": 2}}
    whole, code = train_to("whole", **groups)
    assert code == 0

    with monkeypatch.context() as patch:
        taken = []
        real = gradients.require_finite

        def killed_in_the_second_epoch(*args):
            taken.append(args)
            if len(taken) == 5:
                raise KeyboardInterrupt
            real(*args)

        patch.setattr(gradients, "require_finite", killed_in_the_second_epoch)
        parts, code = train_to("parts", **groups)
    assert code != 0
    assert [path.name for path in (parts / "checkpoints").iterdir()] == ["epoch_1"]
    _, code = train_to("parts", **groups | {"train": groups["train"] | {"resume": True}})
    assert code == 0
    for name in ("train/loss_avg", "val/avg_loss", "optimizer/lr", "optimizer/grad_norm"):
        assert curve(parts, name) == pytest.approx(curve(whole, name), rel=1e-5), name
    expected, got = (load_file(str(folder / "safetensors" / "epoch_2" / WEIGHTS)) for folder in (whole, parts))
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_inside_the_epoch(train_to, monkeypatch):
    groups = {"lora": {"lora_dropout": 0.2}, "train": {"epoch": 2, "ema_decay": 0.7}}
    whole, code = train_to("whole", **groups)
    assert code == 0
    take = train._step

    def interrupted(trainer, taken, step):
        if step == 4:
            os.kill(os.getpid(), signal.SIGUSR1)
        return take(trainer, taken, step)

    with monkeypatch.context() as patch:
        patch.setattr(train, "_step", interrupted)
        parts, code = train_to("parts", **groups)
    assert code == entrypoint.EXIT_INTERRUPTED
    assert diagnosis(parts)["code"] == "interrupted"
    assert {path.name for path in (parts / "checkpoints").iterdir()} == {"epoch_1", "step_5"}
    _, code = train_to("parts", **groups | {"train": groups["train"] | {"resume": True}})
    assert code == 0
    assert {path.name for path in (parts / "checkpoints").iterdir()} == {"epoch_1", "epoch_2"}
    for name in ("train/loss_avg", "val/avg_loss", "optimizer/lr"):
        assert curve(parts, name) == pytest.approx(curve(whole, name), rel=1e-5), name


@pytest.mark.slow
def test_other_clips_or_windows_are_refused_with_what_changed(train_to):
    train_to("run", train={"epoch": 1})
    folder, code = train_to("run", train={"epoch": 2, "resume": True, "seed": 5}, dataset={"num_frames": 5})
    assert code == 3
    assert diagnosis(folder)["code"] == "resume_changed"
    assert "dataset.num_frames was 9" in diagnosis(folder)["cause"]
    assert "train.seed was 0" in diagnosis(folder)["cause"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [".metadata", "random_0.pt"])
def test_a_checkpoint_that_asks_for_code_is_refused_and_runs_nothing(name, train_to, tmp_path):
    folder, _ = train_to("run")
    checkpoint = folder / "checkpoints" / "epoch_1"
    if name == ".metadata":
        hostile.write(checkpoint / name, tmp_path / "mark")
    else:
        torch.save(hostile.Hostile(tmp_path / "mark"), checkpoint / name)
    _, code = train_to("run", train={"epoch": 2, "resume": True})
    assert code == 3
    assert diagnosis(folder)["code"] == "checkpoint_broken"
    assert f"it asks for {hostile.NAME}" in diagnosis(folder)["cause"]
    assert not (tmp_path / "mark").exists()


@pytest.mark.slow
def test_a_finished_run_has_nothing_to_train(train_to):
    train_to("run")
    folder, code = train_to("run", train={"resume": True})
    assert code == 2
    assert diagnosis(folder)["code"] == "nothing_to_train"
    assert "train.epoch above 1" in diagnosis(folder)["cure"]


@pytest.mark.slow
def test_the_average_is_what_is_judged_and_written(train_to):
    plain, _ = train_to("plain", train={"epoch": 2})
    averaged, _ = train_to("averaged", train={"epoch": 2, "ema_decay": 0.9})
    assert curve(averaged) == curve(plain)  # what is trained is the same
    assert curve(averaged, "val/avg_loss")[6] != curve(plain, "val/avg_loss")[6]
    norms = [
        sum(
            float(tensor.square().sum())
            for name, tensor in load_file(str(folder / "best" / WEIGHTS)).items()
            if "lora_B" in name
        )
        for folder in (averaged, plain)
    ]
    assert 0 < norms[0] < norms[1]  # B begins at zero, and its average lags behind


# --- caches, sizes and ranks --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_caches_change_no_loss(train_to):
    """The window is the whole clip, so that it is the same with and without."""
    whole = {"num_frames": 25, "windows_per_clip": 1}
    cached, _ = train_to("cached", dataset=whole)
    encoded, code = train_to("encoded", dataset=whole | {"cache_latents": False, "cache_text": False})
    assert code == 0
    assert curve(encoded) == pytest.approx(curve(cached), rel=1e-5)
    assert curve(encoded, "val/avg_loss") == pytest.approx(curve(cached, "val/avg_loss"), rel=1e-5)


@pytest.mark.slow
def test_a_second_run_loads_neither_vae_nor_text_encoder(train_to, monkeypatch):
    first, _ = train_to("first")
    for name in ("load_vae", "load_text_encoder"):
        monkeypatch.setattr(pipeline, name, None)
    second, code = train_to("second")
    assert code == 0
    assert curve(second) == curve(first)


@pytest.mark.slow
def test_reading_threads_change_no_loss(train_to):
    read, _ = train_to("read", dataset={"dataloader_num_workers": 2})
    alone, _ = train_to("alone")
    assert curve(read) == curve(alone)


@pytest.mark.slow
def test_accumulated_micro_batches_are_one_step_over_all_their_clips(train_to):
    folder, code = train_to("run", train={"batch_size": 1, "gradient_accumulation_steps": 3, "epoch": 1})
    assert code == 0
    assert list(curve(folder)) == [1, 2]


@pytest.mark.slow
def test_clips_of_several_sizes_train_in_buckets(train_to, robot_data, tmp_path, tiny_pipeline):
    import numpy as np

    from tao_skill_bank.models.cosmos_predict import video_file

    data = shutil.copytree(robot_data, tmp_path / "data")
    for number in range(2):
        frames = np.full((25, 80, 48, 3), 40 * number, dtype=np.uint8)
        video_file.write(data / "train" / "videos" / f"tall{number}.mp4", frames, 16)
        (data / "train" / "metas" / f"tall{number}.txt").write_text("The arm is tall.")
    spec = config(tiny_pipeline, data, dataset={"aspect_buckets": True})
    assert predict_training.run(spec, tmp_path / "run") == 0
    assert list(curve(tmp_path / "run")) == [1, 2, 3, 4]


@pytest.mark.slow
def test_sample_videos_are_written_at_validations(train_to):
    folder, code = train_to("run", validation={"sample_videos": 1, "sample_steps": 1})
    assert code == 0
    assert [path.name for path in (folder / "samples" / "epoch_1").iterdir()] == ["val-00000.mp4"]


@pytest.mark.slow
def test_two_processes_train_what_one_does_that_accumulates(train_to, tiny_pipeline, robot_data, tmp_path):
    groups = {"lora": {"use_dora": True}, "validation": {"sample_videos": 3, "sample_steps": 1}}
    alone, code = train_to("alone", train={"epoch": 2, "batch_size": 1, "gradient_accumulation_steps": 2}, **groups)
    assert code == 0
    spec = config(tiny_pipeline, robot_data, train={"epoch": 2, "batch_size": 1}, **groups)
    document = {
        **TypeAdapter(TrainConfig).dump_python(spec, exclude_none=True),
        "results_dir": str(tmp_path / "shared"),
    }
    (tmp_path / "train.toml").write_text(tomli_w.dumps(document))
    module = "tao_skill_bank.models.cosmos_predict.train"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", module]
    finished = subprocess.run(
        [*command, "--config", str(tmp_path / "train.toml")], capture_output=True, text=True, check=False, timeout=1800
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    shared = tmp_path / "shared"
    for name in ("train/loss_avg", "train/loss_public", "val/avg_loss", "optimizer/grad_norm"):
        assert curve(shared, name) == pytest.approx(curve(alone, name), rel=1e-4), name
    expected, got = (load_file(str(folder / "safetensors" / "epoch_2" / WEIGHTS)) for folder in (alone, shared))
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, rtol=1e-3, atol=1e-4)
    assert len(list((shared / "checkpoints" / "epoch_2").glob("random_*.pt"))) == 2
    assert len(list((shared / "samples" / "epoch_2").iterdir())) == 3


# --- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_base_of_random_weights_is_stopped_before_its_first_step(train_to, monkeypatch):
    monkeypatch.setattr(torch.optim.AdamW, "step", None)
    folder, code = train_to("run", train={"first_loss_limit": 0.3})
    assert code == 8
    found = diagnosis(folder)
    assert found["code"] == "first_loss_too_high"
    assert "train.first_loss_limit 0.3" in found["cause"]
    assert "train.first_loss_limit" in found["cure"]
    assert curve(folder) == {}
    assert not {"checkpoints", "safetensors", "best"} & {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_with_a_diagnosis(train_to):
    folder, code = train_to("run", train={"optm_lr": 1e30, "optm_grad_norm_clip": 0.0})
    assert code == 8
    assert diagnosis(folder)["code"] == "nan_loss"
    assert "optm_lr" in diagnosis(folder)["cure"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "code"),
    [
        ({"lora": {"target_modules": ["q_proj"]}}, "lora_targets"),
        ({"train": {"batch_size": 9}}, "batch_exceeds_records"),
        ({"train": {"resume": "/nowhere/epoch_3"}}, "checkpoint_missing"),
        ({"model": {"pretrained_model_name_or_path": "/nowhere"}}, "checkpoint_missing"),
        ({"dataset": {"num_frames": 29}}, "clip_too_short"),
        ({"dataset": {"train_dir": "/nowhere"}}, "input_missing"),
    ],
)
def test_a_users_mistake_is_one_line_and_no_traceback(groups, code, train_to, capfd):
    folder, exit_code = train_to("run", **groups)
    assert exit_code in (2, 3, 5)
    found = diagnosis(folder)
    assert found["code"] == code
    assert found["cure"]
    told = capfd.readouterr().err
    assert "error: " in told
    assert "Traceback" not in told


def test_all_clips_too_short_are_one_error_that_names_them(train_to):
    folder, code = train_to("run", dataset={"num_frames": 29})
    assert code == 3
    cause = diagnosis(folder)["cause"]
    names = [f"train-{number:05d}.mp4" for number in range(6)] + [f"val-{number:05d}.mp4" for number in range(3)]
    assert all(name in cause for name in names)
