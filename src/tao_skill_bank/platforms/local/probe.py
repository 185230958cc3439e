"""What this machine lacks to run a job."""

import importlib.util
import sys

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Job


def findings(job: Job) -> list[Finding]:
    """Return what prevents `job` from running on this machine."""
    found = []
    if job.resources.nodes > 1:
        message = f"Platform local is one machine; the job asks for {job.resources.nodes} nodes."
        key = catalog.find(job.skill).action(job.action).resources.node_spec_key
        also = f" ({key}=1)" if key else ""
        fix = f"Set platform.nodes=1{also}, or use platform slurm or kubernetes."
        found.append(Finding("local_single_node", "blocking", message, fix, "platform.nodes"))
    if importlib.util.find_spec("torch") is None:
        message = f"Training needs the Python module 'torch', which {sys.executable} does not have."
        fix = "pip install 'tao-skill-bank[train]'"
        found.append(Finding("missing_extra", "warning", message, fix, "torch", {"blocks_run": True}))
    return found
