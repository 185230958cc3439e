from tao_skill_bank.data import header_findings
from tao_skill_bank.data.header_findings import Named
from tao_skill_bank.data.headers import Look, MediaFile
from tao_skill_bank.data.media.header import Header
from tao_skill_bank.data.media.refusals import refused

WHOLE = Header(96, 64, 20, 2.0, 10.0, num_present=20)


def clip(number):
    return MediaFile("video", f"/data/{number}.mp4")


def test_one_unusable_file_is_named_with_its_record_as_a_decoded_one_is():
    broken = {clip(1): refused("/data/1.mp4", "it is empty")}
    (found,) = header_findings.unusable(
        "a.json", broken, lambda files: {file: Named("1.mp4", [7, 9]) for file in files}
    )
    assert found.message == "Media file /data/1.mp4 cannot be used: it is empty (record 7, 9)."
    assert (found.code, found.severity) == ("media_unreadable", "blocking")
    assert found.evidence == {"files": ["1.mp4"], "records": [7, 9], "count": 1}


def test_many_unusable_files_are_one_finding_per_code_with_a_count():
    broken = {clip(number): refused("x", "it is empty") for number in range(30)}
    broken[clip(40)] = refused("x", "a pointer", code="media_lfs_pointer", fix="git lfs pull")
    found = header_findings.unusable(
        "a.json", broken, lambda files: {file: Named(file.path[-7:], [3]) for file in files}
    )
    assert [(each.code, each.evidence["count"]) for each in found] == [
        ("media_unreadable", 30),
        ("media_lfs_pointer", 1),
    ]
    assert found[0].message.startswith("30 media files of a.json cannot be used: ")
    assert "/0.mp4 (record 3): it is empty" in found[0].message
    assert found[0].message.endswith("and 10 more.")
    assert found[1].fix == "git lfs pull"


def test_a_clip_that_ends_before_its_index_says_cannot_be_used():
    cut = Header(96, 64, 20, 2.0, 10.0, num_present=12)
    found = header_findings.errors(Look({clip(1): WHOLE, clip(2): cut}, {clip(3): refused("x", "y")}))
    assert [error.problems[0].code for error in found.values()] == ["media_unreadable", "media_cut_short"]
    assert "with 12 of the 20 frames" in str(found[clip(2)])


def test_files_that_were_not_reached_are_counted_once():
    assert header_findings.left("a.json", Look({clip(1): WHOLE}), 120) == []
    (found,) = header_findings.left("a.json", Look({clip(1): WHOLE}, num_left=4), 120)
    assert (found.severity, found.evidence) == ("not_checked", {"count": 4, "files": 5})
    assert "the job reads them before its first step" in found.message
