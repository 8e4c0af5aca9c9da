//! `README.md`: the card. For people, and through its front matter for the Hugging Face Hub and `datasets`.

use std::fmt::Write;

use crate::folder::manifest::Manifest;
use crate::folder::names::shard_path;
use crate::folder::records::{Parent, Robust};
use crate::row::column::COLUMNS;
use crate::row::dtype::{Dtype, Form};

/// Licences that the Hub knows by these names; any other goes in as `other`.
const HUB_LICENSES: [&str; 12] = [
    "apache-2.0",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "cc-by-sa-4.0",
    "cc0-1.0",
    "gpl-3.0",
    "mit",
    "odc-by",
    "openrail",
    "unknown",
];

/// The card of a manifest whose files and id are not known yet: it uses neither.
pub(crate) fn text(manifest: &Manifest) -> String {
    let mut card = String::new();
    let written = front_matter(&mut card, manifest)
        .and_then(|()| describe(&mut card, manifest))
        .and_then(|()| loading(&mut card, manifest));
    written.expect("a string takes any text");
    card
}

fn front_matter(card: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let license = manifest.license.trim().to_lowercase();
    writeln!(card, "---")?;
    if license.is_empty() {
        writeln!(card, "license: unknown")?;
    } else if HUB_LICENSES.contains(&license.as_str()) {
        writeln!(card, "license: {license}")?;
    } else {
        writeln!(card, "license: other\nlicense_name: {}", quoted(&manifest.license))?;
    }
    writeln!(card, "tags:\n- knowledge-distillation\n- adversarial-robustness\n- soft-labels")?;
    if manifest.form.has_parquet() {
        let split = &manifest.dataset.split;
        writeln!(
            card,
            "configs:\n- config_name: default\n  data_files:\n  - split: {split}\n    path: data/*.parquet"
        )?;
    }
    writeln!(card, "---\n")
}

fn describe(card: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let (data, teacher) = (&manifest.dataset, &manifest.teacher);
    writeln!(
        card,
        "# Logits of {} on {} ({})\n",
        plain(&teacher.architecture),
        plain(&data.name),
        data.split
    )?;
    writeln!(
        card,
        "A label set, format {}: what a teacher answers to views of clean images, for distilling students from it.\n",
        manifest.format_version
    )?;
    writeln!(card, "| | |\n|---|---|")?;
    let mut line = |name: &str, value: String| writeln!(card, "| {name} | {value} |");
    line("content_hash", format!("`{}`", manifest.content_hash))?;
    line(
        "images",
        format!(
            "{} of {}x{}x{}, {} classes",
            data.images, data.height, data.width, data.channels, data.classes
        ),
    )?;
    line("dataset hash", format!("`{}`", data.hash))?;
    line("augmentation", format!("`{}`, {} views", manifest.augment, manifest.augment.views()))?;
    line("views", format!("`{}`", manifest.views))?;
    line("rows", manifest.rows.to_string())?;
    line("logits", manifest.coding().to_string())?;
    if let Some(lost) = &manifest.lost {
        line("lost by storing them so", lost.text(manifest.rows))?;
    }
    if let Some(features) = &manifest.features {
        let maps = plain(&features.to_string());
        line("feature maps", format!("{maps}; {}, {} values a row", features.dtype, features.values()))?;
    }
    let weights = teacher.weights_blake3.map_or("not recorded".into(), |hash| format!("`{hash}`"));
    line("teacher", plain(&teacher.architecture))?;
    line("teacher's weights, BLAKE3", weights)?;
    line("teacher's origin", or_unknown(&teacher.origin))?;
    if let Some(key) = &teacher.weights_key {
        line("teacher's part of the file", format!("`{}`", plain(key)))?;
    }
    let normalisation = if let Some(said) = &teacher.normalisation {
        plain(said)
    } else if teacher.mean.is_empty() {
        "none".into()
    } else {
        format!("mean {}, std {}", plain(&teacher.mean.join(" ")), plain(&teacher.std.join(" ")))
    };
    line("teacher's normalisation", normalisation)?;
    line("computed by", plain(&manifest.computed_by()))?;
    for Parent { content_hash, images, views, engine, device } in &manifest.parents {
        let [engine, device] = [engine, device].map(|text| plain(text));
        let what = format!("`{content_hash}`: {views} of the first {images} images, by {engine}, {device}");
        line("answers taken over from", what)?;
    }
    line("right answers", format!("{} of {} rows", manifest.right.right, manifest.right.rows))?;
    if let Some(Robust { attack, norm, eps, split, images, clean, right, .. }) = &manifest.robust {
        // Of all attacks only the standard evaluation gives a figure to quote.
        let bound = if attack == "autoattack" { "" } else { "; an upper bound" };
        let [attack, eps, split] = [attack, eps, split].map(|text| plain(text));
        line(
            "right under attack",
            format!(
                "{right} of {images} by {attack}, {norm} {eps}; {clean} without (first images of {split}{bound})"
            ),
        )?;
    }
    line("licence", or_unknown(&manifest.license))?;
    line("author", or_unknown(&manifest.author))?;
    writeln!(
        card,
        "\nA row is a view of an image. Rows are sorted by image, then view. With padding p, view `((dy * (2p+1)) + dx) * 2 + flip` \
         (without mirroring `dy * (2p+1) + dx`) is the crop at row dy, column dx of the zero-padded image, mirrored if flip is 1. \
         Pixels are u8 / 255. Logits are stored, not probabilities.\n"
    )
}

