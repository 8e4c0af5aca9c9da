"""trajectories.safetensors and trajectories.json: twenty training steps per method and network, in f64.

24 drawn images, `crop4+flip`, PGD-10 of 2/255 in 8/255, SGD with momentum 0.9 and weight decay 2e-4 on all parameters,
constant learning rate. MobileNetV2 starts from settled running statistics and learns slower, see RATES.
"""
import numpy as np
import torch

import initial
import methods
import networks
import philox
from golden_networks import statistics
from golden_rng import cut
from store import beside, summaries, summary, write_json, write_tensors

SEED, IMAGES, SHAPE, CLASSES, VIEWS, STEPS = 3, 24, (3, 32, 32), 10, 162, 20
SNAPSHOTS = (1, 5, 20)
BATCHES = {"resnet8": 8, "mobilenet-v2-x0.25": 4}
STARTS = {"rslad": "gaussian", "trades": "gaussian", "sat": "uniform", "adaad": "gaussian", "absld": "gaussian",
          "absld+as-published": "gaussian",
          "ard": "uniform", "fair-ard": "uniform", "fair-rslad": "gaussian",
          "mart": "gaussian", "sat+awp": "uniform", "trades+awp": "gaussian"}
SGD = {"momentum": 0.9, "weight_decay": 2e-4}
# At 0.1 (and fresh statistics) four images send the narrow MobileNetV2 into chaos: a nudge of 1e-15 grows fourfold a step
# and flips signs from step 15. There is nothing to agree on then. RSLAD's loss is ten times smaller, so its rate is higher.
RATES = {("rslad", "resnet8"): 0.1, ("trades", "resnet8"): 0.1, ("sat", "resnet8"): 0.1,
         ("rslad", "mobilenet-v2-x0.25"): 0.005, ("trades", "mobilenet-v2-x0.25"): 0.0005,
         ("sat", "mobilenet-v2-x0.25"): 0.0005,
         ("adaad", "resnet8"): 0.1, ("absld", "resnet8"): 0.1, ("absld+as-published", "resnet8"): 0.1,
         ("ard", "resnet8"): 0.1,
         ("fair-ard", "resnet8"): 0.1, ("fair-rslad", "resnet8"): 0.5,
         ("mart", "resnet8"): 0.1, ("sat+awp", "resnet8"): 0.1, ("trades+awp", "resnet8"): 0.1}
# Noise is not learned in twenty steps, no class would withstand any of the attack's, and the fair methods' weights would
# hardly move. Their images show what they are: of so many classes, class c has the top bit set in all of channel c, and
# the teacher's logit of the label is so much higher.
KINDS, RIGHT = 3, 6.0
ADDED = {"fair-ard": 1e-5, "fair-rslad": 0.0}
# AdaAD asks a network: this one with initial values of another seed, in eval mode.
LIVE_TEACHER, LIVE_SEED = "resnet8", 4
SETTLED, SETTLING_FORWARDS, CENTRE = "mobilenet-v2-x0.25", 50, 80


def pixels(image):
    """(H, W, C) u8: HWC element i is the top byte of word i % 4 of block i / 4 of (EVAL, PIXELS, image)."""
    high, across, channels = SHAPE[1], SHAPE[2], SHAPE[0]
    drawn = philox.top_bytes(SEED, philox.EVAL, initial.PIXELS, image, high * across * channels)
    return drawn.reshape(high, across, channels)


def label(image):
    return philox.scaled(philox.first_draws(SEED, philox.EVAL, initial.LABELS, image), CLASSES)


def kinds_pixels(image):
    """The same with the top bit set in the channel of the label modulo KINDS."""
    drawn = pixels(image).copy()
    drawn[..., label(image) % KINDS] |= 128
    return drawn


def teacher(image, view):
    return 3.0 * philox.normals(SEED, philox.EVAL, initial.TEACHER, image * 200 + view, CLASSES)


