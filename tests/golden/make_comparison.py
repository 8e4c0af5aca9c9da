"""Writes what three teachers elsewhere answer to forty digits, and what scikit-learn, SciPy and torchmetrics make of it.

    python tests/golden/make_comparison.py

Needs torch, numpy, pyarrow, pillow, scikit-learn, scipy and torchmetrics. stage1-label/tests/files/comparison-{a,b,c}.npy hold
the logits: `a` and `c` of the images as they are, `b` of all nine views of `crop1`, of which view 4 is the untouched image.
The student is foreign.pt beside them, run by PyTorch in float64. `comparison.json` has what `label inspect` must say.
"""

import io
import json
import pathlib

import numpy
import pyarrow.parquet
import torch
from PIL import Image
from scipy.special import softmax
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, recall_score
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "stage1-label" / "tests" / "files"
IMAGES, CLASSES, VIEWS, CENTRE = 40, 10, 9, 4


def sample():
    rows = pyarrow.parquet.read_table(ROOT / "data" / "samples" / "test.parquet").slice(0, IMAGES).to_pylist()
    pixels = [numpy.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows]
    return numpy.stack(pixels)[:, None] / 255, numpy.array([row["label"] for row in rows])


def teacher(draws, labels, margin):
    logits = draws.normal(0, 1.5, (len(labels), CLASSES))
    logits[numpy.arange(len(labels)), labels] += margin
    return logits.astype(numpy.float32)


def student(pixels):
    state = torch.load(FOLDER / "foreign.pt", map_location="cpu")["model"]
    of = lambda name: state[f"module.model.{name}"].double()
    x = (torch.from_numpy(pixels) - 0.25) / 0.5
    for i, stride in enumerate([2, 2, 1, 2], 1):
        norm = [of(f"bn{i}.{name}") for name in ["running_mean", "running_var", "weight", "bias"]]
        x = F.relu(F.batch_norm(F.conv2d(x, of(f"conv{i}.weight"), stride=stride, padding=1), *norm, eps=1e-5))
    return F.linear(x.mean((2, 3)), of("linear.weight"), of("linear.bias")).numpy()


def main():
    pixels, labels = sample()
    draws = numpy.random.default_rng(12)
    a, c = teacher(draws, labels, 3.0), teacher(draws, labels, 1.5)
    b = teacher(draws, numpy.repeat(labels, VIEWS), 2.0)
    for name, logits in [("a", a), ("b", b), ("c", c)]:
        numpy.save(FOLDER / f"comparison-{name}.npy", logits)
    sets = [logits.astype(numpy.float64) for logits in (a, b[CENTRE::VIEWS], c)]
    probabilities = [softmax(logits, axis=1) for logits in sets]
    answers = [logits.argmax(1) for logits in sets]
    result = {"sets": [], "pairs": []}
    for place, (p, answer) in enumerate(zip(probabilities, answers)):
        others = [found for other, found in enumerate(answers) if other != place]
        hard = numpy.any([found != labels for found in others], axis=0)
        error = multiclass_calibration_error(
            torch.from_numpy(p), torch.from_numpy(labels), num_classes=CLASSES, n_bins=15, norm="l1"
        )
        classes = recall_score(labels, answer, average=None, labels=numpy.unique(labels))
        result["sets"].append({
            "accuracy": 100 * accuracy_score(labels, answer),
            "mean_entropy": entropy(p, axis=1).mean(),
            "hard_rows": int(hard.sum()),
            "hard_entropy": entropy(p[hard], axis=1).mean(),
            "mean_confidence": p.max(1).mean(),
            "wrong_confidence": p.max(1)[answer != labels].mean(),
            "calibration_error": float(error),
            "worst_class": {"class": int(numpy.unique(labels)[classes.argmin()]), "accuracy": 100 * classes.min()},
        })
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        result["pairs"].append({
            "agreement": 100 * accuracy_score(answers[i], answers[j]),
            "kl": entropy(probabilities[i], probabilities[j], axis=1).mean(),
            "kl_back": entropy(probabilities[j], probabilities[i], axis=1).mean(),
        })
    said = student(pixels)
    chosen, q = said.argmax(1), softmax(said, axis=1)
    result["student"] = {
        "accuracy": 100 * accuracy_score(labels, chosen),
        "gaps": [
            {
                "kl": entropy(p, q, axis=1).mean(),
                "agreement": 100 * accuracy_score(answer, chosen),
                "lost": int(((answer == labels) & (chosen != labels)).sum()),
            }
            for p, answer in zip(probabilities, answers)
        ],
    }
    (FOLDER / "comparison.json").write_text(json.dumps(result, indent=1) + "\n")


main()
