"""Which versions of a plan are run, and which are only read."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import version_1

from tao_skill_bank.contracts import Plan, from_json, to_json
from tao_skill_bank.errors import ConflictError, RequestError
from tao_skill_bank.planning import planner
from tao_skill_bank.runs import plan_versions
from tao_skill_bank.runs.run_directory import RunDirectory

Documents = dict[str, dict[str, Any]]
LAUNCHED = sorted(str(path.relative_to(version_1.FIXTURES)) for path in version_1.FIXTURES.glob("runs/**/plan.json"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> version_1.Installed:
    return version_1.install(tmp_path_factory.mktemp("version_1") / "root")


@pytest.mark.parametrize("name", [*(f"plans/{name}.json" for name in version_1.PLANS), *LAUNCHED])
def test_a_plan_of_version_1_is_upgraded_to_one_that_is_valid_now(name: str, installed: version_1.Installed) -> None:
    path = installed.root / name
    document = version_1.document(path)
    before = copy.deepcopy(document)
    upgraded = plan_versions.upgrade(document)
    assert document == before, "the upgrade changes nothing in place"
    assert plan_versions.upgrade(upgraded) == upgraded
    plan = from_json(Plan, upgraded, name)
    assert to_json(plan) == upgraded
    assert (plan.schema_version, plan.sha256) == (plan_versions.CURRENT, document["sha256"])
    assert plan_versions.read_launched(path, sealed=True) == plan


def test_a_document_of_another_version_is_left_as_it_is() -> None:
    for document in ({"schema_version": 3, "job": {}}, {"job": {}}, {"schema_version": plan_versions.CURRENT}):
        assert plan_versions.upgrade(document) == document


def test_readers_of_single_fields_see_the_current_version(installed: version_1.Installed, tmp_path: Path) -> None:
    run = RunDirectory(installed.run("reason_train"))
    assert run.plan_document()["schema_version"] == plan_versions.CURRENT
    (tmp_path / "plan.json").write_text("[1]")
    assert RunDirectory(tmp_path).plan_document() == {}
    assert RunDirectory(tmp_path / "missing").plan_document() == {}


@pytest.mark.parametrize("version", [3, 0, "1", None])
def test_a_sealed_plan_of_an_unknown_version_is_refused_before_it_is_read(
    version: Any, installed: version_1.Installed, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    document = {**version_1.document(installed.plan("reason_train_direct")), "schema_version": version, "news": 1}
    if version is None:
        del document["schema_version"]
    path.write_text(json.dumps(document))
    with pytest.raises(ConflictError) as refused:
        planner.read(path)
    (problem,) = refused.value.problems
    assert (problem.code, problem.got, refused.value.exit_code) == ("plan_version", version, 7)
    assert problem.fix.startswith("Plan the request again: tao-skills plan tao-finetune-cosmos-reason train ")


def test_a_run_directory_of_a_later_version_names_what_reads_it(installed: version_1.Installed, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**version_1.document(installed.plan("reason_train_direct")), "schema_version": 3}))
    with pytest.raises(ConflictError, match="has schema_version 3; this release reads 1 to 2"):
        plan_versions.read_launched(path)


def test_an_edited_plan_of_version_1_is_found_out(installed: version_1.Installed, tmp_path: Path) -> None:
    document = version_1.document(installed.plan("reason_train_direct"))
    document["files"]["launch.sh"] = "true\n"
    (tmp_path / "plan.json").write_text(json.dumps(document))
    with pytest.raises(ConflictError, match="edited after it was sealed"):
        plan_versions.read_launched(tmp_path / "plan.json", sealed=True)


def test_a_file_that_is_not_a_plan_is_a_request_error(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("[]")
    for read in (planner.read, plan_versions.read_launched):
        with pytest.raises(RequestError, match="does not hold a plan"):
            read(tmp_path / "plan.json")
