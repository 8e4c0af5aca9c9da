//! The parameters that a half-done folder was begun with: a run with others must not go on in it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::folder::manifest::Manifest;
use crate::folder::records::DatasetRecord;
use crate::folder::teacher::Teacher;
use crate::row::augment::Augment;
use crate::row::digest::Hex;
use crate::row::dtype::{Dtype, Form};
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
    pub dtype: Dtype,
    pub form: Form,
    pub shard_images: u64,
    pub teacher: Teacher,
    pub license: String,
    pub author: String,
}

impl Parameters {
    pub fn of(manifest: &Manifest) -> Parameters {
        Parameters {
            dataset: manifest.dataset.clone(),
            augment: manifest.augment,
            views: manifest.views,
            rows: manifest.rows,
            list_of_views: None,
            dtype: manifest.dtype,
            form: manifest.form,
            shard_images: manifest.shard_images,
            teacher: manifest.teacher.clone(),
            license: manifest.license.clone(),
            author: manifest.author.clone(),
        }
    }

    /// Refuses a folder that was begun with other parameters, naming the first that differs and both values.
    pub fn require(&self, dir: &Path, mut found: Parameters) -> Result<()> {
        if found.list_of_views.is_none() {
            found.list_of_views = self.list_of_views;
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

fn plain(parameters: &Parameters) -> Value {
    serde_json::to_value(parameters).expect("parameters are plain data")
}

fn without_derived(parameters: &Value) -> Value {
    let mut parameters = parameters.clone();
    if let Value::Object(keys) = &mut parameters {
        keys.retain(|key, _| key != "rows" && key != "list_of_views");
    }
    parameters
}

/// Name and both values of the first leaf that differs.
fn difference(name: &str, wanted: &Value, found: &Value) -> Option<(String, String, String)> {
    if let (Value::Object(wanted), Value::Object(found)) = (wanted, found) {
        return wanted.iter().find_map(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            difference(&name, value, found.get(key).unwrap_or(&Value::Null))
        });
    }
    (wanted != found).then(|| (name.into(), wanted.to_string(), found.to_string()))
}
