import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.runs import status_lines

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TYPES = {"time": (str, float), "state": str, "message": str, "step": int, "total": int, "eta_seconds": float}


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"time": "2026-11-30T12:00:00+00:00", "state": "RUNNING", "message": "a\nb", "step": 0, "total": 10},
        {"time": 1.5, "eta_seconds": 0.5, "diagnosis": {"code": "nan_loss", "fix": "Lower the rate."}},
        {"eta_seconds": None, "diagnosis": None, "any": [{"deep": None}]},
    ],
)
def test_a_line_of_a_trainer_stays_as_it_is(line):
    assert status_lines.plain(line) == line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("state", value) for value in (1, ["RUNNING"], {}, True)),
        *(("message", value) for value in (1, [])),
        *(("step", value) for value in ("1", -1, 1.5, math.nan, True, 10**400)),
        *(("total", value) for value in ("1", math.inf, [])),
        *(("eta_seconds", value) for value in ("soon", math.inf, False)),
        *(("time", value) for value in (True, [], {}, math.nan)),
        *(("diagnosis", value) for value in ("text", ["a"], 1)),
    ],
)
def test_a_field_of_another_type_is_left_out_and_hides_no_other(name, value):
    assert status_lines.plain({"other": 1, name: value, "more": "text"}) == {"other": 1, "more": "text"}


def test_of_a_diagnosis_its_texts_are_kept():
    line = {"diagnosis": {"code": "oom", "fix": 3, "cause": None}}
    assert status_lines.plain(line) == {"diagnosis": {"code": "oom"}}


@given(st.dictionaries(st.sampled_from([*TYPES, "diagnosis", "other"]), JSON))
def test_every_reader_gets_the_types_that_are_promised(line):
    for name, value in status_lines.plain(line).items():
        if name in TYPES:
            assert value is None or isinstance(value, TYPES[name])
        elif name == "diagnosis":
            assert value is None or all(isinstance(text, str) for text in value.values())
