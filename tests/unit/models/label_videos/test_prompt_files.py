import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.label_videos import prompt_files

VALUES = {
    "num_frames": 3,
    "duration_seconds": "1.0",
    "frame_seconds": "0.0, 0.5",
    "captions": "CAPTIONS",
    "description": "DESCRIPTION",
    "num_questions": 3,
    "forms": "yes_no",
    "questions": "1. QUESTION",
}


@pytest.mark.parametrize("domain", ["general", "traffic", "warehouse"])
def test_every_packaged_prompt_uses_what_it_gets_and_nothing_else(domain):
    prompts = prompt_files.load(domain)
    for name, placeholders in prompt_files.PLACEHOLDERS.items():
        text = prompts.filled(name, **{key: VALUES[key] for key in placeholders})
        assert "$" not in text
        assert prompt_files.ESSENTIAL.get(name, "").upper() in text.upper()


def test_own_files_replace_packaged_ones_and_the_rest_stays(tmp_path):
    (tmp_path / "captions.txt").write_text("Look at $num_frames frames; it costs $$5.")
    own, packaged = prompt_files.load("traffic", tmp_path), prompt_files.load("traffic")
    assert own.filled("captions", num_frames=4) == "Look at 4 frames; it costs $5."
    assert own.texts["questions"] == packaged.texts["questions"]
    assert own.digest != packaged.digest


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("captions.txt", "See $frames", r"\$frames; known are \$num_frames"),
        ("captions.txt", "It costs 5$", "begins no placeholder"),
        ("captions.txt", "  ", "is empty"),
        ("description.txt", "Write a text.", r"lacks the placeholder \$captions"),
        ("caption.txt", "See", r"Did you mean 'captions\.txt'\?"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_what_is_wrong(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    with pytest.raises(BlockedError, match=told):
        prompt_files.load("general", tmp_path)


def test_a_folder_without_prompts_is_refused(tmp_path):
    with pytest.raises(BlockedError, match="has none of"):
        prompt_files.load("general", tmp_path)
