"""Folders of clips and prompts as people bring them: what the plan says, and what the job then reads."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.contracts import Finding, PlatformRequest, Request
from tao_skill_bank.models.cosmos_predict import conditions, config, dataset
from tao_skill_bank.planning import dispatch
from tao_skill_bank.samples import robot

TINY = {"model.pretrained_model_name_or_path": "builtin://tiny-cosmos-predict"}
SIZE = {"height": 48, "width": 80, "num_frames": 9}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return robot.make(tmp_path_factory.mktemp("samples") / "robot", train=3, val=2, test=2)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("answers")


@pytest.fixture(autouse=True)
def _inspected_once(monkeypatch: pytest.MonkeyPatch, answers: Path) -> None:
    """Let the plans share the answer of the training plane, which takes the most time."""
    monkeypatch.setenv("TAO_STATE_DIR", str(answers))


@pytest.fixture
def data(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "data"))


def plan(action: str, **overrides: Any) -> list[Finding]:
    request = Request(
        "tao-finetune-cosmos-predict",
        action,
        automl_policy="off",
        overrides=overrides,
        platform=PlatformRequest(options={"device": "cpu"}),
    )
    return list(dispatch.plan(request).findings)


def codes(found: list[Finding], severity: str) -> list[str]:
    return [finding.code for finding in found if finding.severity == severity]


def in_utf_16(train: Path) -> None:
    for file in (train / "metas").iterdir():
        file.write_bytes(file.read_text().encode("utf-16"))


def semicolons(train: Path) -> None:
    rows = [f"{file.stem}.mp4;{file.read_text()}" for file in sorted((train / "metas").iterdir())]
    shutil.rmtree(train / "metas")
    (train / "metadata.csv").write_text("\n".join(["file_name;prompt", *rows]))


def another_case(train: Path) -> None:
    (train / "metas" / "train-00000.txt").rename(train / "metas" / "Train-00000.txt")
    (train / "metadata.csv").unlink()


def long_caption(train: Path) -> None:
    (train / "metas" / "train-00000.txt").write_text("The gripper waits. " * 600)


def deeper(train: Path) -> None:
    (train / "videos" / "day2").mkdir()
    shutil.copy(train / "videos" / "train-00000.mp4", train / "videos" / "day2" / "other.mp4")


TRAIN_CASES = {
    "as it is": (lambda _: None, "", "read"),
    "UTF-16": (in_utf_16, "text_assumed", "read"),
    "semicolons": (semicolons, "table_assumed", "read"),
    "another case": (another_case, "caption_name_differs", "refused"),
    "long caption": (long_caption, "texts_cut", "warned"),
    "deeper": (deeper, "clips_in_other_folders", "warned"),
}
SEVERITIES = {"read": "info", "warned": "warning", "refused": "blocking"}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "code", "end"), TRAIN_CASES.values(), ids=TRAIN_CASES)
def test_what_the_plan_of_a_training_passes_is_what_its_trainer_reads(
    data: Path, change: Callable[[Path], None], code: str, end: str
) -> None:
    texts = {file.stem: file.read_text().strip() for file in (data / "train" / "metas").iterdir()}
    change(data / "train")
    settings: dict[str, Any] = {"train_dir": str(data / "train"), "val_dir": str(data / "val"), **SIZE}
    found = plan("train", **TINY, **{f"dataset.{key}": value for key, value in settings.items()})
    assert not code or code in codes(found, SEVERITIES[end])
    assert "clip_rates_differ" not in [finding.code for finding in found]
    assert (codes(found, "blocking") == []) is (end != "refused")
    spec = config.TrainConfig(dataset=config.train.Dataset(**settings))
    if end == "refused":
        with pytest.raises(Exception, match=r"Train-00000\.txt differs in upper and lower case"):
            dataset.find_items(spec)
        return
    items = {item.name: item.caption for item in dataset.find_items(spec)[0]}
    if change is long_caption:
        texts["train-00000"] = ("The gripper waits. " * 600).strip()
    assert items == texts


@pytest.mark.slow
def test_a_training_on_clips_of_another_rate_is_warned(data: Path) -> None:
    choices = {f"dataset.{key}": value for key, value in {"train_dir": str(data / "train"), "fps": 60, **SIZE}.items()}
    found = plan("train", **TINY, **choices, **{"validation.enable": False})
    (warned,) = [finding for finding in found if finding.code == "clip_rates_differ"]
    assert (warned.severity, warned.evidence["count"]) == ("warning", 3)
    assert "60 frames per second of dataset.fps" in warned.message
    assert "or set dataset.fps=16" in warned.fix


def test_the_plan_of_prepare_names_what_it_leaves_out_and_what_it_cannot_read(data: Path, tmp_path: Path) -> None:
    source = data / "train"
    (source / "videos" / "extra.mov").write_bytes(b"not read")
    (source / "metas" / "extra.txt").write_text("An extra clip.")
    shutil.copytree(data / "val", tmp_path / "elsewhere")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    choices = {"source": str(source), "test_source": None, "min_frames": 9, "prefix": ""}
    found = plan("prepare", **choices)
    assert codes(found, "blocking") == []
    assert codes(found, "warning") == ["clips_of_other_formats", "folders_linked", "captions_without_clip"]
    (source / "metadata.csv").write_text('file_name,prompt\ntrain-00000.mp4,"Pick" it\n')
    (source / "metas" / "train-00000.txt").unlink()
    (refused,) = [each for each in plan("prepare", **choices) if each.severity == "blocking"]
    assert (refused.code, refused.evidence["items"]) == ("csv_quotes", ["metadata.csv line 2"])
    assert 'write train-00000.mp4,"""Pick"" it"' in refused.message


def test_the_plan_of_generate_reads_the_pictures_that_the_job_reads(data: Path) -> None:
    from PIL import Image

    folder = data / "test"
    (folder / "images").mkdir()
    for number, suffix in enumerate((".tiff", ".gif")):
        picture = folder / f"test-{number:05d}.png"
        Image.open(picture).save(folder / "images" / f"test-{number:05d}{suffix}")
        picture.unlink()
    size = {**SIZE, "safety_checker": "off"}
    found = plan("generate", **TINY, inputs=str(folder), **size)
    assert codes(found, "blocking") == []
    read, _ = conditions.read_prompts(config.GenerateConfig(inputs=str(folder), **size))
    assert [prompt.image.suffix for prompt in read if prompt.image] == [".tiff", ".gif"]
    (folder / "images" / "test-00000.tiff").rename(folder / "images" / "Test-00000.tiff")
    (refused,) = [each for each in plan("generate", **TINY, inputs=str(folder), **size) if each.severity == "blocking"]
    assert refused.code == "prompt_name_differs"
    assert "images/Test-00000.tiff (test-00000.txt differs in upper and lower case)" in refused.message
