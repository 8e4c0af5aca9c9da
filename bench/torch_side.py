"""PyTorch's side of the comparison: times one mode of one network, prints JSON like `distill bench --json`.

Modes mean what they mean there; `step` is the whole RSLAD step (PGD-10, both forwards, backward, SGD), with a teacher's
forward on the clean images where one is named, else with given soft labels. On a GPU `--precision bf16` is autocast, and
`--compile` compiles the networks, which takes a minute before the first measurement.
"""

import argparse
import json
import resource
import time

import torch
from torch.nn import functional as F

from networks import network

EPS, STEP, STEPS = 8 / 255, 2 / 255, 10


def image_gradient(net, images, loss):
    images = images.detach().requires_grad_(True)
    return torch.autograd.grad(loss(net(images)), images)[0]


def moved(net, clean, images, loss):
    images = images.detach() + STEP * image_gradient(net, images, loss).sign()
    return images.clamp(clean - EPS, clean + EPS).clamp(0, 1)


def kl(soft, logits):
    return F.kl_div(F.log_softmax(logits, 1), soft, reduction="batchmean") / soft.shape[1]


def attack_iteration(net, images, soft):
    net.eval()
    return moved(net, images, images, lambda logits: kl(soft, logits))


def train_step(net, images, soft, sgd):
    net.train()
    sgd.zero_grad(set_to_none=True)
    kl(soft, net(images)).backward()
    sgd.step()


def rslad_step(net, teacher, images, soft, sgd):
    if teacher is not None:
        with torch.no_grad():
            soft = teacher(images).softmax(1)
    net.eval()
    adversarial = images + 0.001 * torch.randn_like(images)
    for _ in range(STEPS):
        adversarial = moved(net, images, adversarial, lambda logits: kl(soft, logits))
    net.train()
    sgd.zero_grad(set_to_none=True)
    loss = 5 / 6 * kl(soft, net(adversarial)) + 1 / 6 * kl(soft, net(images))
    loss.backward()
    sgd.step()


class Rounded(torch.nn.Module):
    """A network under bf16 autocast, with logits in f32."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        with torch.autocast(images.device.type, torch.bfloat16):
            return self.net(images).float()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--student", required=True)
    parser.add_argument("--mode", choices=("forward", "attack", "train", "step"), required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--teacher")
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("f32", "tf32", "bf16"), default="f32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repetitions", type=int, default=3)
    args = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    # cuDNN's convolutions take TF32 unless told otherwise; matrix products do not.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = args.compile

    def placed(name):
        net = network(name).to(args.device, memory_format=layout)
        if args.precision == "bf16":
            net = Rounded(net)
        return torch.compile(net) if args.compile else net

    net = placed(args.student)
    teacher = placed(args.teacher).eval() if args.teacher else None
    images = torch.rand(args.batch, 3, 32, 32, device=args.device).to(memory_format=layout)
    soft = torch.randn(args.batch, 10, device=args.device).softmax(1)
    sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=2e-4)

    def forward():
        net.eval()
        with torch.no_grad():
            return net(images)

    run = {
        "forward": forward,
        "attack": lambda: attack_iteration(net, images, soft),
        "train": lambda: train_step(net, images, soft, sgd),
        "step": lambda: rslad_step(net, teacher, images, soft, sgd),
    }[args.mode]
    wait = torch.cuda.synchronize if args.device.startswith("cuda") else lambda: None
    warm_up = 4 if args.compile else 1
    seconds = []
    for repetition in range(args.repetitions + warm_up):
        wait()
        began = time.perf_counter()
        run()
        wait()
        if repetition >= warm_up:
            seconds.append(time.perf_counter() - began)
    print(
        json.dumps(
            {
                "median_seconds": sorted(seconds)[len(seconds) // 2],
                "least_seconds": min(seconds),
                "most_seconds": max(seconds),
                "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "version": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
