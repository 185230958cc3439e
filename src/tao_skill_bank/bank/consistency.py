"""Whether a skill's folder and its model package fit each other: every mistake, with the file that holds it.

Sources are read and not imported, but for `facts.py`: a program of the training plane imports torch.
"""

import ast
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.skill_info import SkillInfo
from tao_skill_bank.bank.training_facts import TrainingFacts
from tao_skill_bank.core import settings
from tao_skill_bank.errors import Problem, RequestError

MODELS = "tao_skill_bank.models"
REQUIRED = "workload"
HOOKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {  # module, function, what it is called with
    REQUIRED: {"describe": ("action", "spec")},
    "record_tokens": {"record_tokens": ("spec", "record", "probes"), "answer_tokens": ("spec",)},
    "builtin": {"names": (), "create": ("name", "out_dir")},
}
PROGRAMS = ("inspect", "resumable")  # started as `python -m`


def require(skill: Skill) -> None:
    """Refuse a skill that does not fit its package. Raises RequestError, with everything that is wrong."""
    if found := problems(skill):
        raise RequestError(found)


def problems(skill: Skill) -> list[Problem]:
    """Return what is wrong with a skill; nothing for a good one."""
    try:
        frontmatter = skill.frontmatter
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [_problem("skill_unreadable", skill.folder / "SKILL.md", f"its head cannot be read: {_first(error)}")]
    if not isinstance(frontmatter, dict):
        return [_problem("skill_unreadable", skill.folder / "SKILL.md", "its head is not a mapping")]
    if not skill.runs_actions:
        return []
    try:
        info = skill.info
    except RequestError as error:
        return list(error.problems)
    package = _package(info.package)
    if package is None:
        why = f"package '{info.package}' is not a folder of tao_skill_bank/models"
        return [_problem("package_missing", skill.info_path, why, "Name the folder of its model, or add one.")]
    found = [*_config_problems(info, package), *_hook_problems(package), *_fact_problems(skill, package)]
    return found or list(_key_problems(skill, info))


def strays() -> list[Problem]:
    """Return the model packages that no skill of the package's own bank names.

    A bank that TAO_SKILL_BANK_PATH names may have fewer skills than there are models.
    """
    if settings.bank_path():
        return []
    try:
        named = {skill.info.package for skill in catalog.skills() if skill.runs_actions}
    except RequestError:
        return []  # the skill that cannot be read may name it; `problems` reports that one
    found = [path for root in _roots() for path in sorted(root.iterdir()) if (path / f"{REQUIRED}.py").is_file()]
    return [
        _problem(
            "skill_missing",
            path,
            "no skill names this model package",
            f"Add skills/SKILL/references/skill_info.yaml with `package: {path.name}`, or remove the folder.",
        )
        for path in found
        if path.name not in named
    ]


def _package(name: str) -> Path | None:
    """Return the folder of a model package."""
    if not name.isidentifier():
        return None
    return next((root / name for root in _roots() if (root / name).is_dir()), None)


def _roots() -> list[Path]:
    """Return the folders that hold model packages: other distributions may add some."""
    return [Path(root) for root in importlib.import_module(MODELS).__path__ if Path(root).is_dir()]


def _config_problems(info: SkillInfo, package: Path) -> Iterator[Problem]:
    config, rules = package / "config" / "__init__.py", package / "config" / "rules.py"
    config = config if config.is_file() else package / "config.py"
    names = _names(config)
    if isinstance(names, Problem):
        yield names
    else:
        wanted = [f"{action.capitalize()}Config" for action in info.actions]
        for name in (name for name in wanted if name not in names):
            yield _problem("spec_class_missing", config, f"it has no {name}", f"Define or import {name} there.")
    names = _names(rules)
    if isinstance(names, Problem):
        yield names
    elif "RULES" not in names:
        yield _problem("rules_missing", rules, "it has no RULES", "Add RULES: action to its rules; {} for none.")
    else:
        for action in (action for action in _literal_keys(rules, "RULES") if action not in info.actions):
            why = f"RULES has the action '{action}', which the skill does not have"
            yield _problem("action_unknown", rules, why, _nearest(action, info.actions))


def _hook_problems(package: Path) -> Iterator[Problem]:
    for module, functions in HOOKS.items():
        path = package / f"{module}.py"
        if not path.is_file() and module != REQUIRED:
            continue
        names = _names(path)
        if isinstance(names, Problem):
            yield names
            continue
        for function, parameters in functions.items():
            call = f"{function}({', '.join(parameters)})"
            if function not in names:
                yield _problem("hook_missing", path, f"it has no {function}", f"Define {call}.")
            elif (defined := names[function]) is not None and not _takes(defined, len(parameters)):
                why = f"{function}({ast.unparse(defined.args)}) cannot be called as {call}"
                yield _problem("hook_signature", path, why, f"Define it as {call}.")
    for module in PROGRAMS:
        path = package / f"{module}.py"
        if path.is_file() and '__name__ == "__main__"' not in path.read_text(encoding="utf-8"):
            why = "it is started with `python -m` and does nothing then"
            yield _problem("hook_signature", path, why, 'End it with: if __name__ == "__main__".')


