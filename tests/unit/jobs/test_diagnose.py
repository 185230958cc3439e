import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import make_job, make_record

from tao_skill_bank import models
from tao_skill_bank.contracts import State, Transition
from tao_skill_bank.errors import RequestError, UnknownNameError
from tao_skill_bank.jobs import diagnose
from tao_skill_bank.jobs.store import JobStore

EVALUATE = "tao_skill_bank.models.cosmos_reason.evaluate FAILED"

# Every row of the table of known failures, as logs show them.
SYMPTOMS = [
    ("missing_video_fps", "[rank0]: Error processing sample: 'video_fps'"),
    ("missing_video_fps", "KeyError: 'video_fps'"),
    ("vision_tokens_do_not_fit", "ValueError: vision_embeds.shape[0] must be equal to n_tokens, got 4096 and 3210"),
    (
        "vision_tokens_do_not_fit",
        "[rank3]: ValueError: Image features and image tokens do not match, tokens: 16200, features: 16384",
    ),
    ("vision_tokens_do_not_fit", "ValueError: Mismatch in `image` token count between text and `input_ids`."),
    (
        "batch_not_divisible",
        "AssertionError: train_batch_per_replica must be divisible by mini_batch, got 30 % 4 != 0",
    ),
    (
        "batch_not_divisible",
        "    assert config.train.train_batch_per_replica % config.train.train_policy.mini_batch == 0",
    ),
    ("no_training_steps", "AttributeError: 'NoneType' object has no attribute 'state_dict'"),
    ("no_training_steps", "[rank0]: RuntimeError: lr scheduler is None, total_steps=0"),
    (
        "reinforcement_learning_mode",
        "[cosmos] INFO train_policy.type is missing, using grpo; rollout worker waits for controller",
    ),
    ("reinforcement_learning_mode", "socket.gaierror: cannot resolve hostname of rollout replica 0"),
    (
        "cuda_out_of_memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has 79.1 GiB in total",
    ),
    ("killed", "traceback : Signal 9 (SIGKILL) received by PID 48213"),
    ("killed", "launch.sh: line 23: 48213 Killed                  python -m torch.distributed.run"),
    ("loss_not_finite", "2026-03-01 12:00:01 INFO step 130/400 train/loss_avg: nan lr 2.0e-04"),
    ("terminated", "torch.distributed.elastic.multiprocessing.api.SignalException: Process 29 got signal: 15"),
    (
        "interrupted",
        "error: A signal interrupted the training after step 12; all of it is in /run/checkpoints/step_12.",
    ),
    ("interrupted", "error: A signal interrupted the training before its first step: nothing was trained."),
    ("signaled_at_start", "  exitcode  : -10 (pid: 16353)  (SIGUSR1)"),
    ("loss_not_finite", "error: The training loss became nan at step 12."),
    ("loss_not_finite", "error: The gradient norm is not a finite number. Fix: Lower train.optm_lr."),
    ("loss_not_finite", '{"step": 3, "train/loss_avg": NaN}'),
    (
        "stale_dataset_cache",
        "WARNING dataset cache /root/.cache/cosmos/datasets/its was made with different fps, does not match",
    ),
    (
        "gated_repository",
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1-6)",
    ),
    (
        "gated_repository",
        "Access to model nvidia/Cosmos-Reason2-8B is restricted. You must have access to it and be authenticated.",
    ),
    ("fps_and_nframes", "BlockingIOError: [Errno 11] Resource temporarily unavailable"),
    ("fps_and_nframes", "AssertionError: Only accept either `fps` or `nframes`"),
    ("video_unreadable", "[mov,mp4,m4a,3gp,3g2,mj2 @ 0x5581] moov atom not found"),
    ("video_unreadable", "RuntimeError: DataLoader timed out after 600 seconds"),
    (
        "video_unreadable",
        "av.error.InvalidDataError: [Errno 1094995529] Invalid data found when processing input: 'a.mp4'",
    ),
    ("clip_too_short", "ValueError: nframes should in interval [2, 7], but got 8 frames."),
    ("clip_too_short", "error: The video clips/0012.mp4 has only 5 frames, fewer than num_frames 8."),
    (
        "adapter_targets_missing",
        "ValueError: Target modules {'q_proj', 'v_proj'} not found in the base model.",
    ),
    ("adapter_targets_missing", "WARNING 0 LoRA modules matched in the vision tower (visual)"),
    (
        "gpu_lacks_format",
        "Quantization scheme is not supported for the current GPU. Min capability: 89. Current capability: 86.",
    ),
    ("slow_patch_embedding", "UserWarning: Conv3d in bfloat16 has no cuDNN kernel, using slow_conv_dilated3d"),
    (
        "collective_timeout",
        "[E ProcessGroupNCCL.cpp:632] [Rank 2] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=91)",
    ),
    ("disk_full", "OSError: [Errno 28] No space left on device: '/results/checkpoints/epoch_3/__0_0.distcp'"),
    ("checkpoint_not_found", "WARNING no checkpoint to resume from was found in /results/checkpoints, from scratch"),
    (
        "checkpoint_not_found",
        "FileNotFoundError: [Errno 2] No such file or directory: '/results/a/checkpoints/step_40'",
    ),
    ("missing_module", "ModuleNotFoundError: No module named 'av'"),
    ("shared_memory", "RuntimeError: DataLoader worker (pid 91) is killed by signal: Bus error. "),
    ("window_longer_than_clips", "error: /data/7.mp4 has 61 frames; frames 0 to 92 were requested. Fix: Drop it."),
    ("window_longer_than_clips", "error: /data/gr1: 2 clips with fewer than 93 frames: gr1/2.mp4 (61 frames)."),
    ("base_is_not_trained", "error: The first loss 2.97 is above train.first_loss_limit 0.5."),
    (
        "adapter_of_another_model",
        "size mismatch for transformer_blocks.0.attn1.to_q.lora_A.default.weight: copying a param with shape [8, 64]",
    ),
    (
        "safety_checker_missing",
        "error: The safety checker needs the Python module 'cosmos_guardrail', which is not installed.",
    ),
    ("torchvision_does_not_load", "RuntimeError: operator torchvision::nms does not exist"),
    (
        "gpu_lacks_narrow_floats",
        "error: NVIDIA A100-SXM4-80GB (sm_80) has no float8 arithmetic; train.fp8 needs a GPU of sm_89 or newer. "
        "Fix: Set train.fp8.enable_fp8=false, or train on an Ada, Hopper or newer GPU.",
    ),
    (
        "part_gets_no_gradient",
        "error: The first step gives projector, vision no gradient, so it would never learn. Norms: llm 2.51, lm_head "
        "0.417, projector 0, vision 0. Fix: Leave projector, vision out of what is trained, or give data that reaches "
        "it (media for vision).",
    ),
    (
        "loss_diverged",
        "error: The mean loss of the last 20 steps is 12.84 at step 57, worse than guessing. Fix: Lower train.optm_lr, "
        "lengthen train.optm_warmup_epochs, or set train.optm_grad_norm_clip to 1.0.",
    ),
    ("port_in_use", "torch.distributed.DistNetworkError: The server socket has failed to listen. EADDRINUSE"),
]
HEALTHY = """\
2026-03-01 12:00:00 INFO Loading dataset from cache /state/caches/3f2a (vision settings and files match)
2026-03-01 12:00:00 INFO financial 'nan' handling is off, information only
2026-03-01 12:00:01 INFO step 1/400 train/loss_avg: 2.3125 grad_norm 0.98 lr 1.0e-05 nframes 8 video_fps 4.0
2026-03-01 12:00:02 INFO saved checkpoints/epoch_1 and safetensors/epoch_1
2026-03-01 12:00:02 INFO resumed from checkpoints/epoch_1
2026-03-01 12:00:02 INFO 48 LoRA modules, 3.1 M trainable parameters
2026-03-01 12:00:03 INFO mini_batch 4, train_batch_per_replica 32, train_policy.type sft
2026-03-01 12:00:04 INFO exit code 0
"""


