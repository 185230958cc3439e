"""Which nodes a retry leaves out."""

import pytest

from tao_skill_bank.contracts import Resources
from tao_skill_bank.platforms.slurm import nodes
from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.options import Options
from tao_skill_bank.platforms.slurm.platform import PLATFORM

UP = "n1|idle\nn2|mixed\nn3|allocated\n"


LOST = "NODE_FAIL|2026-11-30T23:18:33|n1,n2\n"  # State, Start and NodeList of sacct


@pytest.mark.parametrize(
    ("said", "states", "options", "needed", "excluded"),
    [
        ((LOST, "n2"), UP, {}, 2, ["n2"]),
        ((LOST, "n2"), "n1|idle\nn2|down*\nn3|idle\n", {}, 2, ["n2"]),
        ((LOST.replace("NODE", "BOOT"), "n2"), UP, {}, 2, ["n2"]),
        ((f"banner\n{LOST}bye\n", "n2"), f"banner\n{UP}", {}, 1, ["n2"]),
        ((LOST, "n2"), UP, {}, 3, []),  # too few are left
        ((LOST, "n2"), "n1|idle\nn2|idle\nn3|drained\n", {}, 2, []),
        ((LOST, "n2"), UP, {"exclude": "n3"}, 2, []),
        ((LOST, "n2"), UP, {"nodelist": "n2"}, 1, []),
        ((LOST, "n1,n2"), UP, {}, 2, ["n1"]),  # one of them has to do
        ((LOST, ""), "n1|idle\nn2|down*\nn3|idle\n", {}, 2, ["n2"]),
        ((LOST, ""), UP, {}, 1, []),
        ((LOST, "n2; reboot"), UP, {}, 1, []),
        (("NODE_FAIL|Unknown|n2\n", ""), UP, {}, 2, ["n2"]),  # it had no other
        (("NODE_FAIL|Unknown|None assigned\n", ""), UP, {}, 1, []),
        (("PREEMPTED|Unknown|n2\n", "n2"), UP, {}, 1, []),
        (("FAILED|Unknown|n2\n", "n2"), UP, {}, 1, []),
        (("nothing that is known\n", "n2"), UP, {}, 1, []),
        ((LOST, ""), "odd\n", {}, 1, []),
    ],
)
def test_nodes_that_failed_are_left_out_while_enough_others_are_up(cluster, said, states, options, needed, excluded):
    for answer in said:
        cluster.says("sacct", answer)
    cluster.says("sinfo", states)
    assert nodes.to_exclude(Cluster(), "7", Options(**options), needed) == excluded


@pytest.mark.parametrize(
    ("start", "since"), [("2026-11-30T23:18:33", "2026-11-30T23:18:33"), ("1796080713", "uts1796080713")]
)
def test_a_node_that_failed_and_is_back_is_known_by_the_events_of_the_accounting(cluster, start, since):
    cluster.says("sacct", f"NODE_FAIL|{start}|n1,n2,n3\n")
    cluster.says("sacct", stderr='sacct: error: Invalid field requested: "FailedNode"', code=1)
    cluster.says("sacctmgr", "n3|MAINT\nn2|DOWN\nn9|DOWN\n")
    cluster.says("sinfo", UP)
    assert nodes.to_exclude(Cluster(), "7", Options(), 2) == ["n2"]
    assert f"start={since}" in cluster.calls("sacctmgr")[0]


def test_without_accounting_the_controller_names_the_node(cluster):
    cluster.says("sacct", stderr="Slurm accounting storage is disabled", code=1)
    cluster.says("scontrol", "JobId=7 JobState=NODE_FAIL ReqNodeList=(null) NodeList=n2 BatchHost=n2\n")
    cluster.says("sinfo", UP)
    assert nodes.to_exclude(Cluster(), "7", Options(), 2) == ["n2"]


def test_names_in_brackets_are_read_by_slurm_and_an_earlier_exclusion_stays(cluster, slurm_job, record):
    cluster.says("sacct", "NODE_FAIL|Unknown|n[1-3]\n")
    cluster.says("sacct", "n[2-3]\n")
    cluster.says("scontrol", "n2\nn3\n")
    cluster.says("sinfo", "n1|idle\nn4|idle\n")
    job = slurm_job({"exclude": "n9", "partition": "gpu"}, resources=Resources(nodes=2, device="cpu"))
    assert PLATFORM.avoiding(record, job) == {"exclude": "n9,n2,n3"}
    assert cluster.calls("sinfo --noheader --Node --format=%N|%T --partition=gpu")
