"""The package beside other programs on the same label set: `python -m unittest discover python/tests`.

RSLAD_LABELS names a label set in both forms; the quickstart's is taken where it is there.
"""
import json
import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
from blake3 import blake3

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "python"), str(ROOT / "tests" / "interop")]

from rslad import Augmentation, LabelSet, LabelSetError, draws, image_hashes  # noqa: E402
from rslad.blake3 import hash_bytes, hash_rows  # noqa: E402
from specification import page_code  # noqa: E402

KEPT = ROOT / "common" / "labels" / "tests"
LABELS = Path(os.environ.get("RSLAD_LABELS", ROOT / "runs" / "quickstart" / "labels"))
NUMBERS = json.loads((ROOT / "tests" / "golden" / "rng.json").read_text())


class Draws(unittest.TestCase):
    """Beside the numbers that the binaries are tested with."""

    def test_draws_of_every_purpose_agree(self):
        for row in NUMBERS["draws"]:
            purpose = NUMBERS["purposes"][row["purpose"]]
            found = draws.draws(row["seed"], purpose, row["epoch"], row["image"], row["block"])
            self.assertEqual([int(draw) for draw in found], [row["lo"], row["hi"]])

    def test_orders_views_and_picks_agree(self):
        for row in NUMBERS["orders"]:
            self.assertEqual(draws.order(row["seed"], row["epoch"], np.arange(row["images"])).tolist(), row["order"])
        for row in NUMBERS["views"]:
            images = np.arange(len(row["of_image"]))
            first = draws.draws(row["seed"], draws.VIEW, row["epoch"], images)[0]
            self.assertEqual(draws.below(first, row["views"]).tolist(), row["of_image"])
        for row in NUMBERS["picks"]:
            found = draws.smallest(row["count"], row["seed"], draws.PICK, row["image"], np.arange(row["views"]))
            self.assertEqual(found.tolist(), row["picked"])

    def test_starts_agree(self):
        for row in NUMBERS["starts"]:
            where = (row["seed"], draws.START, row["epoch"], row["image"], len(row["gaussian"]))
            np.testing.assert_allclose(0.001 * draws.normals(*where), row["gaussian"], rtol=1e-13)
            np.testing.assert_array_equal(row["eps"] * (2.0 * draws.uniforms(*where) - 1.0), row["uniform"])


class Blake3(unittest.TestCase):
    def test_it_agrees_with_its_authors_package_at_every_kind_of_length(self):
        data = np.random.default_rng(0).integers(0, 256, 1 << 17, dtype=np.uint8)
        around = [size + by for size in (64, 1024, 2048, 3072, 4096, 5120, 1 << 15) for by in (-1, 0, 1)]
        for length in [0, 1, *around]:
            rows = np.stack([data[:length], data[length:2 * length]])
            wanted = [blake3(row.tobytes()).digest() for row in rows]
            self.assertEqual([row.tobytes() for row in hash_rows(rows)], wanted, length)
            self.assertEqual(hash_bytes(rows[0].tobytes()), wanted[0].hex(), length)


class Views(unittest.TestCase):
    def test_every_view_is_cut_as_the_format_says(self):
        cut = page_code()["cut"]
        images = np.random.default_rng(1).integers(0, 256, (3, 6, 5, 2), dtype=np.uint8)
        for name, pad, flips in (("none", 0, False), ("flip", 0, True), ("crop1", 1, False), ("crop2+flip", 2, True)):
            augmentation = Augmentation(name)
            for view in range(augmentation.views):
                found = augmentation.cut(images, [view] * 3)
                np.testing.assert_array_equal(found, [cut(image, pad, flips, view) for image in images])
        for name in ("crop0", "crop-1", "Crop4", "crop4+flop", ""):
            self.assertRaises(LabelSetError, Augmentation, name)


class Held(unittest.TestCase):
    def test_a_run_on_some_views_draws_among_those_that_an_image_has(self):
        page = page_code()
        found = object.__new__(LabelSet)
        found.manifest, found.augmentation = {"views": "random:5@9"}, Augmentation("crop2+flip")
        found.held = lambda image: np.array(page["picked"](5, 9, int(image), 50))
        for epoch in (0, 3):
            wanted = [page["picked"](5, 9, image, 50)[page["draw"](7, 2, epoch, image) * 5 >> 64] for image in range(40)]
            self.assertEqual(found.drawn(7, epoch, range(40)).tolist(), wanted)


class Maps(unittest.TestCase):
    """On the kept label sets of both formats, the second of which has feature maps."""

    def test_maps_are_those_of_a_reader_written_after_the_format(self):
        manifest, image, view, _, _, answers = page_code()["read"](KEPT / "format-2")
        logits, features = answers["logits"], answers["features"]
        with tempfile.TemporaryDirectory() as folder:
            parquet = Path(folder) / "labels"
            shutil.copytree(KEPT / "format-2", parquet, ignore=shutil.ignore_patterns("shards"))
            for found in (LabelSet(KEPT / "format-2"), LabelSet(parquet)):
                shapes = [tuple(map["shape"]) for map in manifest["features"]["maps"]]
                self.assertEqual(found.maps, {"layer2": shapes[0], "layer1": shapes[1]})
                order = np.random.default_rng(4).permutation(len(image))
                maps = found.features(image[order], view[order])
                self.assertEqual([maps[name].shape[1:] for name in ("layer2", "layer1")], shapes)
                joined = np.concatenate([map.reshape(len(image), -1) for map in maps.values()], 1)
                np.testing.assert_array_equal(joined, features[order].astype(np.float32))
                np.testing.assert_array_equal(found.answers(image, view), logits)

    def test_a_set_without_maps_says_so(self):
        found = LabelSet(KEPT / "format-1")
        self.assertEqual(found.maps, {})
        self.assertRaisesRegex(LabelSetError, "no feature maps\nhint: label with --taps", found.features, [0], [0])


