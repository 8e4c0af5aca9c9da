"""The losses and the PGD attack, as the training methods run them. Logits are (N, K); sums and means as named."""
import copy

import numpy as np
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot, softmax

import philox

EPS, STEP_SIZE, STEPS = 8 / 255, 2 / 255, 10


def kl(target, logits):
    """KL(softmax target || softmax logits) in nats, one value per image; differentiable in both."""
    return kl_div(log_softmax(logits, 1), log_softmax(target, 1), reduction="none", log_target=True).sum(1)


def rslad(teacher, adversarial, natural, kl_scale=0.1):
    """Averages over the batch. Its authors average over batch and 10 classes, hence the 0.1 for every K."""
    return kl_scale * (5 / 6 * kl(teacher, adversarial).mean() + 1 / 6 * kl(teacher, natural).mean())


def trades(natural, again, adversarial, labels, beta=6.0, smoothing=0.0):
    """Averages over the batch. The target of the KL is a second forward of the natural images, with a gradient too."""
    return cross_entropy(natural, labels, label_smoothing=smoothing) + beta * kl(again, adversarial).mean()


def sat(adversarial, labels, smoothing=0.0):
    """Cross-entropy averaged over the batch."""
    return cross_entropy(adversarial, labels, label_smoothing=smoothing)


def mart(natural, adversarial, labels, beta=5.0, smoothing=0.0):
    """Averages over the batch. Gradients flow everywhere but through the choice of the likeliest wrong class."""
    hard, easy = softmax(adversarial, 1), softmax(natural, 1)
    own = one_hot(labels, hard.shape[1]).bool()
    wrong = hard.masked_fill(own, -1).max(1).values
    right = cross_entropy(adversarial, labels, reduction="none", label_smoothing=smoothing)
    apart = (easy * (log_softmax(natural, 1) - torch.log(hard + 1e-12))).sum(1)
    unsure = 1.0000001 - easy[own]
    return (right - torch.log(1.0001 - wrong + 1e-12) + beta * apart * unsure).mean()


def ard(teacher, adversarial, natural, labels, alpha=1.0, temperature=30.0):
    """The KL is averaged over batch and classes, as its authors run it; the clean logits carry what alpha leaves."""
    soft = kl(teacher / temperature, adversarial / temperature).mean() / teacher.shape[1]
    return alpha * temperature ** 2 * soft + (1 - alpha) * cross_entropy(natural, labels)


def kd(teacher, natural, labels, alpha=0.9, temperature=4.0):
    """Hinton's; the KL is a sum over classes and averaged over the batch."""
    soft = kl(teacher / temperature, natural / temperature).mean()
    return alpha * temperature ** 2 * soft + (1 - alpha) * cross_entropy(natural, labels)


def fair_ard(weights, teacher, adversarial, natural, labels, alpha=1.0, temperature=30.0):
    """ARD's, each image of the batch times a weight."""
    soft = (weights * kl(teacher / temperature, adversarial / temperature)).mean() / teacher.shape[1]
    hard = (weights * cross_entropy(natural, labels, reduction="none")).mean()
    return alpha * temperature ** 2 * soft + (1 - alpha) * hard


def fair_rslad(weights, teacher, adversarial, natural, kl_scale=0.1):
    """RSLAD's, each image of the batch times a weight, in both terms."""
    hard, easy = (weights * kl(teacher, adversarial)).mean(), (weights * kl(teacher, natural)).mean()
    return kl_scale * (5 / 6 * hard + 1 / 6 * easy)


def adaad(teacher_adversarial, adversarial, teacher_natural, natural, alpha=1.0, kl_scale=0.1):
    """Averages over the batch; its authors' average over batch and 10 classes is the 0.1. The teacher is constant."""
    hard = kl(teacher_adversarial.detach(), adversarial).mean()
    easy = kl(teacher_natural.detach(), natural).mean()
    return kl_scale * (alpha * hard + (1 - alpha) * easy)


