"""The run directory, the only thing that the two planes share: its files, results and checkpoints."""
