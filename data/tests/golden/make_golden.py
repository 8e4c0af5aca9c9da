"""Writes the small dataset files and view values that the tests read. Needs numpy, pyarrow, pillow and torch.

    python make_golden.py files

All pixels are random, so that any swap of axes or channels shows.
"""

import gzip
import io
import json
import pathlib
import pickle
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

OUT = pathlib.Path(sys.argv[1])
RNG = np.random.default_rng(20240607)
CIFAR10 = "airplane automobile bird cat deer dog frog horse ship truck".split()


def png(pixels, form="PNG"):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def parquet(path, images, labels, column="img", label="label", names=None, kind="struct", label_type=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "struct":
        images = pa.array([{"bytes": i, "path": None} for i in images], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    else:
        images = pa.array(images, kind)
    columns = {column: images, label: pa.array(labels, label_type or pa.int64())}
    if label == "fine_label":
        columns["coarse_label"] = pa.array([0] * len(labels), pa.int64())
    table = pa.table(columns)
    if names:
        features = {column: {"_type": "Image"}, label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, compression="snappy" if kind == "struct" else "zstd", write_statistics=False)


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def cifar(folder, images, labels, names, classes):
    """One image per batch in the binary form, the python form of protocols 2 (as published) and 4, and Parquet."""
    planar = images.transpose(0, 3, 1, 2)
    files = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    for i, name in enumerate(files):
        part = slice(i, i + 1) if classes == 10 else slice(3 * i, 3 * i + 3)
        rows = b""
        for image, label in zip(planar[part], labels[part]):
            head = bytes([label]) if classes == 10 else bytes([label // 5, label])
            rows += head + image.tobytes()
        write(OUT / folder / "binary" / f"{name}.bin", rows)
        flat = planar[part].reshape(-1, 3072)
        key = b"labels" if classes == 10 else b"fine_labels"
        batch = {b"batch_label": b"batch", key: list(map(int, labels[part])), b"data": flat, b"filenames": [b"a.png"] * len(flat)}
        if classes == 100:
            batch[b"coarse_labels"] = [int(label) // 5 for label in labels[part]]
        write(OUT / folder / "python" / name, python2(batch))
        text = {k.decode(): v for k, v in batch.items()}
        write(OUT / folder / "python4" / name, pickle.dumps(text, 4))
        if classes == 100:
            # As people write batches of their own: another protocol, labels of NumPy's.
            write(OUT / folder / "python0" / name, pickle.dumps({**batch, key: np.array(batch[key])}, 0))
            write(OUT / folder / "python5" / name, pickle.dumps({**text, key.decode(): list(np.array(batch[key], ">i2"))}, 5))
            write(OUT / folder / "column" / name, pickle.dumps({**text, "data": np.asfortranarray(flat)}, 4))
    train = 5 if classes == 10 else 3
    column = "label" if classes == 10 else "fine_label"
    for split, part in (("train", slice(0, train)), ("test", slice(train, 6))):
        parquet(OUT / folder / "parquet" / f"{split}-00000-of-00001.parquet", [png(i) for i in images[part]], labels[part], label=column, names=names)


def python2(batch):
    """A pickle with the opcodes of Python 2's cPickle, protocol 2, as the published batches have them."""
    # The published batches keep thousands of file names; starting late shows both forms of the opcode.
    memo = 250

    def put():
        nonlocal memo
        memo += 1
        return b"q" + bytes([memo]) if memo < 256 else b"r" + memo.to_bytes(4, "little")

    def text(value):
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + len(value).to_bytes(4, "little")) + value + put()

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"M" + value.to_bytes(2, "little")

    def listing(values):
        # cPickle appends a thousand at a time; here one at first and then the rest.
        first, *rest = values
        return b"]" + put() + b"(" + first + b"e" + (b"(" + b"".join(rest) + b"e" if rest else b"")

    out = b"\x80\x02}" + put() + b"("
    for key, value in batch.items():
        out += text(key)
        if isinstance(value, bytes):
            out += text(value)
        elif isinstance(value, list):
            out += listing(text(v) if isinstance(v, bytes) else number(v) for v in value)
        else:
            out += b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put() + b"K\0\x85" + put()
            out += b"U\x01b" + put() + b"\x87" + put() + b"R" + put()
            out += b"(K\x01" + number(value.shape[0]) + number(value.shape[1]) + b"\x86" + put()
            out += b"cnumpy\ndtype\n" + put() + b"U\x02u1" + put() + b"K\0K\x01\x87" + put() + b"R" + put()
            out += b"(K\x03U\x01|" + put() + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0t" + put() + b"b"
            out += b"\x89" + text(value.tobytes()) + b"t" + put() + b"b"
    out += b"u."
    loaded = pickle.loads(out, encoding="bytes")
    assert all(np.array_equal(loaded[key], batch[key]) for key in batch)
    return out


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape) + array.tobytes()


def views():
    """Views of one 5x7x2 image cut by torch: pad, slice, flip."""
    image = torch.arange(70, dtype=torch.uint8).mul(3).add(40).reshape(5, 7, 2).permute(2, 0, 1)
    pixels = image.to(torch.float32) / 255
    lines = []
    for pad, y, x, flip in [(0, 0, 0, 0), (0, 0, 0, 1), (2, 0, 0, 0), (2, 2, 2, 1), (2, 4, 1, 0), (2, 1, 4, 1), (4, 8, 8, 1), (4, 0, 7, 0), (9, 18, 0, 0)]:
        padded = torch.nn.functional.pad(pixels, (pad, pad, pad, pad))
        view = padded[:, y : y + 5, x : x + 7]
        view = view.flip(2) if flip else view
        # The bits of each f32, so that nothing is lost in print.
        bits = view.contiguous().numpy().view(np.uint32).flatten()
        lines.append(f"{pad} {y} {x} {flip} " + " ".join(f"{b:08x}" for b in bits))
    write(OUT / "views.txt", ("\n".join(lines) + "\n").encode())


def main():
    images = RNG.integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    cifar("cifar10", images, [6, 9, 0, 4, 1, 3], CIFAR10, 10)
    cifar("cifar100", images, [19, 29, 0, 99, 1, 3], None, 100)
    grey = RNG.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for split in ("train", "t10k"):
        write(OUT / "mnist" / "plain" / f"{split}-images-idx3-ubyte", idx(grey))
        write(OUT / "mnist" / "plain" / f"{split}-labels-idx1-ubyte", idx(np.array([5, 0, 9], np.uint8)))
        write(OUT / "mnist" / "packed" / "raw" / f"{split}-images-idx3-ubyte.gz", gzip.compress(idx(grey), mtime=0))
        write(OUT / "mnist" / "packed" / "raw" / f"{split}-labels-idx1-ubyte.gz", gzip.compress(idx(np.array([5, 0, 9], np.uint8)), mtime=0))
    small = RNG.integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    encoded = [png(image) for image in small]
    names = ["a", "b", "c"]
    parquet(OUT / "parquet" / "sharded" / "data" / "train-00000-of-00002.parquet", encoded[:1], [2], "image", names=names)
    parquet(OUT / "parquet" / "sharded" / "data" / "train-00001-of-00002.parquet", encoded[1:], [0, 1, 0], "image", names=names)
    parquet(OUT / "parquet" / "plain" / "train.parquet", encoded, [2, 0, 1, 0], "image", kind=pa.large_binary(), label_type=pa.uint8())
    parquet(OUT / "parquet" / "mixed" / "train.parquet", [*encoded[:2], png(small[0][:4])], [0, 1, 2], "image", names=names)
    parquet(OUT / "parquet" / "broken" / "train.parquet", [encoded[0], encoded[1], encoded[2][:-40]], [0, 1, 2], "image", names=names)
    parquet(OUT / "parquet" / "classes" / "test-00000-of-00001.parquet", [png(images[0])], [3], names=names * 5)
    parquet(OUT / "parquet" / "label" / "train.parquet", encoded, [2, 0, 3, 0], "image", names=names)
    parquet(OUT / "parquet" / "hidden" / "train.parquet", encoded, [0, 1, 1, -1], "image")
    parquet(OUT / "parquet" / "null" / "train.parquet", [encoded[0], None], [0, 1], "image")
    parquet(OUT / "parquet" / "empty" / "train.parquet", [], [], "image")
    parquet(OUT / "parquet" / "text" / "train.parquet", ["a"], [0], "image", kind=pa.string())
    parquet(OUT / "parquet" / "columns" / "train.parquet", encoded[:1], [0], "picture")
    alpha = np.dstack([small[0], small[0][..., :1]])
    parquet(OUT / "parquet" / "alpha" / "train.parquet", [png(alpha)], [0], "image")
    parquet(OUT / "parquet" / "deep" / "train.parquet", [png(np.arange(35, dtype=np.uint16).reshape(5, 7))], [0], "image")
    palette = Image.fromarray(small[0]).quantize(16)
    stored = io.BytesIO()
    palette.save(stored, "PNG")
    parquet(OUT / "parquet" / "palette" / "train.parquet", [stored.getvalue()], [0], "image")
    write(OUT / "palette.u8", np.array(palette.convert("RGB")).tobytes())
    y, x = np.mgrid[0:16, 0:24]
    smooth = np.stack([10 * y, 200 - 8 * x, 60 + 3 * y + 2 * x], -1).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(smooth).save(stored, "JPEG", quality=95, subsampling=0)
    parquet(OUT / "parquet" / "jpeg" / "train.parquet", [stored.getvalue()], [0], "image")
    write(OUT / "jpeg.u8", np.array(Image.open(stored)).tobytes())
    write(OUT / "small.u8", small.tobytes())
    write(OUT / "cifar.u8", images.tobytes())
    write(OUT / "mnist.u8", grey.tobytes())
    y = np.array([[2], [0], [1], [0]], np.int64)
    np.savez(OUT / "keras.npz", x_train=small, y_train=y, x_test=small[:1], y_test=np.array([[3]]))
    np.savez_compressed(OUT / "planar.npz", train_images=small.transpose(0, 3, 1, 2), train_labels=y[:, 0].astype(">i4"))
    np.savez(OUT / "grey.npz", images=small[..., 0], labels=y[:, 0].astype(np.uint8))
    np.savez(OUT / "float.npz", x_train=small / 255, y_train=y)
    np.savez(OUT / "ambiguous.npz", x_train=small[:, :3], y_train=y)
    np.savez(OUT / "onehot.npz", x_train=small, y_train=np.eye(4, dtype=np.uint8))
    np.savez(OUT / "counts.npz", x_train=small, y_train=y[:3])
    np.savez(OUT / "negative.npz", x_train=small, y_train=y - 1)
    np.savez(OUT / "fortran.npz", x_train=np.asfortranarray(small), y_train=y)
    np.savez(OUT / "names.npz", pictures=small)
    views()


main()
