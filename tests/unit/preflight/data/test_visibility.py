"""What other machines may have and this one has not: never said to be missing, and looked for by the job."""

from pathlib import Path

import pytest
from preflight_worlds import QuietPlatform, clips_of, codes, make_job, make_record, only, use_of, write_annotations

from tao_skill_bank import preflight
from tao_skill_bank.contracts import Input
from tao_skill_bank.data import kinds
from tao_skill_bank.preflight.data import visibility
from tao_skill_bank.preflight.model import inspection

ABSENT = "/lustre/lab"


def run(job, *, runs_here=False):
    return preflight.run(job, QuietPlatform(runs_here=runs_here))


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch):
    monkeypatch.setattr(inspection, "inspect", lambda *_: inspection.Inspection())


KINDS = kinds.names()


@pytest.mark.parametrize("name", KINDS)
def test_an_absent_input_of_any_kind_blocks_here_and_is_not_visible_elsewhere(name, tmp_path):
    paths = {each: f"{ABSENT}/{each}" for each in kinds.load(name).paths}
    job = make_job(tmp_path, Input("train", name, paths))
    assert codes(run(job, runs_here=True), "blocking")
    found = run(job)
    assert codes(found, "blocking") == []
    warned = only(found, visibility.CODE)
    assert (warned.severity, warned.blocks_run) == ("warning", False)
    assert set(warned.evidence["paths"]) == set(paths.values())
    assert "does not exist" not in " ".join(each.message for each in found)


@pytest.mark.parametrize(
    ("changes", "role"),
    [
        ({"model": f"{ABSENT}/model"}, "model"),
        ({"model": f"{ABSENT}/model/"}, "model"),
        ({"model": f"{ABSENT}/adapter", "base_model": "builtin://tiny-cosmos-reason"}, "model"),
        ({"model": "builtin://tiny-cosmos-reason", "base_model": f"{ABSENT}/base"}, "base model"),
        ({"resume_from": f"{ABSENT}/epoch_1", "resume": True}, "checkpoint to resume from"),
        ({"resume": True}, "run directory to resume"),
    ],
)
def test_an_absent_checkpoint_blocks_here_and_is_not_visible_elsewhere(changes, role, tmp_path):
    job = make_job(tmp_path, **changes)
    assert "checkpoint_missing" in codes(run(job, runs_here=True), "blocking")
    found = run(job)
    assert only([each for each in found if each.evidence.get("role") == role], visibility.CODE)
    assert [each for each in found if each.severity == "blocking" and "adapter" not in each.code] == []


def test_the_model_that_only_the_nodes_see_is_not_asked_about(tmp_path):
    found = only(run(make_job(tmp_path, model=f"{ABSENT}/model")), "model_not_inspected")
    assert found.severity == "not_checked"


def test_what_is_here_is_checked_for_other_machines_too(dataset, tmp_path):
    root = dataset(records=[make_record(0, video_fps=None)])
    assert codes(run(make_job(tmp_path, use_of(root))), "blocking") == ["video_fps_missing"]


def test_annotations_are_checked_although_their_media_are_not_visible(tmp_path):
    write_annotations(tmp_path, [make_record(0, video_fps=None), *map(make_record, range(1, 6))])
    found = run(make_job(tmp_path, use_of(tmp_path, media_path=f"{ABSENT}/videos")))
    assert codes(found, "blocking") == ["video_fps_missing"]
    assert only(found, visibility.CODE).path == f"{ABSENT}/videos"


def test_a_near_name_in_a_folder_that_is_here_is_suggested(tmp_path):
    write_annotations(tmp_path / "data", [make_record(0)])
    given = Input("train", "annotations", {
        "annotation_path": str(tmp_path / "data" / "anotations.json"), "media_path": str(tmp_path / "data"),
    })  # fmt: skip
    found = only(run(make_job(tmp_path, given)), visibility.CODE)
    assert "Did you mean 'annotations.json'?" in found.fix


def test_what_the_platform_never_sees_is_left_to_its_probe(tmp_path):
    class Apart(QuietPlatform):
        def shares(self, path, options):  # noqa: ARG002 - the protocol names them
            return False

    job = make_job(tmp_path, clips_of(Path(ABSENT, "clips")))
    found = preflight.run(job, Apart(runs_here=False))
    assert visibility.CODE not in codes(found)
    assert codes(found, "blocking") == []
