"""What the machine can do at most, measured beside what is measured against it."""

import time

import torch


def matmul_rate(device: torch.device) -> float:
    """Return the operations per second of a large bfloat16 matrix product on random data."""
    size = 8192 if device.type == "cuda" else 256
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    count, began = 10, 0.0
    for round_number in range(count + 3):
        if round_number == 3:
            (left[:1] @ right).sum().item()
            began = time.perf_counter()
        left @ right
    (left[:1] @ right).sum().item()
    return count * 2 * size**3 / (time.perf_counter() - began)
