"""What preflight proposes resolves what it found: the same checks on the corrected request are silent."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import faults
import pytest
from preflight_worlds import clips_of, findings_on, make_job, make_record, only, write_clip

from tao_skill_bank.bank import catalog, model_hooks
from tao_skill_bank.bank.early_stop import EarlyStop
from tao_skill_bank.contracts import Input, Request
from tao_skill_bank.core import nested
from tao_skill_bank.core.findings import blocking, warning
from tao_skill_bank.data.media_facts import MediaFacts
from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.models.cosmos_reason import data_checks
from tao_skill_bank.preflight import repairs
from tao_skill_bank.preflight.data import schedule, steps, token_budget
from tao_skill_bank.spec import build
from tao_skill_bank.spec.overrides import merged
from tao_skill_bank.spec.proven_fixes import proven_findings

REASON, PREDICT = "tao-finetune-cosmos-reason", "tao-finetune-cosmos-predict"
ARITHMETIC = {"split_empty", "batch_exceeds_records", "too_many_steps", "few_steps", "warm_up_never_ends"}
CLIP = MediaProbe(1280, 720, 600, 600, 600, 20.0, 30.0, False)


def job_of(name, overrides, folder, action="train"):
    """Return the job that a request with these overrides makes."""
    skill = catalog.find(name)
    spec = build.build(skill, Request(name, action, overrides=overrides)).values
    describe = model_hooks.load(skill.info.package, "workload").describe
    module = skill.action(action).module
    made = replace(make_job(folder), skill=name, action=action, spec=spec, module=module)
    return replace(made, workload=describe(action, spec), resume_key="train.resume")


def arithmetic(job, num_records):
    """Return the findings of a training's length on so many records."""
    records = SimpleNamespace(input=Input("train", "any", {}), failure=None, num_usable=num_records, noun="records")
    findings = [*steps.check(job, [records]), *schedule.check(job, [records])]
    return repairs.with_overrides(job, findings)


def ways_of(found):
    return [found.fix_set] if found.fix_set else list(found.fix_choices)


def train_overrides(name, **changes):
    overrides = faults.valid_overrides(catalog.find(name), "train") | {"train.epoch": 3}
    if name == PREDICT:
        overrides |= {"train.warmup_steps": 0}
    return overrides | changes


SIZES = {
    REASON: ("train.train_batch_per_replica", "train.train_policy.mini_batch", "policy.parallelism.dp_shard_size"),
    PREDICT: ("train.gradient_accumulation_steps", "train.batch_size", "train.num_gpus"),
}


@pytest.mark.parametrize("name", [REASON, PREDICT])
@pytest.mark.parametrize(
    ("num_records", "factor", "micro", "ranks"),
    [*itertools.product([3, 5, 14], [1, 8], [2, 4], [1, 2]), (100, 2000, 3, 2), (7, 5, 3, 1)],
)
def test_a_batch_that_the_records_do_not_fill_is_made_the_largest_that_they_do(
    name, num_records, factor, micro, ranks, tmp_path
):
    batch, small, gpus = SIZES[name]
    total = factor if name == PREDICT else factor * micro
    overrides = train_overrides(name, **{batch: total, small: micro, gpus: ranks})
    found = [each for each in arithmetic(job_of(name, overrides, tmp_path), num_records) if each.severity == "blocking"]
    for each in found:
        assert each.code == "batch_exceeds_records"
        corrected = merged(overrides, each.fix_set, catalog.find(name).schema("train"))
        again = arithmetic(job_of(name, corrected, tmp_path), num_records)
        assert not [other for other in again if other.severity == "blocking"], (each.fix_set, again)
        workload = job_of(name, corrected, tmp_path).workload
        assert workload.batch_per_rank <= num_records // ranks
        assert workload.batch_per_rank % workload.micro_batch == 0
        assert workload.micro_batch <= micro
    assert bool(found) == (factor * micro * ranks > num_records)


