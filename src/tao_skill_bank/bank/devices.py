"""What GPUs compute at most: dense bfloat16 FLOP/s of the data sheets."""

PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "H20": 148e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12}


def peak_flops(name: str) -> float | None:
    """Return the peak of a GPU by a part of its name; None where it is not known."""
    return next((peak for part, peak in PEAK_FLOPS.items() if part in name), None)
