from dataclasses import replace
from pathlib import Path

import pytest

from tao_skill_bank.data import clip_sizes
from tao_skill_bank.data.clip_outcomes import ClipOutcomes
from tao_skill_bank.data.clip_sizes import ENLARGED, STRETCHED, Keys, Resizing
from tao_skill_bank.data.media_probe import probe as probe_media

KEYS = Keys("h", "w", "keep")
RECIPE = Resizing(432, 768, 16, KEYS)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return the outcomes of clips of (height, width)s: one real probe, with other sizes."""
    from preflight_worlds import write_clip

    folder = tmp_path_factory.mktemp("clips")
    real = probe_media(write_clip(folder / "0.mp4"), 20.0)

    def make(*sizes):
        probes = {
            folder / f"{index}.mp4": replace(real, height=height, width=width)
            for index, (height, width) in enumerate(sizes)
        }
        return ClipOutcomes(str(folder), probes)

    return make


def codes(found):
    return [finding.code for finding in found]


@pytest.mark.parametrize("size", [(432, 768), (1080, 1920), (720, 1280), (300, 540), (480, 832)])
def test_clips_of_about_the_shape_of_the_spec_have_no_finding(outcomes, size):
    assert clip_sizes.check(outcomes(size, size), RECIPE) == []


def test_small_clips_are_warned_of_with_their_own_size(outcomes):
    (found,) = clip_sizes.check(outcomes((90, 160), (90, 160), (432, 768)), RECIPE)
    assert (found.code, found.severity) == ("clips_enlarged", "warning")
    assert found.fix_set == {"h": 96, "w": 160}
    assert "2 of 3 clips" in found.message
    assert "4.8 times per side" in found.message


def test_clips_of_one_other_aspect_ratio_get_a_size_that_has_it(outcomes):
    (found,) = clip_sizes.check(outcomes((1080, 1080), (1080, 1080)), RECIPE)
    assert found.code == "clips_stretched"
    assert found.fix_set == {"h": 576, "w": 576}
    assert "1.8 times" in found.message


def test_clips_of_several_aspect_ratios_keep_their_own(outcomes):
    (found,) = clip_sizes.check(outcomes((1080, 1920), (1920, 1080)), RECIPE)
    assert found.fix_set == {"keep": True}
    assert clip_sizes.check(outcomes((1080, 1920), (1920, 1080)), replace(RECIPE, keeps_aspect=True)) == []


def test_small_clips_are_enlarged_also_where_each_keeps_its_aspect_ratio(outcomes):
    assert codes(clip_sizes.check(outcomes((90, 160)), replace(RECIPE, keeps_aspect=True))) == ["clips_enlarged"]


@pytest.mark.parametrize("height", [64, 90, 240, 480, 1080, 2160])
@pytest.mark.parametrize("ratio", [0.5, 0.75, 1.0, 1.33, 1.78, 2.4])
def test_the_size_that_is_named_satisfies_the_check_and_the_spec(outcomes, height, ratio):
    clips = outcomes((height, round(height * ratio)))
    for found in clip_sizes.check(clips, RECIPE):
        size = Resizing(found.fix_set["h"], found.fix_set["w"], 16, KEYS)
        assert size.height % 16 == size.width % 16 == 0
        assert size.height * size.width <= 1.1 * RECIPE.height * RECIPE.width
        assert clip_sizes.check(clips, size) == [], (STRETCHED, ENLARGED)


def test_nothing_is_said_without_a_size_or_without_probes(outcomes):
    assert clip_sizes.check(outcomes((90, 160)), None) == []
    assert clip_sizes.check(ClipOutcomes(str(Path())), RECIPE) == []
