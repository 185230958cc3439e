"""Every command, option and spec key that a page of the bank shows is one that the bank has."""

import re
from pathlib import Path
from typing import Any

import pytest
import shown_commands
import typer
from shown_commands import Shown

from tao_skill_bank import platforms
from tao_skill_bank.automl.plan import option_reader
from tao_skill_bank.bank import catalog, violations
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.schema import leaves
from tao_skill_bank.cli import main
from tao_skill_bank.cli.request_options import pairs
from tao_skill_bank.contracts import PlatformRequest, Request
from tao_skill_bank.core import nested
from tao_skill_bank.errors import RequestError
from tao_skill_bank.planning import gate

ROOT = catalog.bank_root()
HISTORY = ("CHANGELOG.md",)  # and decisions: they show what was
PAGES = sorted(
    page
    for page in (
        *ROOT.glob("*.md"),
        *ROOT.glob("skills/**/*.md"),
        *ROOT.glob("references/*.md"),
        *ROOT.glob("workflow/**/*.md"),
    )
    if page.name not in HISTORY
)
SHOWN = [shown for page in PAGES for shown in shown_commands.commands(page)]
PLATFORMS = platforms.names()
MODEL_SKILLS = [skill for skill in catalog.skills() if skill.runs_actions]
PLACEHOLDER = re.compile(r"[A-Z][A-Z0-9_/.-]*")  # a word for what the reader puts there, such as JOB or DATA/train


def named(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)[:80]


def _without_gaps(shown: Shown) -> list[str]:
    """Return the words without `...`, with a skill and an action where the page leaves them to the reader."""
    stands_for = {
        "SKILL": MODEL_SKILLS[0].name,
        "ACTION": "train",
        **dict.fromkeys(("K", "N", "S", "T", "SECONDS"), "1"),
    }
    return [stands_for.get(word, word) for word in shown.words if word != "..."]


def _parsed(shown: Shown) -> dict[str, Any]:
    """Return the options of a command, as the real command line reads them; fails the test where it refuses them."""
    group: Any = typer.main.get_command(main.app)
    words, context = _without_gaps(shown), None
    has_gap = "..." in shown.words or not shown.is_example
    while words and hasattr(group, "commands"):
        name = words.pop(0)
        assert name in group.commands, f"{shown}: there is no command {name}"
        group = group.commands[name]
    if hasattr(group, "commands"):
        assert has_gap, f"{shown}: it lacks a command"
        return {}
    try:
        context = group.make_context(shown.words[0], words, resilient_parsing=False)
    except main.CommandLineError as error:
        if has_gap and "Missing argument" in error.format_message():
            return {}
        pytest.fail(f"{shown}: {error.format_message()}")
    return dict(context.params)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_of_a_page_is_one_that_the_command_line_takes(page: Path) -> None:
    for shown in SHOWN:
        if shown.page == page and shown.words and not shown.words[0].startswith("-"):
            _parsed(shown)


def _skills(options: dict[str, Any], page: Path) -> list[Skill]:
    """Return the skill of a command, that of the page's folder where it is left out, or every model skill."""
    names = (str(options.get("skill")), *page.parts)
    return [skill for skill in MODEL_SKILLS if skill.name in names] or MODEL_SKILLS


def _override_problems(options: dict[str, Any], page: Path) -> list[str]:
    """Return what is wrong with the overrides of a command for every action that it may mean."""
    overrides = pairs("--set", tuple(options.get("sets") or ()), parse=True)
    chosen = options.get("action")
    found = [
        [problem for key, value in overrides.items() for problem in _key_problems(skill, action, key, value)]
        for skill in _skills(options, page)
        for action in ([str(chosen)] if chosen in skill.info.actions else skill.info.actions)
    ]
    return min(found, key=len, default=[])


def _key_problems(skill: Skill, action: str, key: str, value: Any) -> list[str]:
    schema = skill.schema(action)
    if value is None or (isinstance(value, str) and PLACEHOLDER.fullmatch(value)):
        return [] if key in _keys(schema) else [f"{skill.name} {action} has no key {key}"]
    spec = nested.with_value(schema["default"], key, value)
    return [problem.message for problem in violations.violations(schema, spec) if problem.path.startswith(key)]


def _option_problems(options: dict[str, Any]) -> list[str]:
    given = pairs("--option", tuple(options.get("option") or ()), parse=True)
    names = [options["platform"]] if options.get("platform") in PLATFORMS else PLATFORMS
    found = []
    for name in names:
        request = Request("", "", platform=PlatformRequest(name, options=_without_placeholders(given)))
        try:
            gate.require_known_options(request, platforms.load(name))
            found.append([])
        except RequestError as error:
            found.append([problem.message for problem in error.problems])
    return min(found, key=len)


def _search_problems(options: dict[str, Any]) -> list[str]:
    given = pairs("--automl", tuple(options.get("automl") or ()), parse=True)
    try:
        option_reader.parse(_without_placeholders(given))
    except RequestError as error:
        return [problem.message for problem in error.problems]
    return []


def _without_placeholders(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in given.items()
        if not (PLACEHOLDER.fullmatch(name) or (isinstance(value, str) and PLACEHOLDER.fullmatch(value)))
    }


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_override_and_option_of_a_command_is_valid(page: Path) -> None:
    wrong = []
    for shown in SHOWN:
        if shown.page == page and shown.words and not shown.words[0].startswith("-"):
            options = _parsed(shown)
            found = [*_override_problems(options, page), *_option_problems(options), *_search_problems(options)]
            wrong += [f"{shown}: {problem}" for problem in found]
    assert wrong == []


def _keys(schema: dict[str, Any]) -> set[str]:
    return {key for leaf, _ in leaves(schema) for key in _with_parents(leaf)}


@pytest.mark.parametrize("skill", MODEL_SKILLS, ids=lambda skill: skill.name)
def test_every_dotted_name_on_the_pages_of_a_model_skill_is_a_key_of_it(skill: Skill) -> None:
    schemas = [skill.schema(action) for action in skill.info.actions]
    tops = {name for schema in schemas for name in schema["properties"]}
    known = set[str]().union(*map(_keys, schemas))
    wrong = [
        f"{page.name}: {key}"
        for page in sorted(skill.folder.rglob("*.md"))
        for key in shown_commands.keys(page)
        if key.partition(".")[0] in tops and key not in known and Path(key).suffix not in FILES
    ]
    assert wrong == []


FILES = (".py", ".txt", ".json", ".jsonl", ".yaml", ".toml", ".md", ".html", ".parquet", ".csv")


def _with_parents(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]
