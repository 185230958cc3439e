"""Checks within minutes, before any weight is read, that the processes of a job reach each other.

A collective over a broken network hangs until its timeout, which has to be long: a rank may wait for another one that
writes a checkpoint. So the first exchange has a short timeout of its own, and reports which process is missing.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from tao_skill_bank.errors import BackendError

ARRIVAL_SECONDS = 600.0  # between the first and the last process: imports over a network file system take minutes
EXCHANGE_SECONDS = 180.0  # of the first exchange of all processes, connections included
HOST_BYTES, DEVICE_BYTES = 4 * 2**20, 64 * 2**20  # summed through gloo and through NCCL
logger = logging.getLogger(__name__)


def join(
    device: torch.device,
    timeout: timedelta,
    *,
    arrival_seconds: float = ARRIVAL_SECONDS,
    exchange_seconds: float = EXCHANGE_SECONDS,
) -> None:
    """Join the process group that torchrun started, and exchange a tensor with every process.

    Args:
        device: of this process; with a GPU its tensors go through NCCL.
        timeout: how long a rank waits for the others in any later collective.
        arrival_seconds: how long to wait for the other processes to start.
        exchange_seconds: how long the first exchange may take.

    Raises:
        BackendError: a process did not start, or the processes do not reach each other.

    """
    store, rank, world = next(iter(rendezvous("env://")))
    hosts = _arrived(PrefixStore("links", store), rank, world, arrival_seconds)
    on_gpu = device.type == "cuda"
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"

    def connect() -> None:
        if on_gpu:
            torch.cuda.set_device(device)  # a thread has its own
        own = PrefixStore("group", store)
        kept = device if on_gpu else None
        dist.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=timeout, device_id=kept)
        _exchange(device, hosts)

    _within(exchange_seconds, connect, hosts, "NCCL" if on_gpu else "gloo")


def _arrived(store: Store, rank: int, world: int, seconds: float) -> list[str]:
    """Return the machine of every rank, once all have started. Raises BackendError."""
    keys = [str(each) for each in range(world)]
    store.set(keys[rank], socket.gethostname())
    try:
        store.wait(keys, timedelta(seconds=seconds))
    except RuntimeError:  # what a store raises after its timeout
        missing = [key for key in keys if not store.check([key])]
        message = f"Of {world} processes, rank {', '.join(missing)} did not start within {seconds:g} s"
        message += f"; {socket.gethostname()} waited."
        fix = (
            "Read the log of its machine: it crashed, or its software loads slowly. Exclude it, and run the job again."
        )
        raise BackendError.of("rank_missing", message, fix) from None
    return [store.get(key).decode() for key in keys]


def _exchange(device: torch.device, hosts: list[str]) -> None:
    """Sum a tensor on the host and one on the device, and log how fast it went the second time."""
    for kind, size in {"cpu": HOST_BYTES, **({"cuda": DEVICE_BYTES} if device.type == "cuda" else {})}.items():
        tensor = torch.ones(size // 4, device=device if kind == "cuda" else "cpu")
        for _ in range(2):
            began = time.perf_counter()
            dist.all_reduce(tensor)
            last = float(tensor[-1])  # waits for the device
        seconds = time.perf_counter() - began
        if last != float(len(hosts)) ** 2:
            message = f"The processes on {_named(hosts)} summed ones and got {last:g} instead of {len(hosts) ** 2}."
            raise BackendError.of("wrong_sum", message, "Exclude one machine after another to find the broken one.")
        if dist.get_rank() == 0:
            through = "NCCL" if kind == "cuda" else "gloo"
            rate = size / seconds / 2**30
            logger.info("%d processes on %s: %.2f GiB/s of %s", len(hosts), _named(hosts), rate, through)


def _within(seconds: float, connect: Callable[[], None], hosts: list[str], through: str) -> None:
    """Run `connect` in a thread and wait that long for it. Raises BackendError, and what `connect` raises."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            connect()
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread
            raised.append(error)

    worker = threading.Thread(target=work, name="links", daemon=True)
    worker.start()
    worker.join(seconds)
    if raised:
        raise raised[0]
    if worker.is_alive():
        message = f"The processes on {_named(hosts)} found each other, but their first exchange through {through} did"
        message += f" not finish within {seconds:g} s: the network between them, or one of their GPUs, does not work."
        fix = (
            "Set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME to an interface that they share; NCCL_DEBUG=INFO logs more."
        )
        if len(set(hosts)) == 1:
            fix = "Try NCCL_P2P_DISABLE=1; NCCL_DEBUG=INFO logs more. If that does not help, exclude the machine."
        raise BackendError.of("links_stalled", message, fix)


def _named(hosts: list[str]) -> str:
    return ", ".join(dict.fromkeys(hosts))
