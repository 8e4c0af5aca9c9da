"""live.safetensors and live.json: twenty steps, in f64, of each method that asks networks as it goes.

Images, order, views, student and optimiser are those of golden_trajectories.py; the run has EPOCHS epochs, and its rate falls
after FALLS. The options are such that what changes over a run does so within these twenty steps of seven epochs.
"""
import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import golden_trajectories as plain
import initial
import live
import methods
import networks
from golden_networks import statistics
from golden_rng import cut
from store import beside, summaries, write_json, write_tensors

ARCHITECTURE, EPOCHS, FALLS = "resnet8", 8, 5
ROBUST_SEED, NATURAL_SEED = 4, 5
# name: (step, objective, start, learning rate, options)
METHODS = {
    "iad": (live.iad, "iad", "uniform", 0.05, {"alpha": 0.9, "temperature": 2, "trust": 0.1, "begin": 3}),
    "iad-ii": (live.iad_ii, "iad-ii", "uniform", 0.05,
               {"alpha": 0.5, "second": 0.25, "temperature": 2, "trust": 0.1, "begin": 3}),
    "adaiad": (live.adaiad, "adaiad", "gaussian", 0.05, {"alpha": 0.9, "temperature": 3, "trust": 0.1, "begin": 3}),
    "mtard": (live.mtard, "mtard", "gaussian", 0.1, {"weight-rate": 0.2, "kl-scale": 0.1}),
    "saad": (live.saad, "saad", "gaussian", 0.1, {"entropy-scale": 5, "alpha": 3, "clean": 0.3}),
    "rslad+igdm": (live.rslad_igdm, "rslad", "gaussian", 0.1, {"igdm": 3}),
    "adaad+igdm": (live.adaad_igdm, "adaad", "gaussian", 0.1, {"igdm": 3}),
    "adr": (live.adr, "adr", "uniform", 0.05,
            {"temperature-first": 2, "temperature-last": 0.5, "lambda-first": 0.6, "lambda-last": 0.95}),
}
# Those that ask the student's moving average: the share of it that a step keeps.
AVERAGED = {"adr": 0.75}


def rate_factor(epoch):
    return 0.1 if epoch >= FALLS else 1.0


def teacher(seed):
    net = networks.build(ARCHITECTURE, plain.SHAPE[0], plain.SHAPE[1], plain.CLASSES)
    return initial.fill(net, ARCHITECTURE, seed).eval().requires_grad_(False)


def run(name, nudged=False):
    """(arrays by name, table row, signs) of one trajectory."""
    step, objective, start, rate, options = METHODS[name]
    net, batch = plain.beginning(ARCHITECTURE), plain.BATCHES[ARCHITECTURE]
    optimiser = torch.optim.SGD(net.parameters(), lr=rate, **plain.SGD)
    generator = torch.Generator().manual_seed(0)
    average = None
    if name in AVERAGED:
        average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED[name]), use_buffers=True)
    scene = live.Scene(options, EPOCHS, rate_factor, average)
    robust, natural = teacher(ROBUST_SEED), teacher(NATURAL_SEED)
    signs, losses, adversarials, visited, weights = plain.Signs(), [], [], [], []
    tensors = {"step0/parameters": summaries(net.parameters(), 3),
               "step0/statistics": summaries(statistics(net).values(), 3)}
    for number, (epoch, ids, views) in zip(range(1, plain.STEPS + 1), plain.visits(batch)):
        if nudged:
            plain.nudge(net, generator)
        x = torch.stack([cut(plain.pixels(i), 4, True, v) for i, v in zip(ids, views)]).double()
        labels = torch.tensor([plain.label(i) for i in ids])
        soft = torch.from_numpy(np.stack([plain.teacher(i, v) for i, v in zip(ids, views)]))
        began = methods.starts(start, plain.SEED, epoch, ids, plain.SHAPE)
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_factor(epoch)
        optimiser.zero_grad()
        loss, adversarial = step(scene, net, x, labels, soft, robust, natural, began, epoch, signs)
        loss.backward()
        optimiser.step()
        if average:
            average.update_parameters(net)
        losses.append(loss.item())
        adversarials.append(adversarial)
        weights.append(scene.weight)
        visited.append({"epoch": epoch, "images": ids, "views": views})
        if number in plain.SNAPSHOTS:
            momentum = [optimiser.state[p]["momentum_buffer"] for p in net.parameters()]
            tensors[f"step{number}/parameters"] = summaries(net.parameters(), 3)
            tensors[f"step{number}/momentum"] = summaries(momentum, 3)
            tensors[f"step{number}/statistics"] = summaries(statistics(net).values(), 3)
            if average:
                tensors[f"step{number}/average"] = summaries(average.module.parameters(), 3)
    tensors["losses"], tensors["adversarial"] = np.array(losses), summaries(adversarials, 5)
    if step is live.mtard:
        tensors["natural-weight"] = np.array(weights)
    row = {"method": name, "objective": objective, "architecture": ARCHITECTURE, "batch": batch, "lr": rate,
           "start": start, "options": options, "parameters": [k for k, _ in net.named_parameters()],
           "statistics": list(statistics(net)), "gradients": signs.total, "smallest_gradient": signs.smallest,
           "smallest_relative_gradient": signs.smallest_relative, "visits": visited}
    if average:
        row["average"] = AVERAGED[name]
    return {f"{name}/{ARCHITECTURE}/{k}": v for k, v in tensors.items()}, row, signs


def write(only=None):
    tensors, rows = {}, []
    for name in [only] if only else METHODS:
        found, row, _ = run(name)
        tensors.update(found)
        rows.append(row)
        print(f"  {name}: loss {found[f'{name}/{ARCHITECTURE}/losses'][[0, 4, 19]]}, smallest of {row['gradients']} "
              f"gradients {row['smallest_gradient']:.1e}, {row['smallest_relative_gradient']:.1e} of its scale")
    numbers = {"seed": plain.SEED, "images": plain.IMAGES, "input": list(plain.SHAPE), "classes": plain.CLASSES,
               "views": plain.VIEWS, "steps": plain.STEPS, "eps": methods.EPS, "step_size": methods.STEP_SIZE,
               "attack_steps": methods.STEPS, **plain.SGD, "live_teacher": ARCHITECTURE, "live_seed": ROBUST_SEED,
               "second_seed": NATURAL_SEED, "epochs": EPOCHS, "falls": FALLS}
    if only:
        tensors, rows = beside("live", only, tensors, rows)
    write_tensors("live.safetensors", tensors)
    write_json("live.json", {"settings": numbers, "trajectories": rows})


def check(only=None):
    """As golden_trajectories.check."""
    for name in [only] if only else METHODS:
        wanted, _, signs = run(name)
        found, _, nudged = run(name, nudged=True)
        flips = sum(int((a != b).sum()) for a, b in zip(signs.seen, nudged.seen))
        worst = max((plain.apart(found[key], value), key) for key, value in wanted.items())
        print(f"  {name}: {flips} signs flipped, largest difference {worst[0]:.1e} in {worst[1]}")
        if flips or worst[0] > 1e-10:
            raise SystemExit("live: rounding decides this trajectory\nhint: choose another seed or rate")
