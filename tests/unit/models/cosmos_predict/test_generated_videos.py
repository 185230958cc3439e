from pathlib import Path

import pytest

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import generated_videos


def test_videos_are_found_whatever_the_case_of_their_ending_with_the_text_next_to_them(tmp_path: Path) -> None:
    (tmp_path / "cup.MP4").touch()
    (tmp_path / "cup.txt").write_bytes("\ufeffDéplace".encode("utf-16-le"))
    (video,) = generated_videos.find(str(tmp_path), None, "__view")
    assert (video.name, video.prompt) == ("cup", "Déplace")


def test_a_prompt_in_another_encoding_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "cup.mp4").touch()
    (tmp_path / "cup.txt").write_bytes("Déplace".encode("latin-1"))
    with pytest.raises(BlockedError, match="line 1 is not UTF-8") as caught:
        generated_videos.find(str(tmp_path), None, "__view")
    assert [(problem.code, problem.fix) for problem in caught.value.problems] == [
        ("prompt_unreadable", "Save it as UTF-8.")
    ]
