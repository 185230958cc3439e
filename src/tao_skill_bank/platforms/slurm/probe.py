"""Asks a Slurm cluster, without changing anything, what prevents a job from running."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tao_skill_bank.contracts import Finding, Job, Severity
from tao_skill_bank.core.listing import listed
from tao_skill_bank.errors import BackendError, Problem
from tao_skill_bank.platforms import answers, inputs
from tao_skill_bank.platforms.slurm import options as slurm_options
from tao_skill_bank.platforms.slurm import refusals, render, rows
from tao_skill_bank.platforms.slurm.client import Cluster
from tao_skill_bank.platforms.slurm.options import Options
from tao_skill_bank.platforms.slurm.rows import Partition


def findings(job: Job, options: Options) -> list[Finding]:
    """Return whether the cluster would take `job`, as sinfo and `sbatch --test-only` answer, and what it would lack."""
    unmounted = list(_unmounted(job, options))
    return [*unmounted, *_of_cluster(job, options)]


def _unmounted(job: Job, options: Options) -> Iterator[Finding]:
    """Yield what the job reads or fetches, and its container does not mount, as far as the options say."""
    if options.container is None:
        return
    seen = [Path(folder) for folder in (job.results_dir, *options.mounts)]
    if options.container == "apptainer":  # it mounts these by itself, unless a site turned that off
        seen += [Path.home(), Path("/tmp")]
    wanted = [Path(path) for path in (*inputs.paths(job), *(folder for _, folder in job.fetches))]
    folders = [path for path in wanted if not any(path.is_relative_to(folder) for folder in seen)]
    if folders:
        needed = dict.fromkeys(str(_folder(path)) for path in folders)
        message = (
            f"The container of the job does not mount {listed(list(map(str, folders)))}, as far as its options say."
        )
        fix = f"Mount it: --option mounts={','.join([*options.mounts, *needed])}; or disregard this where the cluster"
        yield Finding("not_mounted", "warning", message, f"{fix} mounts it.", "platform.options.mounts")


def _folder(path: Path) -> Path:
    """Return the folder that is mounted for a path: its own where it names a file."""
    return path.parent if path.suffix and not path.is_dir() else path


def _of_cluster(job: Job, options: Options) -> list[Finding]:
    cluster = Cluster(options.host)
    if options.host is None and shutil.which("sbatch") is None:
        message = "Slurm's commands are not on this machine."
        fix = "Run the plan on a login node, or reach one by ssh: --option host=USER@LOGIN_NODE"
        return [answers.elsewhere(Problem("slurm_missing", message, fix, "platform.name"))]
    found: list[Finding] = []
    try:
        found += _of_partitions(cluster, options)
        if any(finding.severity == "blocking" for finding in found):
            return found
        return [*found, *_of_request(cluster, job, options)]
    except BackendError as error:
        return [*found, *answers.findings(error)]


def _of_partitions(cluster: Cluster, options: Options) -> list[Finding]:
    """Return what sinfo says against the job's partition. Raises BackendError when the cluster cannot be reached."""
    words = ("sinfo", "--noheader", f"--format={rows.PARTITION_FORMAT}")
    done = cluster.call(*words)
    cluster.require_started(done, "sinfo")
    if done.returncode != 0 and refusals.is_unreachable(done.stderr):
        raise cluster.unreachable("sinfo", done.stderr)
    try:
        if done.returncode != 0:
            raise rows.odd("sinfo", refusals.said(done.stderr + done.stdout))
        return list(_partition_findings(rows.partitions(done.stdout), options))
    except BackendError as error:  # sbatch is the judge of what the partitions are not known for
        (problem,) = error.problems
        return [Finding(problem.code, "warning", problem.message, problem.fix, problem.path)]


def _of_request(cluster: Cluster, job: Job, options: Options) -> Iterator[Finding]:
    """Yield what sbatch would say to the request. Raises BackendError when the cluster cannot be reached."""
    tried = cluster.call("sbatch", "--test-only", *render.request(job, options), "--wrap=true")
    cluster.require_started(tried, "sbatch")
    said = tried.stderr if tried.stderr.strip() else tried.stdout
    if tried.returncode != 0:
        if refusals.is_unreachable(said):
            raise cluster.unreachable("sbatch", said)
        yield from answers.findings(answers.RefusedError([refusals.refusal(f"{tried.stdout}\n{tried.stderr}")]))
    elif remarks := refusals.remarks(tried.stderr):
        text = answers.words(refusals.said("\n".join(remarks)))
        message = f"The cluster would take the job, and sbatch reports: {text}"
        fix = "See whether it concerns this job; the cluster's operators know what it means."
        severity: Severity = "warning" if any(map(refusals.is_error, remarks)) else "info"
        yield Finding("slurm_remark", severity, message, fix, "sbatch")


def _partition_findings(partitions: Sequence[Partition], options: Options) -> Iterator[Finding]:
    known = {partition.name: partition for partition in partitions}
    default = next((partition.name for partition in partitions if partition.is_default), None)
    names = options.partition.split(",") if options.partition else [default] if default else []
    for name in names if known else ():
        if name not in known:
            message = f"The cluster has no partition '{name}'."
            fix = f"Set --option partition to one of: {', '.join(sorted(known))}."
            yield Finding("unknown_partition", "blocking", message, fix, "platform.options.partition")
            continue
        limit, state = known[name].limit, known[name].state
        if state != "up":
            message = f"Partition {name} is {state}: it starts no job."
            others = ", ".join(sorted(other.name for other in partitions if other.state == "up")) or "none"
            fix = f"Use another (up: {others}), or wait for the cluster's operators."
            yield Finding("partition_down", "blocking", message, fix, "platform.options.partition")
        longest, wanted = slurm_options.seconds(limit), slurm_options.seconds(options.time_limit)
        if longest is not None and wanted is not None and wanted > longest:
            message = f"The time limit {options.time_limit} is above that of partition {name}, {limit}."
            fix = (
                f"Set --option time_limit={limit} or less; a training is requeued and resumes from its last checkpoint."
            )
            yield Finding("time_limit_exceeded", "blocking", message, fix, "platform.options.time_limit")
