"""The house: few modules at the top, rooms that import downwards only, and a drawing that equals the disk."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import tao_skill_bank

PACKAGE = Path(tao_skill_bank.__file__).parent
MOST_AT_THE_TOP = 6
MODEL_ROOM = re.compile(r"models/[^/]+(/.*)?")

# What sealed launches and images start with `python -m`: these paths stay.
LAUNCHED = (
    "tao_skill_bank.training.launcher",
    "tao_skill_bank.training.fetch",
    "tao_skill_bank.training.pod",
    "tao_skill_bank.staging.upload",
    "tao_skill_bank.automl.controller",
    "tao_skill_bank.constant_rate",
    *(f"tao_skill_bank.models.cosmos_reason.{action}" for action in ("train", "evaluate", "quantize", "inference")),
    "tao_skill_bank.models.cosmos_reason.embed",
    "tao_skill_bank.models.cosmos_reason.export",
    *(f"tao_skill_bank.models.cosmos_predict.{action}" for action in ("prepare", "train", "generate", "evaluate")),
    "tao_skill_bank.models.cosmos_predict.export",
)

# Modules that import others by a name made at run time, and what they reach.
IMPORT_BY_NAME = {
    "__init__.py": "the public names, on first use",
    "automl/plan/algorithms/__init__.py": "the algorithms that ask a language model",
    "bank/model_hooks.py": "a model's dataclasses, rules and workload",
    "bank/consistency.py": "a model's facts",
    "cli/data_commands.py": "samples",
    "cli/main.py": "the commands",
    "core/admitted_pickle.py": "the classes that its caller admits",
    "data/convert/sources/__init__.py": "formats that are converted",
    "data/kinds/__init__.py": "kinds of input",
    "demo/__init__.py": "demos",
    "demo/_session.py": "samples",
    "models/cosmos_predict/evaluate.py": "optional libraries of metrics",
    "models/cosmos_predict/safety.py": "the guardrail, an optional library",
    "models/cosmos_reason/bertscore.py": "bert_score, an optional library",
    "models/cosmos_reason/metrics.py": "optional libraries of metrics",
    "platforms/base.py": "platforms",
    "preflight/checks.py": "checks",
    "preflight/data/model_checks.py": "a model's data_checks",
    "preflight/data/shorter.py": "a model's record_tokens and repairs",
    "preflight/data/token_budget.py": "a model's record_tokens",
    "preflight/model/feature_cache.py": "a model's record_tokens",
    "preflight/model/libraries.py": "a model's libraries",
    "preflight/repairs.py": "a model's repairs",
    "report/kinds/__init__.py": "how a kind of result is shown",
    "staging/fetch.py": "a model's builtin",
    "training/attention.py": "flash_attn, an optional library",
    "training/imports.py": "the libraries that a program names",
    "workflows/stage.py": "stages of workflows",
}


def rooms_on_disk() -> set[str]:
    folders = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")} - {"."}
    return {folder for folder in folders if not MODEL_ROOM.fullmatch(folder)}


def rooms_drawn(project_root: Path) -> list[str]:
    """Return the rooms of the tree in references/architecture.md, by their path, in the order of the drawing."""
    text = (project_root / "references" / "architecture.md").read_text()
    tree = text.partition("## Rooms")[2].split("```")[1]
    found: list[str] = []
    parents: list[str] = []
    for line in tree.strip("\n").splitlines():
        indent, name = re.match(r"( *)(\w+)/", line).groups()
        parents[len(indent) // 2 :] = [name]
        found.append("/".join(parents))
    return found


def test_the_tree_in_the_architecture_equals_the_tree_on_disk(project_root):
    drawn = rooms_drawn(project_root)
    assert len(drawn) == len(set(drawn))
    assert set(drawn) == rooms_on_disk()


def test_the_drawing_is_in_the_order_of_the_imports(project_root):
    contracts = (project_root / "pyproject.toml").read_text()
    layers = contracts.partition('name = "Rooms import downwards only"')[2].partition("[[")[0]
    order = [line.replace("tao_skill_bank.", "").split(" | ") for line in re.findall(r'"(tao_[^"]+)"', layers)]
    rooms = [name.partition(".")[0] for names in order for name in names if name not in ("contracts", "errors")]
    depth = {
        name.partition(".")[0]: -position for position, names in reversed(list(enumerate(order))) for name in names
    }
    drawn = [room for room in rooms_drawn(project_root) if "/" not in room]
    assert set(drawn) == set(rooms)
    assert drawn == sorted(drawn, key=depth.__getitem__, reverse=True)


def test_few_modules_lie_at_the_top_of_the_package():
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_AT_THE_TOP


def test_no_room_is_without_a_line_that_says_what_it_is_for():
    silent = [path for path in PACKAGE.rglob("__init__.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


@pytest.mark.parametrize("module", LAUNCHED)
def test_a_path_that_sealed_launches_name_is_still_a_program(module):
    source = Path(importlib.util.find_spec(module).origin).read_text()
    assert 'if __name__ == "__main__":' in source


def test_no_files_import_each_other_in_a_circle():
    import grimp

    graph = grimp.build_graph("tao_skill_bank", exclude_type_checking_imports=False)
    circles = [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in graph.find_modules_directly_imported_by(importer)
        if importer not in ("tao_skill_bank", imported) and graph.chain_exists(imported, importer)
    ]
    assert circles == []


def test_what_is_imported_by_a_name_made_at_run_time_is_listed():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bimport_module\(", path.read_text())
    }
    assert found == set(IMPORT_BY_NAME)
