"""Kinds are found by their names. Errors of those that a model brings: tests/contract/test_inputs.py."""

import pytest
from preflight_worlds import use_of

from tao_skill_bank.contracts import Input
from tao_skill_bank.data import kinds
from tao_skill_bank.errors import BlockedError


def test_the_kinds_of_the_bank_are_known_by_their_files():
    assert {"annotations", "captioned_clips", "class_folders", "media_file"} <= set(kinds.names())
    assert kinds.load("annotations").title == "data"
    assert kinds.names("no_such_package") == kinds.names()


@pytest.mark.parametrize("name", ["nothing", "../annotations", "annotations.look", ""])
def test_a_name_without_a_file_is_unknown_and_the_known_ones_are_named(name):
    with pytest.raises(BlockedError, match="there is no kind of input") as caught:
        kinds.load(name)
    assert "captioned_clips" in caught.value.problems[0].fix


def test_every_input_that_is_not_understood_is_reported_at_once():
    wrong = Input("eval", "captioned_clips", {"folder": "/x"}, {"min_frames": "many", "nestd": True})
    with pytest.raises(BlockedError) as caught:
        kinds.require([wrong, Input("train", "nothing", {})], "")
    codes = [problem.code for problem in caught.value.problems]
    assert codes == ["invalid_input_paths", "invalid_input_option", "invalid_input_option", "unknown_input_kind"]


def test_what_a_plan_shows_of_an_input(tmp_path):
    assert kinds.row(use_of(tmp_path), "") == ("train data", str(tmp_path / "annotations.json"))
    assert kinds.row(Input("adapter", "adapter", {"path": "/a"}), "") == ("adapter", "/a")
    assert kinds.media_folders(use_of(tmp_path), "") == (str(tmp_path),)
    assert kinds.media_folders(Input("media", "media_file", {"path": "/a.mp4"}), "") == ()
