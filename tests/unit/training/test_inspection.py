"""Facts of a network are built once: what changes only data, batches or precision builds nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.training import inspection


@pytest.fixture(autouse=True)
def _own_facts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))


def counted(calls: list[str], document: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    def build() -> dict[str, Any]:
        calls.append("built")
        return document

    return build


def test_facts_are_built_once_for_a_key() -> None:
    calls: list[str] = []
    for key in ("a", "a", "b"):
        assert inspection.remembered(key, counted(calls, {"parameters": 7})) == {"parameters": 7}
    assert len(calls) == 2


def test_what_cannot_be_built_is_not_remembered() -> None:
    def build() -> dict[str, Any]:
        raise BlockedError.of("lora_targets", "No adapter fits.", "Choose others.")

    for _ in range(2):
        with pytest.raises(BlockedError):
            inspection.remembered("a", build)
    assert not list(settings.state_dir().glob("cache/inspect/*.json"))


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_damaged_file_is_built_again(text: str) -> None:
    calls: list[str] = []
    inspection.remembered("a", counted(calls, {"parameters": 7}))
    (file,) = settings.state_dir().glob("cache/inspect/*.json")
    file.write_text(text)
    assert inspection.remembered("a", counted(calls, {"parameters": 7})) == {"parameters": 7}
    assert json.loads(file.read_text()) == {"parameters": 7}


def test_a_cache_that_cannot_be_written_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "file"))
    assert inspection.remembered("a", counted([], {"parameters": 7})) == {"parameters": 7}


@pytest.mark.parametrize("package", ["cosmos_reason", "cosmos_predict"])
def test_an_inspection_of_known_facts_loads_no_torch(package: str) -> None:
    code = f"import sys, tao_skill_bank.models.{package}.inspect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
