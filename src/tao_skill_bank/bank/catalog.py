"""Finds the bank and its skills: a checkout or an installed wheel, by name, alias or qualified name."""

import difflib
import importlib.util
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import yaml

from tao_skill_bank.bank import model_hooks
from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.bank.skill_info import ActionInfo, SkillInfo
from tao_skill_bank.contracts import from_json
from tao_skill_bank.core import packaged_yaml, settings
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError

QUALIFIER = "tao-skill-bank:"
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Skill:
    """One folder under skills/."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def frontmatter(self) -> dict[str, Any]:
        """The YAML frontmatter of SKILL.md."""
        _, head, _ = (self.folder / "SKILL.md").read_text(encoding="utf-8").split("---\n", 2)
        loaded: dict[str, Any] = packaged_yaml.parse(head)
        return loaded

    @property
    def description(self) -> str:
        return str(self.frontmatter.get("description", ""))

    @property
    def info_path(self) -> Path:
        """The file of a model skill's facts."""
        return self.folder / "references" / "skill_info.yaml"

    @property
    def runs_actions(self) -> bool:
        return self.info_path.is_file()

    @cached_property
    def info(self) -> SkillInfo:
        """The facts of a model skill. Raises UnknownNameError for a runbook, RequestError for invalid facts."""
        if not self.runs_actions:
            message = f"Skill '{self.name}' is a runbook; it has no actions to run."
            raise UnknownNameError.of("no_actions", message, f"Read it with: tao-skills show {self.name}", path="skill")
        try:
            document = packaged_yaml.parse(self.info_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            message = f"{self.info_path}: it cannot be read: {' '.join(str(error).split())}"
            fix = f"Correct {self.info_path}."
            raise RequestError.of("skill_info_unreadable", message, fix, path=str(self.info_path)) from None
        return from_json(SkillInfo, document, str(self.info_path))

    def action(self, name: str) -> ActionInfo:
        """Return one action. Raises UnknownNameError, with the nearest name."""
        if name not in self.info.actions:
            message = f"Skill '{self.name}' has no action '{name}'.{did_you_mean(name, self.info.actions)}"
            fix = f"Use one of: {', '.join(self.info.actions)}."
            raise UnknownNameError.of("unknown_action", message, fix, path="action", got=name)
        return self.info.actions[name]

    def schema_path(self, action: str) -> Path:
        return self.folder / "schemas" / f"{action}.schema.json"

    def template_path(self, action: str) -> Path:
        return self.folder / "references" / f"spec_template_{action}.yaml"

    def schema(self, action: str) -> dict[str, Any]:
        """Return the packaged schema of an action, or build it from the dataclass when it is not packaged.

        Raises:
            UnknownNameError: no such action.
            BlockedError: the packaged file does not parse.
        """
        self.action(action)
        path = self.schema_path(action)
        if not path.is_file():
            from tao_skill_bank.bank.schema import action_schema

            return action_schema(self.spec_class(action), self.name, action)
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            message = f"The packaged schema {path} does not parse: {error}"
            raise BlockedError.of(
                "schema_unreadable", message, "Regenerate it with: make schemas", path=str(path)
            ) from None
        return document

    def is_automl_runnable(self, action: str) -> bool:
        """Return whether the schema and the template that AutoML needs are packaged and parse."""
        try:
            json.loads(self.schema_path(action).read_text(encoding="utf-8"))
            template = packaged_yaml.parse(self.template_path(action).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return False
        return isinstance(template, dict)

    def spec_class(self, action: str) -> type:
        """Return the spec dataclass by the naming rule: action `train` -> `TrainConfig`. Raises BlockedError."""
        module = model_hooks.load(self.info.package, "config")
        return cast(type, model_hooks.attribute(module, f"{action.capitalize()}Config"))

    def rules(self, action: str) -> tuple[Rule, ...]:
        """Return the cross-field rules declared next to the spec dataclass. Raises BlockedError."""
        every = model_hooks.attribute(model_hooks.load(self.info.package, "config.rules"), "RULES")
        return cast(Mapping[str, tuple[Rule, ...]], every).get(action, ())

    def is_implemented(self, action: str) -> bool:
        """Return whether this release has the module that runs the action."""
        return importlib.util.find_spec(self.action(action).module) is not None


def bank_root() -> Path:
    """Return the folder that holds skills/: $TAO_SKILL_BANK_PATH, the checkout, or the installed wheel's copy.

    Raises:
        UnknownNameError: none of them has a skills/ folder.
    """
    named = settings.bank_path()
    candidates = [named] if named else [PACKAGE.parent.parent, PACKAGE / "_bank"]
    for candidate in candidates:
        if (candidate / "skills").is_dir():
            return candidate
    message = f"There is no skill bank at {candidates[0]}: it has no skills/ folder."
    fix = "Point TAO_SKILL_BANK_PATH at a folder that has one, or unset it."
    raise UnknownNameError.of("no_bank", message, fix, path=str(candidates[0]))


def skills() -> list[Skill]:
    """Return every skill of the bank, by name."""
    return [Skill(path.parent) for path in sorted((bank_root() / "skills").glob("*/SKILL.md"))]


def find(name: str) -> Skill:
    """Return the skill for a name, an alias or `tao-skill-bank:NAME`.

    Raises:
        UnknownNameError: nothing is called that; the nearest names are given.
        RequestError: nothing is, and a skill that may be cannot be read.
    """
    wanted = name.removeprefix(QUALIFIER)
    known = {skill.name: skill for skill in skills()}
    if wanted in known:
        return known[wanted]
    aliases, unreadable = _aliases(known.values())
    if wanted in aliases:
        return aliases[wanted]
    if unreadable:  # it may be the one that is wanted
        raise RequestError(unreadable)
    message = f"There is no skill '{name}'.{did_you_mean(wanted, [*known, *aliases])}"
    raise UnknownNameError.of("unknown_skill", message, "List the skills with: tao-skills list", path="skill", got=name)


def _aliases(known: Iterable[Skill]) -> tuple[dict[str, Skill], list[Problem]]:
    """Return the skills by their aliases, and what is wrong with those whose facts cannot be read."""
    aliases: dict[str, Skill] = {}
    unreadable: list[Problem] = []
    for skill in (skill for skill in known if skill.runs_actions):
        try:
            aliases |= dict.fromkeys(skill.info.aliases, skill)
        except RequestError as error:
            unreadable += error.problems
    return aliases, unreadable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known word, or an empty string."""
    nearest = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