def visits(batch):
    """(epoch, images, views) of every step; an epoch's last batch may be short."""
    epoch = 0
    while True:
        order = philox.order(SEED, epoch, IMAGES)
        for first in range(0, IMAGES, batch):
            ids = [int(i) for i in order[first : first + batch]]
            yield epoch, ids, [philox.view(SEED, epoch, i, VIEWS) for i in ids]
        epoch += 1


class Signs:
    """Watches the attack's gradients: how near to zero they come, and their signs for `check`."""

    def __init__(self):
        self.smallest, self.smallest_relative, self.total, self.seen = np.inf, np.inf, 0, []

    def __call__(self, gradient):
        size = gradient.abs()
        smallest = float(size.min())
        if smallest == 0:
            raise SystemExit("trajectories: an attack's gradient is exactly zero\nhint: choose another seed or rate")
        self.total += size.numel()
        self.smallest = min(self.smallest, smallest)
        # Rounding disturbs a gradient in proportion to its own scale.
        self.smallest_relative = min(self.smallest_relative, smallest / float(size.square().mean().sqrt()))
        self.seen.append(gradient.sign().to(torch.int8))


@torch.no_grad()
def beginning(name):
    """The network before step 1. Where it is settled, BatchNorm has seen all images in their centre view many times."""
    net = initial.fill(networks.build(name, SHAPE[0], SHAPE[1], CLASSES), name, SEED)
    if name == SETTLED:
        net.train()
        x = torch.stack([cut(pixels(i), 4, True, CENTRE) for i in range(IMAGES)]).double()
        for _ in range(SETTLING_FORWARDS):
            net(x)
    return net


def live_teacher():
    """What AdaAD asks: its weights are constants, and gradients flow through it to the images."""
    net = initial.fill(networks.build(LIVE_TEACHER, SHAPE[0], SHAPE[1], CLASSES), LIVE_TEACHER, LIVE_SEED)
    return net.eval().requires_grad_(False)


@torch.no_grad()
def nudge(net, generator):
    for value in net.parameters():
        value.mul_(1 + 1e-15 * torch.randn(value.shape, generator=generator, dtype=torch.float64))


def run(method, name, nudged=False):
    """(arrays by name, table row, signs) of one trajectory."""
    net = beginning(name)
    optimiser = torch.optim.SGD(net.parameters(), lr=RATES[method, name], **SGD)
    generator = torch.Generator().manual_seed(0)
    signs, losses, adversarials, visited = Signs(), [], [], []
    live = live_teacher() if method == "adaad" else None
    base, _, beside = method.partition("+")
    temperatures = methods.Temperatures(CLASSES, as_published=bool(beside)) if base == "absld" else None
    perturbation = methods.Perturbation(net) if beside == "awp" else None
    weights = methods.Weights(CLASSES, ADDED[method]) if method in ADDED else None
    warmth, weighed, last = [], [], 0
    tensors = {"step0/parameters": summaries(net.parameters(), 3),
               "step0/statistics": summaries(statistics(net).values(), 3)}
    for number, (epoch, ids, views) in zip(range(1, STEPS + 1), visits(BATCHES[name])):
        if nudged:
            nudge(net, generator)
        if temperatures and epoch != last:
            temperatures.close_epoch()
            warmth.append(np.stack([values.numpy() for values in temperatures.values.values()]))
            last = epoch
        if weights and epoch != last:
            weights.close_epoch()
            weighed.append(weights.values.numpy().copy())
            last = epoch
        shown = kinds_pixels if weights else pixels
        x = torch.stack([cut(shown(i), 4, True, v) for i, v in zip(ids, views)]).double()
        labels = torch.tensor([label(i) for i in ids])
        soft = torch.from_numpy(np.stack([teacher(i, v) for i, v in zip(ids, views)]))
        if weights:
            labels = labels % KINDS
            soft[torch.arange(len(ids)), labels] += RIGHT
        start = methods.starts(STARTS[method], SEED, epoch, ids, SHAPE)
        optimiser.zero_grad()
        loss, adversarial = methods.step(base, net, x, labels, soft, start, signs, live, temperatures, weights,
                                         perturbation)
        loss.backward()
        optimiser.step()
        if perturbation:
            perturbation.restore()
        losses.append(loss.item())
        adversarials.append(adversarial)
        visited.append({"epoch": epoch, "images": ids, "views": views})
        if number in SNAPSHOTS:
            momentum = [optimiser.state[p]["momentum_buffer"] for p in net.parameters()]
            tensors[f"step{number}/parameters"] = summaries(net.parameters(), 3)
            tensors[f"step{number}/momentum"] = summaries(momentum, 3)
            tensors[f"step{number}/statistics"] = summaries(statistics(net).values(), 3)
    tensors["losses"], tensors["adversarial"] = np.array(losses), summaries(adversarials, 5)
    if warmth:
        tensors["temperatures"] = np.concatenate(warmth)
    if weighed:
        tensors["weights"] = np.stack(weighed)
    row = {"method": method, "architecture": name, "batch": BATCHES[name], "lr": RATES[method, name],
           "start": STARTS[method], "parameters": [k for k, _ in net.named_parameters()],
           "statistics": list(statistics(net)), "gradients": signs.total, "smallest_gradient": signs.smallest,
           "smallest_relative_gradient": signs.smallest_relative, "visits": visited}
    if weights:
        row |= {"kinds": KINDS, "right": RIGHT}
    return {f"{method}/{name}/{k}": v for k, v in tensors.items()}, row, signs