def codes(lines):
    return [diagnosis.code for diagnosis in found_in(lines)]


def found_in(lines):
    return diagnose.diagnose_text((f"{line}\n" for line in lines), "job.log")


@pytest.mark.parametrize(("code", "line"), SYMPTOMS)
def test_a_known_symptom_has_its_cause_and_cure(code, line):
    log = [*HEALTHY.splitlines(), line, "torch.distributed.elastic.multiprocessing.errors.ChildFailedError:"]
    found = {diagnosis.code: diagnosis for diagnosis in found_in(log)}
    assert code in found
    assert (found[code].line_number, found[code].symptom) == (9, line.strip())
    assert found[code].role == ("follower" if code == "collective_timeout" else "root")
    assert found["ranks_stopped"].role == "follower"
    assert found[code].cause
    assert found[code].cure


def test_every_model_has_one_rule_of_a_code():
    found = [(rule.package, rule.code) for rule in diagnose.rules()]
    assert len(found) == len(set(found))


def test_a_healthy_log_shows_no_symptom():
    assert codes(HEALTHY.splitlines()) == ["no_failure"]


@pytest.mark.parametrize("line", ["exitcode  : -9 (pid: 4821)", "torch.OutOfMemoryError: CUDA out of memory."])
def test_memory_that_runs_out_in_an_evaluation_has_the_cure_of_the_evaluation(line):
    assert "evaluate_adapter_memory" in codes([line, EVALUATE])
    assert "evaluate_adapter_memory" not in codes([line])


