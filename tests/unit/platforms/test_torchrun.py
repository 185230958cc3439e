import pytest
from runs import make_job

from tao_skill_bank.contracts import Resources
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.platforms import torchrun
from tao_skill_bank.platforms.torchrun import Rendezvous


def test_one_node_starts_its_processes_standalone():
    job = make_job("/runs/a", distributed=True, resources=Resources(processes_per_node=4))
    assert torchrun.command(job, python="python") == (
        *("python", "-m", "tao_skill_bank.training.launcher", "--standalone", "--nproc_per_node", "4"),
        *("-m", "fake_trainer", "--config", "/runs/a/config/train.json"),
    )


def test_a_job_that_is_not_distributed_starts_its_module_alone():
    command = torchrun.command(make_job("/runs/a"), python="python")
    assert command == ("python", "-m", "fake_trainer", "--config", "/runs/a/config/train.json")


def test_several_nodes_meet_at_the_rendezvous_under_the_job_id():
    job = make_job("/runs/a", distributed=True, resources=Resources(nodes=2, processes_per_node=8))
    command = torchrun.command(job, python="python", rendezvous=Rendezvous("node-0:29400", "$SLURM_NODEID"))
    options = dict(zip(command[3:15:2], command[4:15:2], strict=True))
    assert options == {
        "--nnodes": "2",
        "--node_rank": "$SLURM_NODEID",
        "--rdzv_backend": "c10d",
        "--rdzv_id": job.id,
        "--rdzv_endpoint": "node-0:29400",
        "--nproc_per_node": "8",
    }


def test_several_nodes_without_a_rendezvous_are_refused():
    job = make_job("/runs/a", distributed=True, resources=Resources(nodes=2))
    with pytest.raises(BlockedError, match="one node"):
        torchrun.command(job)
