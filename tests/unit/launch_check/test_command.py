import io
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tao_skill_bank.launch_check import access, gpus
from tao_skill_bank.launch_check.command import main
from tao_skill_bank.preflight.machine.hardware import Gpu, NoDriverError

PASSED, FAILED = "TAO launch preflight passed", "TAO launch preflight failed"
LOCAL = ("--platform", "local")
GIB = 2**30


def run(*arguments):
    """Return exit code, lines and standard error."""
    output, errors = io.StringIO(), io.StringIO()
    code = main([str(argument) for argument in arguments], output, errors)
    return code, output.getvalue().splitlines(), errors.getvalue()


@pytest.fixture
def annotations(tmp_path):
    def make(records, name="annotations.json"):
        path = tmp_path / name
        path.write_text(records if isinstance(records, str) else json.dumps(records))
        return path

    return make


@pytest.fixture
def machine(monkeypatch):
    """Give this machine GPUs of (memory GiB, architecture)."""

    def have(*described):
        found = [Gpu(index, "GPU", memory * GIB, memory * GIB, sm) for index, (memory, sm) in enumerate(described)]
        monkeypatch.setattr(gpus, "list_gpus", lambda: found)

    return have


@pytest.mark.slow
def test_the_script_runs_and_exits_with_the_public_codes(project_root, tmp_path):
    script = project_root / "scripts" / "check_tao_launch_preflight.py"

    def call(*arguments):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, (done.stdout.splitlines() or [""])[-1]

    assert call(*LOCAL, "--path", f"data={tmp_path}") == (0, PASSED)
    assert call(*LOCAL, "--path", "data=/absent") == (2, FAILED)
    assert call(*LOCAL, "--path", "malformed") == (1, "")


def test_existing_and_missing_paths_have_the_public_lines(tmp_path):
    code, lines, _ = run(*LOCAL, "--path", f"data={tmp_path}", "--path", "model=/absent")
    assert code == 2
    assert lines[0] == f"Local path OK: data={tmp_path}"
    assert lines[1] == "Local path missing: model=/absent"
    assert lines[-1] == FAILED


@pytest.mark.parametrize(
    "arguments",
    [
        ("--path", "no-separator"),
        ("--path", "=value"),
        ("--path", "label="),
        ("--min-free-disk-gb", "undeclared=1"),
        ("--path", "a=/tmp", "--min-free-disk-gb", "a=lots"),
        ("--path", "a=/tmp", "--json-required-field", "a=,"),
        ("--path", "a=/tmp", "--effective-batch-limit", "a=8"),
        ("--path", "a=/tmp", "--effective-batch-limit", "a=8,0"),
        ("--gpu-arch-allowlist", "train=fast"),
        ("--gpu-arch", "hopper"),
        ("--unknown-flag",),
        ("--json-sample-limit", "0"),
    ],
)
def test_wrong_usage_exits_with_1_and_checks_nothing(arguments):
    code, lines, errors = run(*LOCAL, *arguments)
    assert (code, lines) == (1, [])
    assert errors


def test_a_platform_is_required_and_must_be_known():
    assert run()[0] == 1
    assert "expected one of local" in run("--platform", "cloud")[2]


def test_free_disk_is_compared_where_the_path_will_be(tmp_path):
    path = tmp_path / "results" / "new"
    tmp_path.joinpath("results").mkdir()
    code, lines, _ = run(*LOCAL, "--path", f"out={tmp_path}", "--min-free-disk-gb", "out=0.001")
    assert code == 0
    assert lines[1].startswith("Free disk OK: out=")
    code, lines, _ = run(*LOCAL, "--path", f"out={path.parent}", "--min-free-disk-gb", "out=99999999")
    assert code == 2
    assert lines[1].startswith(f"Free disk too low: out={path.parent} has ")


@pytest.mark.parametrize("key", [None, "annotations", "data", "samples", "items"])
def test_records_are_counted_in_lists_and_envelopes(annotations, key):
    records = [{"id": 1, "video": "a.mp4", "video_fps": 4}] * 3
    path = annotations({key: records} if key else records)
    code, lines, _ = run(*LOCAL, "--path", f"train={path}", "--json-required-field", "train=video_fps,id")
    assert (code, lines[1]) == (0, "JSON record count: train=3")


