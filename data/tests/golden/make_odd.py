"""Writes data as people have it, not as readers wish it. Needs numpy, pyarrow and pillow.

    python make_odd.py files/odd

Expected pixels are what Pillow decodes, turned by its `exif_transpose` as Hugging Face `datasets` does.
"""

import base64
import io
import json
import pathlib
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
from PIL import Image, ImageOps

OUT = pathlib.Path(sys.argv[1])
RNG = np.random.default_rng(20261125)
NAMES = ["a", "b", "c"]


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    wave = [128 + 100 * np.sin(y / 5 + p) * np.cos(x / 7 - p) for p in (0, 1, 2)]
    return np.clip(np.stack(wave, -1) + RNG.normal(0, 4, (height, width, 3)), 0, 255).astype(np.uint8)


def stored(image, form="PNG", mode=None, **options):
    out = io.BytesIO()
    image = Image.fromarray(image)
    (image.convert(mode) if mode else image).save(out, form, **options)
    return out.getvalue()


def table(images, labels, names=None, folded=False):
    images = pa.array([{"bytes": i, "path": None} for i in images], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    labels = pa.array(labels, pa.int64())
    made = pa.table({"image": images, "label": labels.dictionary_encode() if folded else labels})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    return made


def put(name, made, **options):
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, path, **{"write_statistics": False, "compression": "none", **options})


def pillow(name, encoded, mode="RGB"):
    pixels = [np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(e))).convert(mode)) for e in encoded]
    (OUT / name).write_bytes(np.stack(pixels).tobytes())


def jpegs():
    """Every way of coding that Pillow writes, in sizes that fill no block."""
    image = smooth(37, 43)
    ways = {
        "whole": dict(subsampling=0),
        "halved": dict(subsampling=2),
        "wide": dict(subsampling=1),
        "progressive": dict(progressive=True),
        "fine": dict(progressive=True, quality=100, subsampling=0),
        "restarts": dict(restart_marker_blocks=3),
        "rows": dict(restart_marker_rows=1, progressive=True),
        "optimal": dict(optimize=True, quality=60),
        "grey": dict(mode="L"),
        "grey_progressive": dict(mode="L", progressive=True),
    }
    (OUT / "jpeg").mkdir(parents=True, exist_ok=True)
    for name, options in ways.items():
        encoded = stored(image, "JPEG", **{"quality": 90, **options})
        (OUT / "jpeg" / f"{name}.jpg").write_bytes(encoded)
        pillow(f"jpeg/{name}.u8", [encoded], options.get("mode", "RGB"))
    (OUT / "jpeg" / "inks.jpg").write_bytes(stored(image, "JPEG", mode="CMYK"))


def turned():
    """Eight orientations of one square image, in EXIF of PNG (exact) and JPEG, and in XMP."""
    image = RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    slow = smooth(16, 16)
    png, jpeg = [], []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x112] = orientation
        png.append(stored(image, exif=exif))
        jpeg.append(stored(slow, "JPEG", quality=95, subsampling=0, exif=exif))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    jpeg.append(stored(slow, "JPEG", quality=95, subsampling=0, xmp=xmp))
    for name, encoded in (("png", png), ("jpeg", jpeg)):
        put(f"turned/{name}/train.parquet", table(encoded, [0] * len(encoded)))
        pillow(f"turned/{name}.u8", encoded)


class Keys(pe.KmsClient):
    """Hides no key: the file only has to look encrypted."""

    def __init__(self, _):
        super().__init__()

    def wrap_key(self, key_bytes, _):
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key, _):
        return base64.b64decode(wrapped_key)


def encrypted(name, made, plain):
    config = pe.EncryptionConfiguration(footer_key="k", column_keys={"k": ["label", "image.bytes", "image.path"]}, plaintext_footer=plain)
    properties = pe.CryptoFactory(Keys).file_encryption_properties(pe.KmsConnectionConfig(), config)
    path = OUT / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, made.schema, encryption_properties=properties) as writer:
        writer.write_table(made)


def main():
    jpegs()
    turned()
    small = RNG.integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    (OUT / "small.u8").write_bytes(small.tobytes())
    png = [stored(image) for image in small]
    labels = [2, 0, 1, 0]
    made = table(png, labels, NAMES)
    for codec in ("none", "snappy", "gzip", "brotli", "lz4", "zstd"):
        put(f"codec/{codec}/train.parquet", made, compression=codec)
    put("checked/train.parquet", made, write_page_checksum=True)
    put("folded/train.parquet", table(png, labels, folded=True))
    binary = pa.table({"image": pa.array([*png, png[0]], pa.binary()).dictionary_encode(), "label": pa.array([*labels, 2])})
    put("folded_images/train.parquet", binary)
    null = pa.table({"image": binary["image"], "label": pa.array([2, 0, None, 0, 2]).dictionary_encode()})
    put("folded_null/train.parquet", null)
    words = pa.table({"image": binary["image"], "label": pa.array(["a", "b", "a", "b", "a"]).dictionary_encode()})
    put("folded_words/train.parquet", words)
    grey = [stored(small[2], mode="L"), png[1], stored(small[2], "PNG", mode="L"), png[3]]
    put("mixed/train.parquet", table(grey, labels))
    pillow("mixed.u8", grey)
    encrypted("encrypted/train.parquet", made, plain=False)
    encrypted("encrypted_columns/train.parquet", made, plain=True)
    # Class numbers made by each job for itself.
    put("shards/train-00000-of-00002.parquet", table(png[:2], labels[:2], NAMES))
    put("shards/train-00001-of-00002.parquet", table(png[2:], labels[2:], NAMES[::-1]))
    put("parts/train.parquet", made)
    put("parts/test.parquet", table(png[:1], [0], ["c", "b", "a"]))
    put("lacking/train.parquet", table(png, labels))
    put("lacking/test.parquet", table(png[:1], [0]))
    objects = np.empty(4, object)
    objects[:] = list(small)
    np.savez(OUT / "objects.npz", images=objects, labels=np.array(labels))
    np.savez(OUT / "object_labels.npz", images=small, labels=np.array(labels, object))
    np.savez(OUT / "named_fields.npz", images=small, labels=np.zeros(4, [("label", "<i8")]))
    np.savez(OUT / "no_height.npz", images=np.zeros((4, 3, 0, 7), np.uint8), labels=np.array(labels))
    np.savez(OUT / "no_width.npz", images=np.zeros((4, 5, 0, 3), np.uint8), labels=np.array(labels))
    np.savez(OUT / "largest.npz", images=small, labels=np.array([2, 0, 2**63 - 1, 0]))
    (OUT / "corrupted").mkdir(exist_ok=True)
    np.save(OUT / "corrupted" / "gaussian_noise.npy", small)
    np.save(OUT / "corrupted" / "labels.npy", np.array(labels))
    (OUT / "alone").mkdir(exist_ok=True)
    np.save(OUT / "alone" / "gaussian_noise.npy", small)


main()
