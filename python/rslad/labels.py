"""Label sets as `label run` writes them: what a teacher answers to views of clean images, in NumPy arrays."""
import json
import os
import pathlib
import re

import numpy as np

from . import draws
from .blake3 import hash_bytes, hash_rows

_TYPES = {"U64": "<u8", "I32": "<i4", "U32": "<u4", "F16": "<f2", "F32": "<f4", "U16": "<u2", "U8": "u1", "BOOL": "?"}
_ANSWERS = ("logits", "classes", "rest", "codes", "low", "scale", "lost", "turned", "features")
_CARD = "README.md"


class LabelSetError(ValueError):
    """A folder that is not a label set, is damaged, or is not of the images at hand. Says what was found and a way out."""


class Augmentation:
    """A finite set of views: pad with zeros, cut back, mirror. `name` is as in a manifest: `none`, `crop4+flip` .."""

    def __init__(self, name):
        found = re.fullmatch(r"none|flip|crop([1-9]\d*)(\+flip)?", name)
        if not found:
            raise LabelSetError(f"unknown augmentation {name!r}\nhint: none, flip, cropP or cropP+flip")
        self.name = name
        self.pad = int(found[1] or 0)
        self.flips = name.endswith("flip")

    @property
    def views(self):
        """How many views there are."""
        return (2 * self.pad + 1) ** 2 * (2 if self.flips else 1)

    def cut(self, images, views):
        """(N, C, H, W) f32 in [0, 1]: the views, one each, of u8 images (N, H, W, C)."""
        count, height, width, _ = images.shape
        views = np.asarray(views, np.int64)
        mirrored = views % 2 == 1 if self.flips else np.zeros(count, bool)
        top, left = np.divmod(views // 2 if self.flips else views, 2 * self.pad + 1)
        padded = np.pad(images, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        columns = np.arange(width)[None] + left[:, None]
        columns = np.where(mirrored[:, None], columns[:, ::-1], columns)
        rows = np.arange(height)[None] + top[:, None]
        pixels = padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


class LabelSet:
    """A label set's folder, opened and checked.

    `check` says how much: "hashes" (every byte against the manifest; the default), or "sizes" for a set that was checked
    before. Only the safetensors form is read, or the Parquet form, with pyarrow, where the other is absent.

    Arrays: `labels` (images,) i4, `image_hash` (images, 16) u1; for every row, sorted by image, then view: `image`,
    `view`, `logits` (rows, classes) f2 or f4. The latter are read where they lie on the disk; of a set that stores the largest
    alone, or codes, a logit of every class is made of what it has, in f4, and `lost` says what that costs. `maps` has the shape (channels,
    height, width) of each feature map that the set holds beside the logits, by its module; `features` gives them.
    """

    def __init__(self, folder, check="hashes"):
        if check not in ("hashes", "sizes"):
            raise ValueError(f"check is {check!r}; wanted 'hashes' or 'sizes'")
        self.folder = pathlib.Path(folder)
        self.manifest = _manifest(self.folder)
        data = self.manifest["dataset"]
        self.augmentation = Augmentation(self.manifest["augment"])
        self.classes, self.images = data["classes"], data["images"]
        self.shape = (data["height"], data["width"], data["channels"])
        held = self.manifest.get("features", {"maps": []})["maps"]
        self.lost = self.manifest.get("lost")
        self.maps = {one["module"]: tuple(one["shape"]) for one in held}
        shards = [self._checked(file, check) for file in self._files()]
        shards = [_parquet(path) if path.suffix == ".parquet" else _safetensors(path) for path in shards]
        self._starts = np.cumsum([0] + [len(shard["label"]) for shard in shards])
        self._shards = shards

    @property
    def labels(self):
        """The right class of each image, (images,) i4."""
        return np.concatenate([shard["label"] for shard in self._shards])

    @property
    def image_hash(self):
        """(images, 16) u8: what `image_hashes` gives for the images that were labelled."""
        return np.concatenate([shard["image_hash"] for shard in self._shards])

    @property
    def image(self):
        """The image of every row."""
        first = zip(self._starts, self._shards)
        return np.concatenate([start + np.repeat(np.arange(len(s["label"])), np.diff(s["offset"])) for start, s in first])

    @property
    def view(self):
        """The view of every row."""
        return np.concatenate([shard["view"] for shard in self._shards])

    @property
    def logits(self):
        """The teacher's logits of every row, as stored where they are floats."""
        return np.concatenate([self._logits(shard, slice(None)) for shard in self._shards])

    def held(self, image):
        """The views that the set holds of an image, ascending."""
        shard, at = self._place(image)
        return shard["view"][shard["offset"][at]:shard["offset"][at + 1]]

    def answers(self, images, views):
        """Logits (N, classes) f32 of these views of these images."""
        out = np.empty((len(images), self.classes), np.float32)
        for row, (shard, found) in enumerate(self._rows(images, views)):
            out[row] = self._logits(shard, slice(found, found + 1))[0]
        return out

    def _logits(self, shard, rows):
        """A logit of every class, (rows, classes), of some rows of a shard."""
        if "codes" in shard:
            low, scale = (shard[name][rows][:, None] for name in ("low", "scale"))
            return low + scale * shard["codes"][rows].astype(np.float32)
        if "classes" not in shard:
            return shard["logits"][rows]
        out = np.repeat(shard["rest"][rows][:, None], self.classes, 1)
        np.put_along_axis(out, shard["classes"][rows].astype(np.int64), shard["logits"][rows].astype(np.float32), 1)
        return out

    def features(self, images, views):
        """The teacher's feature maps of these views of these images, by module: (N, channels, height, width) f32."""
        if not self.maps:
            raise LabelSetError(f"{self.folder}: holds no feature maps\nhint: label with --taps, which names the teacher's modules")
        values = np.empty((len(images), sum(np.prod(shape) for shape in self.maps.values())), np.float32)
        for row, (shard, found) in enumerate(self._rows(images, views)):
            values[row] = shard["features"][found]
        parts = np.split(values, np.cumsum([np.prod(shape) for shape in self.maps.values()])[:-1], 1)
        return {module: part.reshape(-1, *shape) for (module, shape), part in zip(self.maps.items(), parts)}

    def _rows(self, images, views):
        """Shard and row of each of these views."""
        for image, view in zip(images, views):
            shard, at = self._place(image)
            first, end = shard["offset"][at], shard["offset"][at + 1]
            found = first + np.searchsorted(shard["view"][first:end], view)
            if found == end or shard["view"][found] != view:
                raise LabelSetError(
                    f"{self.folder}: no row for image {image}, view {view}\n"
                    "hint: label with --views all, or with a plan for this seed and at least as many epochs"
                )
            yield shard, found

    def drawn(self, seed, epoch, images):
        """The view of each image that a run with `seed` sees in `epoch`, as `distill` draws it."""
        images = np.asarray(images)
        draw = draws.draws(seed, draws.VIEW, epoch, images)[0]
        if not self.manifest["views"].startswith("random:"):
            return draws.below(draw, self.augmentation.views)
        held = [self.held(image) for image in images]
        places = draws.below(draw, np.array([len(views) for views in held]))
        return np.array([views[place] for views, place in zip(held, places)], np.int64)

    def held_out(self, count, images=None):
        """The images that `distill` holds out of a run on the first `images`: a draw keyed by these images alone."""
        images = self.images if images is None else images
        whole = images == self.images
        digest = self.manifest["dataset"]["hash"] if whole else self._hash_of_first(images)
        key = int.from_bytes(bytes.fromhex(digest)[:8], "little")
        return draws.smallest(count, key, draws.HOLDOUT, np.arange(images), 0)

    def check_images(self, images):
        """Refuses u8 images (N, H, W, C) that are not the first N that were labelled."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.shape:
            found = f"{images.dtype} {images.shape}"
            raise LabelSetError(
                f"{self.folder}: labels u8 images of (N, {', '.join(map(str, self.shape))}); found {found}\n"
                "hint: pass pixels as they are stored, before ToTensor: N, height, width, channels"
            )
        if len(images) > self.images:
            raise LabelSetError(f"{self.folder}: labels {self.images} images; found {len(images)}\nhint: pass the first ones")
        step = 8192
        for first in range(0, len(images), step):
            found = image_hashes(images[first:first + step])
            wrong = np.nonzero((found != self.image_hash[first:first + len(found)]).any(1))[0]
            if len(wrong):
                raise LabelSetError(
                    f"{self.folder}: image {first + wrong[0]} is not the one that was labelled\n"
                    f"hint: the set is of {self.manifest['dataset']['name']} {self.manifest['dataset']['split']}, in the order of its files"
                )

    def _hash_of_first(self, images):
        labels = self.labels[:images].astype("<i4").view(np.uint8).reshape(-1, 4)
        rows = np.concatenate([self.image_hash[:images], labels], 1)
        return hash_bytes(b"rslad-dataset-1" + images.to_bytes(8, "little") + rows.tobytes())

    def _files(self):
        files = [file for file in self.manifest["files"] if file["path"] != _CARD]
        for form in ("shards/", "data/"):
            those = [file for file in files if file["path"].startswith(form)]
            if those and all((self.folder / file["path"]).exists() for file in those):
                return those
        missing = [file["path"] for file in files if not (self.folder / file["path"]).exists()]
        raise LabelSetError(f"{self.folder}: {missing[0]} is missing\nhint: bring one whole form back, shards/ or data/")

    def _checked(self, file, check):
        path = self.folder / file["path"]
        found = os.path.getsize(path)
        if found != file["bytes"]:
            raise LabelSetError(f"{path}: {found} bytes, the manifest says {file['bytes']}\nhint: copy it again")
        if check == "hashes" and _file_hash(path) != file["blake3"]:
            raise LabelSetError(f"{path}: its BLAKE3 is not the manifest's\nhint: it is damaged: copy it again")
        return path

    def _place(self, image):
        if not 0 <= image < self.images:
            raise LabelSetError(f"{self.folder}: has images 0 to {self.images - 1}, no image {image}")
        number = int(np.searchsorted(self._starts, image, side="right")) - 1
        return self._shards[number], int(image - self._starts[number])


def image_hashes(images):
    """(N, 16) u8 of u8 images (N, H, W, C): what a label set knows its images by."""
    count, height, width, channels = images.shape
    head = np.array([height, width, channels], "<u4").view(np.uint8)
    pixels = np.ascontiguousarray(images).reshape(count, -1)
    return hash_rows(np.concatenate([np.broadcast_to(head, (count, 12)), pixels], 1))[:, :16]


def _manifest(folder):
    try:
        text = (folder / "manifest.json").read_bytes()
    except OSError as error:
        raise LabelSetError(f"{folder}: not a label set: manifest.json: {error.strerror}\nhint: `label run` writes one") from error
    manifest = json.loads(text)
    kind = (manifest.get("format"), manifest.get("format_version"))
    if kind not in [("rslad-labels", version) for version in (1, 2, 3)]:
        raise LabelSetError(f"{folder}: format {kind[0]} {kind[1]}; this reads rslad-labels 1 to 3\nhint: pip install --upgrade rslad")
    if hash_bytes(text.replace(manifest["id"].encode(), b"0" * 64)) != manifest["id"]:
        raise LabelSetError(f"{folder}: manifest.json was changed: its id is not its own\nhint: copy it again")
    for file in manifest["files"]:
        plain = re.fullmatch(r"(README\.md|(shards|data)/[a-z0-9_]{1,64}-\d{5,}-of-\d{5,}\.(safetensors|parquet))", file["path"])
        if not plain:
            raise LabelSetError(f"{folder}: manifest.json names {file['path']!r}, no file of a label set\nhint: it is forged or damaged")
    return manifest


def _file_hash(path):
    data = np.memmap(path, mode="r")
    try:
        from blake3 import blake3
    except ImportError:
        return hash_bytes(data)
    return blake3(data).hexdigest()


def _safetensors(path):
    data = np.memmap(path, mode="r")
    start = 8 + int(data[:8].view("<u8")[0])
    if start > len(data) or start > 8 + (1 << 20):
        raise LabelSetError(f"{path}: not a safetensors file\nhint: it is damaged: copy it again")
    header = json.loads(bytes(data[8:start]))
    header.pop("__metadata__", None)

    def tensor(entry):
        first, end = entry["data_offsets"]
        return data[start + first:start + end].view(_TYPES[entry["dtype"]]).reshape(entry["shape"])

    tensors = {name: tensor(entry) for name, entry in header.items()}
    return {**tensors, "offset": tensors["offset"].astype(np.int64)}


def _parquet(path):
    from pyarrow import parquet

    table = parquet.read_table(path)
    column = {name: table[name].combine_chunks() for name in table.column_names}
    image = column["image"].to_numpy()
    _, first = np.unique(image, return_index=True)
    hashes = np.frombuffer(b"".join(column["image_hash"].take(first).to_pylist()), np.uint8)
    return {
        "offset": np.append(first, len(image)),
        "view": column["view"].to_numpy(),
        "label": column["label"].to_numpy()[first],
        **{name: _values(column[name]) for name in _ANSWERS if name in column},
        "image_hash": hashes.reshape(-1, 16),
    }


def _values(column):
    if not hasattr(column.type, "list_size"):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
