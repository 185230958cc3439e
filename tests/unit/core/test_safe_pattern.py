import re
import time

import pytest

from tao_skill_bank.core import safe_pattern

SECONDS = 3  # of CPU, on a slow machine; those that are refused would take minutes


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("q_proj", "model.layers.0.self_attn.q_proj", True),
        ("q_proj", "q_proj", True),
        ("q_proj", "model.eq_proj", False),
        ("q_proj", "q_proj.inner", False),
        (r"layers\.\d+\..*(q|k|v)_proj", "model.layers.31.self_attn.v_proj", True),
        (r"(self_attn|mlp)\.(up|down)_proj", "a.mlp.up_proj", True),
        (r"layers\.(1[0-9]|2[0-3])\.mlp", "layers.24.mlp", False),
        (r"[a-z]{1,8}\d{2}?", "model.block12", True),
        (r"", "anything", False),
    ],
)
def test_a_pattern_matches_a_whole_name_or_its_last_parts(pattern, name, is_match):
    assert safe_pattern.matches(pattern, name) == is_match
    assert (re.match(rf"(.*\.)?({pattern})$", name) is not None) == is_match, "as peft does"


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("[", "not a regular expression"),
        ("a**", "not a regular expression"),
        ("(?i)a", "not a regular expression"),
        ("a{99999999999}", "not a regular expression"),
        (r"\1", "not a regular expression"),
        ("a)|(b", "not a regular expression"),
        ("a" * 1001, "more than 1000 characters"),
        (r"(a)\1", "refers to a group"),
        ("(?P<x>a)(?P=x)", "refers to a group"),
        ("(a)(?(1)b|c)", "refers to a group"),
        ("(a+)+", "inside a repetition"),
        ("(a?)*", "inside a repetition"),
        ("(?:aa|a)+", "inside a repetition"),
        ("((ab|c)d){3}", "inside a repetition"),
        ("((a{20}){20}){20}", "inside a repetition"),
        ("((a+)?)+?", "inside a repetition"),
        ("(?=(a+)+)b", "inside a repetition"),
        ("(?>(a+)+)b", "inside a repetition"),
        ("(((()){65000}){65000}){65000}", "inside a repetition"),
        ("a{101}", "more than 100 times"),
        (".*" * 5, "too many repetitions"),
        ("a{0,20}" * 12, "too many repetitions"),
        ("(ab|ab|ab|ab|ab|ab|ab|ab|ab|ab)" * 12, "too many repetitions"),
        ("a?" * 100, "too many repetitions"),
        ("(a+|b+|c+|d+)" * 3, "too many repetitions"),
    ],
)
def test_a_pattern_that_is_none_or_could_take_long_is_refused_with_the_reason(pattern, why):
    with pytest.raises(ValueError, match=why):
        safe_pattern.compile_name_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (".*.*.*.*!", ".a" * 64),
        (r"(?:ab\.|ab\.)" * 19 + "!", "ab." * 42),
        ("(?:aa|a)" * 19 + "!", "a" * 128),
        ("(?:|aa|)" * 12 + "!", "a" * 128),
        ("a{0,29}" * 4 + "!", "a" * 128),
        ("(?=.*.*.*.*!)", ".a" * 64),
        ("(?:){100}" * 80 + ".*.*.*.*!", ".a" * 64),
    ],
)
def test_the_slowest_patterns_that_are_admitted_end_soon(pattern, name):
    began = time.process_time()
    assert not safe_pattern.matches(pattern, name)
    assert time.process_time() - began < SECONDS


def test_a_name_that_no_module_has_is_refused():
    assert safe_pattern.matches(".*", "a" * safe_pattern.MAX_NAME)
    with pytest.raises(ValueError, match="more than 128 characters"):
        safe_pattern.matches(".*", "a" * (safe_pattern.MAX_NAME + 1))
