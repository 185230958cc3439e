import io
import tarfile

import pytest
from preflight_worlds import codes, make_record, only, use_of

from tao_skill_bank.data import archive, media_files
from tao_skill_bank.data.scan import scan


def findings_of(use, listing=None):
    return media_files.check(scan(use, (), 8), listing)


def pack(path, members):
    """Write a tar.gz of (name, bytes) files and ready-made members."""
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            name, data = member
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def archive_findings(tmp_path, dataset, members):
    path = pack(tmp_path / "videos.tar.gz", members)
    use = use_of(dataset(), media_path=path)
    (tmp_path / "taken").mkdir()
    return findings_of(use, archive.read(path, {"videos/1.mp4"}, tmp_path / "taken", 60))


def test_media_that_exist_are_no_finding(dataset):
    assert findings_of(use_of(dataset())) == []


def test_media_may_be_named_with_a_leading_dot(dataset):
    root = dataset(records=[make_record(0, video="./videos/0.mp4"), make_record(1, video="videos/./1.mp4")])
    assert findings_of(use_of(root)) == []


def test_missing_media_are_listed_with_their_records(dataset):
    root = dataset(records=[make_record(index) for index in range(6)])
    found = only(findings_of(use_of(root)), "media_missing")
    assert found.severity == "blocking"
    assert found.evidence == {"files": ["videos/4.mp4", "videos/5.mp4"], "count": 2}
    assert "record 4, 5" in found.message


def test_a_folder_in_the_place_of_a_clip_is_missing_media(dataset):
    root = dataset()
    (root / "videos" / "0.mp4").unlink()
    (root / "videos" / "0.mp4").mkdir()
    assert only(findings_of(use_of(root)), "media_missing").evidence["files"] == ["videos/0.mp4"]


def test_names_are_found_however_they_spell_the_folder(dataset):
    root = dataset()
    records = [make_record(0, video="./videos/0.mp4"), make_record(1, video=str(root / "videos" / "1.mp4"))]
    records += [make_record(2, video="videos//2.mp4"), make_record(3, video="videos/../videos/3.mp4")]
    assert findings_of(use_of(dataset(records=records))) == []


@pytest.mark.parametrize("name", ["../outside.mp4", "videos/../../outside.mp4", "/etc/passwd"])
def test_media_outside_the_root_block(dataset, tmp_path, name):
    (tmp_path / "outside.mp4").write_bytes(b"")
    found = findings_of(use_of(dataset(records=[make_record(0, video=name)])))
    assert codes(found, "blocking") == ["media_outside_root"]


def test_a_root_behind_a_symbolic_link_is_still_the_root(dataset, tmp_path):
    root = dataset()
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    root = dataset(records=[make_record(0, video=str(alias / "videos" / "0.mp4"))])
    assert findings_of(use_of(alias)) == []


def test_a_media_path_that_is_missing_or_no_folder_blocks(dataset, tmp_path):
    root = dataset()
    assert codes(findings_of(use_of(root, media_path=tmp_path / "absent"))) == ["media_path_missing"]
    assert codes(findings_of(use_of(root, media_path=root / "annotations.json"))) == ["media_path_kind"]


def test_media_behind_a_uri_are_not_checked(dataset):
    root = dataset(records=[make_record(0, video="s3://bucket/0.mp4")])
    for use in (use_of(root), use_of(dataset("other"), media_path="s3://bucket/videos")):
        assert [(found.code, found.severity) for found in findings_of(use)] == [("media_remote", "not_checked")]


def test_an_archive_that_holds_the_media_is_no_finding(tmp_path, dataset):
    members = [(f"./videos/{index}.mp4", b"clip") for index in range(4)]
    assert archive_findings(tmp_path, dataset, members) == []


def test_members_missing_from_an_archive_are_listed(tmp_path, dataset):
    found = archive_findings(tmp_path, dataset, [("videos/0.mp4", b""), ("videos/1.mp4", b"")])
    assert only(found, "media_missing").evidence["files"] == ["videos/2.mp4", "videos/3.mp4"]


@pytest.mark.parametrize(
    "member",
    [
        ("/etc/cron.d/evil", b""),
        ("videos/../../evil", b""),
        link("videos/1.mp4", "/etc/passwd"),
        link("videos/9.mp4", "videos/0.mp4", tarfile.LNKTYPE),
        link("videos/fifo", "", tarfile.FIFOTYPE),
    ],
    ids=["absolute", "parent", "symlink", "hard link", "device"],
)
def test_an_archive_with_unsafe_members_blocks_and_nothing_of_them_is_written(tmp_path, dataset, member):
    name = member[0] if isinstance(member, tuple) else member.name
    found = only(archive_findings(tmp_path, dataset, [("videos/0.mp4", b""), member]), "archive_unsafe")
    assert found.severity == "blocking"
    assert found.evidence["members"] == [name]
    assert list((tmp_path / "taken").iterdir()) == []


@pytest.mark.parametrize(("name", "records"), [("./videos/1.mp4", [1]), ("videos/3.mp4", [3]), ("notes.txt", [])])
def test_a_name_that_an_archive_holds_twice_blocks_where_a_record_shows_it(tmp_path, dataset, name, records):
    members = [("notes.txt", b""), *((f"videos/{index}.mp4", b"clip") for index in range(4)), (name, b"other")]
    found = archive_findings(tmp_path, dataset, members)
    assert [(each.code, each.severity, each.evidence["records"]) for each in found] == [
        ("archive_names_repeat", "blocking", records) for _ in records
    ]


@pytest.mark.parametrize("data", [b"", b"not a tar", b"\x1f\x8b\x08broken"])
def test_a_file_that_is_no_archive_blocks(tmp_path, dataset, data):
    path = tmp_path / "videos.tar.gz"
    path.write_bytes(data)
    use = use_of(dataset(), media_path=path)
    assert codes(findings_of(use, archive.read(path, set(), tmp_path, 60))) == ["archive_unreadable"]


def test_a_truncated_archive_blocks(tmp_path, dataset):
    path = pack(tmp_path / "videos.tar.gz", [(f"videos/{index}.mp4", bytes(range(256)) * 999) for index in range(4)])
    path.write_bytes(path.read_bytes()[:-200])
    use = use_of(dataset(), media_path=path)
    assert codes(findings_of(use, archive.read(path, set(), tmp_path, 60))) == ["archive_unreadable"]


def test_an_archive_that_takes_too_long_is_not_checked_rather_than_waited_for(tmp_path, dataset):
    path = pack(tmp_path / "videos.tar.gz", [("videos/0.mp4", b"")])
    use = use_of(dataset(), media_path=path)
    found = findings_of(use, archive.read(path, set(), tmp_path, -1))
    assert [(finding.code, finding.severity) for finding in found] == [("archive_not_listed", "not_checked")]
