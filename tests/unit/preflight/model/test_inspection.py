import json
import resource
import sys
from dataclasses import replace

import pytest
from preflight_worlds import codes, make_job

from tao_skill_bank.core import settings
from tao_skill_bank.preflight.model import inspection

ANSWER = {"parameters": 7, "checkpoint_bytes": 11}


@pytest.fixture(autouse=True)
def _own_inspections(monkeypatch, tmp_path):
    """Start without inspections of other tests."""
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def model(tmp_path, monkeypatch):
    """Make a model package whose inspect module runs `body`, and a job of it."""
    package = tmp_path / "code" / "toy_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    def make(body):
        (package / "inspect.py").write_text(body)
        return replace(make_job(tmp_path), module="toy_model.train")

    yield make
    sys.modules.pop("toy_model", None)


def test_the_answer_of_the_child_is_returned_and_cached_by_spec(model, tmp_path):
    calls = tmp_path / "calls"
    job = model(
        f"import json, sys\nopen({str(calls)!r}, 'a').write('x')\n"
        f"assert '--config' in sys.argv\nprint('noise')\nprint(json.dumps({ANSWER}))"
    )
    assert inspection.inspect(job).answer == ANSWER
    assert inspection.inspect(job).answer == ANSWER
    assert calls.read_text() == "x"
    assert list((settings.state_dir() / "cache" / "inspect").glob("*.json"))
    elsewhere = replace(job, results_dir="/other/job-2", spec={**job.spec, "results_dir": "/other/job-2"})
    here = replace(job, spec={**job.spec, "results_dir": job.results_dir})
    inspection.inspect(here)
    inspection.inspect(elsewhere)
    assert calls.read_text() == "xx"
    inspection.inspect(replace(job, spec={**job.spec, "other": 1}))
    assert calls.read_text() == "xxx"


def test_specs_that_differ_in_what_sizes_nothing_share_an_answer(model, tmp_path):
    calls = tmp_path / "calls"
    job = model(f"import json\nopen({str(calls)!r}, 'a').write('x')\nprint(json.dumps({ANSWER}))")
    job = replace(job, workload=replace(job.workload, unsized=("train.optm_lr",)))
    for rate in (1e-4, 1e-5):
        assert inspection.inspect(replace(job, spec={**job.spec, "train": {"optm_lr": rate}})).answer == ANSWER
    assert calls.read_text() == "x"
    inspection.inspect(replace(job, spec={**job.spec, "train": {"optm_lr": 1e-4, "compile": True}}))
    assert calls.read_text() == "xx"


def test_the_child_reads_the_spec_in_the_jobs_own_format(model):
    job = model(
        "import json, sys, tomllib\n"
        "print(json.dumps({'vision': tomllib.load(open(sys.argv[2], 'rb'))['custom']['vision']}))"
    )
    assert inspection.inspect(job).answer == {"vision": {"fps": 2.0}}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("import json, sys\nprint(json.dumps({'error': 'unknown architecture'}))\nsys.exit(3)", "unknown architecture"),
        ("raise RuntimeError('boom')", "boom"),
        ("print('no json')", "exit code 0"),
        ("import os; os.abort()", "exit code"),
    ],
)
def test_a_child_that_cannot_answer_is_not_checked_with_its_reason_and_not_cached(model, body, reason):
    found = inspection.inspect(model(body))
    assert found.answer == {}
    assert (found.failure.code, found.failure.severity) == ("model_not_inspected", "not_checked")
    assert reason in found.failure.message
    assert not list(settings.state_dir().glob("cache/inspect/*.json"))


def test_a_child_that_hangs_is_given_up(model, monkeypatch):
    monkeypatch.setattr(inspection, "TIMEOUT_SECONDS", 0.5)
    assert "0.5 seconds" in inspection.inspect(model("import time; time.sleep(60)")).failure.message


def test_a_model_without_an_inspect_module_is_not_checked(tmp_path):
    job = replace(make_job(tmp_path), module="tao_skill_bank.models.absent.train")
    assert codes([inspection.inspect(job).failure], "not_checked") == ["model_not_inspected"]


def test_without_torch_the_pip_command_is_named(model, monkeypatch):
    find_spec = inspection.find_spec
    monkeypatch.setattr(inspection, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    assert "pip install 'tao-skill-bank[train]'" in inspection.inspect(model("")).failure.fix


def test_the_memory_of_other_actions_is_not_estimated_and_that_is_said(tmp_path):
    found = inspection.inspect(make_job(tmp_path, trains=False))
    assert found.answer == {}
    assert (found.failure.code, found.failure.severity) == ("memory_not_estimated", "not_checked")


def test_a_cache_that_cannot_be_written_does_not_matter(model, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "file"))
    assert inspection.inspect(model(f"print({json.dumps(json.dumps(ANSWER))})")).answer == ANSWER


@pytest.mark.parametrize("text", ["", "[]", "{", "\0", "nonsense", None])
def test_a_cached_answer_that_cannot_be_read_is_computed_again(model, text):
    job = model(f"print({json.dumps(json.dumps(ANSWER))})")
    inspection.inspect(job)
    (kept,) = (settings.state_dir() / "cache" / "inspect").iterdir()
    kept.unlink()
    if text is None:
        kept.mkdir()
    else:
        kept.write_text(text)
    assert inspection.inspect(job).answer == ANSWER
    assert len(list(kept.parent.iterdir())) == 1  # nothing is left of a write that failed


def test_a_disk_without_room_for_the_cache_does_not_matter(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # as a full disk: a write fails, a new file does not
    try:
        inspection._store(tmp_path / "cache" / "answer.json", ANSWER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_spec_names_in_vain_blocks_and_what_else_it_does_is_information():
    problem = {"code": "names_nothing", "message": "No head.", "fix": "Remove it.", "path": "frozen", "got": ["head"]}
    answer = {"problems": [problem], "notes": [{"code": "head_is_tied", "message": "Frozen too.", "path": "frozen"}]}
    found = inspection.check(inspection.Inspection(answer))
    assert [(finding.code, finding.severity) for finding in found] == [
        ("names_nothing", "blocking"),
        ("head_is_tied", "info"),
    ]
    assert (found[0].fix, found[0].path) == ("Remove it.", "frozen")