@pytest.mark.parametrize("name", [REASON, PREDICT])
@pytest.mark.parametrize("num_records", [2, 9, 100])
@pytest.mark.parametrize("split", [0.001, 0.99, 500])
def test_a_split_that_leaves_one_side_empty_becomes_a_tenth(name, num_records, split, tmp_path):
    batch, small, _ = SIZES[name]
    key = {REASON: "train.train_policy.dataset.test_size", PREDICT: "dataset.test_size"}[name]
    held_out = {REASON: "custom.val_dataset", PREDICT: "dataset.val_dir"}[name]
    given = {path: value for path, value in train_overrides(name).items() if not path.startswith(held_out)}
    overrides = given | {batch: 1, small: 1, key: split}
    for each in arithmetic(job_of(name, overrides, tmp_path), num_records):
        if each.code == "split_empty":
            corrected = merged(overrides, each.fix_set, catalog.find(name).schema("train"))
            again = arithmetic(job_of(name, corrected, tmp_path), num_records)
            assert not [other for other in again if other.severity == "blocking"]
            assert only(again, "steps").evidence["validation_records"] == max(1, num_records // 10)


@pytest.mark.parametrize("name", [REASON, PREDICT])
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"train.epoch": 10**9}, "too_many_steps"),
        ({"train.epoch": 10**9, "train.stop_epoch": 9 * 10**8}, "too_many_steps"),
        ({"train.epoch": 2}, "few_steps"),
        ({"train.epoch": 7, "train.stop_epoch": 2}, "few_steps"),
        ({"train.epoch": 2, "train.warmup_steps": 900}, "warm_up_never_ends"),
        ({"train.epoch": 2, "train.optm_warmup_epochs": 2}, "warm_up_never_ends"),
    ],
)
def test_a_length_of_a_training_is_corrected_each_way_that_is_offered(name, changes, code, tmp_path):
    skill = catalog.find(name)
    batch, small, _ = SIZES[name]
    overrides = train_overrides(name, **{batch: 16 if name == REASON else 8, small: 2}, **changes)
    if any(nested.get(skill.schema("train")["default"], path) is None for path in changes if "warm" in path):
        pytest.skip("the other skill's warm-up")
    found = only(arithmetic(job_of(name, overrides, tmp_path), 320), code)
    ways = ways_of(
        proven_findings(
            [found], lambda added: build.problems_with(skill, Request(name, "train", overrides=overrides), added)
        )[0]
    )
    assert ways
    for way in ways:
        again = arithmetic(job_of(name, merged(overrides, way, skill.schema("train")), tmp_path), 320)
        assert code not in [each.code for each in again], way
        assert not [each for each in again if each.severity == "blocking"]


def test_the_same_fix_resolves_the_findings_of_several_folders(tmp_path):
    for folder, frames in (("train", 20), ("val", 14)):
        write_clip(tmp_path / folder / "videos" / "a.mp4", num_frames=frames)
        (tmp_path / folder / "videos" / "a.txt").write_text("A clip.")
    inputs = [
        clips_of(tmp_path / folder / "videos", role, 93, frame_step=4)
        for folder, role in (("train", "train"), ("val", "eval"))
    ]
    job = job_of(PREDICT, train_overrides(PREDICT), tmp_path)
    found = [each for each in repairs.with_overrides(job, findings_on(*inputs)) if each.code == "clips_too_short"]
    assert [each.fix_set for each in found] == [{"dataset.num_frames": 13}] * 2


def test_a_number_of_frames_that_leaves_nothing_to_predict_is_not_proposed(tmp_path):
    skill, overrides = catalog.find(PREDICT), train_overrides(PREDICT)
    found = blocking("clips_too_short", "Too short.", "Shorten.", largest=5)
    (attached,) = repairs.with_overrides(job_of(PREDICT, overrides, tmp_path), [found])
    assert attached.fix_set == {"dataset.num_frames": 5}
    request = Request(PREDICT, "train", overrides=overrides)
    (proven,) = proven_findings([attached], lambda added: build.problems_with(skill, request, added))
    assert proven.fix_set == {}


