//! `label merge`: label sets of the same images and teacher as one, or the parts of one that were written into folders of their
//! own. No teacher is asked.

use std::path::PathBuf;

use clap::Args;
use cli::{MachineArgs, Progress, Stop};
use labels::{Dtype, Joined, LabelSet, Manifest, Spec, Views, join};

use crate::args::TakenArgs;
use crate::reuse::Reused;
use crate::storing::refuse_needless;
use crate::watch::Onlooker;
use crate::write::Written;
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
    /// What is taken of published ones, and how it is written; parts are taken as they are.
    #[command(flatten)]
    pub taken: TakenArgs,
    /// What is said of published ones.
    #[command(flatten)]
    pub said: SaidArgs,
}

/// What is said of published label sets that do not say the same.
#[derive(Debug, Clone, Default, Args)]
pub struct SaidArgs {
    /// One teacher answered to all, though no label set records the BLAKE3 of its weights
    #[arg(long)]
    pub same_teacher: bool,
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

impl MergeArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<()> {
        let stop = Stop::on_signals_after("this shard or batch")?;
        run(self, machine.threads(), &stop, &mut Progress::on_stderr("rows"))?.say(&self.out);
        Ok(())
    }
}

/// Brings the rows together and publishes the label set; what is there already is verified on so many threads.
pub fn run(args: &MergeArgs, threads: usize, stop: &Stop, progress: &mut Progress) -> Result<Written> {
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
        None => rows(args, threads, stop, progress),
        Some(_) if unfinished.len() == args.labels.len() => parts(args, threads, stop),
        Some(dir) => Err(Error::Usage {
            what: format!("{}: it is unfinished, and others are published", dir.display()),
            hint: "merge its parts first, or run it to its end".into(),
        }),
    }
}

/// Joins parts of one label set.
fn parts(args: &MergeArgs, threads: usize, stop: &Stop) -> Result<Written> {
    if let Some(flag) = args.taken.given().or_else(|| args.said.given()) {
        return Err(Error::Usage {
            what: format!(
                "{flag} says what is taken of published label sets, and parts are joined as they are"
            ),
            hint: "leave it out; `label subset` takes some of what comes of it".into(),
        });
    }
    let already = Manifest::read(&args.out).is_ok();
    match join(&args.labels, &args.out, threads, &Onlooker::new(stop))? {
        Joined::Set(manifest) => Ok(Written::Set { manifest, already, notes: Vec::new() }),
        Joined::Stopped { done, rows } => {
            let (done, rows) = (done as usize, rows as usize);
            Err(Error::Interrupted { dir: args.out.clone(), done, rows })
        }
    }
}

/// Copies the rows of published label sets.
fn rows(args: &MergeArgs, threads: usize, stop: &Stop, progress: &mut Progress) -> Result<Written> {
    let reused = Reused::open(&args.labels)?;
    let mut spec = spec(args, reused.sets())?;
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
    if !args.said.same_teacher {
        refuse_unknown_weights(reused.sets())?;
    }
    reused.refuse_contradictions(&spec)?;
    reused.copy(&args.out, spec, (threads, stop), progress)
}

/// A label set with its rows, as it is named to people.
fn held(set: &LabelSet) -> String {
    format!("{} holds {} of {}", set.dir().display(), set.manifest().views, set.images())
}

impl SaidArgs {
    /// The first flag that was given.
    fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--same-teacher", self.same_teacher),
            ("--origin", self.origin.is_some()),
            ("--license", self.license.is_some()),
            ("--author", self.author.is_some()),
        ];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// The label set that is to be written: of the images of the largest, by the teacher of the first.
fn spec(args: &MergeArgs, sets: &[LabelSet]) -> Result<Spec> {
    require_maps_alike(sets)?;
    require_stored_alike(sets)?;
    let first = sets[0].manifest();
    let largest = sets.iter().max_by_key(|set| set.images()).expect("at least two are merged");
    let views = args.taken.views.map_or_else(|| union(sets), Ok)?;
    let coarse = sets.iter().find(|set| set.manifest().dtype != Dtype::F32);
    let coarsest = coarse.map_or(Dtype::F32, |set| set.manifest().dtype);
    let mut spec = args.taken.spec(largest, views, coarsest, first)?;
    if spec.coding() != first.coding() {
        refuse_needless(first.dataset.classes, spec.dtype, spec.top_k)?;
    }
    let coarse = |set: &LabelSet| set.manifest().features.as_ref().is_some_and(|of| of.dtype == Dtype::F16);
    if let Some(features) = &mut spec.features
        && sets.iter().any(coarse)
    {
        features.dtype = Dtype::F16;
    }
    let SaidArgs { origin, license, author, .. } = &args.said;
    spec.teacher.origin = common(sets, "--origin", origin.as_ref(), |manifest| &manifest.teacher.origin)?;
    spec.license = common(sets, "--license", license.as_ref(), |manifest| &manifest.license)?;
    spec.author = common(sets, "--author", author.as_ref(), |manifest| &manifest.author)?;
    Ok(spec)
}

/// Refuses label sets of which nothing says that one teacher answered to all: a name is not enough.
fn refuse_unknown_weights(sets: &[LabelSet]) -> Result<()> {
    let unknown = |set: &&LabelSet| set.manifest().teacher.weights_blake3.is_none();
    let Some(set) = sets.iter().find(unknown) else { return Ok(()) };
    let name = &set.manifest().teacher.architecture;
    Err(Error::Usage {
        what: format!(
            "{}: it does not record the weights of its teacher, {name}: nothing says that the same answered to all",
            set.dir().display()
        ),
        hint: "--same-teacher says that it did; `label import --teacher-weights` records them".into(),
    })
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
