"""Reads a label set with every Python reader the README promises, and compares what they hold row by row.

    python tests/interop/read_label_set.py LABELS

The code of docs/label-set.md is one of the readers. Exits non-zero where a reader fails or two of them differ. The safetensors shards are the yardstick.
"""
import glob
import os
import sys

import datasets
import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
from safetensors.numpy import load_file

import specification


def shards(folder):
    """image, view, label, logits (f64), image hash and feature maps (f64) of every row, from safetensors."""
    parts, first = [], 0
    for path in sorted(glob.glob(os.path.join(folder, "shards", "*.safetensors"))):
        t = load_file(path)
        rows = np.diff(t["offset"].astype(np.int64))
        image = np.repeat(np.arange(len(rows)), rows)
        features = t.get("features", np.empty((len(image), 0))).astype(np.float64)
        parts.append((first + image, t["view"], t["label"][image], t["logits"].astype(np.float64), t["image_hash"][image], features))
        first += len(rows)
    return [np.concatenate(column) for column in zip(*parts)]


def main(folder):
    image, view, label, logits, digest, features = shards(folder)
    files = os.path.join(folder, "data", "*.parquet")
    arrow = pq.read_table(sorted(glob.glob(files)))
    assert str(arrow.schema.field("logits").type).startswith("fixed_size_list<"), arrow.schema
    assert not any(field.nullable for field in arrow.schema), "every column is non-null"
    specification.check(folder, arrow)
    dataset = datasets.load_dataset(folder, split="train" if glob.glob(os.path.join(folder, "data", "train-*")) else "test",
                                    cache_dir=os.path.join(folder, os.pardir, "datasets-cache"))
    order = "select * from '{}' order by image, view".format(files)
    readers = {
        "pyarrow": {name: arrow[name].to_pylist() for name in arrow.column_names},
        "polars": polars.scan_parquet(files).collect().to_dict(as_series=False),
        "duckdb": {name: list(column) for name, column in duckdb.sql(order).fetchnumpy().items()},
        # numpy's byte strings drop trailing zeros, so the hashes are taken as Python's.
        "datasets": {**dataset.with_format("numpy")[:], "image_hash": list(dataset.with_format(None)["image_hash"])},
    }
    for name, columns in readers.items():
        for floats, wanted in (("logits", logits), ("features", features)):
            if wanted.shape[1]:
                got = np.stack([np.asarray(row, dtype=np.float64) for row in columns[floats]])
                assert np.array_equal(got, wanted), (name, floats, np.abs(got - wanted).max())
        assert ("features" in columns) == (features.shape[1] > 0), (name, "features")
        for wanted, column in ((image, "image"), (view, "view"), (label, "label")):
            assert np.array_equal(np.asarray(columns[column], dtype=np.int64), wanted), (name, column)
        assert np.array_equal(np.asarray(columns["teacher_pred"]), logits.argmax(1)), (name, "teacher_pred")
        hashes = [bytes(value) for value in columns["image_hash"]]
        assert hashes == [row.tobytes() for row in digest], (name, "image_hash")
        print(f"{name:9} {len(logits)} rows, logits and feature maps equal bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
