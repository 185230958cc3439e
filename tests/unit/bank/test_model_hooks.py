"""A mistake in a model's hooks is one error that names its file and line, at plan, with nothing written."""

import sys
from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog, model_hooks
from tao_skill_bank.contracts import Request
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.planning import dispatch


@pytest.fixture
def broken(third_skill: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives the third skill another workload.py and plans its training."""

    def plan(text: str) -> BlockedError:
        package = tmp_path / "toy_broken"
        package.mkdir()
        (package / "workload.py").write_text(text)
        monkeypatch.delitem(sys.modules, "tao_skill_bank.models.toy.workload", raising=False)
        from tao_skill_bank.models import toy

        monkeypatch.setattr(toy, "__path__", [str(package), *toy.__path__])
        request = Request("toy", "train", automl_policy="off", results_dir=str(tmp_path / "run"))
        with pytest.raises(BlockedError) as refused:
            dispatch.plan(request)
        monkeypatch.delitem(sys.modules, "tao_skill_bank.models.toy.workload", raising=False)
        assert not (tmp_path / "run").exists()
        return refused.value

    return plan


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def describe(action, spec):\n    return {}\n", "returns a dict, not a Workload"),
        ("def describe(action, spec):\n    return spec['nothing']\n", "workload.py, line 2: KeyError"),
        ("import no_such_module\n", "cannot be imported"),
        ("DESCRIBE = 1\n", "has no describe"),
    ],
)
def test_a_workload_that_cannot_be_described_names_its_file(broken, text: str, said: str) -> None:
    problem = broken(text).problems[0]
    assert said in problem.message
    assert "workload" in problem.message
    assert "add-a-model" in problem.fix


def test_an_error_of_ours_passes_through_a_hook() -> None:
    def hook() -> None:
        raise RequestError.of("wrong", "It is wrong.", "Mend it.")

    with pytest.raises(RequestError, match="It is wrong"):
        model_hooks.call("the hook fails", hook)


def test_every_skill_of_the_bank_has_its_hooks() -> None:
    for skill in catalog.skills():
        if skill.runs_actions:
            assert callable(model_hooks.attribute(model_hooks.load(skill.info.package, "workload"), "describe"))
