"""A program looks for everything that it reads before it loads a weight."""

import json
import os
import shutil
import socket
from importlib import import_module
from pathlib import Path

import pydantic
import pytest

pytest.importorskip("torch")

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.skill_info import OUTPUT
from tao_skill_bank.core import nested
from tao_skill_bank.errors import BlockedError, TaoSkillsError
from tao_skill_bank.training import distributed, entrypoint, required_inputs

SKILLS = [skill for skill in catalog.skills() if skill.runs_actions]
ACTIONS = [(skill, action) for skill in SKILLS for action in skill.info.actions]
ALSO_NEEDED = {"tao-label-videos": {"endpoint.url": "http://127.0.0.1:8000/v1"}}  # in a group of the spec


def keys_of(skill, action):
    """Return the keys of a spec that name single local paths which the action reads."""
    return [key for key in skill.info.input_keys(action) if OUTPUT not in key]


def spec_with(skill, action, folder):
    """Return the spec of an action whose paths lie in a folder, and these paths by their key."""
    schema = skill.schema(action)
    values = schema["default"] | {
        name: "x" for name in schema.get("required", ()) if schema["default"].get(name) is None
    }
    paths = {key: str(folder / key) for key in keys_of(skill, action)}
    for key, path in (paths | ALSO_NEEDED.get(skill.name, {})).items():
        values = nested.with_value(values, key, path)
    kind = skill.spec_class(action)
    spec = pydantic.TypeAdapter(kind).validate_json(json.dumps(nested.without_nulls(values)))
    module = import_module(f"tao_skill_bank.models.{skill.info.package}.workload")
    read = module.describe(action, pydantic.TypeAdapter(kind).dump_python(spec, mode="json")).paths
    return spec, sorted(path for path in read if path.startswith(str(folder)))


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=lambda value: getattr(value, "name", value))
def test_every_path_that_an_action_reads_is_looked_for_and_named_with_the_machine(skill, action, tmp_path):
    spec, paths = spec_with(skill, action, tmp_path / "data")
    with pytest.raises(TaoSkillsError) as error:
        required_inputs.require(spec, tmp_path)
    assert sorted(problem.path for problem in error.value.problems) == paths
    codes = {problem.code for problem in error.value.problems}
    assert codes <= {"input_missing", "checkpoint_missing"}
    assert error.value.exit_code == (5 if codes == {"checkpoint_missing"} else 3)
    assert all(socket.gethostname() in problem.message and problem.fix for problem in error.value.problems)
    for path in paths:
        Path(path).mkdir(parents=True)
    required_inputs.require(spec, tmp_path)
    shutil.rmtree(paths[-1])
    with pytest.raises(TaoSkillsError) as error:
        required_inputs.require(spec, tmp_path)
    assert [problem.path for problem in error.value.problems] == [paths[-1]]


def test_a_program_of_no_model_reads_nothing_that_is_known(tmp_path):
    required_inputs.require(None, tmp_path)
    required_inputs.require({"train_dir": "/absent"}, tmp_path)


def test_a_job_without_its_data_ends_with_a_diagnosis_before_its_program_starts(tmp_path):
    skill = next(skill for skill in SKILLS if "train" in skill.info.actions)
    spec, paths = spec_with(skill, "train", tmp_path / "data")
    try:
        code = entrypoint.run(spec, lambda *_: pytest.fail("it started"), tmp_path / "run")
    finally:
        distributed.stop()
    assert code == BlockedError.exit_code
    lines = [json.loads(line) for line in (tmp_path / "run" / "status.jsonl").read_text().splitlines()]
    assert lines[-1]["diagnosis"]["code"] in ("input_missing", "checkpoint_missing")
    assert all(path in lines[-1]["message"] for path in paths)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_results_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(BlockedError) as error:
        required_inputs.require(None, tmp_path / "run")
    assert [problem.code for problem in error.value.problems] == ["results_dir_unwritable"]