def _fact_problems(skill: Skill, package: Path) -> Iterator[Problem]:
    """Yield where facts.py, which the training plane reads, says anything else than skill_info.yaml."""
    path = package / "facts.py"
    if not path.is_file():
        return
    try:
        facts = importlib.import_module(f"{MODELS}.{package.name}.facts").FACTS
    except Exception as error:  # noqa: BLE001 - an author's module raises anything
        yield _problem("facts_unreadable", path, f"it cannot be imported: {_first(error)}")
        return
    if not isinstance(facts, TrainingFacts):
        yield _problem("facts_unreadable", path, "FACTS is not a TrainingFacts")
        return
    keys = skill.info.automl
    said: dict[str, tuple[object, object]] = {"monitoring_metric": (skill.info.monitoring_metric, facts.metric)}
    if keys is not None:
        said["automl.epochs"] = (keys.epochs, facts.early_stop.epochs)
        said["automl.stop"] = (keys.stop, facts.early_stop.stop)
        said["automl.resume"] = (keys.resume, facts.resume)
        said["automl.steps"] = (keys.steps, facts.max_steps or None)
    for name, (there, here) in said.items():
        if there != here:
            why = f"it says {here} where {name} in {skill.info_path} is {there}"
            yield _problem("facts_differ", path, why, "Make both say the same.")


def _key_problems(skill: Skill, info: SkillInfo) -> Iterator[Problem]:
    """Yield what skill_info.yaml names and is not there: the action that scores, spec keys of an action's schema."""
    if info.automl and info.automl.evaluation and info.automl.evaluation.action not in info.actions:
        name = info.automl.evaluation.action
        why = f"automl.evaluation names the action '{name}', which it does not have"
        yield _problem("action_unknown", skill.info_path, why, _nearest(name, info.actions))
    for action in info.actions:
        if not skill.schema_path(action).is_file():
            continue
        schema = skill.schema(action)
        known = [path for path, _ in schemas.parameters(schema)]
        for key in dict.fromkeys(_spec_keys(info, action)):
            if key not in known:
                why = f"action {action} names the spec key '{key}', which its schema does not have"
                yield _problem("spec_key_unknown", skill.info_path, why, _nearest(key, known))


def _spec_keys(info: SkillInfo, action: str) -> Iterator[str]:
    entry = info.actions[action]
    parent, counts = entry.parent, entry.resources
    yield from (*info.input_keys(action), *entry.inputs.listed, *entry.results_keys, *parent.copies)
    single = (parent.checkpoint, parent.adapter, parent.base, parent.resume, parent.adapters, parent.run)
    yield from (key for key in (*single, counts.gpu_spec_key, counts.node_spec_key) if key)


def _names(path: Path) -> dict[str, ast.FunctionDef | None] | Problem:
    """Return what a module binds at its top, with the definition of functions; or why it cannot be read."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return _problem("module_missing", path, "it does not exist", "Add it; models/ has examples.")
    except (OSError, ValueError, SyntaxError) as error:
        return _problem("module_unreadable", path, f"it cannot be read: {_first(error)}")
    found: dict[str, ast.FunctionDef | None] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            found[node.name] = None
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= dict.fromkeys(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            found |= dict.fromkeys(_bound(node))
    return found


def _bound(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets: Sequence[ast.expr] = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _literal_keys(path: Path, name: str) -> Iterator[str]:
    """Yield the strings that are keys of a dictionary which a module writes out under this name."""
    for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _bound(node) and isinstance(node.value, ast.Dict):
            yield from (str(key.value) for key in node.value.keys if isinstance(key, ast.Constant))


def _takes(function: ast.FunctionDef, count: int) -> bool:
    """Whether a function can be called with so many positional arguments."""
    arguments = function.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    needs_names = any(default is None for default in arguments.kw_defaults)
    return least <= count and (count <= most or arguments.vararg is not None) and not needs_names


def _nearest(word: str, known: Iterable[str]) -> str:
    return catalog.did_you_mean(word, known).strip()


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _problem(code: str, path: Path, why: str, fix: str = "") -> Problem:
    return Problem(code, f"{path}: {why}.", fix or f"Correct {path}.", path=str(path))
