import io
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.core.redact import Masker
from tao_skill_bank.jobs import diagnose, log_lines, log_scan, tracebacks
from tao_skill_bank.jobs.failure_rules import Rule, rules
from tao_skill_bank.jobs.log_scan import Scan, Symptom
from tao_skill_bank.jobs.tracebacks import Error

ORDINARY = b"2026-11-30 12:00:00 INFO cosmos_reason.train: step 12/400 loss 1.25 tokens/s 51234"
FRAGMENTS = [
    ORDINARY,
    b"torch.OutOfMemoryError: CUDA out of memory.",
    b"48213 Killed ",
    "exitcode : -9 \u212ailled".encode(),
    b"Watchdog caught collective operation timeout",
    b"running validation",
    b"cosmos_predict",
    b"Traceback (most recent call last):",
    b"ValueError: 3",
    b"loss: nan",
    b"HF_TOKEN=s3cr3tValue0 error",
    b"-----BEGIN RSA PRIVATE KEY-----",
    b"-----END RSA PRIVATE KEY-----",
    b"\xff\xe2\x96",
    "█ \u2028\u00a0".encode(),
    b"   \t",
    b"x" * 1990,
    b" " * 3000,
    b"y" * 9000,
    b"",
]
LINE_ENDS = [b"\n", b"\n", b"\r\n", b"\r", b""]
LOG = st.lists(st.tuples(st.sampled_from(FRAGMENTS), st.sampled_from(LINE_ENDS)), max_size=14).map(
    lambda parts: b"".join(part + end for part, end in parts)
)


def line_by_line(log: bytes, known: Iterable[Rule]) -> Scan:
    """Return what the exact rules find when they look at every line."""
    masker, seen = Masker(), Scan()
    whole = log.decode("utf-8", "replace").removesuffix("\n")
    masked = "\n".join(map(masker, whole.split("\n"))) if log else ""
    for number, text in enumerate(io.StringIO(masked, newline=None), start=1):
        line = text.removesuffix("\n")[: tracebacks.MAX_LINE_LENGTH].rstrip()
        lowered = line.lower()
        if line:
            seen.last_line = Symptom(number, line)
        for rule in known:
            if any(word in lowered for word in rule.context):
                seen.contexts.add(rule)
            if rule.matches(line, lowered):
                symptom = seen.matches.setdefault(rule, Symptom(number, line))
                symptom.occurrences += 1
                symptom.ranks |= {rank for rank in (log_lines.rank(line),) if rank is not None}
    return seen


@settings(max_examples=80, deadline=None)
@given(log=LOG, borders=st.lists(st.integers(0, 60_000), max_size=4))
def test_a_scan_finds_what_a_look_at_every_line_finds(
    log: bytes, borders: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "scanned.log"
    path.write_bytes(log)
    text = "".join(diagnose.log_text(path))
    ends = sorted(min(border, len(text)) for border in borders)
    found = log_scan.scan((text[start:end] for start, end in pairwise([0, *ends, len(text)])), rules())
    expected = line_by_line(log, rules())
    assert found.known == expected.known
    assert found.last_line == expected.last_line
    whole = log_scan.scan([text], rules())
    assert (found.traceback, found.complaint) == (whole.traceback, whole.complaint)


@pytest.mark.parametrize("rule", {rule.pattern: rule for rule in rules()}.values(), ids=lambda rule: rule.code)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_whatever_a_rule_matches_is_found(rule: Rule, data: st.DataObject) -> None:
    word, symptom = data.draw(st.sampled_from(rule.words)), data.draw(st.from_regex(rule.pattern))
    log = f"{' '.join(rule.context[:1])}\n{word} {symptom}\n{word}".encode("utf-8", "replace")
    text = log.decode()
    found, expected = log_scan.scan([text], [rule]), line_by_line(log, [rule])
    assert (found.matches, found.known) == (expected.matches, expected.known)


def test_of_a_long_line_only_the_start_is_looked_at() -> None:
    text = [f"{'x' * 3000} CUDA out of memory", *(["z" * 100_000] * 20), "\nlast\n"]
    found = log_scan.scan(text, rules())
    assert found.known == {}
    assert found.last_line == Symptom(2, "last")


def test_the_first_error_is_one_of_the_whole_log() -> None:
    text = ["error: the first\n", f"{ORDINARY.decode()}\n" * 3000, "error: another\n", "fine\n"]
    found = log_scan.scan(text, rules())
    assert found.complaint == Error(1, "error: the first")
    assert found.last_line == Symptom(3003, "fine")


TRACEBACKS = """\
[rank1]: Traceback (most recent call last):
[rank1]:   File "a.py", line 1, in one
Traceback (most recent call last):
  File "b.py", line 2, in two
[rank1]:     torch.barrier()
KeyError: 'b'
[rank1]: ValueError: a

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "c.py", line 3, in three
    raise
RuntimeError: Caught KeyError in DataLoader worker process 0.
error: The clips are gone. Fix: Copy them.
"""


@settings(max_examples=60, deadline=None)
@given(borders=st.lists(st.integers(0, len(TRACEBACKS)), max_size=4))
def test_tracebacks_are_found_wherever_blocks_end(borders: list[int]) -> None:
    pieces = [TRACEBACKS[start:end] for start, end in pairwise(sorted([0, *borders, len(TRACEBACKS)]))]
    found = log_scan.scan(pieces, rules())
    assert found.traceback == Error(6, "KeyError: 'b'", "b.py:2, in two")
    assert found.complaint == Error(15, "error: The clips are gone. Fix: Copy them.")


def test_a_traceback_that_never_ends_does_not_slow_down_the_rest() -> None:
    lines = "".join(f"  frame {number}\n" for number in range(3 * tracebacks.MAX_TRACEBACK_LINES))
    text = f"Traceback (most recent call last):\n{lines}ValueError: this ends nothing\n"
    assert log_scan.scan([text], rules()).traceback is None
