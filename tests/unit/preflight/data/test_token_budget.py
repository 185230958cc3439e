import pytest
from preflight_worlds import codes, make_job, make_record, only

from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.data.records.values import Media
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.record_tokens import record_tokens
from tao_skill_bank.models.cosmos_reason.tokens import video_tokens
from tao_skill_bank.preflight.data import token_budget

CLIP = MediaProbe(
    width=1280,
    height=720,
    num_frames=600,
    declared_frames=600,
    decoded_frames=600,
    duration_seconds=20,
    container_fps=30,
    has_variable_rate=False,
)
SPEC = {
    "custom": {"vision": {"fps": 2.0}, "system_prompt": ""},
    "train": {"train_policy": {"conversation_column_name": "conversations"}},
}


def probed(**changes):
    record = make_record(3, video_fps=30, **changes)
    return Probed(3, record, (Media("video", record["video"]),), (CLIP,))


def findings_of(tmp_path, *records, **workload):
    return token_budget.check(make_job(tmp_path, spec=SPEC, **workload), records)


def test_the_prediction_is_the_trainers_own_count_of_vision_tokens_plus_text():
    vision = VideoSampling(fps=2.0)
    clip = {"width": 1280, "height": 720, "duration_seconds": 20, "container_fps": 30, "num_container_frames": 600}
    predicted = record_tokens(SPEC, make_record(0, video_fps=30), [CLIP])
    assert 10 <= predicted - video_tokens(vision, **clip) <= 60


def test_a_sequence_within_the_limit_is_reported(tmp_path):
    found = only(findings_of(tmp_path, probed()), "tokens_predicted")
    assert found.severity == "info"
    assert found.evidence["record"] == 3


def test_a_sequence_over_the_limit_blocks_with_a_length_that_suffices(tmp_path):
    found = only(findings_of(tmp_path, probed(), max_tokens=1024), "tokens_over_limit")
    assert found.severity == "blocking"
    for fix in ("raise the longest sequence to", "lower fps to", "total_pixels"):
        assert fix in found.fix
    needed = found.evidence["tokens"]
    raised = int(found.fix.split("sequence to ")[1].split(";")[0])
    assert needed <= raised < needed + 1024
    assert codes(findings_of(tmp_path, probed(), max_tokens=raised)) == ["tokens_predicted"]


def test_long_text_counts(tmp_path):
    turns = [{"from": "human", "value": "<video>?"}, {"from": "gpt", "value": "word " * 4000}]
    found = only(findings_of(tmp_path, probed(), probed(conversations=turns), max_tokens=5000), "tokens_over_limit")
    assert 4000 < found.evidence["tokens"] < 10000


def test_the_cure_of_a_fixed_number_of_frames_names_no_fps(tmp_path):
    found = only(findings_of(tmp_path, probed(), max_tokens=512, fps=None, num_frames=40), "tokens_over_limit")
    assert "fps" not in found.fix


def test_without_decoded_media_nothing_is_predicted(tmp_path):
    assert findings_of(tmp_path) == []


@pytest.mark.parametrize(
    ("spec", "fps"),
    [
        ({"vision": {"nframes": 8}, "generation": {"max_tokens": 100}, "dataset": {"system_prompt": "Hi."}}, None),
        ({"fps": 1.0, "total_pixels": 200704, "prompt": "What?", "max_new_tokens": 32}, 1.0),
        ({"calibration_dataset": {}, "quantize": {}, "vision": {"nframes": 8}, "system_prompt": "Hi."}, None),
    ],
    ids=["evaluate", "inference", "quantize"],
)
def test_the_specs_of_other_actions_are_understood(tmp_path, spec, fps):
    record = Probed(None, {"video": "a.mp4"}, (Media("video", "a.mp4"),), (CLIP,))
    found = token_budget.check(make_job(tmp_path, spec=spec, fps=fps, trains=False), [record])
    assert only(found, "tokens_predicted").evidence["tokens"] > 8


def test_the_system_prompt_of_a_quantize_spec_counts(tmp_path):
    record = Probed(None, {"video": "a.mp4"}, (Media("video", "a.mp4"),), (CLIP,))

    def tokens(**prompt):
        spec = {"quantize": {}, "vision": {"nframes": 8}, "dataset": {"annotation_path": "a"}, **prompt}
        found = token_budget.check(make_job(tmp_path, spec=spec, trains=False), [record])
        return only(found, "tokens_predicted").evidence["tokens"]

    assert tokens(system_prompt="word " * 700) - tokens(system_prompt="") == pytest.approx(1000, rel=0.01)


def findings_of_evaluation(tmp_path, **workload):
    spec = {"vision": {"fps": 2.0}, "generation": {"max_tokens": 1024}}
    job = make_job(tmp_path, spec=spec, trains=False, **workload)
    return token_budget.check(job, [probed()])


def test_the_room_for_an_answer_is_distinguished_from_the_records_own_tokens(tmp_path):
    found = only(findings_of_evaluation(tmp_path), "tokens_predicted")
    own = only(findings_of(tmp_path, probed()), "tokens_predicted").evidence["tokens"]
    turn_of_the_answer = 10
    assert found.evidence["answer"] == 1024
    assert 0 <= own - (found.evidence["tokens"] - 1024) <= turn_of_the_answer
    assert f"({found.evidence['tokens'] - 1024} of its own and room for an answer of 1024)" in found.message
    assert "answer" not in only(findings_of(tmp_path, probed()), "tokens_predicted").message


def test_a_shorter_answer_is_a_cure_where_it_is_the_room_for_it_that_is_too_much(tmp_path):
    tokens = only(findings_of_evaluation(tmp_path), "tokens_predicted").evidence["tokens"]
    found = only(findings_of_evaluation(tmp_path, max_tokens=tokens - 24), "tokens_over_limit")
    assert "lower the longest answer to 1000 tokens" in found.fix
    without_room = only(findings_of_evaluation(tmp_path, max_tokens=1000), "tokens_over_limit")
    assert "fps" not in without_room.fix


def test_too_few_frames_within_the_records_range_block_with_its_name(tmp_path):
    record = make_record(3, video_fps=30, video_start=1, video_end=1.2)
    clip = Media("video", record["video"], rate=30.0, start=1.0, end=1.2)
    spec = {**SPEC, "custom": {"vision": {"nframes": 8}}}
    job = make_job(tmp_path, spec=spec, num_frames=8)
    found = only(token_budget.check(job, [Probed(3, record, (clip,), (CLIP,))]), "clip_too_short")
    assert found.severity == "blocking"
    assert found.message.startswith(f"Record {record['id']}: The clip has 7 frames")


def test_a_clip_that_is_too_short_as_a_whole_is_left_to_the_check_of_media(tmp_path):
    spec = {**SPEC, "custom": {"vision": {"nframes": 601}}}
    assert token_budget.check(make_job(tmp_path, spec=spec, num_frames=601), [probed()]) == []