class Coded(unittest.TestCase):
    """On the kept label sets of the third format: the largest logits alone, and codes."""

    def test_logits_are_those_of_a_reader_written_after_the_format(self):
        page = page_code()
        for kept in ("format-3", "format-3-u8"):
            manifest, image, view, _, _, answers = page["read"](KEPT / kept)
            logits = page["logits"](manifest, answers)
            with tempfile.TemporaryDirectory() as folder:
                parquet = Path(folder) / "labels"
                shutil.copytree(KEPT / kept, parquet, ignore=shutil.ignore_patterns("shards"))
                for found in (LabelSet(KEPT / kept), LabelSet(parquet)):
                    self.assertEqual((found.logits.dtype, found.logits.shape), (np.float32, (len(image), found.classes)))
                    np.testing.assert_array_equal(found.logits, logits)
                    order = np.random.default_rng(5).permutation(len(image))
                    np.testing.assert_array_equal(found.answers(image[order], view[order]), logits[order])
                    self.assertEqual(found.lost, manifest["lost"])


@unittest.skipUnless(LABELS.exists(), f"{LABELS} is not there: run ./quickstart.sh, or set RSLAD_LABELS")
class Labels(unittest.TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def copy(self, *without):
        there = self.folder / "labels"
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(LABELS, there, ignore=shutil.ignore_patterns(*without))
        return there

    def test_rows_are_those_of_a_reader_written_after_the_format(self):
        _, *rows, answers = page_code()["read"](LABELS)
        for folder in (LABELS, self.copy("shards")):
            found = LabelSet(folder)
            per_row = (found.image, found.view, found.labels[found.image], found.image_hash[found.image])
            for column, wanted in zip(per_row, rows):
                np.testing.assert_array_equal(column, wanted)
            np.testing.assert_array_equal(found.logits, answers["logits"])
            some = np.random.default_rng(2).choice(len(rows[0]), 50)
            given = found.answers(rows[0][some], rows[1][some])
            np.testing.assert_array_equal(given, answers["logits"][some].astype(np.float32))

    def test_images_are_held_out_as_the_format_says(self):
        page, found = page_code(), LabelSet(LABELS, check="sizes")
        for images in (found.images, 700):
            hashes = found.image_hash[:images]
            digest = page["dataset_hash"](np.arange(images), found.labels[:images], hashes)
            key = int.from_bytes(bytes.fromhex(digest)[:8], "little")
            wanted = sorted(range(images), key=lambda image: (page["draw"](key, 5, 0, image), image))[:50]
            self.assertEqual(found.held_out(50, images).tolist(), sorted(wanted))

    def test_image_hashes_are_the_formats(self):
        images = np.random.default_rng(3).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
        for image, found in zip(images, image_hashes(images)):
            head = b"".join(size.to_bytes(4, "little") for size in image.shape)
            self.assertEqual(found.tobytes(), blake3(head + image.tobytes()).digest()[:16])

    def test_a_flipped_bit_a_missing_byte_and_a_forged_manifest_are_refused(self):
        for break_, words in (
            (lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:], "BLAKE3"),
            (lambda data: data[:-1], "bytes, the manifest says"),
        ):
            there = self.copy("data")
            shard = next((there / "shards").iterdir())
            shard.write_bytes(break_(shard.read_bytes()))
            self.assertRaisesRegex(LabelSetError, words, LabelSet, there)
        there = self.copy()
        text = (there / "manifest.json").read_text()
        (there / "manifest.json").write_text(text.replace('"rows": ', '"rows": 1', 1))
        self.assertRaisesRegex(LabelSetError, "its id is not its own", LabelSet, there)
        self.assertRaisesRegex(LabelSetError, "not a label set", LabelSet, self.folder)

    def test_a_row_that_is_not_there_is_said(self):
        found = LabelSet(LABELS, check="sizes")
        absent = next(view for view in range(found.augmentation.views) if view not in found.held(0))
        self.assertRaisesRegex(LabelSetError, f"no row for image 0, view {absent}", found.answers, [0], [absent])
        self.assertRaisesRegex(LabelSetError, "no image", found.answers, [found.images], [0])

    def test_other_images_are_refused(self):
        found = LabelSet(LABELS, check="sizes")
        images = np.zeros((5, *found.shape), np.uint8)
        self.assertRaisesRegex(LabelSetError, "image 0 is not the one", found.check_images, images)
        self.assertRaisesRegex(LabelSetError, "before ToTensor", found.check_images, images.astype(np.float32))


if __name__ == "__main__":
    unittest.main()