class Temperatures:
    """ABSLD's temperatures, one per class for each of the adversarial and the clean target, and what moves them."""

    def __init__(self, classes, rate=0.1, least=0.5, most=5.0, as_published=False):
        self.rate, self.least, self.most, self.as_published = rate, least, most, as_published
        self.values = {side: torch.ones(classes, dtype=torch.float64) for side in ("adversarial", "clean")}
        self.forget()

    def forget(self):
        self.risks = {side: torch.zeros_like(values) for side, values in self.values.items()}
        self.seen = torch.zeros_like(self.values["clean"])

    def soften(self, teacher, labels):
        """The teacher's logits for the adversarial and the clean term, each row over the temperature of its label.

        As published both names are one tensor, which is divided in place.
        """
        copy = (lambda logits: logits) if self.as_published else torch.clone
        softened = {side: copy(teacher) for side in ("adversarial", "clean")}
        for side, logits in softened.items():
            logits /= self.values[side][labels][:, None]
        return softened["adversarial"], softened["clean"]

    @torch.no_grad()
    def note(self, adversarial, natural, labels):
        for side, logits in (("adversarial", adversarial), ("clean", natural)):
            self.risks[side].index_add_(0, labels, cross_entropy(logits, labels, reduction="none"))
        self.seen += torch.bincount(labels, minlength=len(self.seen))

    def close_epoch(self):
        """By the mean cross-entropy of each class; a class without images stays, and counts for nothing."""
        there = self.seen > 0
        for side, values in self.values.items():
            mean = self.risks[side][there] / self.seen[there]
            gap = mean - mean.mean()
            values[there] = (values[there] - self.rate * gap / gap.abs().max()).clamp(self.least, self.most)
        self.forget()


class Weights:
    """Fair-ARD's and Fair-RSLAD's weights, one per class, and the survived steps that move them."""

    def __init__(self, classes, added, beta=2.0, least=5 / 6, most=5 / 2):
        self.added, self.beta, self.least, self.most = added, beta, least, most
        self.values = torch.ones(classes, dtype=torch.float64)
        self.forget()

    def forget(self):
        self.survived, self.seen = torch.zeros_like(self.values), torch.zeros_like(self.values)

    @torch.no_grad()
    def watch(self, logits, labels):
        """Before each step of the attack."""
        self.survived.index_add_(0, labels, (logits.argmax(1) == labels).double())

    def note(self, labels):
        self.seen += torch.bincount(labels, minlength=len(self.seen))

    def close_epoch(self):
        """By the mean of each class; a class without images stays, and counts for nothing; below 1e-5 is 1e-5."""
        there = self.seen > 0
        kappa = (self.survived[there] / self.seen[there] + self.added).clamp(min=1e-5)
        weights = (1 / kappa) ** self.beta
        self.values[there] = (weights * (len(kappa) / weights.sum())).clamp(self.least, self.most)
        self.forget()


def starts(kind, seed, epoch, ids, shape):
    """(N, C, H, W): what PGD adds to each image before its first step."""
    count = int(np.prod(shape))
    if kind == "gaussian":
        rows = [philox.gaussian_start(seed, epoch, n, count) for n in ids]
    else:
        rows = [philox.uniform_start(seed, epoch, n, count, EPS) for n in ids]
    return torch.from_numpy(np.stack(rows)).view(len(ids), *shape)


def attack(net, x, loss_of, start, gradients_seen, teacher=None, training=False, watch=None):
    """PGD-10 in eval mode. The start is not clamped; each step projects to the ball around x, then to [0, 1].

    `loss_of` maps logits to one value per image; PGD climbs their sum. `gradients_seen(g)` sees every gradient.
    With a teacher, `loss_of` gets its logits on the attacked images first, and the gradient flows through both networks.
    `training` leaves the student in train mode: each forward then moves its running statistics. `watch` sees the logits
    before each step.
    """
    net.train(training)
    adversarial = x + start
    for _ in range(STEPS):
        adversarial.requires_grad_(True)
        heard = () if teacher is None else (teacher(adversarial),)
        said = net(adversarial)
        if watch:
            watch(said)
        gradient, = torch.autograd.grad(loss_of(*heard, said).sum(), adversarial)
        gradients_seen(gradient)
        moved = adversarial.detach() + STEP_SIZE * gradient.sign()
        adversarial = torch.clamp(torch.minimum(torch.maximum(moved, x - EPS), x + EPS), 0, 1)
    net.train()
    return adversarial


def outer(method, net, x, adversarial, labels):
    """The loss of a method without a teacher, with its training forwards in their order."""
    if method == "sat":
        return sat(net(adversarial), labels)
    natural = net(x)
    hard = net(adversarial)
    return mart(natural, hard, labels) if method == "mart" else trades(natural, net(x), hard, labels)


