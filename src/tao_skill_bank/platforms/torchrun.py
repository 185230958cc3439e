"""Builds the command that starts the processes of a job from its resources."""

import sys
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.contracts import Job
from tao_skill_bank.errors import BlockedError


@dataclass(frozen=True)
class Rendezvous:
    """How the nodes of one job find each other.

    Attributes:
        endpoint: `HOST:PORT` of the first node.
        node_rank: this node's rank, or the shell expression that gives it on the node.
        backend: `static` gives each node its rank; `c10d` gives them by the nodes' names.

    """

    endpoint: str
    node_rank: str
    backend: str = "c10d"


def command(job: Job, *, python: str = sys.executable, rendezvous: Rendezvous | None = None) -> tuple[str, ...]:
    """Return the argv that starts the processes of one node.

    Raises:
        BlockedError: several nodes need a rendezvous, and there is none.

    """
    config = ("--config", str(Path(job.results_dir) / job.config_file))
    if job.command:  # it starts its own processes
        return (*job.command, *config)
    module = ("-m", job.module, *config)
    if not job.distributed:
        return (python, *module)
    if rendezvous is None and job.resources.nodes > 1:
        message = f"Platform {job.platform.name} starts the processes of one node; the job has {job.resources.nodes}."
        raise BlockedError.of("one_node_only", message, "Set platform.nodes=1.", path="platform.nodes")
    where = ("--standalone",) if rendezvous is None else _join(job, rendezvous)
    processes = ("--nproc_per_node", str(job.resources.processes_per_node))
    return (python, "-m", "tao_skill_bank.training.launcher", *where, *processes, *module)


def _join(job: Job, rendezvous: Rendezvous) -> tuple[str, ...]:
    return (
        "--nnodes",
        str(job.resources.nodes),
        "--node_rank",
        rendezvous.node_rank,
        "--rdzv_backend",
        rendezvous.backend,
        "--rdzv_id",
        job.id,
        "--rdzv_endpoint",
        rendezvous.endpoint,
    )
