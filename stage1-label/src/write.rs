//! Writing a label set shard by shard, from whatever answers: `run` asks a teacher, `import` reads a file.

use std::path::Path;
use std::time::{Duration, Instant};

use cli::{Progress, Stop, note, warn};
use labels::{Answers, Kind, Manifest, Note, Session, ShardJob, Spec};

use crate::robust::Verdict;
use crate::teacher::RowId;
use crate::{Error, Result};

/// A published label set.
#[derive(Debug)]
pub struct Written {
    /// What it is.
    pub manifest: Manifest,
    /// Whether it was there already, complete and with the same parameters; every byte and row of it was verified then.
    pub already: bool,
    /// What is other than it was written in one that was there already, and wrong with nothing.
    pub notes: Vec<Note>,
}

impl Written {
    /// Says what became of the label set in this folder.
    pub fn say(&self, dir: &Path) {
        let Self { manifest, already, notes } = self;
        for other in notes {
            note(format_args!("note: {other}"));
        }
        let state = if *already { "already complete" } else { "complete" };
        let right = &manifest.right;
        let share = 100.0 * right.right as f64 / right.rows as f64;
        note(format_args!("{}: {state}, {} rows, right answers {share:.2} %", dir.display(), manifest.rows));
        note(format_args!("content_hash {}", manifest.content_hash));
        let data = &manifest.dataset;
        if let Some(doubt) = cli::doubt(right, data.images, &data.name) {
            warn(doubt);
        }
    }
}

/// A label set that is to be written.
pub(crate) struct Order<'a> {
    /// Its folder.
    pub out: &'a Path,
    /// What it is to be.
    pub spec: Spec,
    /// The most rows to be answered together; changes no result.
    pub batch: usize,
    /// Who may ask for an end.
    pub stop: &'a Stop,
    /// Measures how the teacher does under attack once it has answered, where that is wanted.
    pub robust: Option<&'a dyn Fn() -> Result<Verdict>>,
}

/// Writes the shards that are not there yet and publishes the label set.
///
/// `answer` gives the (rows, K + F) answers to some rows, logits and then feature maps where the spec has some; the first of
/// the rows has this place among all. Its answers are kept as they come: one that dies, or is asked to stop, goes on where it was.
pub(crate) fn label_set(
    order: Order,
    progress: &mut Progress,
    mut answer: impl FnMut(usize, &[RowId]) -> Result<Vec<f32>>,
) -> Result<Written> {
    let Order { out, spec, batch, stop, robust } = order;
    let mut session = Session::open(out, spec).map_err(|error| match error.kind() {
        // The folder that was named for writing holds something else now: that is a refusal, not a finding.
        Kind::Damage if out.join("manifest.json").exists() => Error::Disturbed(error),
        _ => error.into(),
    })?;
    if session.is_finished() {
        let notes = session.notes().to_vec();
        let manifest = session.finish()?;
        if robust.is_some() {
            let has = if manifest.robust.is_some() { "its card keeps the one it has" } else { "it has none" };
            warn(format_args!(
                "{}: complete already, so no robust accuracy is measured; {has}\nhint: label into a new folder to have it on the card",
                out.display()
            ));
        }
        return Ok(Written { manifest, already: true, notes });
    }
    let pending = session.pending();
    let total = session.spec().rows.len();
    let mut done = total;
    for job in &pending {
        done -= job.rows.len() - session.answers(job)?.rows();
    }
    progress.begin(done as u64, total as u64);
    let mut pace = Pace::up_to(batch);
    for job in &pending {
        let rows = rows_of(&session, job);
        let mut answers = session.answers(job)?;
        while answers.rows() < rows.len() {
            if stop.requested() {
                answers.sync()?;
                return Err(Error::Interrupted { dir: out.into(), done, rows: total });
            }
            let next = pace.next(&answers, &rows);
            let began = Instant::now();
            answers.add(&answer(job.rows.start + answers.rows(), next)?)?;
            pace.took(began.elapsed());
            done += next.len();
            progress.add(next.len() as u64);
        }
        session.write(job, answers.values())?;
    }
    if let Some(measure) = robust {
        // The rows are done, and what comes has a progress of its own.
        *progress = Progress::hidden();
        match measure()? {
            Verdict::Robust(robust) => session.measured(robust),
            Verdict::Void => {}
            Verdict::Stopped => return Err(Error::Interrupted { dir: out.into(), done, rows: total }),
        }
    }
    Ok(Written { manifest: session.finish()?, already: false, notes: Vec::new() })
}

fn rows_of(session: &Session, job: &ShardJob) -> Vec<RowId> {
    let table = &session.spec().rows;
    let of = |image| table.views_of(image).iter().map(move |&view| (image, view));
    job.images.clone().flat_map(of).collect()
}

/// How many rows are asked for together: few at first, then ever more as long as an answer comes soon. A large teacher
/// on a small machine is then stopped, or killed, a few seconds from its last answer, whatever the batch.
struct Pace {
    rows: usize,
    most: usize,
}

impl Pace {
    const FIRST: usize = 16;
    const SOON: Duration = Duration::from_secs(1);
    const LATE: Duration = Duration::from_secs(5);

    fn up_to(most: usize) -> Self {
        Self { rows: Self::FIRST.min(most), most }
    }

    /// The rows to be answered next.
    fn next<'a>(&self, answers: &Answers, rows: &'a [RowId]) -> &'a [RowId] {
        let rest = &rows[answers.rows()..];
        &rest[..rest.len().min(self.rows)]
    }

    fn took(&mut self, elapsed: Duration) {
        if elapsed < Self::SOON {
            self.rows = (self.rows * 2).min(self.most);
        } else if elapsed > Self::LATE {
            self.rows = (self.rows / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_takes_seconds_whatever_the_batch_and_the_teacher() {
        // A row takes so many milliseconds; after a few answers each takes at most five seconds, or is a single row.
        for row in [0u64, 1, 300, 4_000, 90_000] {
            let mut pace = Pace::up_to(4096);
            for answer in 0..40 {
                let took = Duration::from_millis(row * pace.rows as u64);
                assert!(answer < 5 || took <= Pace::LATE || pace.rows == 1, "{row} ms a row: {took:?}");
                pace.took(took);
            }
            assert!(row > 0 || pace.rows == 4096, "a fast teacher gets whole batches");
        }
        assert_eq!(Pace::up_to(3).rows, 3);
    }
}
