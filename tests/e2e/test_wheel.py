"""The wheel alone is the control plane: it carries the bank, needs no torch and says what is missing."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

TINY = ("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason", "--set", "train.train_batch_per_replica=4")
LIMIT_MEGABYTES = 90
BEFORE = {"pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth", "__pycache__"}


def megabytes(folder: Path) -> float:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel and no extras; returns its root."""
    folder = tmp_path_factory.mktemp("wheel")
    project = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(project)]
    subprocess.run(pip, check=True)
    venv.create(folder / "venv", with_pip=True)
    install = [folder / "venv/bin/pip", "install", "--quiet", "-c", project / "constraints.txt", *folder.glob("*.whl")]
    subprocess.run(list(map(str, install)), check=True)
    return folder / "venv"


def call(installed: Path, *words: object, cwd: Path) -> tuple[int, dict[str, object]]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(installed / "bin/tao-skills"), *map(str, words), "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)
    assert "Traceback" not in finished.stderr, finished.stderr
    return finished.returncode, json.loads(finished.stdout)


@pytest.mark.slow
def test_the_wheel_is_small_and_has_neither_torch_nor_numpy(installed: Path) -> None:
    packages = next((installed / "lib").glob("python3*")) / "site-packages"
    names = {path.name for path in packages.iterdir()}
    assert not {"torch", "numpy", "av", "pyarrow", "matplotlib"} & names
    ours = sum(megabytes(packages / name) for name in names if name.split("-")[0] not in BEFORE)
    assert ours < LIMIT_MEGABYTES


@pytest.mark.slow
def test_the_wheel_carries_the_bank(installed: Path, tmp_path: Path) -> None:
    code, document = call(installed, "list", cwd=tmp_path)
    assert code == 0
    assert "tao-finetune-cosmos-reason" in json.dumps(document["skills"])
    assert call(installed, "template", "tao-finetune-cosmos-reason", "train", cwd=tmp_path)[0] == 0


@pytest.mark.slow
def test_a_check_without_its_extra_is_a_finding_and_never_a_silent_pass(
    installed: Path, sample_data: Path, tmp_path: Path
) -> None:
    paths = ("--train", sample_data / "train", "--eval", sample_data / "val")
    _, document = call(
        installed, "preflight", "tao-finetune-cosmos-reason", "train", *TINY, *paths, "--full", cwd=tmp_path
    )
    findings = json.dumps(document["findings"])
    assert "not_checked" in findings
    assert "pip install 'tao-skill-bank[train]'" in findings
    code, document = call(installed, "run", "cosmos-rl", "train", *TINY, *paths, "--say", "no hpo", cwd=tmp_path)
    assert (code, document["errors"][0]["code"]) == (3, "missing_extra")  # type: ignore[index]
    code, document = call(installed, "plan", "cosmos-rl", "train", *TINY, *paths, "--full", cwd=tmp_path)
    assert (document["route"]["kind"], document["study"]) == ("automl", None)  # type: ignore[index]
    assert "pip install 'tao-skill-bank[automl]'" in json.dumps(document["findings"])
    code, document = call(installed, "run", "cosmos-rl", "train", *TINY, *paths, cwd=tmp_path)
    assert code == 3
    assert "automl_extra_missing" in [error["code"] for error in document["errors"]]  # type: ignore[index, attr-defined]
    assert list(tmp_path.iterdir()) == []
