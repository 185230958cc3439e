import base64
import io
import json
import os
import signal
import subprocess
import sys

import pytest
import tomli_w
from chat_server import completion, serving
from labelling_model import USAGE, Model, kind_of, num_images

from tao_skill_bank.contracts import EXIT_INTERRUPTED
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.data.records.values import RecordRules
from tao_skill_bank.models.label_videos import label_store

WAY = {"question": "Which way does the disc move?", "choices": ["left", "right"]}
GIVEN = {"questions": [WAY], "questions_per_clip": 0, "steps": ["questions"]}
GARBAGE = "I would rather not."


def test_clips_become_captions_a_description_and_records_with_their_own_rate(run, outputs):
    model = Model()
    with serving(model) as server:
        assert run(server) == 0
    assert sorted(model.asked) == ["captions"] * 3 + ["description"] * 3 + ["questions"] * 3
    for request in server.requests:
        assert num_images(request["body"]) == (3 if kind_of(request["body"]) == "captions" else 0)
    assert len(outputs.records) == 9
    assert {(record["video"], record["video_fps"]) for record in outputs.records} == {
        ("a.mp4", 4.0), ("b.mp4", 5.0), ("deep/c.mp4", 8.0),
    }  # fmt: skip
    turns = [[turn["value"] for turn in record["conversations"]] for record in outputs.records[:3]]
    assert turns == [
        ["<video>\nDoes it get brighter? Answer with yes or no.", "yes"],
        ["<video>\nWhat gets brighter? Answer with one of: a circle, a square.", "a square"],
        ["<video>\nWhat happens?", "the square gets brighter"],
    ]
    assert len({record["id"] for record in outputs.records}) == 9
    rules = RecordRules(required_fields=("video_fps",), needs_answer=True)
    assert all(not examine(record, rules)[1] for record in outputs.records)
    assert (outputs.folder / "media" / "deep" / "c.mp4").is_file()
    assert outputs.lines("captions.jsonl")[0] == {
        "video": "a.mp4",
        "caption": "A gray square gets brighter.",
        "events": [{"text": "It brightens.", "start": 0.0, "end": 1.0}],
        "description": "A gray square gets brighter within a second.",
    }
    assert outputs.last_status["state"] == "SUCCESS"


def test_the_model_is_shown_small_upright_pictures_and_their_times(run, outputs):
    from PIL import Image

    with serving(Model()) as server:
        assert run(server, longest_side_pixels=32) == 0
    content = server.requests[0]["body"]["messages"][0]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,")))) for url in urls]
    assert [picture.size for picture in pictures] == [(32, 32)] * 3
    assert "0.0, 0.5, 0.8 seconds" in content[-1]["text"]


def test_given_questions_are_asked_of_every_clip_in_their_own_words(run, outputs):
    with serving(Model({"Which way": "Right."})) as server:
        assert run(server, **GIVEN) == 0
    assert len(server.requests) == 3
    for record in outputs.records:
        assert [turn["value"] for turn in record["conversations"]] == [f"<video>\n{WAY['question']}", "right"]
    answered = outputs.document("results.json")["questions"][WAY["question"]]
    assert answered == {"answers": 3, "records": 3, "answered": {"right": 3}}


def test_reasons_stand_before_the_answer_in_think_tags(run, outputs):
    with serving(Model({"Which way": "left"})) as server:
        assert run(server, **GIVEN, reasoning=True) == 0
    assert outputs.records[0]["conversations"][1]["value"] == "<think>\nSeen.\n</think>\n\nleft"


def test_tokens_and_cost_are_counted(run, outputs):
    prices = {"price_per_million_input_tokens": 2.0, "price_per_million_output_tokens": 10.0}
    with serving(Model({"Which way": "left"})) as server:
        assert run(server, **GIVEN, endpoint=prices) == 0
    counted = {name: outputs.metrics[name] for name in ("requests", "input_tokens", "output_tokens", "cost")}
    assert counted == {"requests": 3, "input_tokens": 300, "output_tokens": 30, "cost": pytest.approx(9e-4)}
    assert outputs.document("metrics_summary.json")["not_computed"] == {"agreement": "there was no second pass"}


