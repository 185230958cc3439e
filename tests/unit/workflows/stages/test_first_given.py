import pytest

from tao_skill_bank.workflows.stages import first_given
from tao_skill_bank.workflows.stages.first_given import Arguments


@pytest.mark.parametrize(
    ("candidates", "value"),
    [((None, "a", "b"), "a"), ((None, 0), 0), ((False, 1), False), ((None, None), None), ((), None)],
)
def test_the_first_candidate_that_is_not_null_is_given(candidates, value):
    assert first_given.run(Arguments(candidates), None) == {"value": value}
