import pytest
from PIL import Image
from preflight_worlds import codes, findings_on, only, write_clip

from tao_skill_bank.contracts import Input


@pytest.fixture
def pairs(tmp_path):
    for suffix in ("png", "jpg", "webp"):
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"{suffix}.{suffix}")
    write_clip(tmp_path / "mp4.mp4", num_frames=5)
    for name in ("png", "jpg", "webp", "mp4", "alone"):
        (tmp_path / f"{name}.txt").write_text("Lift it.")
    return tmp_path


def findings_of(source, **options):
    return findings_on(Input("eval", "prompt_pairs", {"path": str(source)}, options))


@pytest.mark.slow
def test_pairs_are_decoded_and_summed_up(pairs):
    found = findings_of(pairs)
    assert codes(found) == ["prompts"]
    assert found[0].evidence == {"prompts": 5, "pictures": 3, "clips": 1}


@pytest.mark.slow
def test_a_picture_that_cannot_be_decoded_blocks_beside_other_problems(pairs):
    (pairs / "png.png").write_bytes(b"no picture")
    (pairs / "alone.txt").write_text("")
    found = findings_of(pairs)
    assert codes(found, "blocking") == ["prompt_empty", "prompt_media_unreadable"]
    assert only(found, "prompt_media_unreadable").evidence["files"] == ["png.png"]


def test_no_pairs_block(tmp_path):
    assert codes(findings_of(tmp_path), "blocking") == ["no_test_pairs"]


def test_prompts_elsewhere_are_not_checked():
    assert codes(findings_of("s3://bucket/pairs"), "not_checked") == ["prompts_remote"]


def test_without_a_decoder_pairs_are_not_decoded(pairs, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    assert codes(findings_of(pairs)) == ["media_not_decoded", "prompts"]


@pytest.mark.slow
def test_first_frames_of_every_format_that_is_read_can_be_decoded(tmp_path):
    for suffix in ("png", "jpg", "jfif", "webp", "bmp", "tif", "gif", "ppm"):
        picture_format = {"jfif": "jpeg"}.get(suffix)
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"{suffix}.{suffix}", picture_format)
        (tmp_path / f"{suffix}.txt").write_text("Lift it.")
    found = findings_of(tmp_path)
    assert codes(found) == ["prompts"]
    assert found[0].evidence == {"prompts": 8, "pictures": 8, "clips": 0}


@pytest.mark.slow
def test_a_prompt_that_is_longer_than_the_encoder_takes_is_a_warning(pairs):
    (pairs / "alone.txt").write_text("The gripper waits. " * 40)
    assert codes(findings_of(pairs), "warning") == []
    found = only(findings_of(pairs, text_tokens=100), "texts_cut")
    assert (found.severity, found.evidence["cut"]) == ("warning", {"alone": {"tokens": 200, "words": 60}})
