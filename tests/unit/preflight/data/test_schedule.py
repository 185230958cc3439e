import pytest
from preflight_worlds import codes, look, make_job, make_record, only, use_of

from tao_skill_bank.contracts import WarmUp
from tao_skill_bank.preflight.data import schedule


@pytest.fixture
def findings_of(dataset, tmp_path):
    def run(num_records, **workload):
        root = dataset(records=[make_record(index) for index in range(num_records)])
        job = make_job(tmp_path, use_of(root), batch_per_rank=1, data_parallel_ranks=1, **workload)
        return schedule.check(job, look(*job.workload.inputs, required_fields=("video_fps",))[0])

    return run


@pytest.mark.parametrize(("epochs", "expected"), [(4, ["few_steps"]), (5, [])])
def test_a_training_of_fewer_steps_than_the_threshold_is_warned_of(findings_of, epochs, expected):
    assert codes(findings_of(10, epochs=epochs)) == expected


@pytest.mark.parametrize(
    ("warm_up", "value"),
    [(WarmUp("a.epochs", epochs=6.0), "--set a.epochs=0.6"), (WarmUp("a.steps", steps=1000), "--set a.steps=6")],
)
def test_a_warm_up_as_long_as_the_training_is_warned_of_with_a_shorter_one(findings_of, warm_up, value):
    found = only(findings_of(10, epochs=6, warm_up=warm_up), "warm_up_never_ends")
    assert found.severity == "warning"
    assert found.evidence["steps"] == 60
    assert value in found.fix


def test_a_warm_up_that_a_stopped_training_does_not_leave_is_warned_of(findings_of):
    warm_up = WarmUp("a.steps", steps=60)
    assert codes(findings_of(10, epochs=6, scheduled_epochs=10, warm_up=warm_up)) == ["warm_up_never_ends"]
    assert codes(findings_of(10, epochs=7, scheduled_epochs=10, warm_up=warm_up)) == []


def test_a_training_without_a_step_is_left_to_the_check_of_steps(findings_of):
    assert codes(findings_of(0, epochs=6, warm_up=WarmUp("a.steps", steps=60))) == []