@pytest.mark.parametrize("action", ["train", "evaluate"])
def test_each_way_to_shorten_sequences_makes_every_sampled_record_fit(action, tmp_path):
    skill = catalog.find(REASON)
    key = {"train": "policy.model_max_length", "evaluate": "model.max_length"}[action]
    base = faults.valid_overrides(skill, action) | {"policy.model_name_or_path": "builtin://tiny-cosmos-reason"}
    base = base if action == "train" else {**faults.valid_overrides(skill, action), "generation.max_tokens": 900}
    overrides = base | {key: 1500, "custom.vision.fps" if action == "train" else "vision.fps": 4}
    clips = [replace(CLIP, duration_seconds=float(seconds), num_frames=30 * seconds) for seconds in (8, 20)]
    records = [
        Probed(n, make_record(n, video_fps=30), (Media("video", f"{n}.mp4"),), (clip,)) for n, clip in enumerate(clips)
    ]
    found = only(token_budget.check(job_of(REASON, overrides, tmp_path, action), records), "tokens_over_limit")
    assert {path.rpartition(".")[2] for way in found.fix_choices for path in way} >= {
        key.rpartition(".")[2],
        "total_pixels",
    }
    for way in found.fix_choices:
        corrected = merged(overrides, way, skill.schema(action))
        again = token_budget.check(job_of(REASON, corrected, tmp_path, action), records)
        assert [each.code for each in again] == ["tokens_predicted"], way


def test_each_way_to_enlarge_small_frames_does(tmp_path):
    skill = catalog.find(REASON)
    overrides = train_overrides(REASON, **{"custom.vision.fps": 8, "custom.vision.total_pixels": 800_000})
    records = [Probed(0, make_record(0, video_fps=30), (Media("video", "0.mp4"),), (CLIP,))]
    found = only(data_checks.check(job_of(REASON, overrides, tmp_path).spec, records), "small_frames")
    assert len(found.fix_choices) == 2
    for way in found.fix_choices:
        corrected = merged(overrides, way, skill.schema("train"))
        assert data_checks.check(job_of(REASON, corrected, tmp_path).spec, records) == []


def test_frames_that_clips_do_not_have_are_sampled_otherwise_or_fewer(tmp_path):
    overrides = train_overrides(REASON, **{"custom.vision.nframes": 64})
    facts = MediaFacts(64)
    for name, frames in (("a", 12), ("b", 9)):
        facts.add_clip(name, frames, 30, None, is_variable=False)
    job = job_of(REASON, overrides, tmp_path)
    (found,) = repairs.with_overrides(job, facts.findings("annotations.json"))
    ways = [merged(overrides, way, catalog.find(REASON).schema("train")) for way in found.fix_choices]
    sampled = [job_of(REASON, way, tmp_path).workload for way in ways]
    assert [(each.num_frames, each.fps) for each in sampled] == [(9, None), (None, 1.0)]


@pytest.mark.parametrize(
    ("name", "found", "fix_set"),
    [
        (
            REASON,
            blocking("adapter_targets_unmatched", "", "", targets={"q_proj": 4, "x": 0}),
            {"policy.lora.target_modules": ["q_proj"]},
        ),
        (PREDICT, blocking("adapter_targets_unmatched", "", "", targets={"x": 0}), {"lora.target_modules": None}),
        (REASON, blocking("disk_too_small", "", "", room=5), {"train.ckpt.max_keep": 3}),
        (PREDICT, blocking("disk_too_small", "", "", room=5), {"ckpt.max_keep": 3}),
        (REASON, blocking("disk_too_small", "", "", room=2), {}),
        (REASON, blocking("feature_disk_too_small", "", ""), {"train.train_policy.vision_feature_cache": "off"}),
        (REASON, warning("gpu_lacks_format", "", ""), {"train.fp8.enable_fp8": False}),
        (REASON, blocking("unheard_of", "", ""), {}),
    ],
)
def test_a_finding_is_resolved_by_parameters_of_its_skill(name, found, fix_set, tmp_path):
    (attached,) = repairs.with_overrides(job_of(name, train_overrides(name), tmp_path), [found])
    assert attached.fix_set == fix_set
    assert attached.fix_choices == ()


def test_more_epochs_are_as_many_again_or_those_that_a_stop_leaves_out():
    keys = EarlyStop("epoch", "stop")
    assert keys.more_epochs(3, 3, None) == {"epoch": 6}
    assert keys.more_epochs(3, 3, 3) == {"epoch": 6, "stop": None}
    assert keys.more_epochs(3, 9, 3) == {"stop": None}
