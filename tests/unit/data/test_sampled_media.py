import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import media_pool
import pytest
from preflight_worlds import codes, make_job, make_record, only, use_of, write_clip

from tao_skill_bank.data import archive, media_probe, sampled_media
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.scan import scan


@pytest.fixture
def findings_of(tmp_path):
    """Decode the samples of a dataset and check them."""

    def run(root, *, listing=None, use=None, timeout_seconds=200, **workload):
        with ThreadPoolExecutor(2) as pool:
            decoded = sampled_media.decode(scan(use or use_of(root), (), 8), listing, pool, timeout_seconds)
        facts = MediaFacts(make_job(tmp_path, **workload).workload.num_frames)
        return sampled_media.check("the data", decoded, facts)

    return run


def test_good_clips_are_decoded(dataset, findings_of):
    found = findings_of(dataset())
    assert codes(found) == ["media_decoded"]
    assert found[0].evidence == {"files": 4}


@pytest.mark.parametrize("data", [b"", b"not a video", b"\x00\x00\x00\x18ftypmp42" + bytes(200)])
def test_an_unreadable_video_blocks_by_name(dataset, findings_of, data):
    root = dataset()
    (root / "videos" / "2.mp4").write_bytes(data)
    found = only(findings_of(root), "media_unreadable")
    assert found.severity == "blocking"
    assert found.path.endswith("videos/2.mp4")


def test_a_video_whose_index_is_cut_off_blocks(dataset, findings_of):
    path = dataset() / "videos" / "1.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert codes(findings_of(path.parent.parent), "blocking") == ["media_unreadable"]


def test_a_video_without_frames_blocks(dataset, findings_of):
    root = dataset()
    write_clip(root / "videos" / "0.mp4", num_frames=0)
    found = [finding for finding in findings_of(root) if finding.severity == "blocking"]
    assert [finding.path.rpartition("/")[2] for finding in found] == ["0.mp4"]


def test_a_file_that_decodes_to_nothing_blocks(dataset, findings_of, clip):
    root = dataset()
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) - 4
    data[start:end] = bytes(end - start)
    (root / "videos" / "3.mp4").write_bytes(data)
    found = [finding for finding in findings_of(root) if finding.severity == "blocking"]
    assert [finding.path.rpartition("/")[2] for finding in found] == ["3.mp4"]


def test_a_decoder_that_hangs_blocks_by_name(dataset, findings_of, tmp_path, monkeypatch):
    root = dataset(num_videos=1)
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    found = only(findings_of(root, timeout_seconds=0.3), "media_hangs")
    assert found.severity == "blocking"
    assert found.path.endswith("videos/0.mp4")


def test_a_decoder_that_dies_blocks_by_name(dataset, findings_of, monkeypatch):
    root = dataset(num_videos=1)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert "exit code 1" in only(findings_of(root), "media_unreadable").message


def test_without_the_decoder_media_are_not_checked_and_the_cure_is_named(dataset, findings_of, monkeypatch):
    monkeypatch.setattr("tao_skill_bank.data.media.clip_index.find_spec", lambda _: None)
    found = findings_of(dataset())
    assert [(finding.code, finding.severity) for finding in found] == [("media_not_decoded", "not_checked")]
    assert found[0].fix == "pip install 'tao-skill-bank[train]'"


def test_clips_shorter_than_the_frames_asked_for_are_listed(dataset, findings_of):
    root = dataset()
    write_clip(root / "videos" / "1.mp4", num_frames=5)
    found = only(findings_of(root, fps=None, num_frames=8), "media_too_short")
    assert found.severity == "blocking"
    assert found.evidence == {"frames": {"videos/1.mp4": 5}, "count": 1, "largest": 5}
    assert "at most 5" in found.fix


def test_a_declared_rate_other_than_the_containers_is_a_warning(dataset, findings_of):
    rates = (4.0, 8.0, 4.03, 4.2)
    root = dataset(records=[make_record(index, video_fps=rate) for index, rate in enumerate(rates)])
    found = only(findings_of(root), "video_fps_differs")
    assert found.severity == "warning"
    assert found.evidence["files"] == {
        "videos/1.mp4": {"declared": 8.0, "container": 4.0},
        "videos/3.mp4": {"declared": 4.2, "container": 4.0},
    }


