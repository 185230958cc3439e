"""Draws a confusion matrix as a PNG: shares per truth as colour, counts as text."""

from collections.abc import Sequence
from pathlib import Path

INK, LIGHT = "#1b1f24", "#ffffff"


def draw(path: Path, labels: Sequence[str], matrix: Sequence[Sequence[int]], *, accuracy: float) -> None:
    """Write the image. Rows are truths, columns predictions; a truth that never occurs has an empty row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [index for index, counts in enumerate(matrix) if sum(counts)]
    shares = [[count / sum(matrix[row]) for count in matrix[row]] for row in rows]
    size = 1.15 * len(labels) + 2.2
    figure, axes = pyplot.subplots(figsize=(size, 1.15 * len(rows) + 2.0), dpi=150)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for line, row in enumerate(rows):
        for column, count in enumerate(matrix[row]):
            share = shares[line][column]
            colour = LIGHT if share > 0.55 else INK
            axes.text(column, line, f"{share:.0%}\n{count}", ha="center", va="center", color=colour, fontsize=11)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(rows)), [labels[row] for row in rows])
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    total = sum(sum(counts) for counts in matrix)
    axes.set_title(f"Accuracy {accuracy:.1%} of {total} samples", color=INK, fontsize=12, pad=12)
    axes.tick_params(length=0)
    axes.set_xticks([column - 0.5 for column in range(1, len(labels))], minor=True)
    axes.set_yticks([line - 0.5 for line in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color=LIGHT, linewidth=2)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.04)
    bar.outline.set_visible(False)
    bar.set_label("share of the true class", color=INK)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
