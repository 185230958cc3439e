import psutil
import pytest
from preflight_worlds import codes, make_job, only

from tao_skill_bank.contracts import HardwareNeed, Resources
from tao_skill_bank.preflight.machine import hardware
from tao_skill_bank.preflight.machine.hardware import Gpu
from tao_skill_bank.preflight.model.inspection import Inspection

GIB = 2**30


def gpu(index=0, memory=80, free=79, architecture=90):
    return Gpu(index, "NVIDIA H100", memory * GIB, free * GIB, architecture)


def inspected(total, activations=0):
    parts = {"weights": (total - activations) * GIB, "activations": activations * GIB}
    return Inspection({"memory_bytes_per_gpu": {"total": total * GIB, **parts}})


@pytest.fixture
def findings_of(tmp_path, monkeypatch):
    def run(*gpus, needs=None, processes=1, **changes):
        monkeypatch.setattr(hardware, "list_gpus", lambda: list(gpus))
        job = make_job(tmp_path, resources=Resources(processes_per_node=processes), **changes)
        return hardware.check(job, needs or Inspection())

    return run


def test_enough_gpus_are_reported(findings_of):
    found = findings_of(gpu(0), gpu(1), processes=2)
    assert codes(found) == ["gpus"]
    assert found[0].evidence["architecture"] == "sm_90"


def test_too_few_gpus_block(findings_of):
    assert codes(findings_of(gpu(), processes=2), "warning") == ["gpu_missing"]


def test_hidden_gpus_do_not_count(findings_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert codes(findings_of(gpu(0), gpu(1), processes=2), "warning") == ["gpu_missing"]
    assert codes(findings_of(gpu(0), gpu(1), processes=1)) == ["gpus"]


@pytest.mark.parametrize(("selection", "indices"), [(None, [0, 1]), ("1,0", [1, 0]), ("", []), ("-1", []), ("7", [])])
def test_visible_devices_select_gpus(selection, indices):
    assert [found.index for found in hardware.visible([gpu(0), gpu(1)], selection)] == indices


def test_a_machine_without_a_driver_blocks(tmp_path):
    found = hardware.check(make_job(tmp_path, resources=Resources()), Inspection())
    if codes(found) == ["gpus"]:
        pytest.skip("this machine has a GPU")
    assert codes(found, "warning") == ["gpu_missing"]
    assert "device=cpu" in found[0].fix


def test_without_nvml_gpus_are_not_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "find_spec", lambda _: None)
    found = hardware.check(make_job(tmp_path, resources=Resources()), Inspection())
    assert codes(found, "not_checked") == ["gpu_not_checked"]
    assert "pip install" in found[0].fix


@pytest.mark.parametrize(
    ("architecture", "code", "severity"),
    [(70, "gpu_too_old", "blocking"), (75, "gpu_without_bfloat16", "warning"), (103, "gpus", "info")],
)
def test_the_oldest_gpu_decides(findings_of, architecture, code, severity):
    found = findings_of(gpu(0), gpu(1, architecture=architecture) if architecture < 90 else gpu(1), processes=2)
    assert only(found, code).severity == severity


@pytest.mark.parametrize(
    ("total", "activations", "code", "severity"),
    [
        (40, 10, "gpu_memory", "info"),
        (79.5, 10, "gpu_memory_tight", "warning"),
        (90, 30, "gpu_memory_tight", "warning"),
        (110, 60, "gpu_memory_short", "blocking"),
        (85, 1, "gpu_memory_short", "blocking"),
    ],
)
def test_the_estimate_is_compared_with_the_smallest_gpu(findings_of, total, activations, code, severity):
    found = findings_of(gpu(0, memory=200, free=200), gpu(1), processes=2, needs=inspected(total, activations))
    assert only(found, code).severity == severity


@pytest.mark.parametrize(("share", "code"), [(0.0001, "memory"), (2.0, "memory_short")])
def test_a_cpu_run_is_compared_with_this_machines_memory(tmp_path, share, code):
    job = make_job(tmp_path, resources=Resources(processes_per_node=2, device="cpu"))
    needs = Inspection({"memory_bytes_per_gpu": {"total": int(psutil.virtual_memory().total * share / 2) + 1}})
    assert codes(hardware.check(job, needs)) == [code]


def test_a_checkpoint_that_cannot_be_loaded_before_it_is_sharded_blocks(findings_of):
    parts = {"weights": 10 * GIB, "activations": 5 * GIB, "loading": 90 * GIB, "total": 90 * GIB}
    found = findings_of(gpu(0), processes=1, needs=Inspection({"memory_bytes_per_gpu": parts}))
    assert "gpu_memory_short" in codes(found, "blocking")


