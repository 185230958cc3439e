import sys
import types

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import safety


def test_the_checker_is_off_only_by_the_users_word():
    assert safety.require_safety_checker("off") is False


def test_a_missing_checker_blocks_with_both_cures(monkeypatch):
    monkeypatch.setattr(safety, "GUARDRAIL", "cosmos_guardrail_that_is_not_installed")
    with pytest.raises(BlockedError) as caught:
        safety.require_safety_checker("auto")
    assert "pip install" in caught.value.problems[0].fix
    assert "safety_checker=off" in caught.value.problems[0].fix


def test_an_installed_checker_is_used(monkeypatch):
    module = types.ModuleType("cosmos_guardrail")
    module.__spec__ = types.SimpleNamespace(name="cosmos_guardrail")
    module.CosmosSafetyChecker = lambda: types.SimpleNamespace(to=lambda device: f"checker on {device}")
    monkeypatch.setitem(sys.modules, "cosmos_guardrail", module)
    assert safety.require_safety_checker("auto") is True
    assert safety.load_safety_checker("cpu") == "checker on cpu"
