import pytest
from preflight_worlds import codes, look, make_job, make_record, only, use_of

from tao_skill_bank.contracts import WarmUp
from tao_skill_bank.preflight.data import schedule, step_limit, steps

RECORDS = 10


@pytest.fixture
def findings_of(dataset, tmp_path):
    def run(check, **workload):
        root = dataset(records=[make_record(index) for index in range(RECORDS)])
        job = make_job(tmp_path, use_of(root), batch_per_rank=1, data_parallel_ranks=1, epochs=3, **workload)
        return check(job, look(*job.workload.inputs, required_fields=("video_fps",))[0])

    return run


@pytest.mark.parametrize(("max_steps", "epochs"), [(4, "0.4"), (10, "1"), (25, "2.5")])
def test_the_plan_says_what_the_steps_are_in_epochs(findings_of, max_steps, epochs):
    found = only(findings_of(step_limit.check, max_steps=max_steps), "by_steps")
    assert (found.severity, found.path) == ("info", "train.max_steps")
    assert f"after {epochs} epochs; train.epoch does not count" in found.message
    assert ("once, at the end" in found.message) == (max_steps < RECORDS)
    assert only(findings_of(steps.check, max_steps=max_steps), "steps").evidence["total_steps"] == max_steps


def test_a_training_by_epochs_has_no_finding(findings_of):
    assert findings_of(step_limit.check) == []


@pytest.mark.parametrize(("warm_up", "is_refused"), [(0.4, False), (0.5, True), (1.0, True)])
def test_a_warm_up_in_epochs_beyond_the_steps_blocks_once_with_one_that_fits(findings_of, warm_up, is_refused):
    workload = {"max_steps": 4, "warm_up": WarmUp("train.optm_warmup_epochs", epochs=warm_up)}
    found = findings_of(step_limit.check, **workload)
    assert codes(found) == (["by_steps", "warm_up_after_the_end"] if is_refused else ["by_steps"])
    assert codes(findings_of(schedule.check, **workload)) == (
        ["few_steps"] if is_refused else ["few_steps", "warm_up_never_ends"]
    )
    if is_refused:
        blocked = only(found, "warm_up_after_the_end")
        assert (blocked.severity, blocked.fix_set) == ("blocking", {"train.optm_warmup_epochs": 0.0})


def test_a_warm_up_in_steps_is_left_to_the_check_of_the_schedule(findings_of):
    workload = {"max_steps": 4, "warm_up": WarmUp("train.warmup_steps", steps=50)}
    assert codes(findings_of(step_limit.check, **workload)) == ["by_steps"]
    assert codes(findings_of(schedule.check, **workload)) == ["few_steps", "warm_up_never_ends"]
