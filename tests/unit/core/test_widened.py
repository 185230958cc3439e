import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.core import prefilter, redact, widened
from tao_skill_bank.jobs import diagnose

RULES = [*redact.Masker().patterns, *dict.fromkeys(rule.pattern for rule in diagnose.rules())]
SYNTAX = [
    re.compile(pattern)
    for pattern in (
        r"\bkey\b",
        r"(?i)\bkiss\b",
        r"a.{2,40}b",
        r"(?:x|yz){2,3}",
        r"[^\s:]{17,20}:",
        r"é+(?i:straße)?\d",
        r"(?i)[^k-s]z",
        r"(?i)[\u2100-\u2200]z",
        r"(['\"]).\1",
        r"(?<=a)b(?=c)",
        r"\S+@(?=\w)",
        r"(?P<q>')?x(?(q)y|z)",
        r"^\W.\D$",
        r"(?s)a.*?b\Z",
        r"(?m)key\s*:\s*(?:[>|].*)?\r?$",
        r"(?>ab|a)c++",
    )
]
TEXT = st.text(st.sampled_from("\r\t a:-\x1c\xa0é█kKſİıß9_@='\"z"), max_size=6)
BYTES = st.binary(max_size=3)


@pytest.mark.parametrize("pattern", [*RULES, *SYNTAX], ids=lambda pattern: pattern.pattern[:30])
@settings(max_examples=15)
@given(data=st.data())
def test_a_line_with_a_match_is_always_found(pattern: re.Pattern[str], data: st.DataObject) -> None:
    text = data.draw(TEXT) + data.draw(st.from_regex(pattern)) + data.draw(TEXT)
    for line in text.encode("utf-8", "replace").split(b"\n"):
        broken = line + data.draw(BYTES).replace(b"\n", b"")
        if pattern.search(broken.decode("utf-8", "replace")):
            assert prefilter.Prefilter([pattern]).find(broken) >= 0


@pytest.mark.parametrize("pattern", RULES, ids=lambda pattern: pattern.pattern[:30])
def test_no_rule_is_widened_to_almost_any_line(pattern: re.Pattern[str]) -> None:
    line = b"2026-11-30 12:00:00,123 INFO trainer: step 12/400 epoch 0.5 loss 1.25 lr 1e-05 tokens/s 51234 mem 61.2 GiB"
    assert prefilter.Prefilter([pattern]).find(line + "  3%|███      | eta 0:12\r".encode()) == -1


@pytest.mark.parametrize("letter", "abcdefghijklmnopqrstuvwxyz")
def test_every_letter_that_equals_an_ascii_one_in_another_case_is_known(letter: str) -> None:
    pattern = re.compile(letter, re.IGNORECASE)
    others = [chr(code) for code in range(128, 0x2200) if pattern.match(chr(code))]
    assert all(prefilter.Prefilter([pattern]).find(other.encode()) == 0 for other in others)
    assert bool(others) == (letter in widened.OTHER_CASES)


def test_a_pattern_that_may_be_empty_is_found_everywhere() -> None:
    assert prefilter.Prefilter([re.compile("a*")]).find(b"xyz", 1) == 1
    assert prefilter.Prefilter([]).find(b"xyz") == -1
