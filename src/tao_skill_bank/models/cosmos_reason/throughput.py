"""How busy a GPU is: the arithmetic a step needs, over what the GPU could do in the time it took."""

from dataclasses import dataclass

import torch

# Dense bf16 FLOP/s of the data sheets, by a part of the device name.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "H20": 148e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12}
FORWARD_FLOPS_PER_WEIGHT = 2  # a multiplication and an addition per weight and token


@dataclass(frozen=True)
class Arithmetic:
    """FLOP per token of one training step, attention scores left out.

    Forward costs 2 per weight; backward costs 2 per weight for the inputs' gradients and 2 per trained weight for
    their own. Recomputation does not count as useful.
    """

    num_weights: int
    num_trained: int

    @property
    def per_token(self) -> float:
        return FORWARD_FLOPS_PER_WEIGHT * (2 * self.num_weights + self.num_trained)

    def utilization(self, tokens_per_second: float, device: torch.device) -> float | None:
        """Return the share of one device's peak that its tokens per second use; None where the peak is unknown."""
        if device.type != "cuda":
            return None
        name = torch.cuda.get_device_name(device)
        peak = next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
        return tokens_per_second * self.per_token / peak if peak else None


def peak_memory_gib(device: torch.device) -> float | None:
    """Return the largest memory that was reserved on the GPU since the last call; None on a CPU."""
    if device.type != "cuda":
        return None
    peak = torch.cuda.max_memory_reserved(device) / 2**30
    torch.cuda.reset_peak_memory_stats(device)
    return round(peak, 3)