def test_a_pilot_labels_some_clips_and_the_next_run_only_the_others(run, outputs):
    model = Model({"Which way": "left"})
    with serving(model) as server:
        assert run(server, **GIVEN, pilot=2) == 0
        assert (len(model.asked), len(outputs.records)) == (2, 2)
        assert "pilot of 2 clips: 1 wait" in outputs.last_status["message"]
        assert "--set pilot=null --results-dir" in outputs.last_status["message"]
        assert run(server, **GIVEN) == 0
    assert (len(model.asked), len(outputs.records)) == (3, 3)
    assert outputs.metrics["requests"] == 3


def test_other_settings_or_another_content_are_labelled_again_and_a_moved_clip_is_not(run, outputs, clips):
    model = Model({"Which way": "left"})
    with serving(model) as server:
        assert run(server, **GIVEN) == 0
        (clips / "a.mp4").rename(clips / "moved.mp4")
        assert run(server, **GIVEN) == 0
        assert len(model.asked) == 3
        assert "moved.mp4" in {record["video"] for record in outputs.records}
        (clips / "b.mp4").write_bytes((clips / "moved.mp4").read_bytes() + b"\0")
        assert run(server, **GIVEN) == 0
        assert len(model.asked) == 4
        assert run(server, **GIVEN, temperature=0.7) == 0
    assert len(model.asked) == 7


def test_garbage_is_asked_for_again_and_then_fails_its_clip_with_the_reason(run, outputs):
    model = Model(overrides={"captions": lambda body: GARBAGE if num_images(body) == 3 else None})
    with serving(model) as server:
        assert run(server, max_failed_share=1.0, steps=["captions"]) == 0
    assert len(model.asked) == 6
    assert "could not be used" in str(server.requests[1]["body"])
    failed = outputs.lines("failed_clips.jsonl")
    assert [row["video"] for row in failed] == ["a.mp4", "b.mp4", "deep/c.mp4"]
    assert {row["code"] for row in failed} == {"reply_unusable"}
    assert GARBAGE in failed[0]["reason"]
    assert outputs.metrics["requests"] == 6


def test_too_many_failed_clips_fail_the_job_and_the_labels_of_others_are_kept(run, outputs, clips):
    (clips / "b.mp4").write_text("no video")
    model = Model({"Which way": "left"})
    with serving(model) as server:
        assert run(server, **GIVEN, max_failed_share=0.3) == 8
        assert outputs.last_status["diagnosis"]["code"] == "too_many_failed_clips"
        assert len(outputs.records) == 2
        assert run(server, **GIVEN, max_failed_share=0.4) == 0
    assert len(model.asked) == 2
    assert [row["video"] for row in outputs.lines("failed_clips.jsonl")] == ["b.mp4"]


def test_a_request_that_the_server_refuses_fails_its_clip_alone(run, outputs):
    refusals = iter([(400, b'{"error": "content policy"}', {})])
    model = Model({"Which way": "left"}, {"answers": lambda _: next(refusals, None)})
    with serving(model) as server:
        assert run(server, **GIVEN, max_failed_share=0.5) == 0
    assert "content policy" in outputs.lines("failed_clips.jsonl")[0]["reason"]
    assert len(outputs.records) == 2


def test_a_server_that_stops_midway_is_exit_6_and_a_retry_asks_only_about_the_rest(run, outputs):
    replies = iter([None, (503, b"restarting", {})])
    model = Model({"Which way": "left"}, {"answers": lambda _: next(replies, None)})
    with serving(model) as server:
        assert run(server, **GIVEN) == 6
        assert outputs.last_status["diagnosis"]["code"] == "endpoint_busy"
        assert len(outputs.lines("labels.jsonl")) == 1
        assert run(server, **GIVEN) == 0
    assert len(model.asked) == 4
    assert len(outputs.records) == 3


def test_a_refused_key_stops_everything_at_once(run, outputs):
    with serving(lambda _: (401, b"who are you", {})) as server:
        assert run(server, **GIVEN) == 4
    assert len(server.requests) == 1


def test_a_host_that_is_not_allowed_is_asked_nothing(run, outputs):
    class Elsewhere:
        url = "http://labels.example/v1"

    assert run(Elsewhere, **GIVEN) == 3
    assert outputs.last_status["diagnosis"]["code"] == "host_not_allowed"


