//! The parameters that a half-done folder was begun with: a run with others must not go on in it.

use std::num::NonZeroU32;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::folder::answered::Answerer;
use crate::folder::manifest::Manifest;
use crate::folder::names::shard_path;
use crate::folder::records::{DatasetRecord, Parent};
use crate::folder::teacher::Teacher;
use crate::row::augment::Augment;
use crate::row::coding::Coding;
use crate::row::digest::Hex;
use crate::row::dtype::{Dtype, Form};
use crate::row::features::Features;
use crate::row::views::Views;

/// Everything that decides the bytes of a label set, but the logits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    pub dataset: DatasetRecord,
    pub augment: Augment,
    pub views: Views,
    pub rows: u64,
    /// Tells apart lists of views of equal length; a manifest does not keep it.
    pub list_of_views: Option<Hex>,
    /// Whose answers go on without being mixed with another build's; a manifest says it only where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    pub dtype: Dtype,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    pub form: Form,
    pub shard_images: u64,
    pub teacher: Teacher,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Parent>,
    pub license: String,
    pub author: String,
}

impl Parameters {
    /// Number of shards of each form.
    pub fn shards(&self) -> usize {
        self.dataset.images.div_ceil(self.shard_images) as usize
    }

    /// The images of a shard.
    pub fn images_of(&self, shard: usize) -> Range<u64> {
        let start = shard as u64 * self.shard_images;
        start..start.saturating_add(self.shard_images).min(self.dataset.images)
    }

    /// Who began it.
    pub fn answerer(&self) -> Answerer {
        Answerer::new(&self.teacher, self.build.as_ref())
    }

    /// How a row's answer is kept.
    pub fn coding(&self) -> Coding {
        Coding::new(self.dataset.classes, self.dtype, self.top_k, self.features.as_ref())
    }

    /// Paths of a shard's files, in the order of its record.
    pub fn files_of(&self, index: usize) -> impl Iterator<Item = String> {
        let forms =
            [(Form::Parquet, self.form.has_parquet()), (Form::Safetensors, self.form.has_safetensors())];
        forms.into_iter().filter(|(_, present)| *present).map(move |(form, _)| self.shard_path(form, index))
    }

    /// Path of a shard inside the folder.
    pub fn shard_path(&self, form: Form, index: usize) -> String {
        shard_path(form, &self.dataset.split, index, self.shards())
    }

    pub fn of(manifest: &Manifest) -> Parameters {
        Parameters {
            dataset: manifest.dataset.clone(),
            augment: manifest.augment,
            views: manifest.views,
            rows: manifest.rows,
            list_of_views: None,
            build: None,
            dtype: manifest.dtype,
            top_k: manifest.top_k,
            features: manifest.features.clone(),
            form: manifest.form,
            shard_images: manifest.shard_images,
            teacher: manifest.teacher.clone(),
            parents: manifest.parents.clone(),
            license: manifest.license.clone(),
            author: manifest.author.clone(),
        }
    }

    /// Refuses a folder that was begun with other parameters, naming the first that differs and both values.
    pub fn require(&self, dir: &Path, mut found: Parameters) -> Result<()> {
        if found.list_of_views.is_none() {
            found.list_of_views = self.list_of_views;
        }
        if found.build.is_none() {
            found.build.clone_from(&self.build);
        }
        let (wanted, found) = (plain(self), plain(&found));
        // What a person chose comes before what follows from it.
        let chosen = difference("", &without_derived(&wanted), &without_derived(&found));
        match chosen.or_else(|| difference("", &wanted, &found)) {
            None => Ok(()),
            Some((parameter, wanted, found)) => {
                Err(Error::OtherParameters { dir: dir.into(), parameter, wanted, found })
            }
        }
    }
}

pub(crate) fn plain(parameters: &impl Serialize) -> Value {
    serde_json::to_value(parameters).expect("parameters are plain data")
}

fn without_derived(parameters: &Value) -> Value {
    let mut parameters = parameters.clone();
    if let Value::Object(keys) = &mut parameters {
        keys.retain(|key, _| key != "rows" && key != "list_of_views");
    }
    parameters
}

/// Name and both values of the first leaf that differs. A key or entry that one of the two leaves out is null there.
pub(crate) fn difference(name: &str, wanted: &Value, found: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(wanted), Value::Object(found)) = (wanted, found) {
        let more = found.keys().filter(|key| !wanted.contains_key(*key));
        return wanted.keys().chain(more).find_map(|key| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            let of = |values: &Map<String, Value>| values.get(key).cloned().unwrap_or_default();
            difference(&name, &of(wanted), &of(found))
        });
    }
    // A list that is empty has no key.
    let list = |value: &Value| match value {
        Value::Array(entries) => Some(entries.clone()),
        Value::Null => Some(Vec::new()),
        _ => None,
    };
    if let (Some(wanted), Some(found)) = (list(wanted), list(found))
        && wanted.iter().chain(&found).any(Value::is_object)
    {
        return (0..wanted.len().max(found.len())).find_map(|place| {
            let of = |values: &[Value]| values.get(place).cloned().unwrap_or_default();
            difference(&format!("{name}[{place}]"), &of(&wanted), &of(&found))
        });
    }
    (wanted != found).then(|| (name.into(), said(wanted), said(found)))
}

/// A value as people read it: of one with keys, each key and its value.
fn said(value: &Value) -> String {
    let keys = match value {
        Value::Object(keys) => keys,
        Value::Null => return "none".into(),
        value => return value.to_string(),
    };
    let each = keys.iter().map(|(key, value)| match value {
        Value::String(text) => format!("{key} {text}"),
        value => format!("{key} {}", said(value)),
    });
    each.collect::<Vec<_>>().join(", ")
}