def test_a_hang_in_mixed_batches_is_told_from_other_hangs():
    line = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=91, OpType=ALLREDUCE)"
    assert codes(["INFO 12 text-only records", line]) == ["mixed_batches_hang"]
    assert codes([line]) == ["collective_timeout"]


def test_a_failure_of_many_models_has_the_cure_of_the_one_that_ran():
    context = "tao_skill_bank.models.cosmos_predict.train FAILED"
    for code, line in (
        ("video_out_of_memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB."),
        ("short_clips_are_drawn_forever", "RecursionError: maximum recursion depth exceeded while calling"),
    ):
        assert code in codes([line, context])
        assert code not in codes([line])
    line = "Watchdog caught collective operation timeout: WorkNCCL(SeqNum=91, OpType=ALLREDUCE)"
    assert "sampling_hangs" in codes(["INFO generating 2 sample videos", line])
    assert codes([line]) == ["collective_timeout"]


def test_the_first_symptom_comes_first_and_repetitions_are_counted():
    lines = ["KeyError: 'video_fps'", "OSError: [Errno 28] No space left on device", "KeyError: 'video_fps'"]
    found = found_in(lines)
    assert [(entry.code, entry.line_number, entry.occurrences) for entry in found] == [
        ("missing_video_fps", 1, 2),
        ("disk_full", 2, 1),
    ]


def test_an_empty_log_says_so():
    (found,) = found_in([])
    assert "empty" in found.cause


def test_patterns_do_not_explode_on_a_long_line():
    assert codes(["nframes video batch mini_batch checkpoint resume no " * 20_000]) is not None


@pytest.mark.slow
def test_a_big_log_is_read_as_a_stream():
    def lines():
        for number in range(20_000):
            yield f"INFO step {number}/20000 train/loss_avg: 0.5"
        yield "RuntimeError: CUDA out of memory."

    (found,) = found_in(lines())
    assert (found.code, found.line_number) == ("cuda_out_of_memory", 20_001)


# --- files and jobs -----------------------------------------------------------------------------------------------


@pytest.fixture
def failed_job(tmp_path):
    """Return a way to record a failed job with a log and status lines."""

    def make(log, status=(), message="Exit code 1.", state=State.ERROR):
        folder = tmp_path / "run"
        (folder / "logs").mkdir(parents=True)
        (folder / "logs" / "job.log").write_text(log)
        (folder / "status.jsonl").write_text("".join(f"{line}\n" for line in status))
        transitions = (Transition("", State.RUNNING), Transition("", state, message))
        record = make_record(make_job(folder), transitions=transitions, terminal_state=state)
        JobStore().create(record)
        return record.id

    return make


