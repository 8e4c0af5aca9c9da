//! Everything that can be wrong with a label set, worded for the person who has to act on it.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use crate::part::Part;
use crate::row::coding::Coding;
use crate::row::dtype::Dtype;
use crate::row::features::Features;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// What sort of failure an [`Error`] is: the binaries choose their exit code by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request or its input does not fit: names, parameters, a label set of another dataset.
    Input,
    /// The label set is damaged or is not one.
    Damage,
    /// The disk or the operating system refused.
    Io,
    /// Somebody else is at it, or not done yet: the same request may be granted later.
    Busy,
}

/// A refusal: what failed, on which file, what was wanted, what was found, and a hint on the second line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message beside each variant says what its fields are")]
pub enum Error {
    // Names.
    #[error(
        "augmentation `{name}` is unknown\nhint: the names are none, flip, cropP and cropP+flip with P in pixels, like crop4+flip"
    )]
    UnknownAugment { name: String },
    #[error(
        "views `{text}` are not understood\nhint: write all, plan:EPOCHS@SEED, plan:EPOCHS@FIRST-LAST for several seeds, or random:K@SEED, like plan:300@0"
    )]
    UnknownViews { text: String },
    #[error("dtype `{name}` is unknown\nhint: the names are f16, f32 and u8")]
    UnknownDtype { name: String },
    #[error("format `{name}` is unknown\nhint: the names are both, safetensors and parquet")]
    UnknownForm { name: String },

    #[error(
        "{what}: it takes Parquet, which was compiled out of this build\nhint: use the form safetensors, or build rslad-labels with its feature `parquet`"
    )]
    WithoutParquet { what: String },

    // Writing.
    #[error("cannot {action} {}: {source}\nhint: {}", path.display(), io_hint(source))]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write label set {}: {source}: it takes {wanted} more bytes, {found} are free\nhint: free some space, or write to a disk with more by --out; --dtype f16, --format safetensors and fewer views take less", dir.display())]
    NoRoom { dir: PathBuf, wanted: u64, found: u64, source: io::Error },
    #[error("label set {}: another process is writing it\nhint: wait for that process, or write to another --out", dir.display())]
    Locked { dir: PathBuf },
    #[error("label set {}: another process is writing part {part} of it\nhint: wait for that process; what it leaves when it dies, the same command goes on with", dir.display())]
    PartLocked { dir: PathBuf, part: Part },
    #[error("label set {}: it was begun in {found} parts, this is part {wanted}\nhint: go on in {found} parts; the same command without --part writes whatever is missing", dir.display())]
    OtherParts { dir: PathBuf, wanted: Part, found: usize },
    #[error("folder {}: it lies in the label set {}, where it would be a stranger\nhint: write beside it", dir.display(), around.display())]
    Inside { dir: PathBuf, around: PathBuf },
    #[error("folder {}: wanted an empty folder or an unfinished label set, found `{entry}`\nhint: write to another --out, or move what is there", dir.display())]
    Occupied { dir: PathBuf, entry: String },
    #[error("label set {}: {parameter} is {found} there, this run has {wanted}\nhint: repeat the run that began it, or write to another --out", dir.display())]
    OtherParameters { dir: PathBuf, parameter: String, wanted: String, found: String },
    #[error("label set {}: {rows} were answered by {found}, wanted all by {wanted}\nhint: leave --same-engine out and the manifest says which rows are whose, or write to another --out", dir.display())]
    OtherEngine { dir: PathBuf, rows: String, wanted: String, found: String },
    #[error("label set {}: {parameter} is {found} there, and {wanted}\nhint: parts of one label set are begun with the same flags, but --part and --out", dir.display())]
    Unlike { dir: PathBuf, parameter: String, wanted: String, found: String },
    #[error("label sets {} and {} contradict each other: of the answer to image {image}, view {view}, value {place} is {one} and {other}\nhint: another teacher or engine gave it; {}", first.display(), second.display(), contradiction_hint(*of_parts))]
    Contradiction {
        first: PathBuf,
        second: PathBuf,
        image: u64,
        view: u16,
        place: usize,
        one: f32,
        other: f32,
        of_parts: bool,
    },
    #[error("label set {}: another one is there or was begun, with id {found}, wanted {wanted}\nhint: fetch into another folder; the same one again goes on where it stopped", dir.display())]
    OtherSet { dir: PathBuf, wanted: String, found: String },
    #[error("label set {}: `label run` began to write one there\nhint: fetch into another folder", dir.display())]
    BeingWritten { dir: PathBuf },
    #[error(
        "{origin}: its {what} is {found} on arrival, the manifest says {wanted}\nhint: it is damaged where it lies, or was on the way: fetch it again, and if that is no help, push it again from a label set that is whole"
    )]
    Arrived { origin: String, what: &'static str, wanted: String, found: String },
    #[error("label set {}: it is finished, there is nothing to write\nhint: write to another --out", dir.display())]
    Finished { dir: PathBuf },
    #[error("label set {}: {pending} of {shards} shards have no logits yet, the first is {first}\nhint: run the parts that were not run to their end, or the same command without --part", dir.display())]
    Pending { dir: PathBuf, pending: usize, shards: usize, first: usize },
    #[error("{what}: wanted {wanted}, found {found}\nhint: a label set cannot be made of this")]
    Unusable { what: String, wanted: String, found: String },
    #[error(
        "teacher's logits of image {image}, view {view}: class {class} is {value}, wanted a finite number\nhint: check the teacher's weights and the input's range"
    )]
    TeacherNotFinite { image: u64, view: u16, class: usize, value: f32 },
    #[error(
        "teacher's logits of image {image}, view {view}: class {class} is {value}, beyond the largest f16, 65504\nhint: store them with --dtype f32"
    )]
    TooLargeForF16 { image: u64, view: u16, class: usize, value: f32 },
    #[error(
        "teacher's logits of image {image}, view {view}: class {class} is {value}, beyond what codes of eight bits take, 4e37\nhint: store them with --dtype f32"
    )]
    TooLargeForU8 { image: u64, view: u16, class: usize, value: f32 },
    #[error(
        "teacher's map at module `{module}` of image {image}, view {view}: value {place} is {value}, wanted a finite number\nhint: check the teacher's weights and the input's range"
    )]
    TeacherMapNotFinite { image: u64, view: u16, module: String, place: usize, value: f32 },
    #[error(
        "teacher's map at module `{module}` of image {image}, view {view}: value {place} is {value}, beyond the largest f16, 65504\nhint: store it with --dtype f32 --tap-dtype f32, or tap another module"
    )]
    MapTooLargeForF16 { image: u64, view: u16, module: String, place: usize, value: f32 },

    // The folder and its manifest.
    #[error("folder {} is not a label set: it has no manifest.json\nhint: pass {}", dir.display(), inside.as_ref().map_or("the folder that `label run` wrote".into(), |inside| inside.display().to_string()))]
    NotALabelSet { dir: PathBuf, inside: Option<PathBuf> },
    #[error("folder {} holds shards of a label set, and neither manifest.json nor .work\nhint: a part is copied with its .work, which `cp DIR/*` and file managers leave out; one that was published has a manifest.json", dir.display())]
    WithoutWork { dir: PathBuf },
    #[error("label set {} is unfinished: it has .work but no manifest.json\nhint: run the same `label run` or `label pull` again, it goes on where it stopped", dir.display())]
    Unfinished { dir: PathBuf },
    #[error("manifest {}: {detail}\nhint: it is damaged or was not written by `label run`; fetch the label set again", path.display())]
    ManifestSyntax { path: PathBuf, detail: String },
    #[error("manifest {}: wanted format {wanted}, found {found}\nhint: a newer version of this program wrote it; update", path.display())]
    UnknownVersion { path: PathBuf, wanted: String, found: String },
    #[error("manifest {}: its line ends were made CR LF, so that its id no longer holds\nhint: fetch the label set again with nothing converted (git: `git config core.autocrlf false`)", path.display())]
    ManifestLineEnds { path: PathBuf },
    #[error("manifest {}: its bytes hash to id {wanted}, it says {found}\nhint: it was changed after it was written; fetch the label set again", path.display())]
    ManifestId { path: PathBuf, wanted: String, found: String },
    #[error("manifest {}: {field} is {found}, wanted {wanted}\nhint: it contradicts itself; fetch the label set again", path.display())]
    ManifestField { path: PathBuf, field: String, wanted: String, found: String },
    #[error("manifest {}: path `{entry}` leaves the folder, wanted a plain path inside it\nhint: do not use this label set", path.display())]
    UnsafePath { path: PathBuf, entry: String },

    // Files.
    #[error("{}: wanted {wanted}, found {found}\nhint: move it out of the label set, then fetch it again", path.display())]
    NotPlain { path: PathBuf, wanted: &'static str, found: &'static str },
    #[error("{}: it is a link to {}, and nothing is there\nhint: fetch the label set again, or bring back what the link points to", path.display(), target.display())]
    BrokenLink { path: PathBuf, target: PathBuf },
    #[error("{}: wanted {wanted} bytes, found a pointer of Git LFS: the file itself was not fetched\nhint: run `git lfs pull` in that folder, or fetch the label set with `hf download`", path.display())]
    NotFetched { path: PathBuf, wanted: u64 },
    #[error("{}: the manifest lists it, wanted {wanted} bytes, found no file\nhint: fetch the label set again", path.display())]
    MissingFile { path: PathBuf, wanted: u64 },
    #[error("{}: the manifest does not list it\nhint: move it out of the label set, or give it a name that starts with a dot", path.display())]
    ExtraFile { path: PathBuf },
    #[error("{}: wanted {wanted} bytes, found {found}\nhint: it was cut short or added to; fetch it again", path.display())]
    FileSize { path: PathBuf, wanted: u64, found: u64 },
    #[error("{}: BLAKE3 is {found}, manifest says {wanted}\nhint: the file changed after it was written; fetch it again", path.display())]
    FileHash { path: PathBuf, wanted: String, found: String },
    #[error("{}: cannot be brought back: what was answered now hashes to {found}, the published file to {wanted}\nhint: use the engine, build and device that the card names, or fetch the file again", path.display())]
    NotTheSame { path: PathBuf, wanted: String, found: String },
    #[error("shard {}: {what} is {found}, wanted {wanted}\nhint: the shard does not fit its manifest; fetch the label set again", path.display())]
    Structure { path: PathBuf, what: String, wanted: String, found: String },
    #[error("shard {}: cannot be decoded: {detail}\nhint: the shard is damaged; fetch the label set again", path.display())]
    Decode { path: PathBuf, detail: String },
    #[error("shard {}: logit {class} of image {image}, view {view} is {found}, wanted a finite number\nhint: this label set cannot be trained on; label again", path.display())]
    NotFinite { path: PathBuf, image: u64, view: u16, class: usize, found: f32 },
    #[error("shard {}: value {place} of the map at module `{module}` of image {image}, view {view} is {found}, wanted a finite number\nhint: this label set cannot be trained on; label again", path.display())]
    MapNotFinite { path: PathBuf, image: u64, view: u16, module: String, place: usize, found: f32 },
    #[error("label set {}: {rows} rows hash to content_hash {found}, manifest says {wanted}\nhint: these are other rows than the manifest's; fetch the label set again", dir.display())]
    ContentHash { dir: PathBuf, rows: &'static str, wanted: String, found: String },

    // The wrong partner.
    #[error("label set {}: wrong dataset: image {image} hashes to {found} there ({theirs}), this run's is {wanted}\nhint: pass the dataset that was labelled, or label this one", dir.display())]
    WrongDataset { dir: PathBuf, theirs: String, image: u64, wanted: String, found: String },
    #[error("label set {}: wrong split: it holds `{found}`, this run uses `{wanted}`, and image {image} differs\nhint: label the split that is trained on", dir.display())]
    WrongSplit { dir: PathBuf, image: u64, wanted: String, found: String },
    #[error("label set {}: wrong order: this run's image {wanted} is image {found} there\nhint: read the images in the order in which they were labelled", dir.display())]
    WrongOrder { dir: PathBuf, wanted: u64, found: u64 },
    #[error("label set {}: image {image} has label {found} there, this run's is {wanted}\nhint: the images agree but the labels do not; check the dataset's label files", dir.display())]
    WrongLabel { dir: PathBuf, image: u64, wanted: i32, found: i32 },
    #[error("label set {}: it holds {found} images, this run uses {wanted}\nhint: pass --limit {found}, or label all images", dir.display())]
    TooFewImages { dir: PathBuf, wanted: u64, found: u64 },
    #[error("label set {}: wrong augmentation: it holds {found}, this run uses {wanted}\nhint: leave out --augment, the label set decides it", dir.display())]
    WrongAugment { dir: PathBuf, wanted: String, found: String },
    #[error("label set {}: wrong number of classes: its logits have {found}, this run's dataset has {wanted}\nhint: pass the dataset that was labelled", dir.display())]
    WrongClasses { dir: PathBuf, wanted: usize, found: usize },
    #[error("label set {}: its answers cannot be taken over: {parameter} is {found} there, this run has {wanted}\nhint: ask for what that set holds, or label without it", dir.display())]
    NotReusable { dir: PathBuf, parameter: String, wanted: String, found: String },
    #[error("label set {}: it holds the views of {found}, this run needs plan:{epochs}@{seed}\nhint: use that seed and at most as many epochs, or a label set with --views all", dir.display())]
    WrongPlan { dir: PathBuf, epochs: u32, seed: u64, found: String },
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Io { .. } | Error::NoRoom { .. } => Kind::Io,
            Error::Locked { .. } | Error::PartLocked { .. } | Error::Pending { .. } => Kind::Busy,
            Error::UnknownAugment { .. }
            | Error::UnknownViews { .. }
            | Error::UnknownDtype { .. }
            | Error::UnknownForm { .. }
            | Error::WithoutParquet { .. }
            | Error::OtherParts { .. }
            | Error::Inside { .. }
            | Error::Occupied { .. }
            | Error::OtherSet { .. }
            | Error::BeingWritten { .. }
            | Error::OtherParameters { .. }
            | Error::OtherEngine { .. }
            | Error::Unlike { .. }
            | Error::Contradiction { .. }
            | Error::Finished { .. }
            | Error::Unusable { .. }
            | Error::TeacherNotFinite { .. }
            | Error::TooLargeForF16 { .. }
            | Error::TooLargeForU8 { .. }
            | Error::TeacherMapNotFinite { .. }
            | Error::MapTooLargeForF16 { .. }
            | Error::NotALabelSet { .. }
            | Error::WithoutWork { .. }
            | Error::Unfinished { .. }
            | Error::UnknownVersion { .. }
            | Error::WrongDataset { .. }
            | Error::WrongSplit { .. }
            | Error::WrongOrder { .. }
            | Error::WrongLabel { .. }
            | Error::TooFewImages { .. }
            | Error::WrongAugment { .. }
            | Error::WrongClasses { .. }
            | Error::NotReusable { .. }
            | Error::WrongPlan { .. } => Kind::Input,
            _ => Kind::Damage,
        }
    }

    /// Why a teacher's answer to a row (image and view) cannot be stored, its value at this place being infinite, no number,
    /// or too large for its type. `place` is among the row's K logits and then its feature maps.
    pub fn of_answer(
        features: Option<&Features>,
        coding: &Coding,
        place: usize,
        (image, view): (u64, u16),
        value: f32,
    ) -> Error {
        let map = place.checked_sub(coding.classes).and_then(|value| Some(features?.locate(value)));
        match (map, value.is_finite()) {
            (None, true) if coding.dtype() == Dtype::U8 => {
                Error::TooLargeForU8 { image, view, class: place, value }
            }
            (None, true) => Error::TooLargeForF16 { image, view, class: place, value },
            (None, false) => Error::TeacherNotFinite { image, view, class: place, value },
            (Some((module, place)), true) => Error::MapTooLargeForF16 { image, view, module, place, value },
            (Some((module, place)), false) => {
                Error::TeacherMapNotFinite { image, view, module, place, value }
            }
        }
    }

    /// Wraps an operating system's refusal: `cannot {action} {path}: ..`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { action, path: path.into(), source }
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and numbers alike")]
    pub(crate) fn structure(
        path: &Path,
        what: impl Into<String>,
        wanted: impl Display,
        found: impl Display,
    ) -> Error {
        Error::Structure {
            path: path.into(),
            what: what.into(),
            wanted: wanted.to_string(),
            found: found.to_string(),
        }
    }

    #[allow(clippy::needless_pass_by_value, reason = "callers pass texts and numbers alike")]
    pub(crate) fn unusable(what: impl Into<String>, wanted: impl Display, found: impl Display) -> Error {
        Error::Unusable { what: what.into(), wanted: wanted.to_string(), found: found.to_string() }
    }
}

fn contradiction_hint(of_parts: bool) -> &'static str {
    if of_parts {
        "leave out the folder that is not wanted, if the others have its shards, or run one of the parts again into a new one"
    } else {
        "`label append`, and --reuse for the others, takes that of the first label set that has the row"
    }
}

fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "free some space, then run the same command again; it goes on where it stopped"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "check the folder's permissions and that its disk is writable"
        }
        io::ErrorKind::NotFound => "check the path",
        _ => "check the path and the disk, then run the same command again",
    }
}
