"""networks.safetensors and networks.json: logits, gradients and statistics of every architecture, and their costs."""
import copy
import math

import torch

import initial
import networks
from store import flat, summaries, summary, write_json, write_tensors

SEED, CLASSES, BATCH, ERROR_BATCHES = 1, 10, 3, 9
INPUTS = {
    "resnet18": (3, 32, 32), "preact-resnet18": (3, 32, 32), "mobilenet-v2": (3, 32, 32), "wrn-16-2": (3, 32, 32),
    "resnet8": (3, 32, 32), "resnet20": (3, 32, 32), "tiny-cnn": (1, 28, 28), "small-cnn": (1, 28, 28),
    "resnet4b": (3, 32, 32), "lenet5-madry": (1, 28, 28), "sequential-8k4s2p1-12k4s2p1-20": (3, 32, 32),
    "resnet20-a": (3, 32, 32), "resnet34-x0.125": (3, 32, 32), "resnet50-x0.125": (3, 32, 32),
    "preact-resnet18-raw-x0.25": (3, 32, 32), "preact-resnet18-bn-x0.25": (3, 32, 32),
    "preact-resnet18-raw-bn-x0.25": (3, 32, 32), "mma-wrn-10-1": (3, 32, 32), "wrn-r-1x20-1x24-1x16": (3, 32, 32),
    "wrn-a-1x20-2x24-1x16": (3, 32, 32), "dm-wrn-10-1": (3, 32, 32), "dm-preact-resnet18-x0.25": (3, 32, 32),
    "ra-wrn-8-1x16-2x20-1x24": (3, 32, 32), "ms-dm-wrn-10-1": (3, 32, 32), "ms-ra-wrn-8-1x16-1x20-1x24": (3, 32, 32),
}
COSTS = [(name, shape, 10) for name, shape in INPUTS.items()] + [
    ("wrn-34-10", (3, 32, 32), 10), ("mobilenet-v2-x0.25", (3, 32, 32), 10),
    ("resnet18", (3, 32, 32), 100), ("mobilenet-v2", (3, 32, 32), 100), ("resnet8", (1, 28, 28), 10),
    ("resnet34", (3, 32, 32), 10), ("resnet50", (3, 32, 32), 10), ("preact-resnet18-bn", (3, 32, 32), 10),
    ("dm-wrn-28-10", (3, 32, 32), 10), ("dm-preact-resnet18", (3, 32, 32), 10), ("ra-wrn-70-16", (3, 32, 32), 10),
    ("wrn-a4", (3, 32, 32), 10), ("wrn-34-r", (3, 32, 32), 10),
]
# Millions of MACs and parameters that others count for these networks.
KNOWN = {("resnet18", 10): (555.42, 11.174), ("mobilenet-v2", 10): (91.15, 2.297), ("wrn-34-10", 10): (6659.0, 46.16),
         ("resnet18", 100): (555.47, 11.220), ("mobilenet-v2", 100): (91.27, 2.412)}

STATISTICS = ("running_mean", "running_var", "threshold", "flag_update_statistics", "batch_num")


def batch(number):
    return range(number * BATCH, (number + 1) * BATCH)


def statistics(net):
    return {k: v for k, v in net.state_dict().items() if k.endswith(STATISTICS)}


def of_channels(net):
    """The statistics that have a value per channel: a single number has no summary."""
    return [value for value in statistics(net).values() if value.dim()]


def gradients(net, mode, ids, shape, dtype):
    """(logits, image gradient, parameter gradients) of sum(logits * R), on a copy of the network."""
    net = copy.deepcopy(net).to(dtype).train(mode == "train")
    x = initial.images(SEED, ids, shape).to(dtype).requires_grad_(True)
    logits = net(x)
    (logits * initial.upstream(SEED, ids, CLASSES).to(dtype)).sum().backward()
    return logits.detach(), x.grad, [p.grad for p in net.parameters()]


def distance(found, wanted):
    """Norm of the difference over the norm of what is wanted, over all given tensors together."""
    apart = math.fsum(((flat(f) - flat(w)) ** 2).sum() for f, w in zip(found, wanted))
    return math.sqrt(apart / math.fsum((flat(w) ** 2).sum() for w in wanted))


def prepared(name, shape):
    net = initial.fill(networks.build(name, shape[0], shape[1], CLASSES), name, SEED)
    return initial.round_to_f32(initial.perturb(net, SEED))


def values_of(name, shape):
    """(tensors by name, table row) of one architecture."""
    net, tensors, errors = prepared(name, shape), {}, {}
    tensors[f"{name}/parameters"] = summaries(net.parameters(), 3)
    for mode in ("eval", "train"):
        errors[mode] = {"image": [], "parameters": []}
        for number in range(ERROR_BATCHES):
            logits, image, parameters = gradients(net, mode, batch(number), shape, torch.float64)
            _, rough_image, rough = gradients(net, mode, batch(number), shape, torch.float32)
            errors[mode]["image"].append(distance([rough_image], [image]))
            errors[mode]["parameters"].append(distance(rough, parameters))
            if number == 0:
                tensors[f"{name}/{mode}/logits"] = logits.numpy()
                tensors[f"{name}/{mode}/image_gradient"] = summary(image, 16)
                tensors[f"{name}/{mode}/parameter_gradients"] = summaries(parameters, 4)
    if statistics(net):
        tensors[f"{name}/statistics_before"] = summaries(of_channels(net), 3)
        net.train()
        for number in range(2):
            net(initial.images(SEED, batch(number), shape))
        tensors[f"{name}/statistics_after"] = summaries(of_channels(net), 3)
    row = {"architecture": name, "input": list(shape), "classes": CLASSES, "seed": SEED,
           "parameters": [k for k, _ in net.named_parameters()], "statistics": list(statistics(net)),
           "state": list(net.state_dict()), "f32_error": errors}
    return tensors, row


def cost(name, shape, classes):
    """Multiply-adds of convolutions and linear layers for one image, and trainable parameters."""
    net, counts = networks.build(name, shape[0], shape[1], classes).to("meta").double().eval(), []

    def count(module, _inputs, output):
        counts.append(output[0].numel() * math.prod(module.weight.shape[1:]))

    for module in net.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            module.register_forward_hook(count)
    net(torch.empty(1, *shape, device="meta", dtype=torch.float64))
    found = {"macs": sum(counts), "parameters": sum(p.numel() for p in net.parameters())}
    for (unit, value), known in zip(found.items(), KNOWN.get((name, classes), ())):
        digits = 0 if known > 1000 else 2 if unit == "macs" or known > 20 else 3
        if round(value / 1e6, digits) != known:
            raise SystemExit(f"costs: {name} has {value} {unit}, known are {known} million")
    return {"architecture": name, "input": list(shape), "classes": classes, **found}


def write():
    tensors, rows = {}, []
    for name, shape in INPUTS.items():
        found, row = values_of(name, shape)
        tensors.update(found)
        rows.append(row)
    costs = [cost(*case) for case in COSTS]
    for row in costs:
        print("  {architecture} {input} {classes}: {macs} MACs, {parameters} parameters".format(**row))
    write_tensors("networks.safetensors", tensors)
    write_json("networks.json", {"networks": rows, "costs": costs})
