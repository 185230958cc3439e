import json

import pytest

from tao_skill_bank.models.label_videos.label_store import FILE, ClipFile, ClipLabels, Failure, LabelStore, Tokens

CLIP = ClipFile("a.mp4", 10, 20, "f" * 64)


def test_labels_are_found_by_content_and_settings_and_all_tokens_count(tmp_path):
    store = LabelStore.read(tmp_path, "now")
    store.add(ClipLabels(CLIP, "now", Tokens(2, 20, 2), failure=Failure("reply_unusable", "garbage")))
    store.add(ClipLabels(CLIP, "now", Tokens(1, 10, 1), video_fps=4.0))
    again = LabelStore.read(tmp_path, "now")
    assert (list(again.labels), again.failures, again.spent) == ([CLIP.sha256], {}, Tokens(3, 30, 3))
    other = LabelStore.read(tmp_path, "later")
    assert (other.labels, other.spent) == ({}, Tokens(3, 30, 3))


@pytest.mark.parametrize(
    "line",
    ["null", "3", "[" * 9999, '{"clip": 3}', '{"clip": {"name": "a"}, "settings": []}', '{"settings": "now"}', "\x00"],
)
def test_a_line_that_holds_no_labels_is_ignored(tmp_path, line):
    (tmp_path / FILE).write_text(f"{line}\n")
    store = LabelStore.read(tmp_path, "now")
    store.add(ClipLabels(CLIP, "now"))
    assert list(LabelStore.read(tmp_path, "now").labels) == [CLIP.sha256]
    assert json.loads((tmp_path / FILE).read_text().splitlines()[-1])["settings"] == "now"
