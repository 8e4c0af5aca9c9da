"""Runs the code of docs/label-set.md: a reader that is written after the page must read what this program writes.

The page's fenced blocks begin with a comment that names them. What they compute is compared with what pyarrow reads of
the same label set, with the manifest's own hashes, and with the draws and views of tests/golden.
"""
import json
import pathlib
import re

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def page_code():
    """Every name that the page's blocks define."""
    page = (ROOT / "docs" / "label-set.md").read_text()
    blocks = dict(re.findall(r"^```python\n# (\w+)\n(.*?)^```$", page, re.M | re.S))
    assert list(blocks) == ["read", "cut", "draws", "hashes"], list(blocks)
    names = {}
    for name, code in blocks.items():
        exec(compile(code, f"docs/label-set.md, block {name}", "exec"), names)
    return names


def golden(name):
    return json.loads((ROOT / "tests" / "golden" / name).read_text())


def check_draws(page):
    numbers = golden("rng.json")
    for row in numbers["draws"]:
        found = page["draw"](row["seed"], numbers["purposes"][row["purpose"]], row["epoch"], row["image"], row["block"])
        assert found == row["lo"], row
    for row in numbers["orders"]:
        assert page["order"](row["seed"], row["epoch"], range(row["images"])) == row["order"], row
    for row in numbers["views"]:
        found = [page["view"](row["seed"], row["epoch"], image, row["views"]) for image in range(len(row["of_image"]))]
        assert found == row["of_image"], row
    for row in numbers["picks"]:
        assert page["picked"](row["count"], row["seed"], row["image"], row["views"]) == row["picked"], row
    return sum(len(numbers[name]) for name in ("draws", "orders", "views", "picks"))


def augmentation(name):
    """Padding, mirroring and number of views of an augmentation's name."""
    pad = int(re.sub(r"\D", "", name) or 0)
    flips = name.endswith("flip")
    return pad, flips, (2 * pad + 1) ** 2 * (2 if flips else 1)


def check_cuts(page):
    views = golden("views.json")
    images = {image["augmentation"]: np.array(image["pixels"], np.uint8).reshape(image["hwc"]) for image in views["images"]}
    for cut in views["cuts"]:
        pad, flips, _ = augmentation(cut["augmentation"])
        found = page["cut"](images[cut["augmentation"]], pad, flips, cut["view"])
        assert np.array_equal(found.reshape(-1), np.array(cut["chw"], np.float32)), (cut["augmentation"], cut["view"])
    return len(views["cuts"])


def check_rows(page, folder, arrow):
    """Every value of a label set, as the page's reader and as pyarrow read it; then its hashes and its plan."""
    manifest, image, view, label, image_hash, answers = page["read"](folder)
    logits = page["logits"](manifest, answers)
    assert len(image) == manifest["rows"] == arrow.num_rows
    for name, found in (("image", image), ("view", view), ("label", label)):
        assert np.array_equal(found, arrow[name].to_numpy()), name
    if "features" in manifest:
        assert answers["features"].shape[1] == sum(np.prod(map["shape"]) for map in manifest["features"]["maps"])
    assert ("features" in answers) == ("features" in manifest)
    assert list(answers) == [name for name in arrow.column_names if name in page["ANSWERS"]], arrow.column_names
    for name, found in answers.items():
        theirs = arrow[name].combine_chunks()
        theirs = (theirs if found.ndim == 1 else theirs.flatten()).to_numpy(zero_copy_only=False).reshape(found.shape)
        assert theirs.dtype == found.dtype and np.array_equal(theirs, found), name
    assert logits.shape == (len(image), manifest["dataset"]["classes"]), logits.shape
    if "lost" in manifest:
        assert manifest["lost"] == {"nanonats": answers["lost"].astype(object).sum(), "largest_nanonats": answers["lost"].max(),
                                    "turned": answers["turned"].sum()}, manifest["lost"]
    assert [row.tobytes() for row in image_hash] == arrow["image_hash"].to_pylist(), "image_hash"

    pad, flips, views = augmentation(manifest["augment"])
    side = 2 * pad + 1
    crop, flip = (view // 2, view % 2 == 1) if flips else (view, np.zeros(len(view), bool))
    for name, found in (("crop_y", crop // side), ("crop_x", crop % side)):
        assert np.array_equal(found, arrow[name].to_numpy()), name
    assert flip.tolist() == arrow["flip"].to_pylist(), "flip"
    assert np.array_equal(logits.argmax(1), arrow["teacher_pred"].to_numpy()), "teacher_pred"

    assert page["content_hash"](manifest, image, view, label, answers) == manifest["content_hash"]
    assert page["dataset_hash"](image, label, image_hash) == manifest["dataset"]["hash"]
    file = (pathlib.Path(folder) / "manifest.json").read_bytes()
    assert page["manifest_id"](file, manifest) == manifest["id"]

    choice, _, rest = manifest["views"].partition(":")
    if choice != "all":
        count, seed = map(int, rest.split("@"))
        rows_of = {"plan": page["planned"], "random": page["picked"]}[choice]
        starts = np.searchsorted(image, np.arange(manifest["dataset"]["images"] + 1))
        for number, (start, end) in enumerate(zip(starts, starts[1:])):
            assert view[start:end].tolist() == rows_of(count, seed, number, views), ("views of image", number)


def check(folder, arrow):
    """Compares what the page says with a label set that has both forms, its Parquet rows read by pyarrow."""
    page = page_code()
    print(f"{'the page':9} {check_draws(page)} draws and {check_cuts(page)} views as in tests/golden")
    check_rows(page, folder, arrow)
    print(f"{'the page':9} {arrow.num_rows} rows, their hashes and their views as its code computes them")