class Perturbation:
    """Adversarial weight perturbation with a second network that takes one step of SGD up the method's loss."""

    def __init__(self, net, gamma=0.005):
        self.net, self.gamma, self.added = net, gamma, {}

    def perturb(self, method, x, adversarial, labels):
        """Adds to each weight with more than one dimension gamma times its norm, along what the second network moved."""
        proxy = copy.deepcopy(self.net).train()
        climb = torch.optim.SGD(proxy.parameters(), lr=0.01)
        climb.zero_grad()
        (-outer(method, proxy, x, adversarial, labels)).backward()
        climb.step()
        with torch.no_grad():
            for (name, own), moved in zip(self.net.named_parameters(), proxy.parameters()):
                if own.dim() > 1 and "weight" in name:
                    moved = moved - own
                    self.added[name] = self.gamma * own.norm() / (moved.norm() + 1e-20) * moved
                    own += self.added[name]

    @torch.no_grad()
    def restore(self):
        """Takes it away again, after the step."""
        for name, own in self.net.named_parameters():
            if name in self.added:
                own -= self.added[name]


def step(method, net, x, labels, teacher, start, gradients_seen, live=None, temperatures=None, weights=None,
         perturbation=None):
    """(loss, adversarial images) of one training step; the caller backpropagates and updates.

    With a `perturbation` the weights are left where it moved them: the caller restores them after its update.

    RSLAD, ARD and ABSLD forward the adversarial images first, TRADES, MART and AdaAD the natural ones, TRADES once more at the
    end: the running statistics see that order. `live` is AdaAD's teacher in eval mode, `temperatures` are ABSLD's,
    `weights` those of the fair methods, which are ARD and RSLAD in all else.
    """
    if method == "ard":
        climbed = lambda z: cross_entropy(z, labels, reduction="none")
        adversarial = attack(net, x, climbed, start, gradients_seen, training=True)
        hard = net(adversarial)
        return ard(teacher, hard, net(x), labels), adversarial
    if method in ("fair-ard", "fair-rslad"):
        watch = lambda z: weights.watch(z, labels)
        trains = method == "fair-ard"
        hard_labels, soft_labels = lambda z: cross_entropy(z, labels, reduction="none"), lambda z: kl(teacher, z)
        climbed = hard_labels if trains else soft_labels
        adversarial = attack(net, x, climbed, start, gradients_seen, training=trains, watch=watch)
        hard = net(adversarial)
        natural = net(x)
        weights.note(labels)
        of_images = weights.values[labels]
        if trains:
            return fair_ard(of_images, teacher, hard, natural, labels), adversarial
        return fair_rslad(of_images, teacher, hard, natural), adversarial
    if method == "adaad":
        adversarial = attack(net, x, kl, start, gradients_seen, teacher=live)
        natural = net(x)
        hard = net(adversarial)
        return adaad(live(adversarial), hard, live(x), natural), adversarial
    if method == "absld":
        soft, clean = temperatures.soften(teacher, labels)
        adversarial = attack(net, x, lambda z: kl(soft, z), start, gradients_seen)
        hard = net(adversarial)
        natural = net(x)
        temperatures.note(hard, natural, labels)
        return 0.1 * (5 / 6 * kl(soft, hard).mean() + 1 / 6 * kl(clean, natural).mean()), adversarial
    if method == "rslad":
        adversarial = attack(net, x, lambda z: kl(teacher, z), start, gradients_seen)
        hard = net(adversarial)
        return rslad(teacher, hard, net(x)), adversarial
    if method == "trades":
        net.eval()
        with torch.no_grad():
            target = net(x)
        adversarial = attack(net, x, lambda z: kl(target, z), start, gradients_seen)
        if perturbation:
            perturbation.perturb(method, x, adversarial, labels)
        return outer(method, net, x, adversarial, labels), adversarial
    if method in ("sat", "mart"):
        adversarial = attack(net, x, lambda z: cross_entropy(z, labels, reduction="none"), start, gradients_seen)
        if perturbation:
            perturbation.perturb(method, x, adversarial, labels)
        return outer(method, net, x, adversarial, labels), adversarial
    raise ValueError(f"unknown method {method}")