def pairs(only):
    return [pair for pair in RATES if only in (None, pair[0])]


def write(only=None):
    settled = statistics(beginning(SETTLED))
    tensors, rows = {f"settled/{SETTLED}/{k}": v.numpy() for k, v in settled.items()}, []
    for method, name in pairs(only):
        found, row, _ = run(method, name)
        tensors.update(found)
        rows.append(row)
        print(f"  {method} {name}: loss {found[f'{method}/{name}/losses'][[0, 4, 19]]}, smallest of {row['gradients']} "
              f"gradients {row['smallest_gradient']:.1e}, {row['smallest_relative_gradient']:.1e} of its scale")
    numbers = {"seed": SEED, "images": IMAGES, "input": list(SHAPE), "classes": CLASSES, "views": VIEWS, "steps": STEPS,
               "eps": methods.EPS, "step_size": methods.STEP_SIZE, "attack_steps": methods.STEPS, **SGD,
               "live_teacher": LIVE_TEACHER, "live_seed": LIVE_SEED}
    if only:
        tensors, rows = beside("trajectories", only, tensors, rows)
    write_tensors("trajectories.safetensors", tensors)
    write_json("trajectories.json", {
        "settings": numbers,
        "labels": [label(i) for i in range(IMAGES)],
        "pixels0": summary(pixels(0), 8).tolist(),
        "teacher0": teacher(0, 0).tolist(),
        "trajectories": rows,
    })


def apart(found, wanted):
    """Largest difference of two summaries (sums left out: they cancel), relative to each tensor's norm.

    A norm counts as at least 1e-5 of the largest beside it: some gradients are zero but for rounding, such as that of
    a BatchNorm bias whose next layer is a convolution followed by another BatchNorm.
    """
    if wanted.ndim == 1:
        return float((np.abs(found - wanted) / np.abs(wanted)).max())
    scale = np.maximum(wanted[:, :1], 1e-5 * wanted[:, 0].max())
    return float(np.delete(np.abs(found - wanted) / scale, 1, 1).max())


def check(only=None):
    """Stops if a disturbance of 1e-15 of the weights flips a sign, or grows beyond 1e-10."""
    for method, name in pairs(only):
        wanted, _, signs = run(method, name)
        found, _, nudged = run(method, name, nudged=True)
        flips = sum(int((a != b).sum()) for a, b in zip(signs.seen, nudged.seen))
        worst = max((apart(found[key], value), key) for key, value in wanted.items())
        print(f"  {method} {name}: {flips} signs flipped, largest difference {worst[0]:.1e} in {worst[1]}")
        if flips or worst[0] > 1e-10:
            raise SystemExit("trajectories: rounding decides this trajectory\nhint: choose another seed or rate")
