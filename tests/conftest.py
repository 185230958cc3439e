"""Shared fixtures: every test has its own state directory and no credentials."""

import os
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
sys.path.insert(0, str(SUPPORT))


@pytest.fixture(autouse=True)
def _isolated_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a test away from the developer's own jobs, models, token and hub."""
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path_factory.mktemp("machine") / "state"))
    for name in ("HF_TOKEN", "TAO_DEVICE", "TAO_SKILL_BANK_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project_root() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture
def state_dir() -> Path:
    """Return where this test keeps its records; it does not exist yet."""
    return Path(os.environ["TAO_STATE_DIR"])


@pytest.fixture
def fake_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs of this test start `fake_trainer` (tests/support) as their module."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])]))
