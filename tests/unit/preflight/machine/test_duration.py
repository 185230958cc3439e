from dataclasses import replace

import pytest
from preflight_worlds import look, make_job, make_record, use_of, write_dataset

from tao_skill_bank.contracts import Resources
from tao_skill_bank.core.spans import Span
from tao_skill_bank.jobs.timed import Timed
from tao_skill_bank.preflight.machine import duration
from tao_skill_bank.preflight.model.inspection import Inspection

WORK = {"sample_flops": 4e9, "validation_flops": 1e9, "validation_epochs": 1}


@pytest.fixture(scope="module")
def looked(clip, tmp_path_factory):
    """Two inputs of 8 and 3 records, and what was seen of them: a look starts a process."""
    folder = tmp_path_factory.mktemp("data")
    train, held_out = (
        use_of(write_dataset(folder / role, clip, [make_record(index) for index in range(count)]), role)
        for role, count in (("train", 8), ("eval", 3))
    )
    return train, held_out, look(train, held_out, required_fields=("video_fps",))[0]


@pytest.fixture
def world(looked, tmp_path):
    train, held_out, seen = looked

    def make(device="cpu", processes=1, **workload):
        values = {"trains": True, "batch_per_rank": 4, "epochs": 2, **workload}
        job = make_job(tmp_path, train, held_out, **values)
        return replace(job, resources=Resources(processes_per_node=processes, device=device)), seen

    return make


@pytest.fixture
def known(monkeypatch):
    def like(seconds, **work):
        monkeypatch.setattr(duration.timed, "newest", lambda _: Timed("job-1", seconds, **work))

    return like


def estimated(job, seen, answer=None, records=(), *, runs_here=False):
    found = duration.check(job, seen, Inspection(answer or {}), records, runs_here=runs_here)
    assert len(found) == 1
    return found[0]


def test_a_job_that_was_never_timed_has_a_range_from_its_arithmetic(world):
    found = estimated(*world(), {"work": WORK})
    low, high = found.evidence["seconds"]
    assert 0 < low < high
    assert found.evidence["flops"] == 16 * 4e9 + 6 * 1e9  # two validations of three records each
    assert found.evidence["samples"] == 22
    assert (found.evidence["source"], found.evidence["device"]) == ("arithmetic", "cpu")
    assert "CPU hours" in found.message
    assert "validations included" in found.message
    assert found.evidence["device_hours"] == pytest.approx([low / 3600, high / 3600], rel=0.06)


def test_hours_are_those_of_all_processes_and_of_gpus_on_gpus(world):
    found = estimated(*world("cuda", 2), {"work": WORK})
    low, _ = found.evidence["seconds"]
    assert found.evidence["device_hours"][0] == pytest.approx(2 * low / 3600, rel=0.06)
    assert "GPU hours" in found.message


def test_more_validations_take_longer(world):
    few, many = (
        estimated(*world(epochs=100), {"work": WORK | {"validation_epochs": between, "validation_flops": 1e11}})
        for between in (100, 1)
    )
    assert many.evidence["seconds"][0] > few.evidence["seconds"][0]
    assert many.evidence["seconds"][1] > few.evidence["seconds"][1]


def test_a_training_by_steps_is_as_long_as_its_steps(world):
    whole, few = (estimated(*world(epochs=100, max_steps=steps), {"work": WORK}) for steps in (None, 3))
    assert few.evidence["samples"] == 3 * 4 + 2 * 3  # two epochs, the second one not whole, validate three records each
    assert few.evidence["seconds"][0] < whole.evidence["seconds"][0]


def test_a_training_without_validation_computes_none(world):
    found = estimated(*world(), {"work": WORK | {"validation_epochs": 0}})
    assert found.evidence["samples"] == 16


@pytest.mark.parametrize(
    ("work", "scale", "said"),
    [
        ({"amount": 22.0, "flops": 7e10}, 1.0, "this one is like it"),
        ({"amount": 22.0, "flops": 7e9}, 10.0, "by its arithmetic"),
        ({"amount": 44.0, "flops": None}, 0.5, "by its samples"),
        ({"amount": None, "flops": None, "epochs": 1}, 2.0, "by its epochs"),
    ],
)
def test_a_finished_job_is_scaled_by_the_work_and_its_start_is_not(world, known, work, scale, said):
    known(1000.0, **work)
    found = estimated(*world(), {"work": WORK})
    assert found.evidence["source"] == "job job-1"
    assert said in found.message
    partly = 0.06 + 0.94 * scale
    bounds = Span(min(scale, partly), max(scale, partly)) * 1000
    expected = Span(bounds.low * duration.REPEATED.low, bounds.high * duration.REPEATED.high).rounded
    assert found.evidence["seconds"] == expected


def test_what_neither_a_job_nor_arithmetic_shows_is_said_not_to_be_known(world):
    found = estimated(*world())
    assert (found.code, found.severity) == ("estimate_unknown", "info")


def test_a_training_without_steps_has_no_arithmetic(world):
    assert estimated(*world(batch_per_rank=100), {"work": WORK}).code == "estimate_unknown"


def test_answers_take_from_a_short_one_to_the_longest(world, monkeypatch):
    job, seen = world(trains=False, micro_batch=2)
    monkeypatch.setattr(duration.token_budget, "prompt", lambda *_: (100.0, 50))
    found = estimated(job, seen[1:], {"parameters": 1_000_000})
    low, high = found.evidence["seconds"]
    assert high - duration.START.high > 0.06 * 50 * 1.5
    assert low - duration.START.low < 1
    assert "answers of at most 50 tokens" in found.message


def test_a_known_gpu_of_this_machine_narrows_the_range(world, monkeypatch):
    job, _ = world("cuda")
    unknown, name = duration.speed_of(job, runs_here=False)
    assert name == "an unknown GPU"
    monkeypatch.setattr(duration, "_gpu", lambda: "NVIDIA H200")
    known, name = duration.speed_of(job, runs_here=True)
    assert known.high / known.low < unknown.high / unknown.low
    assert name == "NVIDIA H200"
