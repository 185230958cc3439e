"""Answers without a verdict are read by the truths of the results."""

import pytest

from tao_skill_bank.runs.gaps.readings import Truths


def read(truths, response, truth, *, is_cut=False):
    known = Truths()
    known.add(truths)
    found = known.readings().of(response, truth, (None, None), is_cut=is_cut)
    return found.parsed, found.error_type


@pytest.mark.parametrize(
    ("truths", "response", "truth", "found"),
    [
        (["yes", "no"], "Yes, there is.", "no", ("yes", "FP")),
        (["Yes, two cars.", "No."], "There is no car", "Yes, two cars.", ("no", "FN")),
        (["yes", "no"], "yes or else", "Yes.", ("yes", "wording")),
        (["yes", "no"], "yesterday", "yes", (None, "unparseable")),
        (["yes", "no"], "<think>no or yes</think><answer>No</answer>", "yes", ("no", "FN")),
        (["A", "(B)"], "The answer is (B).", "A", ("B", "wrong_class")),
        (["A. a van", "B. a truck that is red"], "b", "A. a van", ("B", "wrong_class")),
        (["left", "right", "straight"], "It turns left.", "right", ("left", "wrong_class")),
        (["left", "right", "straight"], "left or right", "right", (None, "unparseable")),
        (["left", "not visible"], "It is not visible here", "left", ("not visible", "wrong_class")),
        (["a red car turns left here", "a bus stops"], "A van", "a bus stops", ("a van", "wrong_text")),
    ],
)
def test_an_answer_is_read_as_one_of_the_classes_of_the_truths(truths, response, truth, found):
    assert read(truths, response, truth) == found


def test_an_answer_that_ended_at_the_token_limit_is_cut_where_it_cannot_be_read():
    assert read(["yes", "no"], "I think that", "yes", is_cut=True) == (None, "cut")
    assert read(["yes", "no"], "No, since", "yes", is_cut=True) == ("no", "FN")


def test_many_different_truths_are_open():
    assert read([f"class {number}" for number in range(60)], "class 3", "class 4") == ("class 3", "wrong_text")
