"""Shared fixtures: every test has its own state directory and no credentials."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _isolated_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a test away from the developer's own jobs, models, token and hub."""
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    for name in ("HF_TOKEN", "TAO_SKILL_BANK_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project_root() -> Path:
    return Path(__file__).parent.parent
