from pathlib import Path
from typing import Any

import pytest
from runs import make_job, make_record

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank.schema import leaves
from tao_skill_bank.contracts import State, Transition, to_json
from tao_skill_bank.core import nested
from tao_skill_bank.jobs import diagnose, failure_rules
from tao_skill_bank.jobs.diagnosis import Diagnosis
from tao_skill_bank.jobs.failure_rules import Rule, Step
from tao_skill_bank.jobs.sized_fix import PlannedRun
from tao_skill_bank.runs.run_directory import RunDirectory, verbatim_json

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"
OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB."
MINI_BATCH, BATCH = "train.train_policy.mini_batch", "train.train_batch_per_replica"


def spec_of(skill: str, action: str, **values: Any) -> dict[str, Any]:
    spec = catalog.find(skill).schema(action)["default"]
    for path, value in values.items():
        spec = nested.with_value(spec, path, value)
    return spec


def run_of(skill: str, action: str, **values: Any) -> PlannedRun:
    return PlannedRun(catalog.find(skill).info.package, action, skill, spec_of(skill, action, **values))


def fix_of(line: str, run: PlannedRun) -> Diagnosis:
    root, *_ = diagnose.diagnose_text([f"{line}\n"], "job.log", run)
    return root


@pytest.mark.parametrize(
    ("batch", "now", "expected"), [(32, 4, 2), (32, 2, 1), (30, 6, 3), (9, 9, 3), (7, 7, 1), (30, 5, 2), (12, 4, 2)]
)
def test_a_micro_batch_shrinks_to_the_next_divisor_of_the_batch(batch: int, now: int, expected: int) -> None:
    found = fix_of(OUT_OF_MEMORY, run_of(REASON, "train", **{BATCH: batch, MINI_BATCH: now}))
    assert (found.code, found.fix_set) == ("training_out_of_memory", {MINI_BATCH: expected})
    assert f"{MINI_BATCH}={expected} (now {now})" in found.cure


def test_at_the_smallest_micro_batch_the_next_setting_is_named() -> None:
    small = {MINI_BATCH: 1, "policy.model_gradient_checkpointing": True, "custom.vision.total_pixels": 65536}
    assert fix_of(OUT_OF_MEMORY, run_of(REASON, "train", **small)).fix_set == {"custom.vision.total_pixels": 32768}


@pytest.mark.parametrize(
    ("batch", "steps", "expected"), [(4, 1, (2, 2)), (2, 3, (1, 6)), (6, 2, (3, 4)), (5, 1, (1, 5))]
)
def test_a_smaller_batch_keeps_the_samples_of_a_step(batch: int, steps: int, expected: tuple[int, int]) -> None:
    keys = ("train.batch_size", "train.gradient_accumulation_steps")
    found = fix_of(OUT_OF_MEMORY, run_of(PREDICT, "train", **dict(zip(keys, (batch, steps), strict=True))))
    assert (found.code, found.fix_set) == ("video_out_of_memory", dict(zip(keys, expected, strict=True)))


def test_frames_shrink_to_a_number_that_the_model_can_encode() -> None:
    run = run_of(PREDICT, "generate", **{"batch_size": 1, "num_frames": 93})
    (key,) = fix_of(OUT_OF_MEMORY, run).fix_set
    assert key == "num_frames"
    assert fix_of(OUT_OF_MEMORY, run).fix_set == {"num_frames": 45}


@pytest.mark.parametrize(("skill", "key"), [(REASON, "train.optm_lr"), (PREDICT, "train.optm_lr")])
def test_a_learning_rate_is_lowered_to_a_quarter(skill: str, key: str) -> None:
    found = fix_of("error: The training loss became nan at step 12.", run_of(skill, "train", **{key: 2e-4}))
    assert (found.code, found.fix_set) == ("loss_not_finite", {key: 5e-5})


@pytest.mark.parametrize("skill", [REASON, PREDICT])
def test_a_diagnosis_names_only_keys_that_its_skill_has(skill: str) -> None:
    other = {REASON: PREDICT, PREDICT: REASON}[skill]
    run = run_of(skill, "train")
    foreign = {path for path in _keys(other) if "." in path} - _keys(skill)
    for line in (OUT_OF_MEMORY, "loss: nan", "OSError: [Errno 28] No space left", "Bus error", "KeyError: 'video_fps'",
                 "RuntimeError: operator torchvision::nms does not exist", "Reason: OOMKilled"):  # fmt: skip
        found = fix_of(line, run)
        named = {word.strip(".,;:()`'").partition("=")[0] for word in f"{found.cause} {found.cure}".split()}
        assert not named & foreign, line
        assert set(found.fix_set) <= _keys(skill)


