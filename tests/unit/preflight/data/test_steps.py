from dataclasses import replace

import pytest
from preflight_worlds import codes, look, make_job, make_record, only, use_of

from tao_skill_bank.preflight.data import steps


@pytest.fixture
def findings_of(dataset, tmp_path):
    def run(num_records, records=None, **workload):
        root = dataset(records=records or [make_record(index) for index in range(num_records)])
        job = make_job(tmp_path, use_of(root), **workload)
        return steps.check(job, look(*job.workload.inputs, required_fields=("video_fps",))[0])

    return run


def test_steps_are_reported_with_what_is_left_over(findings_of):
    found = only(findings_of(23, batch_per_rank=4, data_parallel_ranks=2, epochs=5), "steps")
    assert found.severity == "info"
    assert found.evidence["steps_per_epoch"] == 2
    assert found.evidence["total_steps"] == 10
    assert "7 records are dropped per epoch" in found.message


def test_steps_up_to_an_early_stop_are_counted_and_told_as_such(findings_of):
    found = only(findings_of(23, batch_per_rank=4, data_parallel_ranks=2, epochs=2, scheduled_epochs=5), "steps")
    assert found.evidence["total_steps"] == 4
    assert "4 in all (it stops after epoch 2 of 5)" in found.message


def test_records_of_an_own_validation_set_are_counted_as_those_that_are_split_off(dataset, tmp_path, findings_of):
    train, held_out = (
        use_of(dataset(role, records=[make_record(index) for index in range(count)]), role)
        for role, count in (("train", 8), ("eval", 3))
    )
    job = make_job(tmp_path, train, held_out, batch_per_rank=4)
    seen, _ = look(train, held_out, required_fields=("video_fps",))
    found = only(steps.check(job, seen), "steps")
    assert (found.evidence["records"], found.evidence["validation_records"]) == (8, 3)
    assert found.message.endswith("Validation reads 3 records.")
    split = only(findings_of(8, batch_per_rank=4, validation_split=0.25), "steps")
    assert split.evidence["validation_records"] == 2
    elsewhere = replace(held_out, paths={name: f"s3://bucket{path}" for name, path in held_out.paths.items()})
    seen = [*seen[:1], *look(elsewhere)[0]]
    assert only(steps.check(job, seen), "steps").evidence["validation_records"] is None  # not known here


@pytest.mark.parametrize(
    ("num_records", "workload", "fix"),
    [
        (22, {"batch_per_rank": 32, "micro_batch": 4, "data_parallel_ranks": 1}, "at most 20"),
        (22, {"batch_per_rank": 32, "micro_batch": 4, "data_parallel_ranks": 2}, "at most 8"),
        (7, {"batch_per_rank": 8, "micro_batch": 4, "data_parallel_ranks": 2}, "micro-batch to a divisor"),
        (3, {"batch_per_rank": 1, "micro_batch": 1, "data_parallel_ranks": 4}, "at most 3 data-parallel ranks"),
        (10, {"batch_per_rank": 8, "validation_split": 0.5}, "at most 5"),
        (10, {"batch_per_rank": 8, "validation_split": 3}, "at most 7"),
    ],
)
def test_a_batch_larger_than_the_records_of_a_rank_blocks_with_the_largest_valid_one(
    findings_of, num_records, workload, fix
):
    found = only(findings_of(num_records, **workload), "batch_exceeds_records")
    assert found.severity == "blocking"
    assert fix in found.fix


def test_the_largest_batch_that_is_named_is_valid(findings_of):
    blocked = only(findings_of(22, batch_per_rank=32, micro_batch=4, data_parallel_ranks=2), "batch_exceeds_records")
    largest = blocked.evidence["largest_batch"]
    assert codes(findings_of(22, batch_per_rank=largest, micro_batch=4, data_parallel_ranks=2)) == ["steps"]


def test_only_usable_records_count(findings_of):
    records = [make_record(0), make_record(1), make_record(2, video_fps=None)]
    assert only(findings_of(0, records, batch_per_rank=3), "batch_exceeds_records").evidence["records"] == 2


@pytest.mark.parametrize("split", [0.01, 10, 12])
def test_a_split_that_leaves_one_side_empty_blocks(findings_of, split):
    assert codes(findings_of(10, batch_per_rank=1, validation_split=split)) == ["split_empty"]


def test_an_evaluation_has_no_steps(findings_of):
    assert findings_of(4, trains=False) == []


def test_more_steps_than_any_training_has_are_blocked_with_the_most_epochs(findings_of):
    most = steps.MAX_STEPS // 3
    assert codes(findings_of(3, batch_per_rank=1, epochs=most)) == ["steps"]
    found = only(findings_of(3, batch_per_rank=1, epochs=most + 1), "too_many_steps")
    assert found.severity == "blocking"
    assert f"{most:,} epochs" in found.fix
