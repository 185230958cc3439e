"""A mistake in a model's hooks is one error that names its file and line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tao_skill_bank.bank import catalog, model_hooks
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.planning import planner


@pytest.fixture
def describing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], BlockedError]:
    """Return a function that has a skill's model describe a spec by the given workload.py, and returns the refusal."""
    models = f"models_{tmp_path.name}"  # a package of its own for every test: modules are kept once they are imported
    monkeypatch.setattr(model_hooks, "MODELS", models)
    monkeypatch.syspath_prepend(tmp_path)

    def describe(text: str) -> BlockedError:
        skill = catalog.find("tao-finetune-cosmos-reason")
        package = tmp_path / models / skill.info.package
        package.mkdir(parents=True)
        (package / "workload.py").write_text(text)
        with pytest.raises(BlockedError) as refused:
            planner._workload(skill, "train", {})
        return refused.value

    return describe


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def describe(action, spec):\n    return {}\n", "returns a dict, not a Workload"),
        ("def describe(action, spec):\n    return spec['nothing']\n", "workload.py, line 2: KeyError"),
        ("import no_such_module\n", "cannot be imported"),
        ("DESCRIBE = 1\n", "has no describe"),
    ],
)
def test_a_workload_that_cannot_be_described_names_its_file(
    describing: Callable[[str], BlockedError], text: str, said: str
) -> None:
    problem = describing(text).problems[0]
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
