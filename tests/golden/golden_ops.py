"""ops.safetensors and ops.json: single operations on odd shapes, with every input, output and gradient in full."""
import torch
from torch import nn
from torch.nn import functional as F

import initial
import philox
from networks import wide
from store import write_json, write_tensors

SEED = 5
SIDES = ("left", "right", "top", "bottom")
NONE = (0, 0, 0, 0)

# name: input (N, C, H, W), outputs, kernel (h, w), stride (h, w), padding (left, right, top, bottom), groups, bias
CONVOLUTIONS = {
    "one-pixel-kernel": ((2, 3, 5, 7), 4, (1, 1), (1, 1), NONE, 1, False),
    "projection-stride-two": ((2, 3, 7, 5), 4, (1, 1), (2, 2), NONE, 1, True),
    "same-3x3-wide": ((2, 2, 5, 7), 3, (3, 3), (1, 1), (1, 1, 1, 1), 1, False),
    "same-3x3-tall": ((1, 5, 7, 5), 2, (3, 3), (1, 1), (1, 1, 1, 1), 1, True),
    "stride-two-odd": ((2, 3, 7, 5), 4, (3, 3), (2, 2), (1, 1, 1, 1), 1, False),
    "stride-two-even": ((2, 3, 6, 8), 4, (3, 3), (2, 2), (1, 1, 1, 1), 1, True),
    "stride-three": ((1, 2, 8, 10), 3, (3, 3), (3, 3), (1, 1, 1, 1), 1, False),
    "rows-left-over": ((1, 2, 9, 8), 2, (2, 2), (3, 3), NONE, 1, False),
    "right-and-bottom": ((2, 3, 6, 8), 4, (3, 3), (2, 2), (0, 1, 0, 1), 1, False),
    "left-and-top": ((2, 3, 6, 5), 2, (3, 3), (2, 2), (1, 0, 1, 0), 1, True),
    "four-sides-differ": ((1, 2, 5, 6), 3, (3, 3), (1, 1), (0, 1, 2, 3), 1, False),
    "two-by-two": ((2, 1, 5, 7), 3, (2, 2), (1, 1), (0, 1, 0, 1), 1, False),
    "five-by-five": ((1, 3, 7, 5), 2, (5, 5), (1, 1), (2, 2, 2, 2), 1, True),
    "oblong-kernel": ((1, 3, 7, 5), 2, (3, 2), (2, 1), (1, 0, 1, 1), 1, False),
    "depthwise": ((2, 5, 7, 5), 5, (3, 3), (1, 1), (1, 1, 1, 1), 5, False),
    "depthwise-stride-two": ((2, 7, 7, 6), 7, (3, 3), (2, 2), (1, 1, 1, 1), 7, False),
    "depthwise-right-and-bottom": ((1, 4, 6, 7), 4, (3, 3), (2, 2), (0, 1, 0, 1), 4, True),
    "depthwise-doubling": ((1, 3, 5, 4), 6, (3, 3), (1, 1), (1, 1, 1, 1), 3, False),
    "two-groups": ((2, 6, 5, 7), 4, (3, 3), (1, 1), (1, 1, 1, 1), 2, True),
    "three-groups-stride-three": ((1, 6, 8, 7), 3, (2, 3), (3, 2), (1, 1, 0, 1), 3, False),
    "kernel-as-large-as-image": ((2, 3, 3, 2), 4, (3, 2), (1, 1), NONE, 1, True),
}
# name: operation, input shape, kernel, stride, padding on every side
POOLS = {
    "max-2": ("max_pool", (2, 3, 6, 4), 2, 2, 0), "max-2-rows-left-over": ("max_pool", (1, 2, 7, 5), 2, 2, 0),
    "max-3-overlapping": ("max_pool", (1, 2, 7, 5), 3, 2, 0), "max-3-padded": ("max_pool", (1, 2, 7, 6), 3, 2, 1),
    "max-ties": ("max_pool", (1, 2, 6, 4), 2, 2, 0),
    "avg-2": ("avg_pool", (2, 3, 6, 4), 2, 2, 0), "avg-2-rows-left-over": ("avg_pool", (1, 2, 7, 5), 2, 2, 0),
    "avg-3-overlapping": ("avg_pool", (1, 2, 7, 5), 3, 2, 0),
}
ELEMENTWISE = {"relu": F.relu, "relu6": F.relu6, "silu": F.silu, "sigmoid": torch.sigmoid}
# The kinks themselves, both zeros, and values where exp overflows or vanishes.
EDGES = [0.0, -0.0, 6.0, -6.0, 1e-30, -1e-30, 5.5, 6.5, 3.0, -3.0, 20.0, -20.0, 50.0, -50.0, 800.0, -800.0, 0.25, -0.25]
JOINS = {
    "add": (torch.add, ((2, 3, 4, 5), (2, 3, 4, 5))), "mul": (torch.mul, ((2, 3, 4, 5), (2, 3, 4, 5))),
    "mul-per-channel": (torch.mul, ((2, 3, 4, 5), (2, 3, 1, 1))),
    "concat": (lambda *parts: torch.cat(parts, 1), ((2, 3, 4, 5), (2, 1, 4, 5), (2, 2, 4, 5))),
}
NORMS = {"batch": (3, 4, 5, 3), "batch-of-one": (1, 2, 1, 2), "batch-wide": (2, 7, 1, 5)}