def test_a_variable_frame_rate_is_named_and_its_own_times_are_used(dataset, findings_of):
    root = dataset()
    write_clip(root / "videos" / "0.mp4", num_frames=8, times=[0, 1, 2, 7, 8, 16, 17, 30])
    found = findings_of(root)
    assert only(found, "media_variable_rate").evidence == {"files": ["videos/0.mp4"], "count": 1}
    assert only(found, "media_variable_rate").severity == "info"
    assert "video_fps_differs" not in codes(found)


@pytest.mark.slow
def test_images_are_decoded_too(dataset, findings_of):
    from PIL import Image

    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    root = dataset(records=[{"id": name, "image": name, "conversations": turns} for name in ("a.png", "b.jpg")])
    Image.new("RGB", (48, 32)).save(root / "a.png")
    Image.new("RGB", (48, 32)).save(root / "b.jpg")
    assert codes(findings_of(root)) == ["media_decoded"]
    (root / "b.jpg").write_bytes(b"")
    found = only(findings_of(root), "media_unreadable")
    assert found.path.endswith("b.jpg")
    assert found.evidence["records"] == [1]
    assert "(record 1)" in found.message


@pytest.mark.parametrize(
    ("name", "code"),
    [("narrow.png", "aspect_ratio"), ("pointer.png", "media_lfs_pointer"), ("cut_short.jpg", "media_cut_short")],
)
def test_a_broken_picture_is_refused_with_the_records_that_name_it(dataset, findings_of, name, code):
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    names = ("sound.png", name, name)
    root = dataset(records=[{"id": str(at), "image": file, "conversations": turns} for at, file in enumerate(names)])
    media_pool.SOUND_IMAGES["plain.png"](root / "sound.png")
    media_pool.BROKEN_IMAGES[name](root / name)
    found = only(findings_of(root), code)
    assert (found.severity, found.path) == ("blocking", str(root / name))
    assert found.evidence["records"] == [1, 2]
    assert "(record 1, 2)" in found.message


def test_of_an_animated_picture_it_is_said_that_the_first_frame_is_shown(dataset, findings_of):
    turns = [{"from": "human", "value": "<image>?"}, {"from": "gpt", "value": "!"}]
    root = dataset(records=[{"id": "a", "image": "a.webp", "conversations": turns}])
    media_pool.SOUND_IMAGES["animated.webp"](root / "a.webp")
    found = only(findings_of(root), "media_animated")
    assert (found.severity, found.evidence["files"]) == ("warning", ["a.webp"])


def test_sampled_media_are_taken_out_of_an_archive(dataset, findings_of, tmp_path):
    root = dataset()
    (root / "videos" / "2.mp4").write_bytes(b"broken")
    archive_path = shutil.make_archive(str(tmp_path / "videos"), "gztar", root, "videos")
    names = {f"videos/{index}.mp4" for index in range(4)}
    listing = archive.read(tmp_path / "videos.tar.gz", names, tmp_path, 60)
    found = findings_of(root, listing=listing, use=use_of(root, media_path=archive_path))
    assert codes(found) == ["media_unreadable", "media_decoded"]
    assert found[1].evidence == {"files": 3}


def test_a_probe_tells_what_the_container_holds(clip):
    found = media_probe.probe_in_children([clip], 20)[clip]
    assert (found.width, found.height, found.num_frames, found.decoded_frames) == (64, 64, 12, 12)
    assert (found.container_fps, found.duration_seconds, found.has_variable_rate) == (4.0, 3.0, False)


def test_probing_imports_neither_torch_nor_numpy(clip):
    probe = f"print(m.answer(m.Path('{clip}'), 'video', 5))"
    code = f"import sys; from tao_skill_bank.data import media_probe as m; {probe}; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" not in modules
    assert "numpy" not in modules
