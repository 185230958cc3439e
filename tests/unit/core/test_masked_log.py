import re
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.core import redact
from tao_skill_bank.core.masked_log import masked_log

ORDINARY = "2026-11-30 12:00:00 INFO train: step 12/400 loss 1.25 tokens/s 51234 mem 61.2 GiB"
VALUE = "s3cr3t" + "Value0"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{'A1b2' * 16}\n{'C3d4' * 16}\n-----END RSA PRIVATE KEY-----"
SECRETS = [
    "hf_" + "a1" * 12,
    f"HF_TOKEN={VALUE}",
    f"hf_to\u212aen: {VALUE}",
    f"postgresql://me:{VALUE}@host/db",
    f"Authorization: Bearer {VALUE}",
    f"Set-Cookie: a={VALUE}; Secure",
    f"curl -sS -u me:{VALUE} https://x",
    f"serve --api-key {VALUE} --port 8000",
    f"machine x login me password {VALUE}",
    f"wandb: {'0f' * 20}",
    f"GET /v1?access_token={VALUE}&page=2",
    KEY,
    KEY.replace("\n", "\\n"),
    KEY.partition("\n")[0],
    KEY.rpartition("\n")[2],
]
HARMLESS = [ORDINARY, "\r", " 3%|███      |", "é", "\u2028", "", "pad_token: <|endoftext|>", "x" * 300, "\ufffd"]
LINE = st.lists(st.sampled_from([*SECRETS, *HARMLESS, *(", ", " ", '"')]), max_size=6).map("".join)
TEXT = st.lists(LINE, max_size=8).map("\n".join)
OWN = "own-Välue-of-this-process"


def line_by_line(text: str) -> str:
    """Return what the exact rules make of text."""
    masker = redact.Masker()
    lines = text.split("\n")
    return "".join(f"{masker(line)}\n" for line in (lines if lines[-1] else lines[:-1]))


@st.composite
def in_pieces(draw: st.DrawFn, text: st.SearchStrategy[str] = TEXT) -> list[str]:
    whole = draw(text)
    borders = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[start:end] for start, end in pairwise([0, *borders, len(whole)])]


@pytest.fixture
def own_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SECRET", OWN)


@given(pieces=in_pieces())
def test_text_in_any_pieces_is_masked_as_line_by_line(pieces: list[str]) -> None:
    assert "".join(masked_log(pieces)) == line_by_line("".join(pieces))


def _rules() -> Iterator[re.Pattern[str]]:
    """Yield every pattern of the module, of whatever name."""
    for value in vars(redact).values():
        for entry in value if isinstance(value, (tuple, list)) else [value]:
            if isinstance(entry, re.Pattern):
                yield entry


@pytest.mark.parametrize("rule", list(_rules()), ids=lambda rule: rule.pattern[:30])
@settings(max_examples=20)
@given(data=st.data())
def test_whatever_a_rule_masks_is_masked(rule: re.Pattern[str], data: st.DataObject) -> None:
    text = f"{ORDINARY}\n{data.draw(st.from_regex(rule))}\n{ORDINARY}".encode("utf-8", "replace").decode()
    assert "".join(masked_log([text])) == line_by_line(text)


@pytest.mark.parametrize("secret", SECRETS[:-1], ids=lambda secret: secret[:12])
def test_every_secret_is_masked_within_ordinary_lines_and_at_every_border(secret: str) -> None:
    text = f"{ORDINARY}\n{secret}\n{ORDINARY}\n"
    expected = line_by_line(text)
    assert VALUE not in expected
    assert "A1b2" not in expected
    for border in range(len(text)):
        assert "".join(masked_log([text[:border], text[border:]])) == expected


@pytest.mark.usefixtures("own_secret")
@pytest.mark.parametrize("border", range(len(OWN)))
def test_the_values_of_own_secrets_are_masked(border: int) -> None:
    shown = "".join(masked_log([f"{ORDINARY}\nsent {OWN[:border]}", f"{OWN[border:]} to it"]))
    assert shown == f"{ORDINARY}\nsent [redacted] to it\n"


SHORT = [f"HF_TOKEN={VALUE}", "hf_" + "a1" * 8, f"Bearer {VALUE}", f"--api-key {VALUE}"]
WORD = st.sampled_from([*SHORT, "step", "loss=0.5", "tokens/s", "█", "a,b;c", "é" * 9, "\r", "--", "password"])


@given(pieces=in_pieces(st.lists(WORD, max_size=200).map(" ".join)))
def test_long_lines_are_masked_as_if_they_were_whole(pieces: list[str]) -> None:
    shown = list(masked_log(pieces, long_line=256))
    assert "".join(shown) == line_by_line("".join(pieces))


@pytest.mark.parametrize("secret", [*SHORT, *SECRETS[3:5], *SECRETS[6:11]], ids=lambda secret: secret[:12])
def test_a_secret_in_a_long_line_is_masked_wherever_it_stands_and_is_split(secret: str) -> None:
    for start in range(150, 400, 3):
        before = ("step 1, loss 0.5 " * 30)[:start]
        split = start % len(secret)
        pieces = [before, f" {secret[:split]}", f"{secret[split:]} {ORDINARY} {ORDINARY} {ORDINARY}"]
        assert "".join(masked_log(pieces, long_line=256)) == line_by_line("".join(pieces))


@given(line=st.text(st.sampled_from("ab/+é█"), max_size=2000), secret=st.sampled_from(SECRETS[:4]))
def test_a_line_without_spaces_loses_nothing_but_its_secret(line: str, secret: str) -> None:
    shown = "".join(masked_log([line, f" {secret} ", line], long_line=128))
    assert shown == line_by_line(f"{line} {secret} {line}")


@pytest.mark.parametrize("start", ["token=", "Cookie: ", KEY.partition("\n")[0]])
def test_a_credential_that_does_not_end_hides_the_rest_of_its_line_only(start: str) -> None:
    line = f"{ORDINARY} {start}{'A1b2' * 200}"
    shown = "".join(masked_log([line, line[-200:], f" end\n{KEY.rpartition(chr(10))[2]}\n{ORDINARY}"], long_line=256))
    assert "A1b2" not in shown
    assert shown.startswith(ORDINARY[:40])
    assert shown.endswith(f"\n{ORDINARY}\n")
    assert shown.count("\n") == 3


def test_pieces_flow_and_a_line_that_has_not_ended_waits() -> None:
    flow = masked_log(iter([f"{ORDINARY}\nHF_TOK", "EN=abc", f"{VALUE}\nlast"]))
    assert next(flow) == f"{ORDINARY}\n"
    assert next(flow) == "HF_TOKEN=[redacted]\n"
    assert list(flow) == ["last\n"]


def test_of_a_line_without_end_little_is_kept() -> None:
    piece = f"{ORDINARY} " * 400
    flow = masked_log(piece for _ in range(64))
    kept = 0
    for shown in flow:
        kept = max(kept, len(shown))
    assert kept < 3 * len(piece)
