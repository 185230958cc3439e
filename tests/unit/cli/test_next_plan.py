"""Commands that plan on data just written, or that correct a failed one, are executed as they are printed."""

import json
import shlex

import pytest
from preflight_worlds import make_record, write_annotations, write_clip

from tao_skill_bank.cli import main, next_plan
from tao_skill_bank.preflight.model import inspection
from tao_skill_bank.preflight.model.inspection import Inspection

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"
TINY = ("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason", "--automl-policy", "off")


@pytest.fixture
def answer(monkeypatch, capsys):
    monkeypatch.setattr(inspection, "inspect", lambda *_: Inspection())  # a process that loads torch

    def run(*words):
        arguments = [*map(str, words), "--json"]
        monkeypatch.setattr("sys.argv", ["tao-skills", *arguments])
        code = main._run(arguments, as_json=True)
        document = json.loads(capsys.readouterr().out)
        assert document["code"] == code
        return document

    return run


def dataset(root, num_records, **changes):
    clip = write_clip(root / "videos" / "clip.mp4")
    records = [make_record(index, video=f"videos/{clip.name}", **changes) for index in range(num_records)]
    return write_annotations(root, records)


def words_of(document):
    (command,) = document["next"]
    return [word for word in shlex.split(command)[1:] if word != "--json"]


@pytest.mark.slow
def test_the_plan_after_corrected_rates_works_as_printed(answer, tmp_path):
    annotations = dataset(tmp_path / "my data", 40, video_fps=None)
    fixed = answer("data", "fix-video-fps", annotations, tmp_path / "fixed.json")
    (following,) = fixed["next"]
    words = shlex.split(following)[1:]
    assert words[:3] == ["plan", REASON, "train"]
    assert f"custom.train_dataset.annotation_path={tmp_path / 'fixed.json'}" in words
    assert f"custom.train_dataset.media_path={tmp_path / 'my data'}" in words
    planned = answer(*words, *TINY)
    assert planned["ok"], planned["errors"]


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--train", "--dataset"])
def test_a_plan_that_lacks_rates_prints_the_copies_and_the_same_plan_on_them(answer, tmp_path, option):
    root = dataset(tmp_path / "my data", 40, video_fps=None).parent
    given = [option, root if option == "--train" else f"train={root}"]
    blocked = answer("plan", REASON, "train", *given, *TINY, "--set", "validation.enable=false")
    assert not blocked["ok"]
    fix, plan = (shlex.split(line)[1:] for line in blocked["next"])
    assert answer(*[word for word in fix if word != "--json"])["fixed"] == 40
    assert option not in plan
    planned = answer(*[word for word in plan if word != "--json"])
    assert planned["ok"], planned["errors"]


@pytest.mark.slow
def test_a_plan_that_overrides_repair_is_printed_corrected_until_it_is_accepted(answer, tmp_path):
    root = dataset(tmp_path / "train", 10).parent
    words = ["plan", REASON, "train", "--train", root, *TINY]
    words += ["--set", "validation.enable=no", "--set", "custom.vision.nframes=64", "--set", "custom.vision.fps=null"]
    first = answer(*words)
    assert [error["code"] for error in first["errors"]] == ["invalid_type"]
    second = answer(*words_of(first))
    assert sorted(error["code"] for error in second["errors"]) == ["batch_exceeds_records", "media_too_short"]
    assert second["next"] == []  # the user chooses between frames and rate
    choice = next(error["fix_choices"][0] for error in second["errors"] if error["code"] == "media_too_short")
    chosen = [word for path, value in choice.items() for word in ("--set", f"{path}={value}")]
    third = answer(*words_of(first), *chosen)
    assert third["errors"][0]["fix_set"] == {"train.train_batch_per_replica": 8}
    last = answer(*words_of(third))
    assert last["ok"], last["errors"]


def test_converted_folders_are_trained_on_by_their_splits(tmp_path):
    assert next_plan.for_folder(tmp_path, "llava") == [
        f"tao-skills plan {REASON} train --train {tmp_path} --set train.train_policy.dataset.test_size=0.1"
    ]
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    data = f"--train {tmp_path / 'train'} --eval {tmp_path / 'val'}"
    assert next_plan.for_folder(tmp_path, "llava") == [f"tao-skills plan {REASON} train {data}"]
    assert next_plan.for_folder(tmp_path, "clips") == [f"tao-skills plan {PREDICT} train {data}"]