fn loading(card: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let (split, shards, coding) = (&manifest.dataset.split, manifest.shards(), manifest.coding());
    writeln!(card, "## Loading\n\n```python")?;
    if manifest.form.has_parquet() {
        let columns: Vec<&str> = COLUMNS
            .iter()
            .filter(|column| column.card && coding.holds(column))
            .map(|column| column.name)
            .collect();
        let columns = columns.join(", ");
        writeln!(
            card,
            "import datasets, duckdb, polars, pyarrow.parquet\n\
             rows = datasets.load_dataset(\".\", split=\"{split}\")  # or the address of this repository\n\
             rows = polars.read_parquet(\"data/*.parquet\")\n\
             rows = duckdb.sql(\"select {columns} from 'data/*.parquet' order by image, view\")\n\
             rows = pyarrow.parquet.read_table(\"data\")"
        )?;
    }
    if manifest.form.has_safetensors() {
        let first = shard_path(Form::Safetensors, split, 0, shards);
        writeln!(
            card,
            "import safetensors.numpy\n\
             shard = safetensors.numpy.load_file(\"{first}\")\n\
             # Views of image i of the shard: shard[\"view\"][a:b], their {}: shard[\"{}\"][a:b], with a, b = shard[\"offset\"][i:i+2]",
            if coding.dtype() == Dtype::U8 { "codes" } else { "logits" },
            if coding.dtype() == Dtype::U8 { "codes" } else { "logits" },
        )?;
        for (number, map) in manifest.features.iter().flat_map(|all| all.maps.iter().enumerate()) {
            let places = manifest.features.as_ref().map(|all| all.places(number)).unwrap_or_default();
            let ([channels, height, width], module) = (map.shape, plain(&map.module));
            let (from, to) = (places.start, places.end);
            writeln!(
                card,
                "# Their maps at {module}: shard[\"features\"][a:b, {from}:{to}].reshape(-1, {channels}, {height}, {width})"
            )?;
        }
    }
    logits_again(card, manifest)?;
    writeln!(card, "```\n\n`sha256sum -c SHA256SUMS` checks every file; `label verify` checks every row too.")
}

/// How to have a logit of every class where a row does not store them as floats.
fn logits_again(card: &mut String, manifest: &Manifest) -> std::fmt::Result {
    let (coding, classes) = (manifest.coding(), manifest.dataset.classes);
    if coding.is_plain() {
        return Ok(());
    }
    let (rows, column, lists) = if manifest.form.has_parquet() {
        (
            "import numpy as np, pandas\nrows = pandas.read_parquet(\"data\")",
            ".to_numpy()",
            ("np.stack(", ")"),
        )
    } else {
        ("import numpy as np\nrows = shard", "", ("", ""))
    };
    writeln!(
        card,
        "# A logit of every class, (rows, {classes}): their softmax is the teacher's but for what is lost.\n{rows}"
    )?;
    let list = |name: &str| format!("{}rows[\"{name}\"]{}", lists.0, lists.1);
    let (codes, kept, names) = (list("codes"), list("logits"), list("classes"));
    let sql = if coding.top_k().is_some() {
        writeln!(
            card,
            "logits = np.repeat(rows[\"rest\"]{column}[:, None], {classes}, axis=1)  # every other class has the rest's\n\
             np.put_along_axis(logits, {names}.astype(int), {kept}.astype(np.float32), axis=1)"
        )?;
        format!("[coalesce(logits[list_position(classes, c)], rest) for c in range({classes})]")
    } else {
        writeln!(
            card,
            "logits = rows[\"low\"]{column}[:, None] + rows[\"scale\"]{column}[:, None] * {codes}.astype(np.float32)"
        )?;
        "[low + scale * c for c in codes]".into()
    };
    if manifest.form.has_parquet() {
        writeln!(
            card,
            "logits = duckdb.sql(\"select image, view, {sql} as logits from 'data/*.parquet' order by image, view\")"
        )?;
    }
    Ok(())
}

fn or_unknown(text: &str) -> String {
    if text.trim().is_empty() { "not recorded".into() } else { plain(text) }
}

/// Text on one line of a table: what users write may hold anything.
fn plain(text: &str) -> String {
    names::seen(text, ' ').replace('|', "\\|")
}

/// Text as a YAML string; JSON's is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
