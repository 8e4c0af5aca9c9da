//! `label merge`: label sets of the same images and teacher as one, or the parts of one that were written into folders of their
//! own. No teacher is asked.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use cli::{Progress, Stop};
use labels::{Dtype, Form, Joined, LabelSet, Manifest, Spec, Views, join};
use method::view::ViewPlan;

use crate::args::row_table;
use crate::reuse::Reused;
use crate::storing::Storing;
use crate::teacher::RowId;
use crate::write::{Order, Written, label_set};
use crate::{Error, Result};

/// Flags of `label merge`.
#[derive(Debug, Clone, Args)]
pub struct MergeArgs {
    /// The label sets' folders: all of them published, or all of them parts of one that is not
    #[arg(required = true, num_args = 2.., value_name = "LABELS")]
    pub labels: Vec<PathBuf>,
    /// The folder of the new one: empty, absent, or begun by the same command
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// What to take of published ones.
    #[command(flatten)]
    pub taken: TakenArgs,
}

/// What is taken of published label sets, and how it is written; parts are taken as they are.
#[derive(Debug, Clone, Default, Args)]
pub struct TakenArgs {
    /// The rows: all, plan:EPOCHS@SEED, plan:EPOCHS@FIRST-LAST or random:K@SEED [default: those of all, where they have a name]
    #[arg(long, value_name = "SPEC")]
    pub views: Option<Views>,
    /// Take the first N images [default: as many as one of them has]
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Stored type of the logits: f16, or f32 where all are f32 [default: as the coarsest, and as they are where that is u8]
    #[arg(long, value_name = "TYPE")]
    pub dtype: Option<Dtype>,
    /// Files to write: both, safetensors or parquet [default: as the first]
    #[arg(long, value_name = "FORM")]
    pub format: Option<Form>,
    /// Images per shard [default: about 64 MiB]
    #[arg(long, value_name = "N")]
    pub shard_images: Option<NonZeroUsize>,
    /// Where the teacher's weights come from, where they do not say the same
    #[arg(long, value_name = "TEXT")]
    pub origin: Option<String>,
    /// Licence of the label set, where theirs differ
    #[arg(long, value_name = "TEXT")]
    pub license: Option<String>,
    /// Who made the label set, where their authors differ
    #[arg(long, value_name = "TEXT")]
    pub author: Option<String>,
}

/// Rows copied between two looks at the signals.
const CHUNK: usize = 1 << 14;

impl MergeArgs {
    pub(super) fn run(&self) -> Result<()> {
        let stop = Stop::on_signals_after("this shard or batch")?;
        run(self, &stop, &mut Progress::on_stderr("rows"))?.say(&self.out);
        Ok(())
    }
}

/// Brings the rows together and publishes the label set.
pub fn run(args: &MergeArgs, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let same = |old: &PathBuf| std::fs::canonicalize(old).ok() == std::fs::canonicalize(&args.out).ok();
    if let Some(old) = args.labels.iter().find(|old| args.out.exists() && same(old)) {
        return Err(Error::Usage {
            what: format!("{}: it is one of the label sets that are merged", old.display()),
            hint: "write to another --out; what is merged is never changed".into(),
        });
    }
    let mut unfinished = Vec::new();
    for dir in &args.labels {
        match Manifest::read(dir) {
            Ok(_) => {}
            Err(labels::Error::Unfinished { .. }) => unfinished.push(dir),
            Err(error) => return Err(error.into()),
        }
    }
    match unfinished.first() {
        None => rows(args, stop, progress),
        Some(_) if unfinished.len() == args.labels.len() => parts(args, stop),
        Some(dir) => Err(Error::Usage {
            what: format!("{}: it is unfinished, and others are published", dir.display()),
            hint: "merge its parts first, or run it to its end".into(),
        }),
    }
}

/// Joins parts of one label set.
fn parts(args: &MergeArgs, stop: &Stop) -> Result<Written> {
    if let Some(flag) = args.taken.given() {
        return Err(Error::Usage {
            what: format!(
                "{flag} says what is taken of published label sets, and parts are joined as they are"
            ),
            hint: "leave it out; `label subset` takes some of what comes of it".into(),
        });
    }
    let already = Manifest::read(&args.out).is_ok();
    match join(&args.labels, &args.out, &|| stop.requested())? {
        Joined::Set(manifest) => Ok(Written::Set { manifest, already, notes: Vec::new() }),
        Joined::Stopped { done, rows } => {
            let (done, rows) = (done as usize, rows as usize);
            Err(Error::Interrupted { dir: args.out.clone(), done, rows })
        }
    }
}

/// Copies the rows of published label sets.
fn rows(args: &MergeArgs, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let reused = Reused::open(&args.labels)?;
    let mut spec = args.taken.spec(reused.sets())?;
    if let Some((image, view)) = reused.enter(&mut spec)? {
        let held: Vec<String> = reused.sets().iter().map(held).collect();
        return Err(Error::Usage {
            what: format!(
                "no label set holds view {view} of image {image}, which {} of {} images has: {}",
                spec.views,
                spec.dataset.len(),
                held.join("; ")
            ),
            hint: "--limit takes fewer images; `label append`, and --reuse for the others, asks the teacher for what is missing".into(),
        });
    }
    reused.refuse_contradictions(&spec)?;
    let storing = Storing::of(&spec);
    let order = Order { out: &args.out, spec, part: None, batch: CHUNK, stop, robust: None };
    let never = |_: &[RowId]| unreachable!("every row is there");
    label_set(order, progress, |_, rows| reused.answers(rows, &storing, never))
}

