//! Writing a label set shard by shard, from whatever answers: `run` asks a teacher, `import` reads a file.

use std::path::Path;

use cli::{Progress, say};
use labels::{Kind, Manifest, Session, ShardJob, Spec};

use crate::teacher::RowId;
use crate::{Error, Result};

/// A published label set.
#[derive(Debug)]
pub struct Written {
    /// What it is.
    pub manifest: Manifest,
    /// Whether it was there already, complete and with the same parameters.
    pub already: bool,
}

impl Written {
    /// Says what became of the label set in this folder.
    pub fn say(&self, dir: &Path) {
        let Self { manifest, already } = self;
        let state = if *already { "already complete" } else { "complete" };
        let right = &manifest.right;
        let share = 100.0 * right.right as f64 / right.rows as f64;
        say(format_args!("{}: {state}, {} rows, right answers {share:.2} %", dir.display(), manifest.rows));
        say(format_args!("content_hash {}", manifest.content_hash));
    }
}

/// One shard's worth of rows to be answered.
pub(crate) struct Shard<'a> {
    /// Its place in the label set.
    pub job: &'a ShardJob,
    /// Its rows, in order.
    pub rows: &'a [RowId],
}

/// Writes the shards that are not there yet and publishes the label set.
///
/// `answer` gives (rows, K) logits, or nothing where it was asked to stop.
pub(crate) fn label_set(
    out: &Path,
    spec: Spec,
    progress: &mut Progress,
    mut answer: impl FnMut(&Shard, &mut Progress) -> Result<Option<Vec<f32>>>,
) -> Result<Written> {
    let finished = out.join("manifest.json").exists();
    let mut session = Session::open(out, spec).map_err(|error| match error.kind() {
        // The folder that was named for writing holds something else now: that is a refusal, not a finding.
        Kind::Damage if finished => Error::Disturbed(error),
        _ => error.into(),
    })?;
    if finished {
        return Ok(Written { manifest: session.finish()?, already: true });
    }
    let pending = session.pending();
    let total = session.spec().rows.len();
    let missing: usize = pending.iter().map(|job| job.rows.len()).sum();
    progress.begin((total - missing) as u64, total as u64);
    for (written, job) in pending.iter().enumerate() {
        let table = &session.spec().rows;
        let rows: Vec<RowId> = job
            .images
            .clone()
            .flat_map(|image| table.views_of(image).iter().map(move |&view| (image, view)))
            .collect();
        let Some(logits) = answer(&Shard { job, rows: &rows }, progress)? else {
            let shards = session.shards();
            return Err(Error::Interrupted {
                dir: out.into(),
                done: shards - pending.len() + written,
                shards,
            });
        };
        session.write(job, &logits)?;
    }
    Ok(Written { manifest: session.finish()?, already: false })
}