def test_records_are_counted_in_json_lines(annotations):
    path = annotations('{"id": 1}\n{"id": 2}\n', "annotations.jsonl")
    assert (
        "JSON record count: train=2" in run(*LOCAL, "--path", f"train={path}", "--json-required-field", "train=id")[1]
    )


def test_missing_fields_are_listed_by_record(annotations):
    records = [{"id": 1, "video": "a", "video_fps": 4}, {"id": 2, "video": "b"}, {"video": "c", "video_fps": -1}, 5]
    path = annotations(records)
    code, lines, _ = run(*LOCAL, "--path", f"train={path}", "--json-required-field", "train=video_fps,id")
    assert code == 2
    start = lines.index(f"JSON fields missing or invalid: train={path}")
    assert [line.strip() for line in lines[start + 1 : start + 5]] == [
        "record 1: missing video_fps",
        "record 2: invalid video_fps",
        "record 2: missing id",
        "record 3: not a JSON object",
    ]


def test_image_only_records_need_no_video_fps(annotations):
    path = annotations([{"id": 1, "image": "a.png"}])
    assert run(*LOCAL, "--path", f"a={path}", "--json-required-field", "a=video_fps")[0] == 0


def test_all_records_are_read_unless_a_limit_is_given(annotations):
    path = annotations([{"id": 1}] * 30 + [{}])
    flags = (*LOCAL, "--path", f"a={path}", "--json-required-field", "a=id")
    assert run(*flags)[0] == 2
    assert run(*flags, "--json-sample-limit", "20")[0] == 0


def test_a_folder_means_its_annotation_file(annotations, tmp_path):
    annotations([{"id": 1}])
    assert "JSON record count: a=1" in run(*LOCAL, "--path", f"a={tmp_path}", "--json-required-field", "a=id")[1]


@pytest.mark.parametrize("text", ["", "{}", "[NaN]", "[]"])
def test_an_unreadable_or_empty_annotation_file_fails(annotations, text):
    code, lines, _ = run(*LOCAL, "--path", f"a={annotations(text)}", "--json-required-field", "a=id")
    assert (code, lines[-1]) == (2, FAILED)


def test_the_effective_batch_is_compared_with_the_records_of_a_shard(annotations):
    path = annotations([{"id": index} for index in range(20)])
    flags = (*LOCAL, "--path", f"train={path}", "--effective-batch-limit")
    assert run(*flags, "train=5,4")[0] == 0
    code, lines, _ = run(*flags, "train=6,4")
    assert code == 2
    assert any(line.startswith("Effective batch check failed: train: 20 records on 4 shards") for line in lines)


def test_s3_paths_need_credentials_by_name(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    code, lines, _ = run(*LOCAL, "--path", "data=s3://bucket/x")
    assert code == 2
    assert lines[0].endswith("AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "value-of-the-secret")
    code, lines, _ = run(*LOCAL, "--path", "data=s3://bucket/x")
    assert code == 0
    assert "value-of-the-secret" not in "".join(lines)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (("--gpu-min-count", "2"), 0),
        (("--gpu-min-count", "3"), 2),
        (("--gpu-min-memory-gb", "80"), 0),
        (("--gpu-min-memory-gb", "81"), 2),
        (("--min-gpu-memory-gb", "81"), 2),
        (("--gpu-min-total-memory-gb", "171"), 0),
        (("--gpu-min-total-memory-gb", "172"), 2),
        (("--gpu-arch-allowlist", "train=sm_90,sm_100"), 0),
        (("--gpu-arch-allowlist", "train=sm_100"), 2),
        (("--image-supported-sm", "8.0,9.0"), 0),
        (("--image-supported-sm", "8.0"), 2),
        (("--gpu-arch-allowlist", "train=sm_100", "--gpu-arch", "10.0"), 0),
        (("--gpu-min-count", "2", "--target-gpu-index", "1"), 2),
        (("--gpu-min-count", "8", "--target-gpu-count", "8"), 0),
        (("--gpu-min-memory-gb", "100", "--target-gpu-memory-gb", "141"), 0),
    ],
)
def test_gpu_requirements_are_compared_with_this_machine_or_the_described_target(machine, flags, code):
    machine((80, 90), (80, 90))
    assert run(*LOCAL, *flags)[0] == code


