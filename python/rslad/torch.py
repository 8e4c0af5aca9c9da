"""Stage two in PyTorch: the views, the order and the teacher's answers of `distill train`, its attack and its loss.

    views = Views("labels", images, seed=0)              # u8 images (N, H, W, C), in the order of their files
    for epoch in range(10):
        for x, teacher, label, place in views.batches(epoch, 128):
            start = views.start(epoch, place, x)
            adversarial = rslad_attack(student, x, teacher, start=start)
            loss = rslad_loss(student(adversarial), student(x), teacher)
"""
import numpy as np
import torch
from torch.nn.functional import log_softmax, softmax
from torch.utils.data import Dataset, Sampler

from . import draws
from .labels import LabelSet

_HELD_OUT, _OF_AT_LEAST = 1000, 5000


class Views(Dataset):
    """The training images of a run of `distill train` on a label set, in the views that the run with `seed` shows.

    `labels` is a `LabelSet` or its folder; `images` u8 (N, H, W, C), the first N that were labelled: they are checked
    against its hashes. `holdout` images are left out to select the best epoch, by default 1,000 where there are at
    least 5,000, as `distill` does; they are `held_out`.

    An item is (view (C, H, W) f32 in [0, 1], the teacher's logits f32, label, place), place being the image's number.
    Which view it is depends on the epoch: `set_epoch` before each, or `batches(epoch, size)` in place of a DataLoader.
    """

    def __init__(self, labels, images, seed, holdout=None):
        self.labels = labels if isinstance(labels, LabelSet) else LabelSet(labels)
        self.images = np.ascontiguousarray(images)
        self.labels.check_images(self.images)
        self.seed = seed
        usual = _HELD_OUT if len(images) >= _OF_AT_LEAST else 0
        count = usual if holdout is None else holdout
        self.held_out = self.labels.held_out(count, len(images))
        self.places = np.setdiff1d(np.arange(len(images)), self.held_out)
        self.sampler = Order(self)
        self._classes = self.labels.labels
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Shows the views, and the order, of this epoch, from 0."""
        self.epoch = epoch
        self._views = self.labels.drawn(self.seed, epoch, np.arange(len(self.images)))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, place):
        return tuple(part[0] for part in self.gather([int(place)]))

    def gather(self, places):
        """Views, logits, labels and places, as tensors, of several images."""
        places = np.asarray(places)
        views = self._views[places]
        pixels = self.labels.augmentation.cut(self.images[places], views)
        teacher = self.labels.answers(places, views)
        label = self._classes[places].astype(np.int64)
        return tuple(map(torch.from_numpy, (pixels, teacher, label, places.astype(np.int64))))

    def batches(self, epoch, size):
        """The batches of an epoch, as `distill` has them."""
        self.set_epoch(epoch)
        order = list(self.sampler)
        for first in range(0, len(order), size):
            yield self.gather(order[first:first + size])

    def start(self, epoch, places, like, sigma=0.001):
        """What `distill` adds to each image before RSLAD's attack: `sigma` times a normal, shaped and placed like `like`."""
        shape = like.shape[1:]
        count = int(np.prod(shape))
        rows = [draws.normals(self.seed, draws.START, epoch, int(place), count) for place in places]
        return torch.from_numpy(sigma * np.stack(rows)).reshape(-1, *shape).to(like)

    def start_uniform(self, epoch, places, like, eps):
        """The same for objectives whose attack starts uniformly in the ball: numbers from -eps to eps."""
        shape = like.shape[1:]
        count = int(np.prod(shape))
        rows = [draws.uniforms(self.seed, draws.START, epoch, int(place), count) for place in places]
        return torch.from_numpy(eps * (2.0 * np.stack(rows) - 1.0)).reshape(-1, *shape).to(like)


class Order(Sampler):
    """The places of a `Views` in the order of its epoch: for `DataLoader(views, batch_size=128, sampler=views.sampler)`."""

    def __init__(self, views):
        self.views = views

    def __len__(self):
        return len(self.views.places)

    def __iter__(self):
        return iter(draws.order(self.views.seed, self.views.epoch, self.views.places).tolist())


def kl(target, student):
    """KL(softmax target || softmax student), one value per image; gradients flow into both."""
    log_target = log_softmax(target, 1)
    return (log_target.exp() * (log_target - log_softmax(student, 1))).sum(1)


def rslad_loss(adversarial, clean, teacher, alpha=5 / 6, scale=0.1):
    """RSLAD's loss of the student's logits on adversarial and clean images and the teacher's on the clean ones.

    `scale` is 0.1 for any number of classes: what the authors' mean over batch and classes gives for 10, and their
    factor 10 restores for 100. Source: arXiv:2108.07969 and its released code.
    """
    teacher = teacher.detach()
    return scale * (alpha * kl(teacher, adversarial).mean() + (1 - alpha) * kl(teacher, clean).mean())


def rslad_attack(student, images, teacher, start, eps=8 / 255, step=2 / 255, steps=10):
    """Adversarial images where the student is far from the teacher's soft labels, by PGD from `images + start`.

    The student is attacked in evaluation mode and left in the mode it was in.
    """
    was_training = student.training
    student.eval()
    target = softmax(teacher, 1)
    adversarial = (images + start).detach()
    for _ in range(steps):
        adversarial.requires_grad_(True)
        loss = -(target * log_softmax(student(adversarial), 1)).sum()
        (gradient,) = torch.autograd.grad(loss, adversarial)
        moved = adversarial.detach() + step * gradient.sign()
        adversarial = torch.clamp(torch.minimum(torch.maximum(moved, images - eps), images + eps), 0, 1)
    student.train(was_training)
    return adversarial
