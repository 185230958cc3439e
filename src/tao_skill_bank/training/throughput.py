"""How busy a GPU is: the arithmetic that a step needs, divided by what the GPU could do in that time."""

import torch

from tao_skill_bank.bank.devices import peak_flops


def utilization(flops_per_second: float, device: torch.device) -> float | None:
    """Return the share of one device's peak that its useful arithmetic uses; None where the peak is unknown."""
    if device.type != "cuda":
        return None
    peak = peak_flops(torch.cuda.get_device_name(device))
    return flops_per_second / peak if peak else None


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the largest memory that was reserved on the GPU since the last call; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_reserved(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return round(peak, 3)
