from pathlib import Path

import pytest

from tao_skill_bank.data.captions import line_tables


@pytest.mark.parametrize(
    ("line", "caption", "note"),
    [
        ('{"file_name": "a.mp4", "prompt": "Lift"}', "Lift", ""),
        ('{"file_name": "a.mp4", "text": "Lift"}', "Lift", ""),
        ('{"video": "a.mp4", "caption": {"long": "Lift", "short": "x"}}', "Lift", ""),
        ('{"path": "a.mp4", "instruction": "Lift"}', "Lift", "columns path and instruction"),
        ('{"file_name": "a.mp4", "text": "x", "prompt": "Lift"}', "Lift", "captions from prompt, not from text"),
    ],
)
def test_a_line_gives_the_caption_of_a_clip(tmp_path: Path, line: str, caption: str, note: str) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    found = line_tables.read(path)
    assert [(row.line, row.file_name, row.caption) for row in found.rows] == [(2, "a.mp4", caption)]
    assert [issue.detail for issue in found.issues] == ([note] if note else [])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "invalid JSON"),
        ("[" * 5000, "nested too deeply"),
        ("[]", "not a JSON object"),
        ('{"prompt": "x"}', "it needs file_name and prompt, and has: prompt"),
        ('{"file_name": 3, "prompt": "x"}', "no file name"),
        ('{"file_name": "a.mp4", "prompt": 3}', "it has no text"),
        ('{"file_name": "a.mp4", "prompt": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_a_bad_line_is_named_with_its_number_and_the_others_are_read(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text(f'{line}\n{{"file_name": "b.mp4", "prompt": "Push"}}\n', encoding="utf-8")
    found = line_tables.read(path)
    assert [row.caption for row in found.rows] == ["Push"]
    (issue,) = found.issues
    assert (issue.code, issue.item, reason in issue.detail) == ("csv_row_invalid", "line 1", True)
