"""The losses and the PGD attack, as the training methods run them. Logits are (N, K); sums and means as named."""
import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

import philox

EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10


def kl(target, logits):
    """KL(softmax target || softmax logits) in nats, one value per image; differentiable in both."""
    return kl_div(log_softmax(logits, 1), log_softmax(target, 1), reduction="none", log_target=True).sum(1)


def rslad(teacher, adversarial, natural, kl_scale=0.1):
    """Averages over the batch. Its authors average over batch and 10 classes, hence the 0.1 for every K."""
    return kl_scale * (5 / 6 * kl(teacher, adversarial).mean() + 1 / 6 * kl(teacher, natural).mean())


def trades(natural, adversarial, labels, beta=6.0):
    """Averages over the batch; the gradient also flows through the target of the KL."""
    return cross_entropy(natural, labels) + beta * kl(natural, adversarial).mean()


def sat(adversarial, labels):
    """Cross-entropy averaged over the batch."""
    return cross_entropy(adversarial, labels)


def starts(kind, seed, epoch, ids, shape):
    """(N, C, H, W): what PGD adds to each image before its first step."""
    count = int(np.prod(shape))
    if kind == "gaussian":
        rows = [philox.gaussian_start(seed, epoch, n, count) for n in ids]
    else:
        rows = [philox.uniform_start(seed, epoch, n, count, EPS) for n in ids]
    return torch.from_numpy(np.stack(rows)).view(len(ids), *shape)


def attack(net, x, loss_of, start, gradients_seen):
    """PGD-10 in eval mode. The start is not clamped; each step projects to the ball around x, then to [0, 1].

    `loss_of` maps logits to one value per image; PGD climbs their sum. `gradients_seen(g)` sees every gradient.
    """
    net.eval()
    adversarial = x + start
    for _ in range(STEPS):
        adversarial.requires_grad_(True)
        gradient, = torch.autograd.grad(loss_of(net(adversarial)).sum(), adversarial)
        gradients_seen(gradient)
        moved = adversarial.detach() + STEP_SIZE * gradient.sign()
        adversarial = torch.clamp(torch.minimum(torch.maximum(moved, x - EPS), x + EPS), 0, 1)
    net.train()
    return adversarial


def step(method, net, x, labels, teacher, start, gradients_seen):
    """(loss, adversarial images) of one training step; the caller backpropagates and updates.

    RSLAD forwards the adversarial images first, TRADES the natural ones: the running statistics see that order.
    """
    if method == "rslad":
        adversarial = attack(net, x, lambda z: kl(teacher, z), start, gradients_seen)
        hard = net(adversarial)
        return rslad(teacher, hard, net(x)), adversarial
    if method == "trades":
        net.eval()
        with torch.no_grad():
            target = net(x)
        adversarial = attack(net, x, lambda z: kl(target, z), start, gradients_seen)
        natural = net(x)
        return trades(natural, net(adversarial), labels), adversarial
    adversarial = attack(net, x, lambda z: cross_entropy(z, labels, reduction="none"), start, gradients_seen)
    return sat(net(adversarial), labels), adversarial