FAILURE = (
    '{"state": "FAILURE", "message": "m", "diagnosis": {"code": "%s", "cause": "The cause.", "cure": "The cure."}}'
)


def test_a_log_file_is_diagnosed_by_its_path(tmp_path):
    path = tmp_path / "some.log"
    path.write_bytes(b"\xff\xfe not text\nOSError: [Errno 28] No space left on device\n")
    (found,) = diagnose.diagnose(path)
    assert (found.code, found.line_number, found.source) == ("disk_full", 2, str(path))


def test_what_the_trainer_says_comes_before_what_the_log_shows(failed_job):
    job_id = failed_job("KeyError: 'video_fps'\n", ['{"state": "STARTED"}', FAILURE % "clip_missing"])
    first, second = diagnose.diagnose(job_id)
    assert (first.code, first.cause, first.line_number) == ("clip_missing", "The cause.", 2)
    assert second.code == "missing_video_fps"


def test_a_failure_that_the_trainer_cannot_explain_is_explained_from_the_log(failed_job):
    job_id = failed_job("exitcode  : -9 (pid: 4821)\n", [FAILURE % "canceled"])
    assert [found.code for found in diagnose.diagnose(job_id)] == ["killed"]


def test_a_failure_that_nothing_explains_tells_what_the_trainer_said(failed_job):
    assert [found.code for found in diagnose.diagnose(failed_job("hello\n", [FAILURE % "internal_error"]))] == [
        "internal_error"
    ]


def test_a_job_that_was_killed_from_outside_has_the_reason_of_its_record(failed_job):
    (found,) = diagnose.diagnose(failed_job("step 1\n", message="Its processes are gone."))
    assert found.code == "no_known_failure"
    assert found.cause.startswith("Its processes are gone.")


@pytest.mark.parametrize(("state", "command"), [(State.COMPLETE, "report"), (State.CANCELED, "report")])
def test_a_job_that_did_not_fail_has_no_failure(failed_job, state, command):
    job_id = failed_job("done\n", state=state)
    (found,) = diagnose.diagnose(job_id)
    assert (found.code, found.cure) == ("no_failure", f"See: tao-skills {command} {job_id}")
    assert state.value in found.cause


def test_a_target_that_is_neither_file_nor_job_is_unknown():
    with pytest.raises(UnknownNameError):
        diagnose.diagnose("cosmos-rl-train-000000000000")


def test_rules_of_a_model_name_no_other_rule_twice():
    for rule in diagnose.rules():
        assert all(word == word.lower() for word in (*rule.words, *rule.context)), rule.code
        assert re.fullmatch(r"[a-z_]+", rule.code)


@pytest.fixture
def own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the failures.yaml of a model that another distribution adds."""
    (tmp_path / "models" / "clips").mkdir(parents=True)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "models")])
    diagnose.rules.cache_clear()
    yield tmp_path / "models" / "clips" / "failures.yaml"
    diagnose.rules.cache_clear()


def test_a_model_of_another_distribution_has_rules_of_its_own(own_rules: Path) -> None:
    own_rules.write_text("- {code: lens_fogged, words: [fog], patterns: ['fog on lens'], cause: Fog., cure: Wipe it.}")
    assert [found.code for found in found_in(["error: fog on lens 3"])] == ["lens_fogged"]


@pytest.mark.parametrize(
    "rule",
    ["- {code: x}", "- word", "- {code: x, words: [x], patterns: ['('], cause: c, cure: c}", "3", "- {patterns: 3}"],
)
def test_a_rule_that_cannot_be_read_is_named_with_its_file(own_rules: Path, rule: str) -> None:
    own_rules.write_text(rule)
    with pytest.raises(RequestError, match=re.escape(str(own_rules))):
        found_in(["error: fog on lens 3"])
