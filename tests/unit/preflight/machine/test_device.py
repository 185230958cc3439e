from dataclasses import replace

import pytest
from preflight_worlds import codes, make_job

from tao_skill_bank.contracts import PlatformRequest, Resources
from tao_skill_bank.preflight.machine import device


def findings_of(folder, gpus, device_kind, *, options=None, distributed=True):
    job = replace(
        make_job(folder),
        platform=PlatformRequest(gpus=gpus, options=options or {}),
        resources=Resources(processes_per_node=gpus or 1, device=device_kind),
        distributed=distributed,
    )
    return device.check(job)


@pytest.mark.parametrize(("gpus", "kind"), [(None, "cpu"), (None, "cuda"), (2, "cuda")])
def test_gpus_that_are_used_or_not_asked_for_have_no_finding(tmp_path, gpus, kind):
    assert findings_of(tmp_path, gpus, kind) == []


def test_gpus_that_were_asked_for_while_the_cpu_computes_are_warned_of(tmp_path):
    (found,) = findings_of(tmp_path, 2, "cpu")
    assert (found.code, found.severity, found.path) == ("gpus_on_cpu", "warning", "platform.gpus")
    assert "--option device=cuda" in found.fix
    assert found.evidence == {"gpus": 2, "processes": 2}


def test_processes_on_a_cpu_that_was_asked_for_are_only_reported(tmp_path):
    (found,) = findings_of(tmp_path, 2, "cpu", options={"device": "cpu"})
    assert (found.code, found.severity) == ("gpus_are_processes", "info")


def test_more_gpus_than_the_one_process_of_an_action_uses_are_warned_of(tmp_path):
    assert codes(findings_of(tmp_path, 4, "cuda", distributed=False)) == ["gpus_unused"]
    assert findings_of(tmp_path, 1, "cuda", distributed=False) == []