def test_little_memory_is_a_warning(machine):
    machine((24, 89))
    code, lines, _ = run(*LOCAL, "--gpu-min-count", "1")
    assert code == 0
    assert "Warning: Low VRAM: 24.0 GiB, below 50 GiB" in lines
    assert not any(
        "Low VRAM" in line for line in run(*LOCAL, "--gpu-min-count", "1", "--low-vram-threshold-gb", "20")[1]
    )


def test_a_gpu_requirement_without_a_driver_fails(monkeypatch):
    def no_driver():
        raise NoDriverError("library not found")

    monkeypatch.setattr(gpus, "list_gpus", no_driver)
    assert run(*LOCAL, "--gpu-min-count", "1")[0] == 2


def test_a_skipped_gpu_requirement_is_said_to_be_unchecked(machine):
    machine((80, 90))
    code, lines, _ = run(*LOCAL, "--skip-platform-access", "--gpu-min-count", "64", "--gpu-arch-allowlist", "a=sm_90")
    assert code == 0
    assert any("GPU requirement not checked: GPU count, GPU architecture of a" in line for line in lines)


def test_a_skipped_platform_still_checks_what_the_flags_describe():
    assert run(*LOCAL, "--skip-platform-access", "--gpu-min-count", "4", "--target-gpu-count", "2")[0] == 2


@pytest.mark.parametrize("text", ["10.3a", "sm103a", "sm_103a", "compute_103a", "SM_103A"])
def test_architectures_have_one_spelling(text):
    assert gpus.normalise(text) == "sm_103a"


@pytest.mark.parametrize(
    ("allowed", "architecture", "is_allowed"),
    [
        ("sm_90", "9.0", True),
        ("sm_90a", "sm_90", True),
        ("sm_103a", "10.3", True),
        ("sm_100a", "10.3", False),
        ("sm_100f", "10.3", True),
        ("sm_103f", "10.0", False),
        ("sm_100f", "12.0", False),
        ("sm_90", "sm_89", False),
    ],
)
def test_suffixes_match_the_family(allowed, architecture, is_allowed):
    assert gpus.allows(allowed, architecture) is is_allowed


@pytest.mark.parametrize(("platform", "spelled"), [("slurm", "SLURM"), ("local-docker", "Docker")])
def test_missing_tools_are_named(monkeypatch, tmp_path, platform, spelled):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, lines, _ = run("--platform", platform)
    assert code == 2
    assert lines[0].startswith(f"Missing {spelled} requirement(s): ")


@pytest.mark.parametrize(("returncode", "code"), [(0, 0), (1, 2)])
def test_a_platform_must_answer(monkeypatch, returncode, code):
    monkeypatch.setattr(access.shutil, "which", lambda tool: tool)
    seen = {}

    def answer(command, **options):
        seen.update(options["env"], command=command)
        return SimpleNamespace(returncode=returncode, stdout="28.0", stderr="cannot connect")

    monkeypatch.setattr(access.subprocess, "run", answer)
    assert run("--platform", "remote-docker", "--docker-host", "ssh://me@node")[0] == code
    assert seen["DOCKER_HOST"] == "ssh://me@node"


def test_an_image_that_was_not_tried_is_said_to_be_unchecked():
    lines = run(*LOCAL, "--container-image", "nvcr.io/x:1")[1]
    assert "Warning: Container image not checked: nvcr.io/x:1" in lines


def test_json_output_is_one_document_with_the_exit_code(tmp_path):
    code, lines, _ = run(*LOCAL, "--json", "--path", "a=/absent")
    document = json.loads("\n".join(lines))
    assert (code, document["code"], document["ok"]) == (2, 2, False)
    assert document["findings"][0]["code"] == "path_missing"


def test_a_request_is_planned_and_its_findings_told(tmp_path):
    request = tmp_path / "request.yaml"
    request.write_text("skill: no-such-skill\naction: train\n")
    code, lines, _ = run("--request", request)
    assert (code, lines[-1]) == (2, FAILED)
    assert "no-such-skill" in lines[0]
    assert run("--request", tmp_path / "absent.yaml")[0] == 2
