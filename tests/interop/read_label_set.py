"""Reads a label set with every Python reader the README promises, and compares what they hold row by row.

    python tests/interop/read_label_set.py LABELS

The code of docs/label-set.md is one of the readers. Exits non-zero where a reader fails or two of them differ. The safetensors shards are the yardstick.
"""
import glob
import os
import pathlib
import sys

import datasets
import duckdb
import numpy as np
import polars
import pyarrow.parquet as pq
from safetensors.numpy import load_file

import specification


ANSWERS = specification.page_code()["ANSWERS"]


def shards(folder):
    """image, view, label, image hash and what is answered (by column, f64) of every row, from safetensors."""
    parts, first = [], 0
    for path in sorted(glob.glob(os.path.join(folder, "shards", "*.safetensors"))):
        t = load_file(path)
        rows = np.diff(t["offset"].astype(np.int64))
        image = np.repeat(np.arange(len(rows)), rows)
        here = {name: t[name].astype(np.float64) for name in ANSWERS if name in t}
        parts.append({"image": first + image, "view": t["view"], "label": t["label"][image], "hash": t["image_hash"][image]} | here)
        first += len(rows)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return *(rows.pop(name) for name in ("image", "view", "label", "hash")), rows


def card_logits(folder):
    """The logits that the card's own code makes, one after the other; none of a set whose logits are stored as they are."""
    code = pathlib.Path(folder, "README.md").read_text().split("```python\n")[1].split("```")[0]
    code, here = code[code.index("# A logit of every class"):] if "# A logit of every class" in code else "", os.getcwd()
    names = {"duckdb": duckdb}
    os.chdir(folder)
    try:
        for line in code.splitlines():
            exec(line, names)
            if line.startswith("np.put_along_axis") or line.startswith("logits = rows[\"low\"]"):
                yield names["logits"]
            elif line.startswith("logits = duckdb"):
                yield np.stack(names["logits"].fetchnumpy()["logits"])
    finally:
        os.chdir(here)


def main(folder):
    image, view, label, digest, answers = shards(folder)
    files = os.path.join(folder, "data", "*.parquet")
    arrow = pq.read_table(sorted(glob.glob(files)))
    for name, found in answers.items():
        assert str(arrow.schema.field(name).type).startswith("fixed_size_list<") == (found.ndim == 2), arrow.schema
    assert not any(field.nullable for field in arrow.schema), "every column is non-null"
    specification.check(folder, arrow)
    page = specification.page_code()
    manifest, *_, stored = page["read"](folder)
    logits = page["logits"](manifest, stored)
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
        assert [column for column in columns if column in ANSWERS] == list(answers), (name, list(columns))
        for column, wanted in answers.items():
            got = np.stack([np.asarray(row, dtype=np.float64) for row in columns[column]])
            assert np.array_equal(got, wanted), (name, column, np.abs(got - wanted).max())
        for wanted, column in ((image, "image"), (view, "view"), (label, "label")):
            assert np.array_equal(np.asarray(columns[column], dtype=np.int64), wanted), (name, column)
        assert np.array_equal(np.asarray(columns["teacher_pred"]), logits.argmax(1)), (name, "teacher_pred")
        hashes = [bytes(value) for value in columns["image_hash"]]
        assert hashes == [row.tobytes() for row in digest], (name, "image_hash")
        print(f"{name:9} {len(logits)} rows, {', '.join(answers)} equal bit for bit")
    made = list(card_logits(folder))
    assert len(made) == (0 if manifest["format_version"] < 3 else 2), len(made)
    for found in made:
        assert np.array_equal(np.asarray(found, dtype=np.float32), logits), "the card's logits"
    print(f"{'the card':9} {len(made)} ways to the logits, equal bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
