"""Real data, the real command line, the real tiny model."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.samples import vlm

TINY = ("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason")


@pytest.fixture(autouse=True)
def _embedded_models(_isolated_machine: None, state_dir: Path, shared: Path) -> None:
    """Share the embedded models between these tests: making one takes a launch many seconds."""
    (state_dir / "models").mkdir()
    (state_dir / "models" / "builtin").symlink_to(shared / "builtin")


@pytest.fixture(scope="session")
def sample_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sample dataset, shared; tests that change it take `data`."""
    return vlm.make(tmp_path_factory.mktemp("samples") / "vlm", train=12, val=6, test=6)


@pytest.fixture
def data(sample_data: Path, tmp_path: Path) -> Path:
    """A copy of the sample dataset that a test may break."""
    return Path(shutil.copytree(sample_data, tmp_path / "data"))


@pytest.fixture
def command_line(tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run `tao-skills ... --json` in an empty folder; return its exit code and document."""
    folder = tmp_path / "here"
    folder.mkdir()

    def call(*words: object, environment: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "tao_skill_bank", *map(str, words), "--json"]
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
        assert "Traceback" not in finished.stderr, finished.stderr
        document = json.loads(finished.stdout)
        assert document["code"] == finished.returncode
        return finished.returncode, document

    return call
