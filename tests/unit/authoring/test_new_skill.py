import ast
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tao_skill_bank.authoring import new_skill
from tao_skill_bank.authoring.new_skill import NewSkill
from tao_skill_bank.errors import BlockedError, ConflictError, RequestError, UnknownNameError


@pytest.fixture
def wanted(tmp_path: Path) -> NewSkill:
    (tmp_path / "bank" / "skills").mkdir(parents=True)
    return NewSkill("tao-finetune-clips", "clips", "class_folders", tmp_path / "bank", tmp_path / "src")


@pytest.mark.slow
@pytest.mark.parametrize("kind", new_skill.KINDS)
def test_every_kind_gives_files_that_parse(wanted: NewSkill, kind: str) -> None:
    written = new_skill.write(dataclasses.replace(wanted, kind=kind))
    for path in written:
        text = path.read_text()
        assert "<<" not in text, path
        assert "<%" not in text, path
        if path.suffix == ".py":
            ast.parse(text)
    info = yaml.safe_load((wanted.skill_folder / "references" / "skill_info.yaml").read_text())
    assert info["package"] == "clips"
    assert info["data_format"] == kind


@pytest.mark.slow
@pytest.mark.parametrize("kind", new_skill.KINDS)
def test_what_is_written_is_formatted_and_linted_as_the_bank_is(
    wanted: NewSkill, kind: str, project_root: Path
) -> None:
    new_skill.write(dataclasses.replace(wanted, kind=kind))
    first_party = "lint.isort.known-first-party = ['tao_skill_bank']"
    config = ("--config", str(project_root / "pyproject.toml"), "--config", first_party, "--no-cache")
    for command in (("format", "--check"), ("check",)):
        options = config if command == ("check",) else (*config[:2], "--no-cache")
        words = [sys.executable, "-m", "ruff", *command, *options, str(wanted.source)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_every_module_that_is_written_finds_what_it_imports(wanted: NewSkill) -> None:
    written = new_skill.write(wanted)
    modules = [
        ".".join(path.relative_to(wanted.source).with_suffix("").parts) for path in written if path.suffix == ".py"
    ]
    program = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(wanted.source), *sys.path])}
    command = [sys.executable, "-c", program, *modules]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_every_kind_of_the_list_has_its_templates() -> None:
    folders = {path.name for path in (new_skill.TEMPLATES / "kinds").iterdir()}
    assert folders == set(new_skill.KINDS)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"name": "Tao Clips"}, RequestError, "name of a skill"),
        ({"name": "a" * 65}, RequestError, "64"),
        ({"package": "1clips"}, RequestError, "name of a package"),
        ({"package": "clip-s"}, RequestError, "underscores"),
        ({"package": "class"}, RequestError, "keyword"),
        ({"package": "a" * 65}, RequestError, "64"),
        ({"package": "cosmos_reason"}, ConflictError, "exists already"),
        ({"kind": "audio"}, UnknownNameError, "audio"),
        ({"bank": Path("/nonexistent")}, BlockedError, "no skills/ folder"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is(wanted: NewSkill, change, error, said) -> None:
    with pytest.raises(error) as refused:
        new_skill.write(dataclasses.replace(wanted, **change))
    assert said in f"{refused.value.problems[0].message} {refused.value.problems[0].fix}"
    assert not wanted.model_folder.exists()
    assert not wanted.skill_folder.exists()


@pytest.mark.parametrize("folder", ["skill_folder", "model_folder"])
def test_a_folder_that_exists_is_left_alone(wanted: NewSkill, folder: str) -> None:
    getattr(wanted, folder).mkdir(parents=True)
    with pytest.raises(ConflictError, match="exists already"):
        new_skill.write(wanted)
    assert list(getattr(wanted, folder).iterdir()) == []


def test_a_link_that_leads_nowhere_is_left_alone(wanted: NewSkill) -> None:
    wanted.skill_folder.symlink_to(wanted.bank / "nowhere")
    with pytest.raises(ConflictError, match="exists already"):
        new_skill.write(wanted)
    assert wanted.skill_folder.is_symlink()


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_left(wanted: NewSkill) -> None:
    wanted.source.write_text("a file where the folder should be")
    with pytest.raises(BlockedError, match="src") as refused:
        new_skill.write(wanted)
    assert "--source" in refused.value.problems[0].fix
    assert not wanted.skill_folder.exists()


def test_what_cannot_be_generated_leaves_nothing(wanted: NewSkill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_skill, "GENERATE", "raise SystemExit('no schemas today')")
    with pytest.raises(BlockedError, match="no schemas today"):
        new_skill.write(wanted)
    assert not wanted.skill_folder.exists()
    assert not wanted.model_folder.exists()


def test_a_name_of_digits_is_a_text_in_yaml(wanted: NewSkill) -> None:
    named = dataclasses.replace(wanted, name="tao-finetune-1")
    new_skill.write(named)
    info = yaml.safe_load((named.skill_folder / "references" / "skill_info.yaml").read_text())
    assert info["network_arch"] == "1"