def test_the_fastest_way_that_fits_is_told_with_its_reason(findings_of):
    ways = [
        {"name": name, "settings": {"mode": name}, "memory_bytes": gib * GIB, "relative_time": time}
        for name, gib, time in (("fast", 50, 1.0), ("small", 15, 1.1))
    ]
    needs = Inspection({"memory_bytes_per_gpu": {"total": 15 * GIB}, "ways": ways})
    found = only(findings_of(gpu(0, memory=200), gpu(1, memory=24, free=24), processes=2, needs=needs), "execution")
    assert found.severity == "info"
    assert found.evidence["settings"] == {"mode": "small"}
    assert [way["name"] for way in found.evidence["ways"]] == ["fast", "small"]
    assert "small needs about 15.0 GiB of 24.0 GiB; fast would be 10% faster and needs 50.0 GiB" in found.message
    assert "execution" not in codes(findings_of(gpu(memory=8, free=8), needs=needs))


@pytest.mark.parametrize(("architecture", "severities"), [(80, ["warning"]), (89, []), (90, [])])
def test_a_run_is_refused_where_the_gpu_lacks_what_it_is_for(findings_of, architecture, severities):
    need = HardwareNeed(89, "FP8 arithmetic", "Choose W8A8.")
    found = [entry for entry in findings_of(gpu(architecture=architecture), hardware=need) if entry.code != "gpus"]
    assert [entry.severity for entry in found] == severities
    assert all(entry.blocks_run and entry.fix == "Choose W8A8." for entry in found)
    assert all("FP8 arithmetic needs GPUs of sm_89 or newer" in entry.message for entry in found)


def test_a_product_for_another_machine_is_only_warned_of(findings_of):
    need = HardwareNeed(100, "NVFP4 arithmetic", "Choose FP8.", required=False)
    found = only(findings_of(gpu(), hardware=need), "gpu_lacks_format")
    assert (found.severity, found.blocks_run) == ("warning", False)
    assert found.evidence["needed"] == "sm_100"


def test_the_cpu_computes_every_format_and_is_told_which_gpu_serves_it(tmp_path):
    need = HardwareNeed(89, "FP8 arithmetic", "Choose W8A8.")
    job = make_job(tmp_path, resources=Resources(device="cpu"), hardware=need)
    found = only(hardware.check(job, Inspection()), "gpu_needed_later")
    assert (found.severity, found.blocks_run) == ("info", False)
    assert "sm_89" in found.message


def test_a_run_that_computes_with_it_is_refused_on_the_cpu(tmp_path):
    need = HardwareNeed(89, "FP8 training", "Turn it off.", computes=True)
    job = make_job(tmp_path, resources=Resources(device="cpu"), hardware=need)
    found = only(hardware.check(job, Inspection()), "gpu_lacks_format")
    assert (found.severity, found.blocks_run, found.fix) == ("warning", True, "Turn it off.")
    assert "planned on the CPU" in found.message


@pytest.mark.parametrize(("choices", "fix_set"), [(1, {"batch": 1}), (2, {})])
def test_short_memory_is_answered_with_what_was_tried_and_fits(findings_of, monkeypatch, choices, fix_set):
    tried = [{"batch": 1}, {"pixels": 9}][:choices]
    asked = []
    monkeypatch.setattr(hardware, "fitting", lambda _job, _inspection, *limit: asked.append(limit) or tried)
    short = only(findings_of(gpu(memory=80), gpu(memory=40), processes=2, needs=inspected(120)), "gpu_memory_short")
    assert short.fix_set == fix_set
    assert list(short.fix_choices) == ([] if fix_set else tried)
    assert asked == [("gpu", 40 * GIB)]


def test_a_run_that_fits_tries_nothing(findings_of, monkeypatch):
    monkeypatch.setattr(hardware, "fitting", lambda *_: pytest.fail("nothing is to be tried"))
    assert only(findings_of(gpu(), needs=inspected(40)), "gpu_memory")


def test_short_host_memory_tries_the_share_of_one_process(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(hardware, "fitting", lambda _job, _inspection, *limit: asked.append(limit) or [{"batch": 1}])
    total = psutil.virtual_memory().total
    needs = Inspection({"memory_bytes_per_gpu": {"total": total}})
    job = make_job(tmp_path, resources=Resources(device="cpu", processes_per_node=2))
    assert only(hardware.check(job, needs), "memory_short").fix_set == {"batch": 1}
    assert asked == [("host", total // 2)]
