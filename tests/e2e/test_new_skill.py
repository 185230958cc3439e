"""A scaffolded skill works from its two folders: it trains, resumes, evaluates, searches, reports and is diagnosed."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tao_skill_bank.samples import vlm

SKILL, PACKAGE = "tao-finetune-clip-classifier", "clip_classifier"
CLIPS = {"train": 24, "val": 12}
ON_CPU = ("--option", "device=cpu")
QUICK = ("--set", "train.epoch=2", "--set", "dataset.size=16", "--set", "train.channels=4")


def run(*words: str, code: int = 0, env: dict[str, str]) -> dict:
    finished = subprocess.run(
        [sys.executable, "-m", "tao_skill_bank", *words, "--json"], capture_output=True, text=True, check=False, env=env
    )
    assert finished.returncode == code, finished.stdout[-3000:] + finished.stderr[-3000:]
    return json.loads(finished.stdout)


def contents(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def bank(tmp_path_factory, request) -> dict[str, str]:
    """Return the environment of a bank with one more skill, written by the script."""
    root = Path(__file__).parents[2]
    folder = tmp_path_factory.mktemp("bank")
    for part in ("skills", "schemas", "references", "workflow"):
        shutil.copytree(root / part, folder / part)
    before = contents(folder)
    source = folder / "src"
    kind = getattr(request, "param", "class_folders")
    command = [sys.executable, str(root / "scripts" / "new_skill.py"), SKILL, "--package", PACKAGE, "--kind", kind]
    subprocess.run([*command, "--bank", str(folder), "--source", str(source)], check=True, capture_output=True)
    after = contents(folder)
    added = {name for name in after if name not in before}
    assert {name: digest for name, digest in after.items() if name not in added} == before, "another file changed"
    assert all(name.startswith((f"skills/{SKILL}/", f"src/tao_skill_bank/models/{PACKAGE}/")) for name in added)
    paths = [str(source), *filter(None, [os.environ.get("PYTHONPATH")])]
    state = tmp_path_factory.mktemp("machine") / "state"
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "TAO_SKILL_BANK_PATH": str(folder),
        "TAO_STATE_DIR": str(state),
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Return real clips in a folder per class: DATA/{train,val}/{left,right,straight}/N.mp4."""
    folder = tmp_path_factory.mktemp("data")
    sample = vlm.make(folder / "sample", train=CLIPS["train"], val=CLIPS["val"], test=3)
    for split in CLIPS:
        for record in json.loads((sample / split / "annotations.json").read_text()):
            label = record["conversations"][-1]["value"].strip()
            target = folder / split / label / Path(record["video"]).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sample / split / record["video"], target)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return the run directory of the training."""
    return tmp_path_factory.mktemp("runs") / "train"


@pytest.fixture(scope="module")
def trained(bank, data, folder) -> str:
    """Return the job of a training on CPU."""
    words = ("run", SKILL, "train", "--train", str(data / "train"), "--eval", str(data / "val"), *ON_CPU, *QUICK)
    done = run(*words, "--automl-policy", "off", "--results-dir", str(folder), env=bank)
    assert done["state"] == "COMPLETE"
    return done["job_id"]


def test_the_list_shows_it_and_its_generated_files_are_current(bank):
    assert SKILL in [skill["skill"] for skill in run("list", env=bank)["skills"]]
    program = "from tao_skill_bank.authoring import generated_files as g; print(g.stale(g.outputs()))"
    stale = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=bank)
    assert stale.stdout.strip() == "[]"


def test_it_trains_and_keeps_the_best_by_its_own_metric(folder, trained):
    best = json.loads((folder / "best" / "best_score.json").read_text())
    scores = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    written = [line["val/accuracy"] for line in scores if "val/accuracy" in line]
    assert best["metric"] == "val/accuracy"
    assert best["best_score"] == max(written)
    assert len(written) == 2


def test_a_training_resumes_where_it_was(bank, data, folder, trained):
    words = ("run", SKILL, "train", "--train", str(data / "train"), "--eval", str(data / "val"), *ON_CPU, *QUICK)
    longer = ("--set", "train.epoch=3", "--set", "train.resume=true", "--automl-policy", "off")
    again = run(*words, *longer, "--results-dir", str(folder), env=bank)
    assert again["state"] == "COMPLETE"
    assert json.loads((folder / "checkpoints" / "epoch_3" / "progress.json").read_text())["epoch"] == 3


def test_its_best_checkpoint_is_evaluated_by_the_parents_name_and_reported(bank, data, trained, tmp_path):
    words = ("run", SKILL, "evaluate", "--eval", str(data / "val"), "--parent", trained, *ON_CPU)
    done = run(*words, "--results-dir", str(tmp_path / "evaluate"), env=bank)
    assert done["state"] == "COMPLETE"
    summary = json.loads((tmp_path / "evaluate" / "metrics_summary.json").read_text())
    assert summary["num_samples"] == CLIPS["val"]
    shown = run("report", done["job_id"], "--out", str(tmp_path / "report.html"), env=bank)
    page = (tmp_path / "report.html").read_text()
    assert shown["ok"]
    assert "accuracy" in page
    assert "straight" in page


def test_a_search_tries_trials_though_its_base_cannot_be_scored(bank, data, tmp_path):
    words = ("run", SKILL, "train", "--train", str(data / "train"), "--eval", str(data / "val"), *ON_CPU, *QUICK)
    search = ("--say", "tune it", "--automl", "max_trials=2", "--results-dir", str(tmp_path / "search"))
    done = run(*words, *search, env=bank)
    assert done["state"] == "COMPLETE"
    status = run("automl", "status", done["job_id"], env=bank)
    assert len([trial for trial in status["trials"] if trial["state"] == "COMPLETE"]) == 2


def test_a_training_that_fails_is_diagnosed_by_the_rules_of_its_own_folder(bank, data, tmp_path):
    shutil.copytree(data / "train" / "left", tmp_path / "one" / "left")
    words = ("run", SKILL, "train", "--train", str(tmp_path / "one"), "--automl-policy", "off", *ON_CPU, *QUICK)
    alone = ("--set", "validation.enable=false", "--results-dir", str(tmp_path / "run"))
    failed = run(*words, *alone, code=8, env=bank)
    found = run("diagnose", failed["job_id"], env=bank)["diagnoses"]
    assert found[0]["code"] == "one_class"
    assert "another class" in found[0]["cure"]


def test_a_folder_that_does_not_exist_is_found_before_the_launch(bank, data, tmp_path):
    words = ("plan", SKILL, "train", *ON_CPU, *QUICK, "--automl-policy", "off", "--eval", str(data / "val"))
    missing = run(*words, "--train", str(tmp_path / "nowhere"), code=3, env=bank)
    assert any("nowhere" in problem["message"] for problem in missing["errors"])
