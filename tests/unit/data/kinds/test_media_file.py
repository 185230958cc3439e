import pytest
from preflight_worlds import codes, findings_on, look, only

from tao_skill_bank.contracts import Input, Workload


def media(path, kind="video"):
    return Input("media", "media_file", {"path": str(path)}, {"media": kind})


def test_media_files_of_the_spec_must_exist_and_decode(clip, tmp_path):
    def codes_of(name):
        return codes([found for found in findings_on(media(name)) if found.severity != "info"])

    assert codes_of(clip) == []
    assert codes_of(tmp_path / "absent.mp4") == ["media_missing"]
    assert codes_of(__file__) == ["media_unreadable"]


def test_a_file_elsewhere_is_not_checked():
    assert codes(findings_on(media("s3://bucket/a.mp4")), "not_checked") == ["media_remote"]


def test_a_clip_must_have_the_frames_that_are_asked_for_and_an_image_need_not(clip, tmp_path):
    from PIL import Image

    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    workload = Workload(num_frames=13)
    found = findings_on(media(clip), media(tmp_path / "a.png", "image"), workload=workload)
    assert only(found, "media_too_short").evidence == {"frames": {str(clip): 12}, "count": 1, "largest": 12}


@pytest.mark.parametrize("kind", ["video", "image"])
def test_the_file_is_a_record_whose_length_can_be_predicted(clip, kind, tmp_path):
    from PIL import Image

    picture = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(picture)
    name = picture if kind == "image" else clip
    (seen,), _ = look(media(name, kind))
    (record,) = seen.records
    assert (record.record, record.media[0].kind) == ({kind: str(name)}, kind)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_a_file_of_the_other_kind_is_refused(clip, kind, tmp_path):
    from PIL import Image

    picture = tmp_path / "a.png"
    Image.new("RGB", (32, 32)).save(picture)
    findings = findings_on(media(clip if kind == "image" else picture, kind))
    assert [found.severity for found in findings] == ["blocking"]
    assert ("not a picture" if kind == "image" else "a picture, not a video") in findings[0].message
