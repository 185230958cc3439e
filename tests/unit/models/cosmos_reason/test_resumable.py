"""What the trainer would refuse to go on from is known before it is launched, with the cure."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import pytest

from tao_skill_bank.errors import BlockedError, Problem
from tao_skill_bank.models.cosmos_reason import identity, resumable
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.models.cosmos_reason.facts import FACTS
from tao_skill_bank.training.config import load_spec
from tao_skill_bank.training.resumable import Answer, require_whole
from tao_skill_bank.weights.safetensors_files import fingerprint

from .conftest import Document, diagnosis, losses

FIXTURE = Path(__file__).parents[3] / "fixtures" / "version_1" / "checkpoint_reason"
LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
Check = Callable[..., tuple[Problem, ...]]


@pytest.fixture
def trained(train_spec: Document, run_program: Any, write_config: Callable[..., Path], tmp_path: Path) -> Callable:
    """Train an epoch with these settings of the policy, and leave its config as a job does; returns its checkpoint."""

    def train(**policy: Any) -> Path:
        train_spec["policy"] |= policy
        train_spec["train"]["epoch"] = 1
        train_spec["validation"]["enable"] = False
        assert run_program("train", train_spec) == 0
        (tmp_path / "run" / "config").mkdir()
        shutil.copy(write_config(train_spec), tmp_path / "run" / "config" / "train.toml")
        return tmp_path / "run" / "checkpoints" / "epoch_1"

    return train


@pytest.fixture
def problems(train_spec: Document, write_config: Callable[..., Path]) -> Check:
    def check(folder: Path) -> tuple[Problem, ...]:
        answer = resumable.check(load_spec(TrainConfig, write_config(train_spec, "again")), folder)
        assert answer.not_compared == ""
        return answer.problems

    return check


@pytest.mark.parametrize("policy", [{}, {"lora": LORA}, {"frozen_parts": ["vision"]}])
def test_the_same_training_may_go_on_whatever_it_trains(policy: Any, trained: Any, problems: Check) -> None:
    folder = trained(**policy)
    require_whole(folder, FACTS)
    assert problems(folder) == ()


def test_other_data_is_named_with_the_option_that_gives_the_old_data(
    trained: Any, problems: Check, train_spec: Document, clips: Path
) -> None:
    folder = trained(lora=LORA)
    source = train_spec["custom"]["train_dataset"]
    source |= {"annotation_path": str(clips / "val" / "annotations.json"), "media_path": str(clips / "val")}
    (found,) = problems(folder)
    assert found.code == "resume_changed"
    assert "was 24 when" in found.message
    assert "is 9 now" in found.message
    assert f"--train {clips / 'train'};" in found.fix
    assert "--set train.resume=false --results-dir" in found.fix


def test_a_file_that_was_changed_in_place_is_named_with_when(
    trained: Any, problems: Check, train_spec: Document, clips: Path, tmp_path: Path
) -> None:
    annotations = tmp_path / "annotations.json"
    records = json.loads((clips / "train" / "annotations.json").read_text())
    annotations.write_text(json.dumps(records))
    train_spec["custom"]["train_dataset"]["annotation_path"] = str(annotations)
    folder = trained(lora=LORA)
    records[3]["conversations"][1]["value"] = "up"
    annotations.write_text(json.dumps(records))
    (found,) = problems(folder)
    assert (found.code, found.path) == ("resume_changed", "custom.train_dataset.annotation_path")
    assert f"Restore the records that it was trained with in {annotations}" in found.fix


def test_settings_are_named_each_with_the_option_that_sets_it_back(
    trained: Any, problems: Check, train_spec: Document
) -> None:
    folder = trained(lora=LORA)
    train_spec["train"] |= {"seed": 3, "train_batch_per_replica": 4}
    train_spec["custom"]["vision"] = {"nframes": 6}
    fixes = {found.path: found.fix for found in problems(folder)}
    assert set(fixes) == {"train.seed", "train.train_batch_per_replica", "custom.vision.nframes"}
    assert "--set train.seed=0;" in fixes["train.seed"]
    assert "train.train_batch_per_replica=8 for 1 ranks" in fixes["train.train_batch_per_replica"]
    assert "--set custom.vision.nframes=4;" in fixes["custom.vision.nframes"]


def test_another_split_is_one_problem(trained: Any, problems: Check, train_spec: Document) -> None:
    del train_spec["custom"]["val_dataset"]
    folder = trained(lora=LORA)
    train_spec["validation"]["enable"] = True
    train_spec["train"]["train_policy"]["dataset"] = {"test_size": 4}
    assert [found.path for found in problems(folder)] == ["train.train_policy.dataset.test_size"]


def test_another_model_and_other_adapters_are_named(
    trained: Any, problems: Check, train_spec: Document, tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = trained(lora=LORA)
    train_spec["policy"]["lora"] = {**LORA, "r": 2}
    (found,) = problems(folder)
    assert found.code == "checkpoint_of_another_model"
    assert "--set policy.lora.r=4;" in found.fix
    del train_spec["policy"]["lora"]
    (found,) = problems(folder)
    assert "Set it back: --set policy.lora.r=4;" in found.fix  # its other settings are the defaults
    train_spec["policy"]["lora"] = {**LORA, "target_modules": ["q_proj"]}
    (found,) = problems(folder)
    assert """Set it back: --set 'policy.lora.target_modules=["q_proj", "v_proj"]';""" in found.fix
    other = shutil.copytree(tiny_model, tmp_path / "other")
    weights = load_file(str(other / "model.safetensors"))
    save_file({name: w + 1 for name, w in weights.items()}, str(other / "model.safetensors"), {"format": "pt"})
    train_spec["policy"] |= {"lora": LORA, "model_name_or_path": str(other)}
    (found,) = problems(folder)
    assert found.path == "policy.model_name_or_path"
    assert "the base model (sha256) was" in found.message


def test_a_base_that_is_not_here_is_not_compared_and_that_is_said(
    trained: Any, train_spec: Document, write_config: Callable[..., Path]
) -> None:
    folder = trained(lora=LORA)
    train_spec["policy"]["model_name_or_path"] = "builtin://tiny-cosmos-reason"  # nothing made it here yet
    answer = resumable.check(load_spec(TrainConfig, write_config(train_spec, "again")), folder)
    assert answer.problems == ()
    assert "builtin://tiny-cosmos-reason is not available locally yet" in answer.not_compared


@pytest.mark.parametrize("name", ["*.distcp", "random_0.pt", ".metadata"])
def test_a_cut_file_is_found_without_reading_the_weights(name: str, trained: Any) -> None:
    folder = trained(lora=LORA)
    (file,) = folder.glob(name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BlockedError) as caught:
        require_whole(folder, FACTS)
    (found,) = caught.value.problems
    assert found.code == "checkpoint_broken"
    assert str(folder) in found.message
    assert "--results-dir NEW_FOLDER" in found.fix
    shutil.copytree(folder, folder.with_name("epoch_0"))
    with pytest.raises(BlockedError, match="cannot be read") as caught:
        require_whole(folder, FACTS)
    assert f"--set train.resume={folder.with_name('epoch_0')}" in caught.value.problems[0].fix


# --- checkpoints of the first version, and of somebody else -------------------------------------------------------


@pytest.fixture
def old(train_spec: Document, tiny_model: Path, tmp_path: Path) -> Path:
    """A checkpoint of version 1 after an epoch of the spec; the tiny model need not be the same to the last bit."""
    folder = shutil.copytree(FIXTURE, tmp_path / "old" / "checkpoints" / "epoch_1")
    data = json.loads((folder / "identity.json").read_text()) | {identity.BASE: fingerprint(tiny_model)}
    (folder / "identity.json").write_text(json.dumps(data))
    train_spec["policy"]["lora"] = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}
    train_spec["validation"]["enable"] = False
    train_spec["train"]["resume"] = str(folder)
    return folder


@pytest.fixture
def answer(train_spec: Document, write_config: Callable[..., Path]) -> Callable[[Path], Answer]:
    return lambda folder: resumable.check(load_spec(TrainConfig, write_config(train_spec, "again")), folder)


def test_a_checkpoint_of_version_1_may_go_on_and_its_weights_are_left_to_the_trainer(
    old: Path, answer: Callable[[Path], Answer], run_program: Any, train_spec: Document, tmp_path: Path
) -> None:
    require_whole(old, FACTS)
    found = answer(old)
    assert found.problems == ()
    assert "The trainer compares its weights" in found.not_compared
    assert run_program("train", train_spec) == 0
    assert len(losses(tmp_path / "run")) == 3  # of the second of two epochs
    train_spec["policy"]["lora"]["r"] = 4
    train_spec["results_dir"] = str(tmp_path / "wider")
    assert run_program("train", train_spec) == 3
    assert diagnosis(tmp_path / "wider")["code"] == "checkpoint_of_another_model"


def test_other_data_is_named_for_a_checkpoint_of_version_1(
    old: Path, answer: Callable[[Path], Answer], train_spec: Document
) -> None:
    train_spec["train"]["seed"] = 3
    assert [problem.path for problem in answer(old).problems] == ["train.seed"]


@pytest.mark.parametrize(("name", "told"), [("__0_0.distcp", "is truncated"), ("random_0.pt", "is truncated")])
def test_a_cut_file_of_version_1_is_found(name: str, told: str, old: Path) -> None:
    whole = (old / name).read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (old / name).write_bytes(whole[:size])
        with pytest.raises(BlockedError, match=f"{name} {told}"):
            require_whole(old, FACTS)


def test_a_checkpoint_of_version_1_without_tensors_is_broken(old: Path) -> None:
    (old / "__0_0.distcp").unlink()
    with pytest.raises(BlockedError, match=r"it holds no \*\.distcp file"):
        require_whole(old, FACTS)


@pytest.mark.parametrize("with_contents", [False, True])
def test_hostile_metadata_is_not_read_before_the_launch_and_refused_by_the_trainer(
    with_contents: bool, old: Path, answer: Callable[[Path], Answer], run_program: Any, train_spec: Document,
    tmp_path: Path,
) -> None:  # fmt: skip
    hostile.write(old / ".metadata", tmp_path / "mark")
    if with_contents:
        (old / "contents.json").write_text(json.dumps({"files": {".metadata": 10}, "weights": {}}))
    require_whole(old, FACTS)
    found = answer(old)
    assert [problem.code for problem in found.problems] == ["checkpoint_of_another_model"] * with_contents
    assert run_program("train", train_spec) == 3
    told = diagnosis(tmp_path / "run")
    assert told["code"] == "checkpoint_broken"
    assert f"it asks for {hostile.NAME}" in told["cause"]
    assert not (tmp_path / "mark").exists()
