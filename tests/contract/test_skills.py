"""Every skill of the bank passes these because it exists."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from tao_skill_bank.authoring import generated_files
from tao_skill_bank.automl.plan import domain, option_reader
from tao_skill_bank.bank import catalog, consistency
from tao_skill_bank.bank.schema import ACTION_META_SCHEMA, leaves
from tao_skill_bank.contracts import Request, from_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.spec import build

SKILLS = catalog.skills()
MODEL_SKILLS = [skill for skill in SKILLS if skill.runs_actions]
TRAINERS = [skill for skill in MODEL_SKILLS if "train" in skill.info.actions]
ACTIONS = [(skill, action) for skill in MODEL_SKILLS for action in skill.info.actions]
DRAFT = jsonschema.Draft202012Validator


def named(value: object) -> str:
    return value.name if isinstance(value, catalog.Skill) else str(value)


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_skill_meets_the_agent_skills_standard(skill: catalog.Skill) -> None:
    tool = Path(sys.executable).parent / "agentskills"
    finished = subprocess.run([tool, "validate", skill.folder], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_skill_and_its_model_package_fit_each_other(skill: catalog.Skill) -> None:
    assert consistency.problems(skill) == []


def test_every_model_package_has_a_skill() -> None:
    assert consistency.strays() == []


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_every_action_says_whether_it_can_run_on_a_cpu(skill: catalog.Skill, action: str) -> None:
    assert skill.info.actions[action].resources.cpu is not None


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_skill_is_short_and_its_metadata_is_strings(skill: catalog.Skill) -> None:
    text = (skill.folder / "SKILL.md").read_text()
    assert len(text.splitlines()) < 200
    assert len(text.encode()) < 9_000
    assert all(isinstance(value, str) for value in skill.frontmatter.get("metadata", {}).values())


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_every_reference_that_the_skill_names_exists(skill: catalog.Skill) -> None:
    for line in (skill.folder / "SKILL.md").read_text().splitlines():
        for target in [part.partition(")")[0] for part in line.split("](")[1:]]:
            if "://" not in target:
                assert (skill.folder / target).exists(), target


@pytest.mark.parametrize("skill", MODEL_SKILLS, ids=named)
def test_one_launch_needs_little_reading(skill: catalog.Skill) -> None:
    pages = [skill.folder / "SKILL.md", catalog.find("tao-run-platform").folder / "SKILL.md"]
    assert sum(page.stat().st_size for page in pages) < 16_000


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_skill_says_how_to_get_the_program_and_when_a_job_is_done(skill: catalog.Skill) -> None:
    text = (skill.folder / "SKILL.md").read_text()
    assert "pip install" in text
    assert "COMPLETE" in text or "tao-skills run" not in text


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_skill_works_when_its_folder_is_copied_alone(skill: catalog.Skill, tmp_path: Path) -> None:
    copy = shutil.copytree(skill.folder, tmp_path / skill.name)
    for page in copy.rglob("*.md"):
        for target in re.findall(r"]\(([^)#]+)[^)]*\)", page.read_text()):
            assert "://" in target or (page.parent / target).resolve().is_relative_to(copy), f"{page.name}: {target}"


@pytest.mark.parametrize("skill", [*MODEL_SKILLS, catalog.find("tao-run-automl")], ids=named)
def test_the_request_that_a_skill_shows_is_complete_and_valid(skill: catalog.Skill) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (skill.folder / "SKILL.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        request = from_json(Request, yaml12.parse(block, "SKILL.md"), "SKILL.md")
        assert request.results_dir
        assert request.prompt
        found = catalog.find(request.skill)
        build.build(found, request, {})
        option_reader.parse(request.automl, found.info)


def test_all_descriptions_together_fit_what_clients_read() -> None:
    assert sum(len(skill.description) for skill in SKILLS) < 5000


@pytest.mark.parametrize("skill", SKILLS, ids=named)
def test_the_description_says_when_and_when_not(skill: catalog.Skill) -> None:
    assert "Use " in skill.description
    assert "Not for" in skill.description


def test_generated_files_are_current() -> None:
    assert generated_files.stale(generated_files.outputs()) == []


@pytest.mark.parametrize("name", [*generated_files.CONTRACTS, "action"])
def test_a_bank_wide_schema_is_valid_json_schema(name: str) -> None:
    DRAFT.check_schema(json.loads((catalog.bank_root() / "schemas" / f"{name}.schema.json").read_text()))


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_an_action_schema_is_strict_valid_and_carries_the_annotations(skill: catalog.Skill, action: str) -> None:
    text = skill.schema_path(action).read_text()
    schema = json.loads(text, parse_constant=pytest.fail)
    DRAFT.check_schema(schema)
    DRAFT(ACTION_META_SCHEMA).validate(schema)


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_the_template_is_the_schemas_default_under_either_yaml(skill: catalog.Skill, action: str) -> None:
    text = skill.template_path(action).read_text()
    assert yaml.safe_load(text) == yaml12.parse(text, "template") == skill.schema(action)["default"]


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_the_template_breaks_the_schema_only_where_data_is_missing(skill: catalog.Skill, action: str) -> None:
    schema = skill.schema(action)
    missing = {"required", "oneOf"}  # a oneOf of ours asks for one of several keys
    assert {error.validator for error in DRAFT(schema).iter_errors(schema["default"])} <= missing


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_every_spec_key_that_the_skill_names_is_in_the_schema(skill: catalog.Skill, action: str) -> None:
    known = dict(leaves(skill.schema(action)))
    info, entry = skill.info, skill.info.actions[action]
    sources = [key for source in info.data_sources.get(action, {}).values() for key in source.keys]
    keys = entry.parent
    parent = [keys.checkpoint, keys.adapter, keys.base, keys.resume, keys.adapters, keys.run]
    counts = [entry.resources.gpu_spec_key, entry.resources.node_spec_key]
    named_keys = [
        *sources,
        *entry.inputs.models,
        *entry.inputs.media,
        *entry.inputs.paths,
        *entry.inputs.listed,
        *entry.results_keys,
        *parent,
        *counts,
    ]
    assert [key for key in named_keys if key and key not in known] == []


@pytest.mark.parametrize("skill", MODEL_SKILLS, ids=named)
def test_a_search_steers_trainings_by_keys_that_exist_and_that_it_never_searches_unasked(skill: catalog.Skill) -> None:
    keys = skill.info.automl
    assert keys is not None or not skill.info.automl_enabled
    if keys is None:
        return
    schema, evaluation = skill.schema("train"), keys.evaluation
    steering = [key for key in (keys.stop, keys.resume, keys.batch, keys.micro_batch, keys.accumulation) if key]
    assert {keys.epochs, *steering} <= dict(leaves(schema)).keys()
    assert not set(steering) & set(schema["automl_default_parameters"])
    assert (keys.stop is None) == (keys.resume is None), "a training that pauses must be able to go on"
    assert evaluation is None or evaluation.action in skill.info.actions


@pytest.mark.parametrize("skill", TRAINERS, ids=named)
def test_search_domains_lie_inside_what_can_run(skill: catalog.Skill) -> None:
    for path, leaf in leaves(skill.schema("train")):
        search = leaf.get("search", {})
        if "minimum" in search and "minimum" in leaf:
            assert search["minimum"] >= leaf["minimum"], path
        if "maximum" in search and "maximum" in leaf:
            assert search["maximum"] <= leaf["maximum"], path


@pytest.mark.parametrize("skill", TRAINERS, ids=named)
def test_every_search_domain_can_be_sampled(skill: catalog.Skill) -> None:
    numbers = {path: leaf for path, leaf in leaves(skill.schema("train")) if leaf.get("type") in ("integer", "number")}
    for path, leaf in leaves(skill.schema("train")):
        search = leaf.get("search", {})
        assert "math_cond" not in search or {"minimum", "maximum"} <= search.keys(), path
        assert search.get("math_cond") != "^ 2" or search["minimum"] > 0, path
        assert search.get("math_cond") != "/ 2" or leaf["depends_on"] in numbers, path
        assert not search.get("log") or search["minimum"] > 0, path
        assert "ratio_to" not in search or search["ratio_to"] in numbers, path
        assert "search" not in leaf or "minimum" in search or domain.options_of(leaf), path


@pytest.mark.parametrize("skill", MODEL_SKILLS, ids=named)
def test_skill_info_is_valid_against_its_schema(skill: catalog.Skill) -> None:
    schema = json.loads((catalog.bank_root() / "schemas" / "skill_info.schema.json").read_text())
    info = yaml.safe_load((skill.folder / "references" / "skill_info.yaml").read_text())
    assert [error.message for error in DRAFT(schema).iter_errors(info)] == []
    assert not DRAFT(schema).is_valid({**info, "network_arch": 1})


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_every_parameter_is_documented_exactly_once(skill: catalog.Skill, action: str) -> None:
    page = (skill.folder / "references" / "parameters.md").read_text()
    tables = [match for match in generated_files.TABLE.finditer(page) if match[2] == action]
    documented = [row.split("`")[1] for match in tables for row in match[0].splitlines() if row.startswith("| `")]
    assert sorted(documented) == sorted(path for path, _ in leaves(skill.schema(action)))
