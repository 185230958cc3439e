"""What the programs of a skill import from optional dependencies is what preflight looks for."""

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.core import yaml12

PACKAGE = "tao_skill_bank"
PYPI = {"pyyaml": "yaml", "google-re2": "re2", "tomli-w": "tomli_w"}  # distributions with modules of other names
# Modules that programs reach and do without, or that other checks and the same extra cover.
NOT_DEMANDED = {
    "torch": "the platform's probe looks for it",
    "accelerate": "imported by transformers, of the same extra",
    "flash_attn": "attention is torch's without it",
    "scipy": "an interval that needs it is left out",
    "pyarrow": "read by reports",
    "pynvml": "reported as not checked",
    "kubernetes": "of the platform, whose client says so",
    "optuna": "of searches, which refuse to plan without it",
    "s3fs": "of object stores, which preflight asks",
    "gcsfs": "of object stores, which preflight asks",
    "aiobotocore": "imported by s3fs, of the same extra",
    "botocore": "imported by s3fs, of the same extra",
}


# What a program reaches through shared code, and only another skill's keys ask for.
OF_OTHERS = {"cosmos_predict": {"bitsandbytes", "torchao", "compressed_tensors"}}


@cache
def tree(module):
    found = find_spec(module)
    return ast.parse(Path(found.origin).read_text()) if found and found.origin else ast.Module([], [])


@cache
def imports(module):
    """Return the dotted names that a module imports at any place, `import_module` and `find_spec` included."""
    parsed = tree(module)
    constants = {
        target.id: node.value.value
        for node in parsed.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = set()
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "find_spec"):
            name = node.args[0]
            value = name.value if isinstance(name, ast.Constant) else constants.get(getattr(name, "id", ""))
            names |= {value} if isinstance(value, str) else set()
    return names


def is_ours(name):
    try:
        return name.startswith(f"{PACKAGE}.") and find_spec(name) is not None
    except ModuleNotFoundError:  # a name inside a module
        return False


def third_party(program):
    """Return the top-level modules of other distributions that a program reaches."""
    seen, todo, found = set(), [program], set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for name in imports(module):
            top = name.partition(".")[0]
            if top == PACKAGE:
                todo += [name] if is_ours(name) else []
            elif top not in sys.stdlib_module_names:
                found.add(top)
    return found


@cache
def base(root):
    """Return the modules of the dependencies without an extra."""
    document = tomllib.loads((root / "pyproject.toml").read_text())
    names = [re.match(r"[\w-]+", line).group() for line in document["project"]["dependencies"]]
    return {PYPI.get(name, name.replace("-", "_")) for name in names} | {"typing_extensions", "pydantic_core", "click"}


SKILLS = [skill for skill in catalog.skills() if skill.runs_actions]


def declared(skill):
    text = Path(find_spec(f"{PACKAGE}.models.{skill.info.package}.libraries").origin).read_text()
    return {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier()
    } | {"wandb", "tensorboard"}


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.info.package)
def test_every_optional_module_that_a_program_reaches_is_looked_for_or_can_be_missed(skill, project_root):
    for action in skill.info.actions.values():
        reached = third_party(action.module) - base(project_root) - NOT_DEMANDED.keys()
        reached -= OF_OTHERS.get(skill.info.package, set())
        assert reached <= declared(skill), (action.module, sorted(reached - declared(skill)))


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.info.package)
def test_every_action_of_a_template_names_modules_of_extras_that_exist(skill, project_root):
    extras = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    libraries = import_module(f"{PACKAGE}.models.{skill.info.package}.libraries")
    for action in skill.info.actions:
        spec = yaml12.read(skill.folder / "references" / f"spec_template_{action}.yaml")
        for library in libraries.needed(action, spec):
            assert not library.extra or library.extra in extras, library