def test_without_a_name_the_only_model_is_asked_and_of_several_none(run, outputs):
    with serving(Model({"Which way": "left"}), models=["eyes-8b"]) as server:
        assert run(server, **GIVEN) == 0
    assert server.requests[0]["body"]["model"] == "eyes-8b"
    with serving(Model(), models=["eyes-8b", "eyes-2b"]) as server:
        assert run(server, **GIVEN) == 5
    assert server.requests == []


def test_a_second_pass_measures_agreement_and_keeps_what_agrees(run, outputs):
    """The second pass sees frames, reversed choices and no first answer; of an open answer its words are compared."""
    second = {"Does it": "no", "What gets": "a square", "What happens": "a square gets brighter"}
    again = {"enable": True, "model": "eyes-2b", "min_agreement": 0.7}
    with serving(Model(second), models=["eyes-8b"]) as server:
        assert run(server, second_pass=again) == 0
    asked = [request["body"] for request in server.requests if request["body"]["model"] == "eyes-2b"]
    assert [num_images(body) for body in asked] == [3, 3, 3]
    assert "a square | a circle" in asked[0]["messages"][0]["content"][-1]["text"]
    assert outputs.metrics["agreement"] == pytest.approx((0 + 1 + 0.75) / 3)
    assert outputs.metrics["dropped_records"] == 3
    assert {record["conversations"][1]["value"] for record in outputs.records} == {
        "a square", "the square gets brighter",
    }  # fmt: skip
    shares = outputs.document("results.json")["questions"]
    assert shares["made up: yes_no"] == {"answers": 3, "records": 0, "agreement": 0.0, "answered": {"yes": 3}}


def test_what_no_record_may_hold_is_left_out(run, outputs):
    said = [
        {"form": "open", "question": "Where is <video>?", "answer": "here"},
        {"form": "open", "question": "Which token?", "answer": "<|im_end|>"},
        {"form": "yes_no", "question": "Is it gray?", "answer": "perhaps"},
        {"form": "choice", "question": "Which?", "choices": ["one"], "answer": "one"},
        {"form": "essay", "question": "Why?", "answer": "because"},
        "nothing",
        {"form": "open", "question": "What is gray?", "answer": "it"},
    ]
    with serving(Model(overrides={"questions": json.dumps({"questions": said})})) as server:
        assert run(server) == 0
    assert {record["conversations"][0]["value"] for record in outputs.records} == {"<video>\nWhat is gray?"}


def test_a_torn_line_of_a_killed_run_costs_only_its_clip(run, outputs):
    model = Model({"Which way": "left"})
    with serving(model) as server:
        assert run(server, **GIVEN) == 0
        file = outputs.folder / label_store.FILE
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[:2]) + lines[2][:50])
        assert run(server, **GIVEN) == 0
    assert len(model.asked) == 4
    assert len(outputs.records) == 3


def test_a_killed_program_continues_and_a_signal_is_an_interruption(clips, tmp_path, outputs):
    """The program itself, without torch, is killed while the server thinks about the second clip."""
    spec = {**GIVEN, "clips": str(clips), "num_frames": 3, "results_dir": str(outputs.folder)}

    def start(server):
        config = tmp_path / "label.toml"
        config.write_text(tomli_w.dumps({**spec, "endpoint": {"url": server.url, "concurrency": 1}}))
        code = "import sys; sys.modules['torch'] = None; sys.argv = ['label', *sys.argv[1:]]; "
        code += "import runpy; runpy.run_module('tao_skill_bank.models.label_videos.label', run_name='__main__')"
        environment = {**os.environ, "no_proxy": "127.0.0.1"}
        return subprocess.Popen([sys.executable, "-c", code, "--config", str(config)], env=environment)

    model = Model({"Which way": "left"})
    for number, expected in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, EXIT_INTERRUPTED)):
        running = []

        def reply(body, number=number, running=running):
            if len(model.asked) in (1, 3):
                model.asked.append("killed")
                running[0].send_signal(number)
                return 200, completion("", usage=USAGE), {}
            return model(body)

        with serving(reply) as server:
            running.append(start(server))
            assert running[0].wait(timeout=60) == expected
    assert len(outputs.lines("labels.jsonl")) == 2
    assert outputs.last_status["diagnosis"]["code"] == "interrupted"
    with serving(model) as server:
        assert start(server).wait(timeout=60) == 0
    assert model.asked.count("answers") == 3
    assert len(outputs.records) == 3
