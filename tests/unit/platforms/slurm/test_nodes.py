"""Which nodes a retry leaves out."""

import pytest

from tao_skill_bank.contracts import Resources
from tao_skill_bank.platforms.slurm import nodes
from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.options import Options
from tao_skill_bank.platforms.slurm.platform import PLATFORM

UP = "n1|idle\nn2|mixed\nn3|allocated\n"


@pytest.mark.parametrize(
    ("accounts", "states", "options", "needed", "excluded"),
    [
        ("NODE_FAIL|n2|n[1-2]\n", UP, {}, 2, ["n2"]),
        ("NODE_FAIL|n2|n[1-2]\n", "n1|idle\nn2|down*\nn3|idle\n", {}, 2, ["n2"]),
        ("BOOT_FAIL|n2|n[1-2]\n", UP, {}, 2, ["n2"]),
        ("banner\nNODE_FAIL|n2|n[1-2]\nbye\n", f"banner\n{UP}", {}, 1, ["n2"]),
        ("NODE_FAIL|n2|n[1-2]\n", UP, {}, 3, []),  # too few are left
        ("NODE_FAIL|n2|n[1-2]\n", "n1|idle\nn2|idle\nn3|drained\n", {}, 2, []),
        ("NODE_FAIL|n2|n[1-2]\n", UP, {"exclude": "n3"}, 2, []),
        ("NODE_FAIL|n2|n[1-2]\n", UP, {"nodelist": "n2"}, 1, []),
        ("NODE_FAIL|n1,n2|n[1-2]\n", UP, {}, 2, ["n1"]),  # one of them has to do
        ("NODE_FAIL||n1,n2\n", "n1|idle\nn2|down*\nn3|idle\n", {}, 2, ["n2"]),  # an older Slurm names none
        ("NODE_FAIL||None assigned\n", UP, {}, 1, []),
        ("PREEMPTED||n[1-2]\n", UP, {}, 1, []),
        ("FAILED|n2|n[1-2]\n", UP, {}, 1, []),
        ("nothing that is known\n", UP, {}, 1, []),
        ("NODE_FAIL|n2; reboot|n[1-2]\n", "odd\n", {}, 1, []),
    ],
)
def test_nodes_that_failed_are_left_out_while_enough_others_are_up(
    cluster, accounts, states, options, needed, excluded
):
    cluster.says("sacct", accounts)
    cluster.says("sinfo", states)
    assert nodes.to_exclude(Cluster(), "7", Options(**options), needed) == excluded


def test_names_in_brackets_are_read_by_slurm_and_an_earlier_exclusion_stays(cluster, slurm_job, record):
    cluster.says("sacct", "NODE_FAIL|n[2-3]|n[1-3]\n")
    cluster.says("scontrol", "n2\nn3\n")
    cluster.says("sinfo", "n1|idle\nn4|idle\n")
    job = slurm_job({"exclude": "n9", "partition": "gpu"}, resources=Resources(nodes=2, device="cpu"))
    assert PLATFORM.avoiding(record, job) == {"exclude": "n9,n2,n3"}
    assert cluster.calls("sinfo --noheader --Node --format=%N|%T --partition=gpu")
