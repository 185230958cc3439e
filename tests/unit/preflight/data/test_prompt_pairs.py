from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image
from preflight_worlds import codes, only, write_clip

from tao_skill_bank.contracts import Workload
from tao_skill_bank.data import media_probe
from tao_skill_bank.preflight.data import prompt_pairs


@pytest.fixture
def pairs(tmp_path):
    for suffix in ("png", "jpg", "webp"):
        Image.new("RGB", (32, 32), "red").save(tmp_path / f"{suffix}.{suffix}")
    write_clip(tmp_path / "mp4.mp4", num_frames=5)
    for name in ("png", "jpg", "webp", "mp4", "alone"):
        (tmp_path / f"{name}.txt").write_text("Lift it.")
    return tmp_path


def findings_of(source):
    with ThreadPoolExecutor(2) as pool:
        return prompt_pairs.check(Workload("m", prompts=str(source) if source else None), pool, 20)


def test_pairs_are_decoded_and_summed_up(pairs):
    found = findings_of(pairs)
    assert codes(found) == ["prompts"]
    assert found[0].evidence == {"prompts": 5, "pictures": 3, "clips": 1}


def test_a_picture_that_cannot_be_decoded_blocks_beside_other_problems(pairs):
    (pairs / "png.png").write_bytes(b"no picture")
    (pairs / "alone.txt").write_text("")
    found = findings_of(pairs)
    assert codes(found, "blocking") == ["prompt_empty", "prompt_media_unreadable"]
    assert only(found, "prompt_media_unreadable").evidence["files"] == ["png.png"]


def test_no_pairs_block(tmp_path):
    assert codes(findings_of(tmp_path), "blocking") == ["no_test_pairs"]


def test_prompts_elsewhere_are_not_checked_and_no_prompts_are_no_finding():
    assert codes(findings_of("s3://bucket/pairs"), "not_checked") == ["prompts_remote"]
    assert findings_of(None) == []


def test_without_a_decoder_pairs_are_not_decoded(pairs, monkeypatch):
    monkeypatch.setattr(media_probe, "find_spec", lambda _: None)
    assert codes(findings_of(pairs)) == ["media_not_decoded", "prompts"]
