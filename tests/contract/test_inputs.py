"""Every kind of input, every check of preflight and every action of a model passes these because it exists."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
from preflight_worlds import QuietPlatform, make_job

from tao_skill_bank import preflight
from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.skill_info import OUTPUT
from tao_skill_bank.contracts import Finding, Input, Request, Workload
from tao_skill_bank.core import nested
from tao_skill_bank.data import kinds
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.planning import dispatch
from tao_skill_bank.preflight import checks, facts

MODEL_SKILLS = [skill for skill in catalog.skills() if skill.runs_actions]
ACTIONS = [(skill, action) for skill in MODEL_SKILLS for action in skill.info.actions]
PACKAGES = [f"tao_skill_bank.models.{skill.info.package}" for skill in MODEL_SKILLS]
KINDS = sorted({(name, package) for package in ("", *PACKAGES) for name in kinds.names(package)})
ABSENT = "/absent"


def named(value: object) -> str:
    return value.name if isinstance(value, catalog.Skill) else str(value).rpartition(".")[2]


def blocking(given: Input, package: str, scratch: Path, workload: Workload) -> list[Finding]:
    kind = kinds.of(given, package)
    with ThreadPoolExecutor(1) as pool:
        context = kinds.Context(pool, scratch, workload)
        seen = kind.look(given, context)
        assert seen.input.kind == given.kind
        return [found for found in kind.check([seen], context) if found.severity == "blocking"]


@pytest.mark.parametrize(("name", "package"), KINDS, ids=named)
def test_a_path_that_does_not_exist_blocks_whatever_is_expected_there(name: str, package: str, tmp_path: Path) -> None:
    paths = {each: str(tmp_path / "absent" / each) for each in kinds.load(name, package).paths}
    found = blocking(Input("train", name, paths), package, tmp_path, Workload())
    assert found
    assert all(finding.fix for finding in found)


@pytest.mark.parametrize(("name", "package"), KINDS, ids=named)
def test_what_lies_elsewhere_is_looked_at_without_being_read_and_blocks_nothing(
    name: str, package: str, tmp_path: Path
) -> None:
    kind = kinds.load(name, package)
    given = Input("train", name, {each: f"s3://bucket/{each}" for each in kind.paths})
    with ThreadPoolExecutor(1) as pool:
        context = kinds.Context(pool, tmp_path)
        found = kind.check([kind.look(given, context)], context)
    assert {finding.severity for finding in found} == {"not_checked"}


@pytest.mark.parametrize(("name", "package"), KINDS, ids=named)
def test_a_kind_is_shown_by_one_of_its_paths_and_names_those_that_it_has(name: str, package: str) -> None:
    kind = kinds.load(name, package)
    given = Input("train", name, {each: f"/data/{each}" for each in kind.paths})
    label, shown = kinds.row(given, package)
    assert label
    assert shown in given.paths.values()
    assert set(kind.media_folders) <= set(kind.paths)
    assert {place.named_in for place in kind.paths.values()} <= {"", *kind.paths}


def test_no_kind_imports_torch() -> None:
    modules = [kinds.load(name, package).look.__module__ for name, package in KINDS]
    code = f"import sys, {', '.join(dict.fromkeys(modules))}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "av"} & set(loaded)


def input_keys(skill: catalog.Skill, action: str) -> Iterator[str]:
    """Yield the keys of paths that skill_info names and the action reads, but for those of its models."""
    inputs = skill.info.actions[action].inputs
    yield from (key for key in skill.info.input_keys(action) if key not in inputs.models)
    yield from (key for key in inputs.listed if OUTPUT not in key)


def spec_of(skill: catalog.Skill, action: str) -> dict[str, object]:
    """Return the action's default spec with every key that names a path set to one of its own that does not exist."""
    values = skill.schema(action)["default"]
    listed = skill.info.actions[action].inputs.listed
    for key in (*skill.info.input_keys(action), *listed):
        path = f"{ABSENT}/{key}"
        value = [{"path": path, "name": "one", listed[key]: path}] if key in listed else path
        values = nested.with_value(values, key, value)
    return values


@pytest.mark.parametrize(("skill", "action"), ACTIONS, ids=named)
def test_everything_that_an_action_is_given_to_read_is_looked_at(
    skill: catalog.Skill, action: str, tmp_path: Path
) -> None:
    package = f"tao_skill_bank.models.{skill.info.package}"
    workload = import_module(f"{package}.workload").describe(action, spec_of(skill, action))
    kinds.require(workload.inputs, package)
    expected = {f"{ABSENT}/{key}" for key in input_keys(skill, action)}
    assert expected <= set(workload.paths)
    for given in workload.inputs:
        assert blocking(given, package, tmp_path, workload), given


