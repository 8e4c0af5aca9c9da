"""A training step of each method that asks networks as it goes, in eval mode. Names as in methods.py.

`soft` are a teacher's logits on the clean images, drawn as a label set would hold them; `robust` and `natural` are networks.
`x + d` are the adversarial images and `x - d` their opposites, which nothing clamps.
"""
import math

import torch
from torch.nn.functional import cross_entropy, log_softmax, one_hot, softmax

from methods import attack, kl


def opposite(x, adversarial):
    return x - (adversarial - x)


def igdm(robust, net_plus, net_minus, x, adversarial):
    """One value per image. The teacher's difference is a constant."""
    with torch.no_grad():
        teacher = robust(adversarial) - robust(opposite(x, adversarial))
    return kl(teacher, net_plus - net_minus)


class Scene:
    """What a step is given, and what lasts over a run: `average` is the student's moving average, where it has one."""

    def __init__(self, options, epochs, rate_factor, average=None):
        self.options, self.epochs, self.rate_factor, self.average = options, epochs, rate_factor, average
        self.weight, self.first = 0.5, None

    def ramp(self, epoch):
        return (epoch + 1) / self.epochs

    def annealed(self, name, epoch):
        """Half a cosine between two options."""
        first, last = (self.options[f"{name}-{end}"] for end in ("first", "last"))
        return last + (first - last) * (1 + math.cos(math.pi * epoch / self.epochs)) / 2


def right(logits, labels):
    return cross_entropy(logits, labels, reduction="none")


def trust(robust, adversarial, labels, beta):
    with torch.no_grad():
        return softmax(robust(adversarial), 1).gather(1, labels[:, None])[:, 0] ** beta


def iad(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    alpha, t, beta, begin = (scene.options[k] for k in ("alpha", "temperature", "trust", "begin"))
    adversarial = attack(net, x, lambda z: right(z, labels), start, seen, training=True)
    hard = net(adversarial)
    net(adversarial)
    loss = alpha * t ** 2 * kl(soft / t, hard / t).mean()
    if epoch >= begin:
        own = kl(net(x), hard) * (1 - trust(robust, adversarial, labels, beta))
        loss = loss + alpha * own.mean()
    return loss + (1 - alpha) * right(net(x), labels).mean(), adversarial


def iad_ii(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    first, second, t, beta, begin = (scene.options[k] for k in ("alpha", "second", "temperature", "trust", "begin"))
    adversarial = attack(net, x, lambda z: right(z, labels), start, seen, training=True)
    hard = net(adversarial)
    with torch.no_grad():
        one, two = robust(adversarial), natural(adversarial)
    taught = kl(one / t, hard / t)
    if epoch >= begin:
        trusted = trust(robust, adversarial, labels, beta)
        taught = trusted * taught + (1 - trusted) * kl(net(x), hard)
    loss = (1 - first - second) * right(hard, labels).mean() + first * t ** 2 * taught.mean()
    return loss + second * t ** 2 * kl(two / t, hard / t).mean(), adversarial


def adaiad(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    alpha, t, beta, begin = (scene.options[k] for k in ("alpha", "temperature", "trust", "begin"))
    adversarial = attack(net, x, kl, start, seen, teacher=robust)
    net(x)
    hard = net(adversarial)
    with torch.no_grad():
        one = robust(adversarial)
    loss = alpha * t ** 2 * kl(one / t, hard / t).mean()
    if epoch >= begin:
        loss = loss + alpha * (kl(net(x), hard) * (1 - trust(robust, adversarial, labels, beta))).mean()
    return loss + (1 - alpha) * right(net(x), labels).mean(), adversarial


def mtard(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    adversarial = attack(net, x, lambda z: right(z, labels), start, seen)
    hard = net(adversarial)
    easy = net(x)
    with torch.no_grad():
        one, two = robust(adversarial), natural(x)
    scale = scene.options["kl-scale"]
    lost = [scale * kl(two, easy).mean(), scale * kl(one, hard).mean()]
    scene.first = scene.first or [loss.item() for loss in lost]
    ratios = [loss.item() / first for loss, first in zip(lost, scene.first)]
    rate = scene.options["weight-rate"] * scene.rate_factor(epoch)
    scene.weight -= rate * (scene.weight - ratios[0] / sum(ratios))
    return (1 - scene.weight) * lost[1] + scene.weight * lost[0], adversarial


def saad(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    adversarial = attack(net, x, lambda z: kl(soft, z), start, seen)
    plus = net(adversarial)
    minus = net(opposite(x, adversarial))
    easy = net(x)
    with torch.no_grad():
        one = robust(adversarial)
        entropy = -(softmax(one, 1) * log_softmax(one, 1)).sum(1)
        weights = scene.options["entropy-scale"] * (entropy - entropy.min())
        sure = 1 - (weights - weights.min()) / (weights.max() - weights.min() + 1e-8)
    alike = igdm(robust, plus, minus, x, adversarial)
    taught = kl(one, plus) + scene.options["alpha"] * scene.ramp(epoch) * alike
    return (weights * taught + scene.options["clean"] * sure * kl(soft, easy)).mean(), adversarial


def rslad_igdm(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    adversarial = attack(net, x, lambda z: kl(soft, z), start, seen)
    hard = net(adversarial)
    plus = net(adversarial)
    easy = net(x)
    minus = net(opposite(x, adversarial))
    base = 0.1 * (5 / 6 * kl(soft, hard).mean() + 1 / 6 * kl(soft, easy).mean())
    added = igdm(robust, plus, minus, x, adversarial).mean()
    return base + scene.options["igdm"] * scene.ramp(epoch) * added, adversarial


def adaad_igdm(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    adversarial = attack(net, x, kl, start, seen, teacher=robust)
    plus = net(adversarial)
    net(x)
    minus = net(opposite(x, adversarial))
    hard = net(adversarial)
    base = 0.1 * kl(robust(adversarial), hard).mean()
    added = igdm(robust, plus, minus, x, adversarial).mean()
    return base + scene.options["igdm"] * scene.ramp(epoch) * added, adversarial


def adr(scene, net, x, labels, soft, robust, natural, start, epoch, seen):
    with torch.no_grad():
        said = softmax(scene.average.eval()(x) / scene.annealed("temperature", epoch), 1)
        lacking = said.max(1).values - said.gather(1, labels[:, None])[:, 0]
        share = (scene.annealed("lambda", epoch) - lacking).clamp(0, 1)[:, None]
        rectified = share * said + (1 - share) * one_hot(labels, said.shape[1])
    adversarial = attack(net, x, lambda z: cross_entropy(z, rectified, reduction="none"), start, seen, training=True)
    return cross_entropy(net(adversarial), rectified), adversarial
