"""The plans, run directories and job records of version 1 (tests/fixtures/version_1), put where a test can use them."""

import hashlib
import json
import os
import shutil
import socket
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures" / "version_1"
PROJECT = FIXTURES.parents[2]
RUNS = tuple(sorted(path.name for path in (FIXTURES / "runs").glob("*")))
PLANS = tuple(sorted(path.stem for path in (FIXTURES / "plans").glob("*.json")))


@dataclass(frozen=True)
class Installed:
    """A copy of the fixtures below `root`; its records are in `root`/state."""

    root: Path

    @property
    def state_dir(self) -> Path:
        return self.root / "state"

    def run(self, name: str) -> Path:
        return self.root / "runs" / name

    def plan(self, name: str) -> Path:
        return self.root / "plans" / f"{name}.json"

    def job(self, name: str) -> str:
        """Return the id of the job that ran in a run directory."""
        return str(document(self.run(name) / "plan.json")["job"]["id"])

    def record(self, job_id: str) -> dict[str, Any]:
        return document(self.state_dir / "jobs" / f"{job_id}.json")


def document(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def install(root: Path, models: Path | None = None) -> Installed:
    """Copy the fixtures to a new folder, as they would be had they been made there.

    Args:
        root: the folder; it does not exist yet.
        models: made by `make_models`; without it nothing can be trained on.

    """
    shutil.copytree(FIXTURES, root, symlinks=True, ignore=shutil.ignore_patterns("README.md", "make.py"))
    values = {"@ROOT@": str(root), "@PYTHON@": sys.executable, "@PREFIX@": sys.prefix, "@BANK@": str(PROJECT)}
    values |= {"@TMP@": "/tmp", "@HOST@": socket.gethostname(), "@BASE@": "0" * 64}
    if models is not None:
        (root / "state" / "models").symlink_to(models, target_is_directory=True)
        values["@BASE@"] = (models / "fingerprint").read_text(encoding="utf-8")
        _adapt(root, models)
    for folder, _, names in os.walk(root):  # not through links: the models are not this folder's own
        for path in (Path(folder, name) for name in names):
            _substitute(path, values)
    for dump in root.rglob("study.sql"):
        with closing(sqlite3.connect(dump.with_suffix(".db"))) as connection:
            connection.executescript(dump.read_text(encoding="utf-8"))
        dump.unlink()
    _seal_again(root)
    return Installed(root)


def make_models(folder: Path, reason: Path) -> Path:
    """Make the embedded models that the fixtures train; bytes differ from CPU to CPU, so no fixture holds them.

    Args:
        folder: of the models.
        reason: the embedded Reason model, which is copied.

    """
    from tao_skill_bank.weights.safetensors_files import fingerprint

    shutil.copytree(reason, folder / "builtin" / "tiny-cosmos-reason")
    make_short_pipeline(folder)
    (folder / "fingerprint").write_text(str(fingerprint(reason)), encoding="utf-8")
    return folder


def _adapt(root: Path, models: Path) -> None:
    """Let adapters of the embedded Predict pipeline be of the one of this CPU."""
    from tao_skill_bank.weights.safetensors_files import fingerprint

    for path in root.glob("runs/predict_*/**/base_model.json"):
        base = document(path)
        base["fingerprint"] = fingerprint(models / "builtin" / "tiny-cosmos-predict" / base["part"])
        path.write_text(json.dumps(base), encoding="utf-8")


def make_short_pipeline(models: Path) -> None:
    """Make the embedded Predict pipeline with a few steps instead of all: its videos show nothing."""
    from tao_skill_bank.models.cosmos_predict import builtin
    from tao_skill_bank.models.cosmos_predict.pretraining import Recipe, Stage

    images, windows, transformer = Stage(4, 2, 0.02, 4e-3), Stage(1, 1, 0.02, 4e-3), Stage(4, 2, 0.03, 5e-3)
    whole = builtin.RECIPE
    builtin.RECIPE = Recipe(8, images=images, windows=windows, transformer=transformer)
    try:
        builtin.create("tiny-cosmos-predict", models / "builtin" / "tiny-cosmos-predict")
    finally:
        builtin.RECIPE = whole


def _substitute(path: Path, values: dict[str, str]) -> None:
    if path.is_symlink():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    changed = text
    for placeholder, value in values.items():
        changed = changed.replace(placeholder, value)
    if changed != text:
        path.write_text(changed, encoding="utf-8")


def _seal_again(root: Path) -> None:
    """Give every plan the hash of its text with this folder's paths, and every record that of its plan."""
    seals = {}
    for path in (*root.glob("plans/*.json"), *root.glob("runs/**/plan.json")):
        if path.is_symlink() or any(parent.is_symlink() for parent in path.parents if parent != root):
            continue
        plan = document(path)
        plan["sha256"] = seal_of(plan)
        seals[plan["job"]["id"]] = plan["sha256"]
        path.write_text(json.dumps(plan, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in root.glob("state/jobs/*.json"):
        record = document(path)
        record["plan_sha256"] = seals[record["id"]]
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def seal_of(plan: dict[str, Any]) -> str:
    """Return the hash of a plan as version 1 computed it."""
    covered = {key: value for key, value in plan.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()
