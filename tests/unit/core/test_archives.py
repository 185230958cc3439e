import contextlib
import tarfile
import time
from pathlib import Path

import pytest
from hostile_archives import BOMBS, COMPRESSIONS, CONTENT, MIB, tar_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tao_skill_bank.core import archives
from tao_skill_bank.core.archives import ArchiveError


def read(path: Path, folder: Path, names: tuple[str, ...] = ("a.mp4",)) -> set[str]:
    return archives.extract(path, {name: folder / name for name in names})


def written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_an_archive_that_would_write_more_than_it_can_hold_writes_nothing(tmp_path, bomb):
    (tmp_path / "media.tar").write_bytes(bomb())
    began = time.process_time()
    with pytest.raises(ArchiveError) as caught:
        read(tmp_path / "media.tar", tmp_path / "out")
    assert str(caught.value)
    assert time.process_time() - began < 2
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_the_same_in_every_format_and_compression(tmp_path, compression, form):
    files = {"./a.mp4": CONTENT, f"{'d' * 90}/{'é' * 40}.mp4": CONTENT[:512], "empty": b"", "c.mp4": bytes(2 * MIB)}
    (tmp_path / "media.tar").write_bytes(COMPRESSIONS[compression](tar_of(files, form)))
    names = [str(Path(name)) for name in files]
    assert read(tmp_path / "media.tar", tmp_path / "out", (*names, "absent")) == set(names)
    assert [(tmp_path / "out" / name).read_bytes() for name in names] == list(files.values())


def test_the_first_of_several_members_of_a_name_is_taken(tmp_path):
    (tmp_path / "media.tar").write_bytes(tar_of({"a.mp4": b"first", "./a.mp4": b"second"}))
    read(tmp_path / "media.tar", tmp_path)
    assert (tmp_path / "a.mp4").read_bytes() == b"first"


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_parts_that_were_compressed_one_by_one_are_read_to_the_last(tmp_path, compression):
    body = tar_of({"a.mp4": CONTENT, "b.mp4": CONTENT})
    compress = COMPRESSIONS[compression]
    (tmp_path / "media.tar").write_bytes(compress(body[:2000]) + compress(body[2000:]))
    assert read(tmp_path / "media.tar", tmp_path, ("a.mp4", "b.mp4")) == {"a.mp4", "b.mp4"}
    assert (tmp_path / "b.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz"])
def test_a_wrong_checksum_at_the_end_leaves_no_member(tmp_path, compression):
    body = bytearray(COMPRESSIONS[compression](tar_of({"a.mp4": CONTENT})))
    at = {"gzip": -6, "bz2": -3, "xz": -30}[compression]
    body[at] ^= 0xFF
    (tmp_path / "media.tar").write_bytes(body)
    with pytest.raises(ArchiveError):
        read(tmp_path / "media.tar", tmp_path / "out")
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_an_archive_that_is_cut_anywhere_is_refused_or_lacks_members(tmp_path, compression):
    body = COMPRESSIONS[compression](tar_of({"a.mp4": CONTENT, "b.mp4": CONTENT}))
    for length in range(1, len(body) - 1, len(body) // 40):
        (tmp_path / "media.tar").write_bytes(body[:length])
        try:
            found = read(tmp_path / "media.tar", tmp_path / "out", ("a.mp4", "b.mp4"))
        except ArchiveError:
            assert written(tmp_path / "out") == []
            continue
        assert compression == "plain"
        for name in found:
            assert (tmp_path / "out" / name).read_bytes() == CONTENT
            (tmp_path / "out" / name).unlink()


@settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(COMPRESSIONS)),
    st.lists(st.tuples(st.integers(0, 2600), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_a_damaged_archive_is_read_or_refused_and_never_anything_else(tmp_path, compression, changes):
    body = bytearray(COMPRESSIONS[compression](tar_of({"a.mp4": CONTENT[:600], "b.mp4": b"b" * 600}, mtime=1.5)))
    for at, value in changes:
        body[at % len(body)] = value
    (tmp_path / "media.tar").write_bytes(body)
    with contextlib.suppress(ArchiveError):
        read(tmp_path / "media.tar", tmp_path / "out")
    assert sum(path.stat().st_size for path in written(tmp_path / "out")) <= MIB


def test_an_archive_of_many_members_takes_little_memory_and_few_reads(tmp_path):
    (tmp_path / "media.tar").write_bytes(tar_of({f"{number}.mp4": b"" for number in range(3000)}))
    with archives.opened(tmp_path / "media.tar") as archive:
        assert sum(1 for _ in archive) == 3000
        assert archive._tar is not None
        assert archive._tar.members == []