def _keys(skill: str) -> set[str]:
    found = catalog.find(skill)
    return {path for action in found.info.actions for path, _ in nested.flatten(found.schema(action)["default"])}


STEPS = [(rule, step) for rule in failure_rules.rules() for step in rule.steps]


@pytest.mark.parametrize(("rule", "step"), STEPS, ids=lambda value: value.code if isinstance(value, Rule) else "")
def test_every_key_of_a_step_is_one_of_its_skill_and_action(rule: Rule, step: Step) -> None:
    skill = next(skill for skill in catalog.skills() if skill.runs_actions and skill.info.package == rule.package)
    assert not rule.actions or step.action in rule.actions
    known = {path for path, _ in leaves(skill.schema(step.action))}
    named = {step.lower, step.multiply, step.double, *dict(step.set)} - {""}
    assert named
    assert named <= known


def test_without_a_plan_there_is_no_size() -> None:
    root, *_ = diagnose.diagnose_text(
        [OUT_OF_MEMORY, "\ntao_skill_bank.models.cosmos_reason.train FAILED\n"], "job.log"
    )
    assert (root.code, dict(root.fix_set)) == ("training_out_of_memory", {})


def test_a_skill_that_is_gone_gives_no_size() -> None:
    run = run_of(REASON, "train")
    assert fix_of(OUT_OF_MEMORY, PlannedRun("cosmos_reason", "train", "tao-gone", run.spec)).fix_set == {}


@pytest.fixture
def failed(tmp_path: Path) -> RunDirectory:
    """Return the run directory of a failed training, with a log, and make its plan name the trainer's module."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "job.log").write_text(f"{OUT_OF_MEMORY}\n")
    job = make_job(tmp_path, module="tao_skill_bank.models.cosmos_reason.train", spec=spec_of(REASON, "train"))
    (tmp_path / "plan.json").write_text(verbatim_json({"job": to_json(job)}))
    return RunDirectory(tmp_path)


def test_a_log_in_a_run_directory_is_diagnosed_with_its_plan(failed: RunDirectory) -> None:
    (root,) = diagnose.diagnose(failed.log_file)
    assert root.fix_set == {MINI_BATCH: 2}
    assert to_json(root)["fix_set"] == {MINI_BATCH: 2}


FAILURE = '{"state": "FAILURE", "message": "m", "diagnosis": {"code": "%s", "cause": "C.", "cure": "F."}}\n'


def diagnosed(run: RunDirectory, state: State = State.ERROR) -> list[Diagnosis]:
    transitions = (Transition("", State.RUNNING), Transition("", state, "Exit code 1."))
    record = make_record(make_job(run.path), transitions=transitions, terminal_state=state)
    return diagnose.diagnose_job(record)


def test_what_a_trainer_reports_is_sized_by_the_rule_of_its_code_and_said_once(failed: RunDirectory) -> None:
    failed.status_file.write_text(FAILURE % "cuda_out_of_memory")
    (root,) = diagnosed(failed)
    assert (root.code, root.fix_set, root.retry) == ("cuda_out_of_memory", {MINI_BATCH: 2}, "after_change")
    assert root.cure.endswith("F.")


def test_the_root_cause_may_be_in_the_log_of_another_node(failed: RunDirectory) -> None:
    failed.status_file.write_text(FAILURE % "peer_died")
    failed.log_file.write_text("Watchdog caught collective operation timeout: WorkNCCL(SeqNum=91)\n")
    (failed.path / "logs" / "node_1.log").write_text("x\nRuntimeError: CUDA error: device-side assert triggered\n")
    root, *others = diagnosed(failed)
    assert (root.code, Path(root.source).name, root.line_number) == ("device_side_assert", "node_1.log", 2)
    assert {other.role for other in others} == {"follower"}
    assert {other.code for other in others} == {"collective_timeout"}


def test_a_job_that_is_complete_has_no_failure_whatever_its_log_says(failed: RunDirectory) -> None:
    (found,) = diagnosed(failed, State.COMPLETE)
    assert (found.code, found.err_class) == ("no_failure", None)
