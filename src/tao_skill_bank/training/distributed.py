"""Processes and their mesh. The same code runs as one process and under torchrun."""

import atexit
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from tao_skill_bank.core import settings
from tao_skill_bank.errors import BlockedError, RequestError
from tao_skill_bank.training import links

TIMEOUT = timedelta(minutes=20)  # long enough for rank 0 to write an 8B checkpoint, short enough to end a dead run
# Ranks that answer questions synchronize once, at the end: one may wait for hours for a rank with longer videos. A
# rank that dies is still noticed: torchrun ends the others.
UNEVEN_TIMEOUT = timedelta(hours=24)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ranks:
    """The rank of this process, the number of processes, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes the run directory."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value summed over all ranks, in float64."""
        return self._reduce(values, dist.ReduceOp.SUM)

    def max(self, values: Sequence[float]) -> list[float]:
        """Return the largest of each value over all ranks."""
        return self._reduce(values, dist.ReduceOp.MAX)

    def sum_on_device(self, tensor: torch.Tensor) -> None:
        """Replace a tensor on this rank's device by its sum over all ranks; the host does not wait."""
        if self.world > 1:
            dist.all_reduce(tensor, dist.ReduceOp.SUM)

    def max_on_device(self, tensor: torch.Tensor) -> None:
        """Replace a tensor on this rank's device by its maximum over all ranks; the host does not wait."""
        if self.world > 1:
            dist.all_reduce(tensor, dist.ReduceOp.MAX)

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's picklable value, in the order of ranks."""
        gathered: list[Any] = [None] * self.world
        dist.all_gather_object(gathered, value)
        return gathered

    def barrier(self) -> None:
        """Wait for every rank, on the host."""
        self._reduce([0.0], dist.ReduceOp.SUM)

    def _reduce(self, values: Sequence[float], operation: Any) -> list[float]:
        tensor = torch.tensor(list(values), dtype=torch.float64)  # on the host: through gloo
        dist.all_reduce(tensor, operation)
        return [float(value) for value in tensor]


def start(timeout: timedelta = TIMEOUT) -> Ranks:
    """Join the process group: NCCL for GPU tensors, gloo for host tensors. Without torchrun it holds one process.

    Args:
        timeout: how long a rank waits for the others in any collective.

    Raises:
        BlockedError: the launch was planned on a GPU and torch sees none.
        BackendError: the processes do not reach each other.

    """
    on_gpu = uses_gpu()
    device = torch.device("cuda", local_rank()) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if dist.is_torchelastic_launched():
        links.join(device, timeout)
    else:
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, timeout=timeout)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def local_rank() -> int:
    """Return the number of this process among those on its machine."""
    return dist.get_node_local_rank(fallback_rank=0)


def uses_gpu() -> bool:
    """Return whether to run on the GPU: as the launch was planned, else where there is one."""
    planned = settings.planned_device()
    if planned == "cuda" and not torch.cuda.is_available():
        message = f"The launch was planned on a GPU, but PyTorch {torch.__version__} sees none."
        fix = "Install a CUDA build of PyTorch that fits the driver, or set platform.options.device=cpu."
        raise BlockedError.of("cuda_unavailable", message, fix, path="platform.options.device")
    return torch.cuda.is_available() if planned is None else planned == "cuda"


def stop() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End the process with an exit code, even where other ranks still run.

    A process group that some ranks have not left cannot be destroyed, and the end of the interpreter then sometimes
    aborts the process, which hides the exit code. Exit handlers run first.
    """
    if code == 0 or not dist.is_torchelastic_launched():
        sys.exit(code)
    atexit._run_exitfuncs()  # os._exit skips these; multiprocessing ends its children the same way
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def data_parallel_mesh(ranks: Ranks, *, replicate: int, shard: int) -> DeviceMesh:
    """Return the mesh that weights are sharded over: 1-D for FSDP, 2-D for HSDP (replicas of sharded groups).

    Raises:
        RequestError: the sizes do not multiply to the number of processes.

    """
    if replicate * shard != ranks.world:
        message = f"{replicate} replicas x {shard} shards are not the {ranks.world} processes that were started."
        fix = f"Start {replicate * shard} processes, or set both so that their product is {ranks.world}."
        raise RequestError.of("world_size", message, fix)
    if replicate == 1:
        return init_device_mesh(ranks.device.type, (shard,), mesh_dim_names=("shard",))
    return init_device_mesh(ranks.device.type, (replicate, shard), mesh_dim_names=("replicate", "shard"))


def seed_everything(seed: int, *, deterministic: bool) -> None:
    """Seed torch on every device, and use deterministic kernels when requested."""
    torch.manual_seed(seed)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first call
        torch.use_deterministic_algorithms(mode=True, warn_only=True)
        torch.backends.cudnn.benchmark = False
