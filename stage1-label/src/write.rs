//! Writing a label set shard by shard, from whatever answers: `run` asks a teacher, `import` reads a file.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use cli::{Progress, Stop, note, warn};
use labels::{Answerer, Answers, Kind, Manifest, Note, Part, Session, ShardJob, Spec};

use crate::robust::Verdict;
use crate::teacher::RowId;
use crate::watch::Onlooker;
use crate::{Error, Result};

/// What a run leaves in its folder.
#[derive(Debug)]
pub enum Written {
    /// A published label set.
    Set {
        /// What it is.
        manifest: Box<Manifest>,
        /// Whether it was there already, complete and with the same parameters; every byte and row of it was verified then.
        already: bool,
        /// What is other than it was written in one that was there already, and wrong with nothing.
        notes: Vec<Note>,
    },
    /// The shards of a part of one that is not published.
    Part {
        /// Which.
        part: Part,
        /// Its shards.
        shards: Range<usize>,
        /// Shards of all parts, and how many of them are not written yet.
        of: usize,
        /// See `of`.
        missing: usize,
    },
}

impl Written {
    /// Says what became of the label set in this folder.
    pub fn say(&self, dir: &Path) {
        match self {
            Self::Set { manifest, already, notes } => {
                for other in notes {
                    note(format_args!("note: {other}"));
                }
                published(dir, manifest, if *already { "already complete" } else { "complete" });
            }
            Self::Part { part, shards, of, missing } => {
                let dir = dir.display();
                let what = match shards.len() {
                    0 => format!("no shard of {of} falls to it: --shard-images makes more of them"),
                    1 => format!("shard {} of 0 to {}", shards.start, of - 1),
                    _ => format!("shards {} to {} of 0 to {}", shards.start, shards.end - 1, of - 1),
                };
                note(format_args!("{dir}: part {part} complete, {what}"));
                match missing {
                    0 => note(format_args!(
                        "all shards are there: `label finalize {dir}` publishes the label set"
                    )),
                    _ => note(format_args!("{missing} of {of} shards are missing in other parts")),
                }
            }
        }
    }
}

/// Says what a published label set is.
pub(crate) fn published(dir: &Path, manifest: &Manifest, state: &str) {
    let right = &manifest.right;
    let share = 100.0 * right.right as f64 / right.rows as f64;
    note(format_args!("{}: {state}, {} rows, right answers {share:.2} %", dir.display(), manifest.rows));
    note(format_args!("content_hash {}", manifest.content_hash));
    if let Some(lost) = &manifest.lost {
        note(format_args!("lost by storing {}: {}", manifest.coding(), lost.text(manifest.rows)));
    }
    let data = &manifest.dataset;
    if let Some(doubt) = cli::doubt(right, data.images, &data.name) {
        warn(doubt);
    }
}

/// A label set that is to be written.
pub(crate) struct Order<'a> {
    /// Its folder.
    pub out: &'a Path,
    /// What it is to be.
    pub spec: Spec,
    /// Which part of it is to be written; none for all.
    pub part: Option<Part>,
    /// The most rows to be answered together; changes no result.
    pub batch: usize,
    /// Threads that verify what is there already.
    pub threads: usize,
    /// Who may ask for an end.
    pub stop: &'a Stop,
    /// Measures how the teacher does under attack once it has answered, where that is wanted.
    pub robust: Option<&'a dyn Fn() -> Result<Verdict>>,
    /// Who answered to some rows, one after the other, where it was not this process.
    pub whose: Option<&'a Whose<'a>>,
}

/// Gives numbers of rows that follow on each other, with who answered to them.
pub(crate) type Whose<'a> = dyn Fn(&[RowId]) -> Vec<(usize, Answerer)> + 'a;

/// Writes the shards that are not there yet and publishes the label set; a part ends with its shards.
///
/// `answer` gives the (rows, K + F) answers to some rows, logits and then feature maps where the spec has some; the first of
/// the rows has this place among all. Its answers are kept as they come: one that dies, or is asked to stop, goes on where it was.
pub(crate) fn label_set(
    order: Order,
    progress: &mut Progress,
    mut answer: impl FnMut(usize, &[RowId]) -> Result<Vec<f32>>,
) -> Result<Written> {
    let Order { out, spec, part, batch, threads, stop, robust, whose } = order;
    let rows = spec.rows.len();
    let opened = Session::open_watched(out, spec, part, threads, &Onlooker::new(stop));
    let opened = opened.map_err(|error| match error.kind() {
        // The folder that was named for writing holds something else now: that is a refusal, not a finding.
        Kind::Damage if out.join("manifest.json").exists() => Error::Disturbed(error),
        _ => error.into(),
    })?;
    let mut session = opened.ok_or_else(|| Error::VerifyInterrupted { dir: out.into() })?;
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
        return Ok(Written::Set { manifest: manifest.into(), already: true, notes });
    }
    let pending = session.pending();
    let total = session.rows();
    let mut done = total;
    for job in &pending {
        done -= job.rows.len() - session.answers(job)?.rows();
    }
    if !pending.is_empty() && whose.is_none() {
        say_others(out, &session)?;
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
            let values = answer(job.rows.start + answers.rows(), next)?;
            match whose {
                None => answers.add(&values)?,
                Some(whose) => add_theirs(&mut answers, &values, &whose(next))?,
            }
            pace.took(began.elapsed());
            done += next.len();
            progress.add(next.len() as u64);
        }
        session.write_kept(job, &answers)?;
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
    if let Some(part) = part {
        let (shards, of, missing) = (session.ours(), session.shards(), session.missing());
        return Ok(Written::Part { part, shards, of, missing });
    }
    let manifest = session.finish_unless(&|| stop.requested())?;
    let manifest = manifest.ok_or_else(|| Error::Interrupted { dir: out.into(), done: rows, rows })?;
    Ok(Written::Set { manifest: manifest.into(), already: false, notes: Vec::new() })
}

/// Keeps answers to rows that follow on each other, each with who gave it.
fn add_theirs(answers: &mut Answers, values: &[f32], whose: &[(usize, Answerer)]) -> Result<()> {
    let width = values.len() / whose.iter().map(|(rows, _)| rows).sum::<usize>();
    let mut rest = values;
    for (rows, by) in whose {
        let (theirs, others) = rest.split_at(rows * width);
        answers.add_by(theirs, by)?;
        rest = others;
    }
    Ok(())
}

/// Says that the rows will be of several engines, devices or builds.
fn say_others(out: &Path, session: &Session) -> Result<()> {
    let others: Vec<String> = session.others()?.iter().map(ToString::to_string).collect();
    if !others.is_empty() {
        warn(format_args!(
            "{}: it was begun, or answered in part, by {}, and this is {}: they round differently, and the manifest will say which rows are whose\nhint: --same-engine refuses that",
            out.display(),
            others.join(" and by "),
            session.answerer()
        ));
    }
    Ok(())
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
