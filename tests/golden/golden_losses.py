"""losses.json: values and gradients of the losses on fixed logits, extreme ones included."""
import torch

import methods
from store import write_json

# name, K, then one row of logits per image
TABLES = {
    "ten classes": {
        "teacher": [[2.0, -1.0, 0.5, 0.0, 3.25, -2.5, 1.0, 0.125, -0.75, 4.0], [0.0] * 10,
                    [50.0, -50.0, 0.0, 1.0, 2.0, -3.0, 49.0, 48.5, -49.0, 10.0], [1e4, -1e4, 0.0, 1.0, 2.0, 3.0, 9999.0, 5.0, 6.0, 7.0]],
        "natural": [[1.5, -0.5, 0.25, 0.75, 2.0, -1.0, 0.0, 0.5, -2.0, 3.0], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
                    [-50.0, 50.0, 1.0, 0.0, -2.0, 3.0, 0.5, -0.5, 7.0, -10.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]],
        "adversarial": [[0.5, 1.5, -0.25, 2.75, 0.0, 1.0, -1.0, 0.25, 2.0, -3.0], [-1.0, 1.0] * 5,
                        [50.0, -50.0, 0.0, 1.0, 2.0, -3.0, 49.0, 48.5, -49.0, 10.0], [-1e4, 1e4, 0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 4.0]],
        "labels": [9, 0, 1, 6],
    },
    "three classes": {
        "teacher": [[0.0, 1.0, -1.0], [5.0, 5.0, 5.0], [-50.0, 0.0, 50.0], [1e-3, -1e-3, 0.0], [30.0, 30.0, -30.0]],
        "natural": [[1.0, 0.0, -1.0], [4.0, 5.0, 6.0], [50.0, 0.0, -50.0], [0.0, 1e-3, -1e-3], [-1e4, 0.0, 1e4]],
        "adversarial": [[-2.0, 2.0, 0.5], [5.0, 5.0, 5.0], [-50.0, 0.0, 50.0], [2e-3, 0.0, 1e-3], [1e4, 1e4, -1e4]],
        "labels": [1, 2, 0, 0, 2],
    },
}


def rows(tensor):
    return tensor.detach().tolist()


def differentiated(value, **inputs):
    value.sum().backward()
    grads = {f"gradient_{name}": rows(leaf.grad) for name, leaf in inputs.items()}
    return {"value": value.detach().tolist(), **grads}


def losses_of(table):
    labels = torch.tensor(table["labels"])

    def leaf(name):
        return torch.tensor(table[name], dtype=torch.float64, requires_grad=True)

    teacher = leaf("teacher").detach()
    student, natural, adversarial = leaf("adversarial"), leaf("natural"), leaf("adversarial")
    target = leaf("natural")
    yield {"loss": "kl", **differentiated(methods.kl(teacher, student), adversarial=student)}
    student = leaf("adversarial")
    yield {"loss": "kl_both", **differentiated(methods.kl(target, student), natural=target, adversarial=student)}
    loss = methods.rslad(teacher, adversarial, natural)
    yield {"loss": "rslad", **differentiated(loss, natural=natural, adversarial=adversarial)}
    natural, adversarial = leaf("natural"), leaf("adversarial")
    loss = methods.trades(natural, natural, adversarial, labels)
    yield {"loss": "trades", **differentiated(loss, natural=natural, adversarial=adversarial)}
    adversarial = leaf("adversarial")
    yield {"loss": "sat", **differentiated(methods.sat(adversarial, labels), adversarial=adversarial)}
    for smoothing, suffix in ((0.0, ""), (0.4, "_smoothed")):
        natural, adversarial = leaf("natural"), leaf("adversarial")
        loss = methods.mart(natural, adversarial, labels, smoothing=smoothing)
        yield {"loss": f"mart{suffix}", **differentiated(loss, natural=natural, adversarial=adversarial)}
    adversarial = leaf("adversarial")
    loss = methods.sat(adversarial, labels, smoothing=0.4)
    yield {"loss": "sat_smoothed", **differentiated(loss, adversarial=adversarial)}
    natural, adversarial = leaf("natural"), leaf("adversarial")
    loss = methods.trades(natural, natural, adversarial, labels, smoothing=0.4)
    yield {"loss": "trades_smoothed", **differentiated(loss, natural=natural, adversarial=adversarial)}
    # Their published alpha is 1; at 1/4 both terms show.
    natural, adversarial = leaf("natural"), leaf("adversarial")
    loss = methods.ard(teacher, adversarial, natural, labels, alpha=0.25)
    yield {"loss": "ard", **differentiated(loss, natural=natural, adversarial=adversarial)}
    natural, adversarial = leaf("natural"), leaf("adversarial")
    about_adversarial = leaf("natural").detach()
    loss = methods.adaad(about_adversarial, adversarial, teacher, natural, alpha=0.25)
    yield {"loss": "adaad", **differentiated(loss, natural=natural, adversarial=adversarial)}
    natural = leaf("natural")
    yield {"loss": "kd", **differentiated(methods.kd(teacher, natural, labels), natural=natural)}
    weights = torch.linspace(0.75, 2.5, len(labels), dtype=torch.float64)
    natural, adversarial = leaf("natural"), leaf("adversarial")
    loss = methods.fair_ard(weights, teacher, adversarial, natural, labels, alpha=0.25)
    yield {"loss": "fair_ard", **differentiated(loss, natural=natural, adversarial=adversarial)}
    natural, adversarial = leaf("natural"), leaf("adversarial")
    loss = methods.fair_rslad(weights, teacher, adversarial, natural)
    yield {"loss": "fair_rslad", **differentiated(loss, natural=natural, adversarial=adversarial)}


def write():
    write_json("losses.json", {
        "tables": [{"table": name, **table} for name, table in TABLES.items()],
        "losses": [{"table": name, **loss} for name, table in TABLES.items() for loss in losses_of(table)],
    })