def test_checks_are_found_by_location_in_the_order_of_rooms_and_names() -> None:
    found = [check.module.__name__.split(".")[-2:] for check in checks.found()]
    assert found == sorted(found, key=lambda name: (checks.ROOMS.index(name[0]), name[1]))
    rooms = Path(checks.__file__).parent
    assert {path.name for path in rooms.iterdir() if (path / "__init__.py").is_file()} == set(checks.ROOMS)
    assert all(set(check.needs) <= facts.names() for check in checks.found())


# --- a skill that nobody knows yet --------------------------------------------------------------------------------

KIND = """
from tao_skill_bank.contracts import contract
from tao_skill_bank.core.findings import blocking
from tao_skill_bank.data.kinds import Found, Kind, Place, findings_of
from pathlib import Path

@contract
class Options:
    columns: int = 1

def look(given, context):
    path = given.paths["table"]
    failure = None if Path(path).is_file() else blocking("table_missing", f"{path} does not exist.", "Make it.", path)
    return Found(given, failure)

KIND = Kind("table", Options, {"table": Place("file")}, look, findings_of)
"""


@pytest.fixture
def toy(third_skill: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of kinds that the toy model brings; what it imports is forgotten afterwards."""
    import tao_skill_bank.models

    package = import_module("tao_skill_bank.models.toy")
    (tmp_path / "toy" / "kinds").mkdir(parents=True)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / "toy")])
    yield tmp_path / "toy" / "kinds"
    for name in [name for name in sys.modules if name.startswith("tao_skill_bank.models.toy")]:
        del sys.modules[name]
    del tao_skill_bank.models.toy


def plan_with(monkeypatch: pytest.MonkeyPatch, *inputs: Input) -> list[Finding]:
    workload = import_module("tao_skill_bank.models.toy.workload")
    described = workload.describe
    monkeypatch.setattr(workload, "describe", lambda *args: replace(described(*args), inputs=inputs))
    return list(dispatch.plan(Request("toy", "train", automl_policy="off")).findings)


def test_a_model_may_bring_a_kind_of_its_own(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (toy / "table.py").write_text(KIND)
    assert "table" in kinds.names("tao_skill_bank.models.toy")
    absent = Input("train", "table", {"table": str(tmp_path / "absent.csv")}, {"columns": 2})
    assert [found.code for found in plan_with(monkeypatch, absent) if found.severity == "blocking"] == ["table_missing"]


@pytest.mark.parametrize(
    ("source", "given", "file", "told"),
    [
        (None, Input("train", "tabel", {}), "workload.py", "there is no kind of input 'tabel'"),
        ("KIN = 1", Input("train", "table", {}), "kinds/table.py", "it has no KIND"),
        ("KIND = print", Input("train", "table", {}), "kinds/table.py", "is not a tao_skill_bank.data.kinds.Kind"),
        (
            KIND.replace("columns: int = 1", "columns: int"),
            Input("train", "table", {}),
            "kinds/table.py",
            "have no default: columns",
        ),
        (KIND, Input("train", "table", {"path": "/x"}), "workload.py", "names the paths path"),
        (KIND, Input("train", "table", {"table": "/x"}, {"colums": 2}), "workload.py", "colums"),
        (KIND, Input("train", "table", {"table": "/x"}, {"columns": "two"}), "workload.py", "columns"),
    ],
    ids=["unknown", "no KIND", "another KIND", "no default", "paths", "unknown option", "option of another type"],
)
def test_a_kind_that_is_not_understood_is_one_error_that_names_the_file(
    toy: Path, monkeypatch: pytest.MonkeyPatch, source: str | None, given: Input, file: str, told: str
) -> None:
    if source is not None:
        (toy / "table.py").write_text(source)
    with pytest.raises(BlockedError) as caught:
        plan_with(monkeypatch, given)
    (problem,) = caught.value.problems
    assert file in problem.message
    assert told in problem.message
    assert problem.fix


def test_a_path_that_a_test_makes_up_is_found_by_preflight(toy: Path, tmp_path: Path) -> None:
    (toy / "table.py").write_text(KIND)
    given = Input("made up", "table", {"table": str(tmp_path / "absent.csv")})
    job = replace(make_job(tmp_path, given, model="", trains=False), module="tao_skill_bank.models.toy.train")
    found = preflight.run(job, QuietPlatform())
    assert [(finding.code, finding.path) for finding in found if finding.severity == "blocking"] == [
        ("table_missing", str(tmp_path / "absent.csv"))
    ]