/// A label set with its rows, as it is named to people.
fn held(set: &LabelSet) -> String {
    format!("{} holds {} of {}", set.dir().display(), set.manifest().views, set.images())
}

impl TakenArgs {
    /// The first flag that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--views", self.views.is_some()),
            ("--limit", self.limit.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--format", self.format.is_some()),
            ("--shard-images", self.shard_images.is_some()),
            ("--origin", self.origin.is_some()),
            ("--license", self.license.is_some()),
            ("--author", self.author.is_some()),
        ];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }

    /// The label set that is to be written: of the images of the largest, by the teacher of the first.
    fn spec(&self, sets: &[LabelSet]) -> Result<Spec> {
        require_maps_alike(sets)?;
        require_stored_alike(sets)?;
        let first = sets[0].manifest();
        let largest = sets.iter().max_by_key(|set| set.images()).expect("at least two are merged");
        let mut dataset = largest.dataset();
        if let Some(limit) = self.limit {
            dataset.hashes.truncate(limit.get());
            dataset.labels.truncate(limit.get());
        }
        let views = self.views.map_or_else(|| union(sets), Ok)?;
        let plan = ViewPlan { augment: first.augment, views };
        let table = row_table(plan, dataset.len())?;
        let mut spec = Spec::new(dataset, plan.augment, plan.views, table, first.teacher.clone());
        let coarse = sets.iter().find(|set| set.manifest().dtype != Dtype::F32);
        let coarsest = coarse.map_or(Dtype::F32, |set| set.manifest().dtype);
        (spec.dtype, spec.top_k) = (self.dtype.unwrap_or(coarsest), first.top_k);
        spec.form = self.format.unwrap_or(first.form);
        spec.shard_images = self.shard_images.map(NonZeroUsize::get);
        spec.features.clone_from(&first.features);
        if let Some(features) = &mut spec.features {
            let coarse =
                |set: &LabelSet| set.manifest().features.as_ref().is_some_and(|of| of.dtype == Dtype::F16);
            // Maps are no wider than logits.
            if spec.dtype == Dtype::F16 || sets.iter().any(coarse) {
                features.dtype = Dtype::F16;
            }
        }
        spec.teacher.origin =
            common(sets, "--origin", self.origin.as_ref(), |manifest| &manifest.teacher.origin)?;
        spec.license = common(sets, "--license", self.license.as_ref(), |manifest| &manifest.license)?;
        spec.author = common(sets, "--author", self.author.as_ref(), |manifest| &manifest.author)?;
        Ok(spec)
    }
}

/// Refuses sets of which some have feature maps and others none: those maps would be left out without a word.
fn require_maps_alike(sets: &[LabelSet]) -> Result<()> {
    let of = |mapped: bool| sets.iter().find(|set| set.manifest().features.is_some() == mapped);
    let (Some(with), Some(without)) = (of(true), of(false)) else { return Ok(()) };
    Err(Error::Usage {
        what: format!("{} has feature maps, {} has none", with.dir().display(), without.dir().display()),
        hint: "`label subset --no-taps` makes the same label set without them".into(),
    })
}

/// Refuses sets of which one stores no float for every logit, and another one stores something else.
fn require_stored_alike(sets: &[LabelSet]) -> Result<()> {
    let coding = |set: &LabelSet| (set.manifest().dtype, set.manifest().top_k);
    let Some(coded) = sets.iter().find(|set| !set.manifest().coding().is_plain()) else { return Ok(()) };
    let Some(other) = sets.iter().find(|set| coding(set) != coding(coded)) else { return Ok(()) };
    let said = |set: &LabelSet| format!("{} is stored as {}", set.dir().display(), set.manifest().coding());
    Err(Error::Usage {
        what: format!("{}, {}", said(coded), said(other)),
        hint:
            "what was left out of one cannot be had again; `label subset` stores floats in the other's form"
                .into(),
    })
}

/// What was given, or what all say.
fn common(
    sets: &[LabelSet],
    flag: &str,
    given: Option<&String>,
    of: impl Fn(&Manifest) -> &String,
) -> Result<String> {
    let first = of(sets[0].manifest());
    let other = sets.iter().find(|set| of(set.manifest()) != first);
    match (given, other) {
        (Some(given), _) => Ok(given.clone()),
        (None, None) => Ok(first.clone()),
        (None, Some(other)) => Err(Error::Usage {
            what: format!(
                "{} says `{first}`, {} says `{}`",
                sets[0].dir().display(),
                other.dir().display(),
                of(other.manifest())
            ),
            hint: format!("say with {flag} what holds for both"),
        }),
    }
}

/// The choice of rows that is all of theirs.
fn union(sets: &[LabelSet]) -> Result<Views> {
    let mut all: Vec<(Views, &LabelSet)> = sets.iter().map(|set| (set.manifest().views, set)).collect();
    // Seeds may come in any order: whatever two have a name together become one.
    while all.len() > 1 {
        let pairs = (0..all.len()).flat_map(|one| (one + 1..all.len()).map(move |other| (one, other)));
        let mut named = pairs.filter_map(|(one, other)| Some((one, other, all[one].0.union(all[other].0)?)));
        let Some((one, other, views)) = named.next() else {
            let named = |(views, set): (Views, &LabelSet)| format!("{} ({views})", set.dir().display());
            return Err(Error::Usage {
                what: format!(
                    "{} and {}: no name of --views has the rows of both and no others",
                    named(all[0]),
                    named(all[1])
                ),
                hint: "plans go together that have as many epochs and seeds that follow on each other, or the same seeds; --views takes what they hold of another choice".into(),
            });
        };
        all[one].0 = views;
        all.remove(other);
    }
    Ok(all[0].0)
}
