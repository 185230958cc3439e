"""A request may name object stores anywhere: the plan says what is staged where, and the trainer reads local paths."""

from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import DatasetPaths, Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.planning import parents, planner
from tao_skill_bank.spec import build

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"


def assemble(skill_name, action, **values):
    skill = catalog.find(skill_name)
    request = Request(skill_name, action, **values)
    built = build.build(skill, request)
    return planner.assemble(skill, request, built, parents.Inheritance(), "job-0123456789ab", one_machine=True)


def train(**values):
    overrides = {"policy.model_name_or_path": "builtin://tiny-cosmos-reason", "validation.enable": False}
    values["overrides"] = overrides | values.get("overrides", {})
    return assemble(REASON, "train", **values)


def test_a_remote_dataset_is_staged_and_read_from_the_run_directory(tmp_path):
    job = train(datasets={"train": "s3://lab/data/train/"}, results_dir=str(tmp_path / "run"))
    inputs = tmp_path / "run" / "inputs"
    annotation = str(inputs / "custom.train_dataset.annotation_path.json")
    media = str(inputs / "custom.train_dataset.media_path")
    assert job.fetches[-2:] == (
        ("s3://lab/data/train/annotations.json", annotation),
        (f"s3://lab/data/train#named-in={annotation}", media),
    )
    assert job.config["custom"]["train_dataset"] == {"annotation_path": annotation, "media_path": media}
    assert job.spec["custom"]["train_dataset"]["media_path"] == "s3://lab/data/train"
    names = {credential.name for credential in job.credentials if not credential.required}
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"} <= names


def test_local_annotations_choose_among_remote_media_in_an_archive(tmp_path):
    paths = DatasetPaths(str(tmp_path / "a.jsonl"), "gs://lab/videos.tar.gz")
    job = train(datasets={"train": paths}, results_dir=str(tmp_path / "run"))
    media = str(tmp_path / "run" / "inputs" / "custom.train_dataset.media_path")
    assert job.fetches[-1] == (f"gs://lab/videos.tar.gz#named-in={tmp_path / 'a.jsonl'}", media)
    assert job.config["custom"]["train_dataset"]["annotation_path"] == str(tmp_path / "a.jsonl")


def test_models_checkpoints_and_listed_folders_may_be_remote_too(tmp_path):
    run = tmp_path / "run"
    job = train(
        datasets={"train": "/data"},
        overrides={"policy.model_name_or_path": "s3://lab/model", "train.resume": "s3://lab/run/checkpoints/epoch_2"},
        results_dir=str(run),
    )
    assert job.config["policy"]["model_name_or_path"] == str(run / "inputs" / "policy.model_name_or_path")
    assert job.config["train"]["resume"] == str(run / "inputs" / "train.resume")
    adapters = [{"path": "s3://lab/tuned", "name": "tuned"}, {"path": "/local", "name": "other"}]
    job = assemble(PREDICT, "generate", overrides={"adapters": adapters, "inputs": "/in"}, results_dir=str(run))
    assert [item["path"] for item in job.config["adapters"]] == [str(run / "inputs" / "adapters.0.path"), "/local"]
    assert ("s3://lab/tuned", str(run / "inputs" / "adapters.0.path")) in job.fetches


def test_what_the_kind_of_an_input_calls_a_folder_is_staged_as_one(tmp_path):
    overrides = {"generated_dir": "s3://lab/run.v2", "reference_dir": "gs://lab/clips", "metrics": ["sampson"]}
    job = assemble(PREDICT, "evaluate", overrides=overrides, results_dir=str(tmp_path))
    assert job.config["generated_dir"] == str(tmp_path / "inputs" / "generated_dir")
    assert job.config["reference_dir"] == str(tmp_path / "inputs" / "reference_dir")
    job = assemble(PREDICT, "generate", overrides={"image": "s3://lab/first.png", "prompt": "Go."})
    assert job.config["image"].endswith("inputs/image.png")


def test_a_validation_set_is_staged_only_where_the_run_validates(tmp_path):
    given = {"datasets": {"train": "/data", "eval": "s3://lab/val"}, "results_dir": str(tmp_path)}
    assert [uri for uri, _ in train(**given).fetches] == ["builtin://tiny-cosmos-reason"]
    staged = train(**given, overrides={"validation.enable": True}).fetches
    annotation = str(tmp_path / "inputs" / "custom.val_dataset.annotation_path.json")
    assert [uri for uri, _ in staged[1:]] == ["s3://lab/val/annotations.json", f"s3://lab/val#named-in={annotation}"]


def test_two_sets_of_one_media_folder_are_staged_with_what_each_of_them_names(tmp_path):
    sets = {role: DatasetPaths(f"s3://lab/{role}.json", "s3://lab/videos") for role in ("train", "eval")}
    job = train(datasets=sets, overrides={"validation.enable": True}, results_dir=str(tmp_path))
    inputs = tmp_path / "inputs"
    assert job.fetches[-2:] == tuple(
        (
            f"s3://lab/videos#named-in={inputs / f'custom.{role}_dataset.annotation_path.json'}",
            str(inputs / f"custom.{role}_dataset.media_path"),
        )
        for role in ("train", "val")
    )


def test_remote_results_have_a_local_run_directory_that_their_name_alone_decides(state_dir):
    first = train(datasets={"train": "/data"}, results_dir="s3://lab/runs/one")
    second = train(datasets={"train": "/data"}, results_dir="s3://lab/runs/one/")
    other = train(datasets={"train": "/data"}, results_dir="s3://lab/runs/two")
    assert first.results_uri == second.results_uri == "s3://lab/runs/one"
    assert first.results_dir == second.results_dir != other.results_dir
    assert Path(first.results_dir).parent == state_dir / "runs"
    assert first.config["results_dir"] == first.results_dir


def test_local_requests_are_as_they_were(tmp_path):
    job = train(datasets={"train": "/data"}, results_dir=str(tmp_path / "run"))
    assert job.results_uri is None
    assert [uri for uri, _ in job.fetches] == ["builtin://tiny-cosmos-reason"]


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"datasets": {"train": "hf://ORG/NAME"}}, "custom.train_dataset.annotation_path"),
        ({"datasets": {"train": "/data"}, "results_dir": "hf://datasets/ORG/NAME/run"}, "results_dir"),
        ({"datasets": {"train": "/data"}, "results_dir": "ftp://lab/run"}, "results_dir"),
        ({"datasets": {"train": "/data"}, "overrides": {"policy.model_name_or_path": "hf://ORG/NAME"}}, "policy"),
    ],
)
def test_a_place_that_cannot_be_used_is_refused_with_its_path(values, path):
    with pytest.raises(RequestError) as caught:
        train(**values)
    assert any(problem.path.startswith(path) and problem.fix for problem in caught.value.problems)


def test_an_output_folder_beside_the_results_stays_local():
    with pytest.raises(RequestError) as caught:
        assemble(PREDICT, "prepare", overrides={"source": "/clips", "output_dir": "s3://lab/out"})
    assert caught.value.problems[0].code == "remote_output"
