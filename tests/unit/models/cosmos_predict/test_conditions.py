from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tao_skill_bank.data.prompt_pairs import Prompt
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import conditions, video_file
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig

SIZE = (32, 48)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png", pixels


@pytest.fixture
def clip(tmp_path):
    """Seven frames that become lighter."""
    levels = np.arange(0, 210, 30, dtype=np.uint8)
    video_file.write(tmp_path / "clip.mp4", np.broadcast_to(levels[:, None, None, None], (7, *SIZE, 3)).copy(), 16)
    return tmp_path / "clip.mp4", levels


def test_a_picture_of_the_right_size_is_taken_to_the_bit(picture):
    path, pixels = picture
    loaded = conditions.load(Prompt("a", "text", image=path), SIZE, 2)
    assert loaded.shape == (3, 1, *SIZE)
    expected = torch.from_numpy(pixels).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(loaded[:, 0], expected)


def test_a_picture_of_another_size_is_stretched(picture):
    assert conditions.load(Prompt("a", "text", image=picture[0]), (16, 16), 2).shape == (3, 1, 16, 16)


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
    image = Image.new("RGB", (48, 32))
    exif = image.getexif()
    exif[0x0112] = 6
    image.paste((255, 255, 255), (0, 0, 24, 32))
    image.save(tmp_path / "turned.png", exif=exif)
    loaded = conditions.load(Prompt("a", "text", image=tmp_path / "turned.png"), (48, 32), 2)
    assert loaded[:, :, :24].mean() > 0.9 > -0.9 > loaded[:, :, 24:].mean()


@pytest.mark.parametrize(("latent_frames", "num_frames"), [(1, 1), (2, 5)])
def test_a_clip_gives_its_last_frames(clip, latent_frames, num_frames):
    path, levels = clip
    loaded = conditions.load(Prompt("a", "text", video=path), SIZE, latent_frames)
    shown = (loaded.mean(dim=(0, 2, 3)) + 1) * 127.5
    torch.testing.assert_close(shown, torch.from_numpy(levels[-num_frames:]).float(), atol=3, rtol=0)


def test_a_prompt_alone_gives_nothing():
    assert conditions.load(Prompt("a", "text"), SIZE, 2) is None


def test_a_single_prompt_takes_the_name_of_its_picture(picture):
    config = GenerateConfig(prompt="text", image=str(picture[0]), num_frames=9, height=32, width=48)
    assert [(prompt.name, prompt.image) for prompt in conditions.read_prompts(config)[0]] == [("picture", picture[0])]
    assert conditions.read_prompts(GenerateConfig(prompt="text"))[0][0].name == "prompt"


def test_a_limit_takes_the_same_prompts_whatever_else_is_there(tmp_path):
    for name in ("one", "two", "three", "four"):
        (tmp_path / f"{name}.txt").write_text("text")
    names = {
        limit: {each.name for each in conditions.read_prompts(GenerateConfig(inputs=str(tmp_path), limit=limit))[0]}
        for limit in (1, 2, 9)
    }
    assert [len(taken) for taken in names.values()] == [1, 2, 4]
    assert names[1] < names[2]
    assert conditions.read_prompts(GenerateConfig(inputs=str(tmp_path), limit=1))[1] == 4


def test_every_unreadable_file_is_told_at_once(tmp_path):
    for name in ("one", "two"):
        Path(tmp_path / f"{name}.txt").write_text("text")
        Path(tmp_path / f"{name}.png").write_bytes(b"no picture")
    with pytest.raises(BlockedError) as caught:
        conditions.read_prompts(GenerateConfig(inputs=str(tmp_path)))
    assert [Path(problem.path).name for problem in caught.value.problems] == ["one.png", "two.png"]
