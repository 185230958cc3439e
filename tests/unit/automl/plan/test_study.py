"""What a search refuses before anything is planned."""

from dataclasses import replace

import pytest
from runs import make_job

from tao_skill_bank.automl.plan import study
from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import RequestError

MODEL_SKILLS = [skill for skill in catalog.skills() if skill.runs_actions and skill.info.automl]


@pytest.mark.parametrize("algorithm", ["bayesian", "asha"])
@pytest.mark.parametrize("skill", MODEL_SKILLS, ids=lambda skill: skill.name)
def test_a_search_refuses_trials_that_are_counted_in_steps(skill: catalog.Skill, algorithm: str, tmp_path) -> None:
    job = make_job(tmp_path)
    job = replace(job, skill=skill.name, workload=replace(job.workload, max_steps=20))
    with pytest.raises(RequestError) as caught:
        study.prepare(skill, Request(skill.name, "train", automl={"algorithm": algorithm}), job, frozenset(), ())
    (problem,) = caught.value.problems
    assert (problem.code, problem.path) == ("steps_in_search", "train.max_steps")
    assert "--automl-policy off" in problem.fix
    assert list(problem.fix_choices) == [{"train.max_steps": None}]


def test_of_a_metric_that_does_not_exist_no_direction_is_asked(tmp_path) -> None:
    job = make_job(tmp_path)
    request = Request(job.skill, "train", automl={"metric": "evaluate:nonsense", "max_trials": 0})
    with pytest.raises(RequestError) as caught:
        study.prepare(catalog.find(job.skill), request, job, frozenset(), ())
    assert [problem.code for problem in caught.value.problems] == ["unknown_metric", "too_small"]
