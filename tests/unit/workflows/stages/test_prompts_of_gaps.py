"""Clips with gaps become inputs of a generation: each once, with its first frame."""

import json

import pytest
from generations import write_gaps

from tao_skill_bank.data import prompt_pairs
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows import stage
from tao_skill_bank.workflows.stages import prompts_of_gaps
from tao_skill_bank.workflows.stages.prompts_of_gaps import Arguments


@pytest.fixture
def made(tmp_path):
    def run(**arguments):
        folder = tmp_path / "stage"
        folder.mkdir(exist_ok=True)
        given = Arguments(**{"gaps": str(write_gaps(tmp_path)), **arguments})
        found = prompts_of_gaps.run(given, stage.Context(folder, tmp_path, 1, lambda _: None))
        assert set(found) == set(prompts_of_gaps.OUTPUTS)
        assert all(path.is_file() for path in prompts_of_gaps.promised(given, folder))
        return found, prompt_pairs.read(folder / "prompts.jsonl")

    return run


def test_every_clip_is_a_usable_prompt_once_with_its_first_frame(made, tmp_path):
    found, prompts = made()
    assert (found["count"], found["uncaptioned"]) == (3, 3)
    assert not prompts.problems
    assert len(prompts.prompts) == 3
    assert all(prompt.image.is_file() for prompt in prompts.prompts)
    assert "Left or right? left." in prompts.prompts[0].prompt
    lines = [json.loads(line) for line in (tmp_path / "stage" / "inputs.jsonl").read_text().splitlines()]
    assert [len(line["questions"]) for line in lines] == [2, 1, 1]
    assert [line["id"] for line in lines] == [prompt.name for prompt in prompts.prompts]


def test_a_caption_is_the_prompt_by_path_or_by_file_name(made, tmp_path):
    captions = tmp_path / "captions.jsonl"
    rows = [{"video": str(tmp_path / "kpi" / "0.mp4"), "caption": "one"}, {"video": "1.mp4", "caption": "two"}]
    captions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, prompts = made(captions=str(captions))
    assert [prompt.prompt for prompt in prompts.prompts][:2] == ["one", "two"]
    assert found["uncaptioned"] == 1


def test_a_limit_takes_the_first_clips(made):
    assert made(limit=2)[0]["count"] == 2


def test_a_clip_without_a_frame_is_named(made, tmp_path):
    gaps = tmp_path / "other.jsonl"
    (tmp_path / "empty.mp4").write_bytes(b"")
    row = {"video_id": str(tmp_path / "empty.mp4"), "question": "?", "ground_truth": "left"}
    gaps.write_text(json.dumps(row))
    with pytest.raises(BlockedError, match=r"empty\.mp4"):
        made(gaps=str(gaps))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"video_id": "a"}', '{"video_id": 1, "question": "", "ground_truth": ""}']
)
def test_lines_that_are_no_gaps_are_refused(text, made, tmp_path):
    (tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(BlockedError) as caught:
        made(gaps=str(tmp_path / "bad.jsonl"))
    assert caught.value.problems[0].code == "lines_unreadable"
