"""dpk.safetensors and dpk.json: twenty steps, in f64, of objectives with DPK's feature loss beside a live teacher.

Images, order, views, student and optimiser are those of golden_trajectories.py; its heads are trained by the same optimiser.
"""
import numpy as np
import torch
from torch.nn.functional import cross_entropy

import dpk
import golden_live as around
import golden_trajectories as plain
import methods
from golden_networks import statistics
from golden_rng import cut
from methods import attack, kl
from store import summaries, write_json, write_tensors

ARCHITECTURE = "resnet8"
CHANNELS = {"layer1": 16, "layer2": 32, "layer3": 64}
SIZES = {"dpk-heads": 2, "dpk-width": 4, "dpk-depth": 1, "dpk-decoder": 1}


def kd(net, x, labels, soft, start, seen, options):
    easy = net(x)
    alpha, t = options["alpha"], options["temperature"]
    right = cross_entropy(easy, labels, label_smoothing=options["smoothing"])
    return alpha * t * t * kl(soft / t, easy / t).mean() + (1 - alpha) * right, None


def rslad(net, x, labels, soft, start, seen, options):
    adversarial = attack(net, x, lambda z: kl(soft, z), start, seen)
    hard = net(adversarial)
    easy = net(x)
    return 0.1 * (5 / 6 * kl(soft, hard).mean() + 1 / 6 * kl(soft, easy).mean()), adversarial


def sat(net, x, labels, soft, start, seen, options):
    adversarial = attack(net, x, lambda z: cross_entropy(z, labels, reduction="none"), start, seen)
    hard = net(adversarial)
    net(x)
    return cross_entropy(hard, labels), adversarial


# name: (step, objective, start, learning rate, options, the student's taps, the teacher's)
METHODS = {
    "kd+dpk": (kd, "kd", None, 0.05, {"alpha": 0.5, "temperature": 1, "smoothing": 0.1, "dpk": 0.5} | SIZES | {"dpk-depth": 2},
               ["layer3", "layer2"], ["layer3", "layer3"]),
    "rslad+dpk": (rslad, "rslad", "gaussian", 0.1, {"dpk": 0.2} | SIZES, ["layer3", "layer2"], ["layer3", "layer2"]),
    "sat+dpk": (sat, "sat", "uniform", 0.1, {"dpk": 2} | SIZES | {"dpk-decoder": 2}, ["layer2"], ["layer3"]),
}


def run(name, nudged=False):
    """(arrays by name, table row, signs) of one trajectory."""
    step, objective, start, rate, options, taps, teacher_taps = METHODS[name]
    net, batch = plain.beginning(ARCHITECTURE), plain.BATCHES[ARCHITECTURE]
    teacher = around.teacher(around.ROBUST_SEED)
    ours, theirs = dpk.watch(net, taps), dpk.watch(teacher, teacher_taps)
    sizes = [options[key] for key in SIZES]
    pairs = zip(taps, teacher_taps)
    heads = dpk.fill([dpk.Head(CHANNELS[a], CHANNELS[b], *sizes) for a, b in pairs], plain.SEED)
    extra = dpk.parameters(heads)
    optimiser = torch.optim.SGD(list(net.parameters()) + extra, lr=rate, **plain.SGD)
    generator = torch.Generator().manual_seed(0)
    signs, losses, adversarials, visited, ratios = plain.Signs(), [], [], [], []
    tensors = {"step0/parameters": summaries(net.parameters(), 3),
               "step0/statistics": summaries(statistics(net).values(), 3), "step0/heads": summaries(extra, 3)}
    for number, (epoch, ids, views) in zip(range(1, plain.STEPS + 1), plain.visits(batch)):
        if nudged:
            plain.nudge(net, generator)
            for head in heads:
                plain.nudge(head, generator)
        x = torch.stack([cut(plain.pixels(i), 4, True, v) for i, v in zip(ids, views)]).double()
        labels = torch.tensor([plain.label(i) for i in ids])
        soft = torch.from_numpy(np.stack([plain.teacher(i, v) for i, v in zip(ids, views)]))
        began = methods.starts(start, plain.SEED, epoch, ids, plain.SHAPE) if start else None
        optimiser.zero_grad()
        with torch.no_grad():
            teacher(x)
        loss, adversarial = step(net, x, labels, soft, began, signs, options)
        loss = loss + options["dpk"] * dpk.loss(heads, ours, theirs, plain.SEED, epoch, ids, ratios)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if adversarial is not None:
            adversarials.append(adversarial)
        visited.append({"epoch": epoch, "images": ids, "views": views})
        if number in plain.SNAPSHOTS:
            motion = lambda values: [optimiser.state[p]["momentum_buffer"] for p in values]
            tensors[f"step{number}/parameters"] = summaries(net.parameters(), 3)
            tensors[f"step{number}/momentum"] = summaries(motion(net.parameters()), 3)
            tensors[f"step{number}/statistics"] = summaries(statistics(net).values(), 3)
            tensors[f"step{number}/heads"] = summaries(extra, 3)
            tensors[f"step{number}/heads-momentum"] = summaries(motion(extra), 3)
    tensors["losses"] = np.array(losses)
    if adversarials:
        tensors["adversarial"] = summaries(adversarials, 5)
    row = {"method": name, "objective": objective, "architecture": ARCHITECTURE, "batch": batch, "lr": rate,
           "start": start, "options": options, "taps": taps, "teacher_taps": teacher_taps,
           "parameters": [k for k, _ in net.named_parameters()], "statistics": list(statistics(net)),
           "masked": ratios, "visits": visited}
    return {f"{name}/{ARCHITECTURE}/{k}": v for k, v in tensors.items()}, row, signs


def write():
    tensors, rows = {}, []
    for name in METHODS:
        found, row, _ = run(name)
        tensors.update(found)
        rows.append(row)
        print(f"  {name}: loss {found[f'{name}/{ARCHITECTURE}/losses'][[0, 4, 19]]}, masked {np.round(row['masked'], 3)}")
    numbers = {"seed": plain.SEED, "images": plain.IMAGES, "input": list(plain.SHAPE), "classes": plain.CLASSES,
               "views": plain.VIEWS, "steps": plain.STEPS, "eps": methods.EPS, "step_size": methods.STEP_SIZE,
               "attack_steps": methods.STEPS, **plain.SGD, "live_teacher": ARCHITECTURE,
               "live_seed": around.ROBUST_SEED}
    write_tensors("dpk.safetensors", tensors)
    write_json("dpk.json", {"settings": numbers, "trajectories": rows})


def check():
    """As golden_trajectories.check."""
    for name in METHODS:
        wanted, _, signs = run(name)
        found, _, nudged = run(name, nudged=True)
        flips = sum(int((a != b).sum()) for a, b in zip(signs.seen, nudged.seen))
        worst = max((plain.apart(found[key], value), key) for key, value in wanted.items())
        print(f"  {name}: {flips} signs flipped, largest difference {worst[0]:.1e} in {worst[1]}")
        if flips or worst[0] > 1e-10:
            raise SystemExit("dpk: rounding decides this trajectory\nhint: choose another seed or rate")
