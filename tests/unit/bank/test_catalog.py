import shutil
from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.errors import UnknownNameError

NAME = "tao-finetune-cosmos-reason"


@pytest.mark.parametrize("name", [NAME, f"tao-skill-bank:{NAME}", "cosmos-rl", "tao-skill-bank:cosmos-reason"])
def test_a_skill_is_found_by_name_alias_and_qualified_name(name: str) -> None:
    assert catalog.find(name).name == NAME


def test_an_unknown_skill_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{NAME}'") as caught:
        catalog.find("tao-finetune-cosmos-reson")
    assert caught.value.exit_code == 5


def test_an_unknown_action_gets_the_nearest_name_and_the_list() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'train'") as caught:
        catalog.find(NAME).action("trian")
    assert "evaluate" in caught.value.problems[0].fix


def test_a_runbook_has_no_actions_to_run() -> None:
    with pytest.raises(UnknownNameError, match="is a runbook"):
        catalog.find("tao-run-platform").action("train")


def test_a_bank_path_without_skills_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(tmp_path))
    with pytest.raises(UnknownNameError, match="no skills/ folder"):
        catalog.bank_root()


def test_an_action_without_its_module_is_not_implemented(
    tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project_root / "skills", tmp_path / "skills")
    file = tmp_path / "skills" / NAME / "references" / "skill_info.yaml"
    text = file.read_text()
    file.write_text(text.replace("module: tao_skill_bank.models.cosmos_reason.export", "module: not_written_yet"))
    monkeypatch.setenv("TAO_SKILL_BANK_PATH", str(tmp_path))
    skill = catalog.find(NAME)
    assert skill.is_implemented("train")
    assert not skill.is_implemented("export")
