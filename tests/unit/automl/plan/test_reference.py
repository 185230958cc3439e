"""What is written about searches says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from tao_skill_bank import automl
from tao_skill_bank.automl.plan import algorithms, reference
from tao_skill_bank.automl.plan.options import NAMES, REFUSED_NAMES, AutomlOptions, Endpoint, Range
from tao_skill_bank.bank import catalog

CODE = re.compile(r"(?:Problem|\.of)\(\s*\"([a-z_]+)\"")
SOURCES = sorted(Path(next(iter(automl.__path__))).rglob("*.py"))


@pytest.mark.parametrize("kind", [AutomlOptions, Range, Endpoint])
def test_every_option_has_a_meaning_and_no_meaning_is_of_an_option_that_is_gone(kind: type) -> None:
    assert set(reference.meanings(kind)) == {each.name for each in fields(kind)}  # type: ignore[arg-type]


def test_every_algorithm_is_described_and_a_refused_one_only_with_its_reason() -> None:
    offered, refused = reference.algorithm_table(), reference.refused_table()
    assert set(algorithms.INFO) == {*NAMES, *REFUSED_NAMES}
    assert {name for name, info in algorithms.INFO.items() if info.refused} == set(REFUSED_NAMES)
    for name, info in algorithms.INFO.items():
        assert (f"| `{name}` |" in offered) != bool(info.refused)
        assert (f"| `{name}` |" in refused) == bool(info.refused)
        assert info.refused in refused


def test_every_error_of_a_search_is_explained() -> None:
    page = (catalog.find("tao-run-automl").folder / "references" / "troubleshooting.md").read_text()
    codes = {code for source in SOURCES for code in CODE.findall(source.read_text())}
    assert {code for code in codes if f"`{code}`" not in page} - {"internal_error"} == set()


def test_no_code_of_a_search_names_a_model_skill() -> None:
    words = {skill.info.package for skill in catalog.skills() if skill.runs_actions} | {"cosmos"}
    assert [str(source) for source in SOURCES if any(word in source.read_text() for word in words)] == []
