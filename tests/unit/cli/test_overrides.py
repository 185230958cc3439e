import json
import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tao_skill_bank.cli import main, overrides
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import Problem

REASON = "tao-finetune-cosmos-reason"
DATA = ("--set", "custom.train_dataset.annotation_path=/d/a.json", "--set", "custom.train_dataset.media_path=/d")
HELD_OUT = ("--set", "custom.val_dataset.annotation_path=/d/b.json", "--set", "custom.val_dataset.media_path=/d")
numbers = st.integers(-(2**32), 2**32) | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.sampled_from(
    [
        "null",
        "~",
        "true",
        "no",
        "1e5",
        "007",
        "0x1f",
        "1_000",
        "a: b",
        "# c",
        "x # y",
        "[a",
        "{",
        "- a",
        "'",
        '"',
        "é",
        "*a",
        "&a",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(value=values)
def test_the_value_of_an_override_is_read_back_as_exactly_itself(value):
    text = shlex.split(shlex.quote(overrides.value_text(value)))[0]
    found = yaml12.parse_value(text, "--set")
    assert (found, type(found)) == (value, type(value))
    assert text.isprintable()


def test_plain_texts_are_not_quoted():
    assert overrides.option_words({"a.b": "cosine", "c": 1e-6, "d": None}) == [
        *("--set", "a.b=cosine", "--set", "c=1e-06", "--set", "d=null")
    ]


@pytest.fixture
def answer(monkeypatch, capsys):
    def run(*words, as_json=True):
        arguments = [str(word) for word in words]
        monkeypatch.setattr("sys.argv", ["tao-skills", *arguments])
        code = main._run([*arguments, "--json"] if as_json else arguments, as_json=as_json)
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if as_json else printed.err

    return run


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (["--set", "train.epoch=0"], ["--set", "train.epoch=1"]),
        (["--set=train.epoch=0"], ["--set", "train.epoch=1"]),
        (["--set", "num_epochs=0"], ["--set", "num_epochs=0", "--set", "train.epoch=1"]),
        (["--set", "train.epocs=3"], ["--set", "train.epoch=3"]),
        (["--set", "trian.epoch=3"], ["--set", "train.epoch=3"]),
        (["--set", "train.epoch=3", "--set", "train=5"], ["--set", "train.epoch=3"]),
        (["--set", "train.optm_decay_type=cosin"], ["--set", "train.optm_decay_type=cosine"]),
        (
            ["--set", "train.epoch=0", "--set", "train.stop_epoch=3"],
            ["--set", "train.epoch=1", "--set", "train.stop_epoch=1"],
        ),
        (
            ["--set", "custom.system_prompt=A <|im_end|> and 'b'."],
            ["--set", "custom.system_prompt=A  and 'b'."],
        ),
    ],
)
def test_a_failed_command_is_printed_corrected_and_works(answer, wrong, right):
    code, document = answer("validate", REASON, "train", *DATA, *HELD_OUT, *wrong)
    assert code == 2
    (following,) = document["next"]
    words = shlex.split(following)
    assert words[:4] == ["tao-skills", "validate", REASON, "train"]
    assert sorted(words[4:]) == sorted([*DATA, *HELD_OUT, *right])
    assert answer(*words[1:])[0] == 0


@pytest.mark.parametrize("given_as", [{"train.epocs": 3}, {"train": {"epocs": 3}}, {"trian": {"epoch": 3}}])
def test_a_request_file_is_corrected_by_overrides_on_top_of_it(answer, tmp_path, given_as):
    nested = {"custom": {"train_dataset": {"annotation_path": "/d/a.json", "media_path": "/d"}}}
    request = {"skill": REASON, "action": "train", "overrides": nested | given_as | {"validation.enable": False}}
    (tmp_path / "request.json").write_text(json.dumps(request))
    code, document = answer("validate", "--request", tmp_path / "request.json")
    assert code == 2
    (following,) = document["next"]
    assert "=null" in following
    code, document = answer(*shlex.split(following)[1:])
    assert code == 0
    assert document["changed"]["train.epoch"] == 3


@pytest.mark.parametrize(
    "wrong",
    [
        ["--set", "custom.vision.fps=2", "--set", "custom.vision.nframes=4"],
        ["--set", "train.epoch=0", "--set", "custom.vision.fps=2", "--set", "custom.vision.nframes=4"],
        ["--set", "train.epoch=0", "--results-dir", ""],
    ],
)
def test_no_command_is_printed_where_the_user_decides_or_overrides_do_not_suffice(answer, wrong):
    code, document = answer("validate", REASON, "train", *DATA, *HELD_OUT, *wrong)
    assert code == 2
    assert document["next"] == []


def test_overrides_that_are_pasted_behind_a_failed_command_work(answer):
    words = ["validate", REASON, "train", *DATA, *HELD_OUT, "--set", "train.epocs=3"]
    _, document = answer(*words)
    pasted = overrides.option_words(document["errors"][0]["fix_set"])
    assert pasted == ["--set", "train.epocs=null", "--set", "train.epoch=3"]
    code, document = answer(*words, *pasted)
    assert (code, document["changed"]["train.epoch"]) == (0, 3)


def test_the_deletion_of_an_unknown_parameter_is_still_refused(answer):
    code, document = answer("validate", REASON, "train", *DATA, *HELD_OUT, "--set", "train.epocs=null")
    assert code == 2
    assert "to delete" in document["errors"][0]["message"]
    assert answer(*shlex.split(document["next"][0])[1:])[0] == 0


def test_people_see_overrides_below_a_fix_and_one_line_per_choice(answer):
    wrong = ["--set", "train.epoch=0", "--set", "custom.vision.fps=2", "--set", "custom.vision.nframes=4"]
    _, printed = answer("validate", REASON, "train", *DATA, *HELD_OUT, *wrong, as_json=False)
    lines = [line for line in printed.splitlines() if line.startswith(("  set:", "  or:"))]
    assert sorted(lines) == [
        "  or: --set custom.vision.fps=null",
        "  or: --set custom.vision.nframes=null",
        "  set: --set train.epoch=1",
    ]


def test_values_are_quoted_for_the_shell():
    problem = Problem("code", "", "", fix_set={"a": {"b c": ["d"]}}, fix_choices=())
    (line,) = overrides.lines(problem.fix_set)
    assert line == """set: --set 'a={"b c": ["d"]}'"""
