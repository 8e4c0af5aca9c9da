"""Draws what a training run recorded: its loss, and held-out accuracy clean and under PGD-20, by epoch.

    pip install matplotlib
    python bench/curves.py RUN/metrics.jsonl docs/curves.svg
"""

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "rslad", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot


def epochs(path):
    """The records of finished epochs, which alone have held-out images."""
    lines = map(json.loads, path.read_text().splitlines())
    return [line for line in lines if "holdout_clean" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    record = epochs(args.metrics)
    if not record:
        parser.error(f"{args.metrics} has no finished epoch with held-out images")
    number = [line["epoch"] for line in record]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    left.plot(number, [line["loss"] for line in record], color="#4477aa")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    for key, label, color in (("holdout_clean", "clean", "#228833"), ("holdout_pgd20", "PGD-20", "#cc3311")):
        values = [line[key] for line in record]
        right.plot(number, values, color=color)
        right.annotate(f" {label}", (number[-1], values[-1]), color=color, va="center")
    right.set(xlabel="epoch", ylabel="held-out images right, %", ylim=(0, 100))
    right.margins(x=0.12)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(args.picture, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main()
