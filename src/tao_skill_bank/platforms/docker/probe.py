"""Asks a Docker daemon, without changing anything, what prevents a job from running."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tao_skill_bank.bank import images
from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.errors import BackendError
from tao_skill_bank.platforms import answers, inputs
from tao_skill_bank.platforms.docker import render
from tao_skill_bank.platforms.docker.client import Daemon, document
from tao_skill_bank.platforms.docker.options import Options

NVIDIA_HOOK = "nvidia-container-runtime-hook"  # a daemon that finds it gives GPUs without a runtime of that name

MOST_ENTRIES = 5000  # of a folder that are looked at


def findings(job: Job, options: Options) -> list[Finding]:
    """Return what the daemon lacks to run `job`."""
    found = list(_of_request(job, options))
    try:
        daemon = Daemon.current(options.host)
        found.extend(_of_daemon(job, options, daemon, _info(daemon)))
    except BackendError as error:
        found += answers.findings(error)
    return found


def _info(daemon: Daemon) -> dict[str, Any]:
    """Return what the daemon says of itself. Raises BackendError."""
    info = document(daemon.ask("info", "--format", "{{json .}}"))
    if errors := info.get("ServerErrors"):  # an older command ends with 0 all the same
        raise daemon.failure("\n".join(map(str, errors)))
    return info


def _of_request(job: Job, options: Options) -> Iterator[Finding]:
    if job.resources.nodes > 1:
        message = (
            f"Platform docker is one machine; the job asks for {job.resources.nodes} nodes: containers of several "
        )
        message += "machines would need a network and a synchronized start, which a cluster's scheduler provides."
        fix = "Set platform.nodes=1, or use platform slurm or kubernetes."
        yield Finding("docker_single_node", "blocking", message, fix, "platform.nodes")
    yield from _links_outside(job, options)


def _of_daemon(job: Job, options: Options, daemon: Daemon, info: dict[str, Any]) -> Iterator[Finding]:
    image = str(job.image)
    if not daemon.has("image", image):
        message = f"The daemon does not have the image {image}."
        yield _lacking_here("image_missing", message, images.get(image), "image")
    if job.resources.device == "cuda":
        yield from _gpu_findings(daemon, info)
    cores = int(info.get("NCPU") or 0)
    if options.cpus is not None and cores and options.cpus > cores:
        message = f"The daemon's machine has {cores} cores; --option cpus asks for {options.cpus:g}."
        fix = f"Set --option cpus={cores} or less."
        yield Finding("too_many_cpus", "blocking", message, fix, "platform.options.cpus")
    if options.network and not daemon.has("network", options.network):
        message = f"The daemon has no network '{options.network}'."
        fix = "Create it (docker network create) or correct --option network; see: docker network ls"
        yield Finding("unknown_network", "blocking", message, fix, "platform.options.network")
    if plugins := (info.get("Plugins") or {}).get("Authorization"):
        message = f"The daemon asks {', '.join(map(str, plugins))} before it starts a container; that was not checked."
        fix = "What it refuses ends the launch with its words: run, or ask who runs the daemon about its rules."
        yield Finding("launch_rules_not_checked", "not_checked", message, fix, "docker")
    missing = [] if daemon.is_remote else [mount for mount in options.mounts if not Path(mount.source).exists()]
    for mount in missing:
        message = f"The path {mount.source} to be mounted does not exist."
        yield Finding("mount_missing", "blocking", message, "Correct --option mounts.", "platform.options.mounts")


def _links_outside(job: Job, options: Options) -> Iterator[Finding]:
    """Find inputs that are links, such as a model in the hub's cache, to folders that are not mounted."""
    seen = [Path(mount.target) for mount in render.mounts(job, options)]
    for folder in filter(os.path.isdir, inputs.paths(job)):
        with os.scandir(folder) as entries:
            links = [entry.path for entry in itertools.islice(entries, MOST_ENTRIES) if entry.is_symlink()]
        targets = [Path(os.path.normpath(Path(folder, Path(link).readlink()))) for link in links]
        unmounted = [target.parent for target in targets if not any(target.is_relative_to(path) for path in seen)]
        if unmounted:
            where = os.path.commonpath(unmounted)
            message = f"{len(unmounted)} entries of {folder} are links to {where}, which the container does not see."
            fix = f"Mount it too: --option mounts={where}:ro"
            yield Finding("links_lead_out", "blocking", message, fix, "platform.options.mounts")


def _gpu_findings(daemon: Daemon, info: dict[str, Any]) -> Iterator[Finding]:
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or ()]
    if "nvidia" in (info.get("Runtimes") or {}) or any("nvidia.com/gpu" in device for device in devices):
        return
    message = "The daemon has no runtime by which a container gets NVIDIA GPUs."
    fix = "Install the NVIDIA container toolkit on its machine: nvidia-ctk runtime configure, then restart the daemon"
    if daemon.is_remote:  # whether it finds the hook cannot be asked
        yield Finding("gpu_runtime_missing", "not_checked", f"{message} It may have the hook.", fix, "platform.gpus")
    elif shutil.which(NVIDIA_HOOK) is None:
        yield _lacking_here("gpu_runtime_missing", message, fix, "platform.gpus")


def _lacking_here(code: str, message: str, fix: str, path: str) -> Finding:
    """Return the finding of what only this daemon lacks: the plan may run on another one."""
    return Finding(code, "warning", message, fix, path, {"blocks_run": True})
