"""A skill whose files do not fit each other is one clear error with its file; the others are listed all the same."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import tao_skill_bank.models
from tao_skill_bank.bank import catalog, consistency
from tao_skill_bank.cli.main import app
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.planning import dispatch

TOY = Path("tests", "support", "third_skill", "tao_skill_bank", "models", "toy")


@pytest.fixture
def package(third_skill: Path, project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a copy of the toy model's package that the third skill finds."""
    folder = tmp_path / "models" / "toy"
    shutil.copytree(project_root / TOY, folder)
    monkeypatch.setattr(tao_skill_bank.models, "__path__", [tao_skill_bank.models.__path__[0], str(folder.parent)])
    imported = [name for name in sys.modules if name.startswith("tao_skill_bank.models.toy")]
    for name in imported:
        monkeypatch.delitem(sys.modules, name)
    yield folder
    for name in [name for name in sys.modules if name.startswith("tao_skill_bank.models.toy")]:
        del sys.modules[name]


@pytest.fixture
def facts(third_skill: Path) -> Path:
    return third_skill / "skills" / "tao-finetune-toy" / "references" / "skill_info.yaml"


def listed() -> tuple[list[str], list[dict[str, str]]]:
    """Return the skills that `list` shows and the errors it reports."""
    finished = CliRunner().invoke(app, ["list", "--json"])
    document = json.loads(finished.stdout)
    assert finished.exit_code == document["code"] == (2 if document["errors"] else 0), finished.output
    return [entry["skill"] for entry in document["skills"]], document["errors"]


def refused() -> list[str]:
    """Return the codes by which a plan of the third skill is refused."""
    with pytest.raises(RequestError) as caught:
        dispatch.plan(Request("tao-finetune-toy", "train", automl_policy="off"))
    return [problem.code for problem in caught.value.problems]


def test_a_good_skill_is_listed_and_planned(package: Path, facts: Path) -> None:
    assert consistency.problems(catalog.find("toy")) == []
    names, errors = listed()
    assert "tao-finetune-toy" in names
    assert errors == []


def _write(name: str, text: str) -> Callable[[Path, Path], Path]:
    def change(package: Path, _: Path) -> Path:
        (package / name).write_text(text)
        return package / name

    return change


def _remove(name: str) -> Callable[[Path, Path], Path]:
    def change(package: Path, _: Path) -> Path:
        (package / name).unlink()
        return package / name

    return change


def _facts(before: str, after: str) -> Callable[[Path, Path], Path]:
    def change(_: Path, facts: Path) -> Path:
        facts.write_text(facts.read_text().replace(before, after))
        return facts

    return change


FACTS = """
from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.contracts import MonitoringMetric

METRIC = MonitoringMetric("val/avg_loss", "maximize")
FACTS = TrainingFacts(METRIC, EarlyStop("train.epoch", "train.stop_epoch"), "train.resume")
"""
EVALUATION = "\n  evaluation: {action: evaluat, metric: accuracy, direction: maximize}"
BROKEN = [
    ("package_missing", _facts("package: toy", "package: tyo")),
    ("package_missing", _facts("package: toy", "package: ../toy")),
    ("skill_info_unreadable", _facts("network_arch: toy", "network_arch: [toy")),
    ("invalid_missing", _facts("network_arch: toy", "# nothing")),
    ("module_missing", _remove("workload.py")),
    ("module_unreadable", _write("workload.py", "def describe(:\n")),
    ("hook_missing", _write("workload.py", "def description(action, spec): ...\n")),
    ("hook_signature", _write("workload.py", "def describe(spec): ...\n")),
    ("hook_signature", _write("workload.py", "def describe(action, spec, world): ...\n")),
    ("hook_signature", _write("workload.py", "def describe(action, spec, *, world): ...\n")),
    ("hook_signature", _write("builtin.py", "def names(): ...\ndef create(name): ...\n")),
    ("hook_missing", _write("record_tokens.py", "def record_tokens(spec, record, probes): ...\n")),
    ("hook_signature", _write("inspect.py", "def main(): ...\n")),
    ("spec_class_missing", _write("config/__init__.py", "class TrainingConfig: ...\nclass EvaluateConfig: ...\n")),
    ("rules_missing", _write("config/rules.py", "ALL = {}\n")),
    ("action_unknown", _write("config/rules.py", "RULES: dict[str, tuple] = {'trian': ()}\n")),
    ("action_unknown", _facts("  batch: train.batch_size", "  batch: train.batch_size" + EVALUATION)),
    ("spec_key_unknown", _facts("parent: {resume: train.resume}", "parent: {resume: train.resum}")),
    ("facts_differ", _write("facts.py", FACTS)),
    ("facts_unreadable", _write("facts.py", "import no_such_module\n")),
    ("facts_unreadable", _write("facts.py", "FACTS = 1\n")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "change"), BROKEN)
def test_a_mistake_is_one_error_with_its_file_and_the_other_skills_are_listed(
    package: Path, facts: Path, code: str, change: Callable[[Path, Path], Path]
) -> None:
    file = change(package, facts)
    names, errors = listed()
    assert [error["code"] for error in errors] == [code]
    assert str(file) in errors[0]["message"]
    assert errors[0]["fix"]
    assert "tao-finetune-toy" not in names
    assert "tao-finetune-cosmos-reason" in names
    assert refused() == [code]


def test_a_head_that_cannot_be_read_is_reported_with_its_file(package: Path, third_skill: Path) -> None:
    page = third_skill / "skills" / "tao-finetune-toy" / "SKILL.md"
    page.write_text("# Toy\n")
    names, errors = listed()
    assert [error["path"] for error in errors] == [str(page)]
    assert "tao-finetune-cosmos-predict" in names


def test_an_optional_argument_more_is_no_mistake(package: Path, facts: Path) -> None:
    (package / "workload.py").write_text("def describe(action, spec, world=1, *, strict=True): ...\n")
    assert consistency.problems(catalog.find("toy")) == []


def test_a_package_without_a_skill_is_an_error_with_its_folder(
    project_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project_root / TOY, tmp_path / "toy")
    monkeypatch.setattr(tao_skill_bank.models, "__path__", [*tao_skill_bank.models.__path__, str(tmp_path)])
    names, errors = listed()
    assert [(error["code"], error["path"]) for error in errors] == [("skill_missing", str(tmp_path / "toy"))]
    assert "tao-finetune-cosmos-reason" in names


def test_a_broken_neighbour_hides_no_alias(facts: Path) -> None:
    facts.write_text("network_arch: [\n")
    assert catalog.find("cosmos-rl").name == "tao-finetune-cosmos-reason"
    with pytest.raises(RequestError, match=r"skill_info\.yaml"):
        catalog.find("toy")