class Table:
    """Collects the cases; every drawn value is an f32 in f64, from a stream of its own."""

    def __init__(self):
        self.tensors, self.rows, self.streams = {}, [], 0

    def draw(self, shape):
        count = torch.Size(shape).numel()
        values = philox.normals(SEED, philox.EVAL, initial.OPS, self.streams, count)
        self.streams += 1
        return torch.from_numpy(initial.f32_exact(values)).view(shape)

    def add(self, name, op, run, inputs, **settings):
        """Runs and differentiates sum(output * upstream) with respect to every input."""
        leaves = {k: v.clone().requires_grad_(True) for k, v in inputs.items()}
        output = run(*leaves.values())
        upstream = self.draw(output.shape)
        (output * upstream).sum().backward()
        found = {"output": output.detach(), "upstream": upstream, **inputs}
        found.update({f"gradient_{k}": v.grad for k, v in leaves.items()})
        self.tensors.update({f"{op}/{name}/{k}": v.numpy() for k, v in found.items()})
        self.rows.append({"op": op, "name": name, "inputs": list(inputs), **settings})


def convolutions(table):
    for name, (shape, outputs, kernel, stride, padding, groups, bias) in CONVOLUTIONS.items():
        inputs = {"input": table.draw(shape), "weight": table.draw((outputs, shape[1] // groups, *kernel))}
        if bias:
            inputs["bias"] = table.draw((outputs,))

        def run(x, weight, bias=None, stride=stride, padding=padding, groups=groups):
            return F.conv2d(F.pad(x, padding), weight, bias, stride, groups=groups)

        table.add(name, "conv2d", run, inputs, kernel=list(kernel), stride=list(stride),
                  padding=dict(zip(SIDES, padding)), groups=groups)


def pools(table):
    for name, (op, shape, kernel, stride, padding) in POOLS.items():
        x = table.draw(shape)
        if name == "max-ties":
            x = x.round().clamp(0, 1)
        function = F.max_pool2d if op == "max_pool" else F.avg_pool2d

        def run(x, function=function, kernel=kernel, stride=stride, padding=padding):
            return function(x, kernel, stride, padding)

        table.add(name, op, run, {"input": x}, kernel=[kernel] * 2, stride=[stride] * 2,
                  padding=dict.fromkeys(SIDES, padding))
    table.add("all-positions", "global_mean", lambda x: x.mean((2, 3)), {"input": table.draw((2, 3, 5, 7))})


def norms(table):
    for name, shape in NORMS.items():
        for mode in ("train", "eval"):
            norm = nn.BatchNorm2d(shape[1]).double().train(mode == "train")
            before = {"running_mean": table.draw((shape[1],)), "running_var": table.draw((shape[1],)).square() + 0.5}
            before["running_var"] = before["running_var"].float().double()
            norm.load_state_dict(before | {"num_batches_tracked": torch.tensor(0)}, strict=False)

            def run(x, weight, bias, norm=norm):
                return torch.func.functional_call(norm, {"weight": weight, "bias": bias}, (x,))

            inputs = {"input": table.draw(shape), "weight": table.draw((shape[1],)), "bias": table.draw((shape[1],))}
            table.add(f"{name}-{mode}", "batch_norm", run, inputs, mode=mode, eps=norm.eps, momentum=norm.momentum)
            for key, value in before.items():
                table.tensors[f"batch_norm/{name}-{mode}/{key}"] = value.numpy()
                table.tensors[f"batch_norm/{name}-{mode}/{key}_after"] = norm.state_dict()[key].numpy().copy()


def standardize(x):
    """Each image less its mean, over its deviation (n - 1), at least 1 / sqrt(n): MMA training's."""
    floor = torch.tensor(x[0].numel()).double().rsqrt()
    return (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True).maximum(floor)


def sparse(table):
    """Values within a threshold of deviations of their channel's mean become it; one lies exactly on the edge, outside."""
    layer = wide.MeanSparse(3).double()
    with torch.no_grad():
        layer.running_mean.copy_(torch.tensor([0.0, 0.5, -1.0]))
        layer.running_var.copy_(torch.tensor([1.0, 4.0, 0.25]))
        layer.threshold.fill_(0.5)
        layer.flag_update_statistics.fill_(3.0)
        layer.batch_num.fill_(2.0)
    x = table.draw((2, 3, 4, 5))
    x[0, 0, 0, 0], x[0, 1, 0, 0], x[0, 2, 0, 0] = 0.5, 1.4, -1.0
    table.add("drawn", "mean_sparse", layer, {"input": x})
    for key, value in layer.state_dict().items():
        for suffix in ("", "_after"):
            table.tensors[f"mean_sparse/drawn/{key}{suffix}"] = value.numpy().reshape(-1).copy()


def write():
    table = Table()
    convolutions(table)
    pools(table)
    for name, function in ELEMENTWISE.items():
        table.add("edges", name, function, {"input": torch.tensor(EDGES).double().view(1, 2, 3, 3)})
        table.add("drawn", name, function, {"input": (3 * table.draw((2, 3, 4, 5))).float().double()})
    for name, (function, shapes) in JOINS.items():
        inputs = {f"input{n}": table.draw(shape) for n, shape in enumerate(shapes)}
        table.add(name, name.split("-")[0], function, inputs)
    norms(table)
    inputs = {"input": table.draw((3, 7)), "weight": table.draw((5, 7)), "bias": table.draw((5,))}
    table.add("with-bias", "linear", F.linear, inputs)
    table.add("both-sides", "pad_channels", lambda x: F.pad(x, (0, 0, 0, 0, 2, 3)), {"input": table.draw((2, 3, 4, 5))},
              before=2, after=3)
    # The second image of "flat" varies by less than its floor, 1 / sqrt(n).
    flat = table.draw((2, 3, 4, 5)) * torch.tensor([1.0, 0.0625]).double().view(2, 1, 1, 1)
    for name, x in (("drawn", table.draw((3, 2, 5, 3))), ("flat", flat)):
        table.add(name, "standardize", standardize, {"input": x})
    sparse(table)
    write_tensors("ops.safetensors", table.tensors)
    write_json("ops.json", {"cases": table.rows})
