"""A training that stops at train.stop_epoch is whole, and goes on as if it had never stopped."""

import predict_training
import pytest
import torch
from predict_training import config, curve, diagnosis, lines
from safetensors.torch import load_file

from tao_skill_bank.models.cosmos_predict import pipeline

WEIGHTS = "pytorch_lora_weights.safetensors"
# Everything that could go on wrongly: dropout, warm-up, an average, accumulation, and saves every third epoch.
GROUPS = {
    "lora": {"lora_dropout": 0.2},
    "validation": {"freq_in_epoch": 2},
    "ckpt": {"save_freq_in_epoch": 3},
}
TRAIN = {"epoch": 4, "ema_decay": 0.7, "warmup_steps": 5, "schedule_steps": 20}


@pytest.fixture
def train_to(tmp_path, tiny_pipeline, robot_data):
    def start(name, groups=GROUPS, **train):
        folder = tmp_path / name
        spec = config(tiny_pipeline, robot_data, **groups | {"train": TRAIN | train})
        return folder, predict_training.run(spec, folder)

    return start


@pytest.mark.slow
@pytest.mark.parametrize("dataset", [{}, {"cache_latents": False}], ids=["kept-latents", "fresh-windows"])
def test_a_stopped_training_goes_on_exactly(dataset, train_to):
    groups = GROUPS | {"dataset": dataset}
    whole, code = train_to("whole", groups)
    assert code == 0
    parts, code = train_to("parts", groups, stop_epoch=1)
    assert code == 0
    last = lines(parts / "status.jsonl")[-1]
    assert (last["state"], last["message"]) == ("SUCCESS", "Stopped after epoch 1 of 4 as train.stop_epoch asks.")
    assert (last["step"], last["total"]) == (3, 3)
    assert list(curve(parts, "val/avg_loss")) == [0, 3]  # as after the last epoch, whatever the frequency
    assert [path.name for path in (parts / "checkpoints").iterdir()] == ["epoch_1"]
    assert (parts / "best" / WEIGHTS).is_file()

    for values in ({"stop_epoch": 2}, {}):
        _, code = train_to("parts", groups, resume=True, **values)
        assert code == 0
    assert lines(parts / "status.jsonl")[-1]["message"] == "Trained 4 epochs, 12 steps."
    for name in ("train/loss_avg", "val/avg_loss", "optimizer/lr", "optimizer/grad_norm"):
        expected, found = curve(whole, name), curve(parts, name)
        assert {step: found[step] for step in expected} == expected, name
    expected, found = (load_file(str(folder / "safetensors" / "epoch_4" / WEIGHTS)) for folder in (whole, parts))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())  # the averages


@pytest.mark.slow
def test_as_many_steps_as_some_epochs_have_are_the_training_of_those_epochs(train_to):
    by_epochs, code = train_to("epochs", epoch=2)
    assert code == 0
    by_steps, code = train_to("steps", epoch=7, max_steps=6)
    assert code == 0
    last = lines(by_steps / "status.jsonl")[-1]
    assert (last["state"], last["step"], last["total"]) == ("SUCCESS", 6, 6)
    for name in ("train/loss_avg", "val/avg_loss", "optimizer/lr", "optimizer/grad_norm"):
        assert curve(by_steps, name) == curve(by_epochs, name), name
    expected, found = (load_file(str(folder / "safetensors/epoch_2" / WEIGHTS)) for folder in (by_epochs, by_steps))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


@pytest.mark.slow
def test_steps_that_end_within_an_epoch_are_validated_saved_and_continued(train_to):
    whole, _ = train_to("whole", max_steps=7)
    parts, code = train_to("parts", max_steps=5)
    assert code == 0
    assert list(curve(parts, "val/avg_loss")) == [0, 5]
    assert {path.name for path in (parts / "checkpoints").iterdir()} == {"step_5"}
    _, code = train_to("parts", max_steps=7, resume=True)
    assert code == 0
    assert curve(parts, "train/loss_avg") == curve(whole, "train/loss_avg")
    assert curve(parts, "val/avg_loss")[7] == curve(whole, "val/avg_loss")[7]


@pytest.mark.slow
def test_a_training_at_its_stop_says_so(train_to):
    train_to("run", stop_epoch=1)
    folder, code = train_to("run", stop_epoch=1, resume=True)
    assert code == 2
    told = diagnosis(folder)
    assert told["code"] == "nothing_to_train"
    assert "is at epoch 1, and train.stop_epoch is 1" in told["cause"]
    assert "Set train.stop_epoch above 1, or to null for all 4 epochs" in told["cure"]


def test_a_stop_after_the_end_is_refused_by_the_trainer_too(train_to):
    folder, code = train_to("run", stop_epoch=5)
    assert code == 2
    assert diagnosis(folder)["code"] == "stop_after_the_end"


@pytest.mark.slow
def test_a_second_training_with_another_rate_encodes_nothing(train_to, monkeypatch):
    train_to("first", stop_epoch=1)
    for name in ("load_vae", "load_text_encoder"):
        monkeypatch.setattr(pipeline, name, None)
    for name, values in (("second", {"optm_lr": 0.005}), ("first", {"resume": True, "stop_epoch": 2})):
        _, code = train_to(name, **values)
        assert code == 0
