//! What an evaluation keeps in its folder, so that a killed one goes on where it was and ends with the same result.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cli::note;
use disk::{Existing, Lock, publish};
use labels::Part;
use method::eval::{Outcome, Setting, Stage};
use serde::{Deserialize, Serialize};

use super::spool::Row;
use crate::error::RunError;

/// The file that everything is in but adversarial images.
const FILE: &str = "evaluation.state";
/// How such a file begins; the number counts its layouts.
const MAGIC: &[u8] = b"rslad evaluation 1\n";
const LOCK: &str = ".lock";

/// How far an evaluation is.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Of whom, and how.
    pub setting: Setting,
    /// Which part of the images.
    pub part: Option<Part>,
    /// The suites and their attacks.
    pub suites: Vec<(String, Vec<String>)>,
    /// What the suites before the one under way did.
    pub done: Vec<Outcome>,
    /// The suite under way; none between two.
    pub stage: Option<Stage>,
    /// The adversarial images kept beside this; none where none are wanted.
    pub found: Option<Vec<Row>>,
}

impl Kept {
    /// This, where it is of the same evaluation as one that begins anew. Another one's is refused, unless `may` says that the
    /// new one may take its place.
    pub fn goes_on(self, anew: Self, folder: &Path, may: bool) -> Result<Self, RunError> {
        let mut fields = self.setting.differences(&anew.setting);
        fields.extend((self.part != anew.part).then_some("part"));
        fields.extend((self.suites != anew.suites).then_some("attacks"));
        fields.extend((self.found.is_some() != anew.found.is_some()).then_some("save-adversarial"));
        if !fields.is_empty() && may {
            let what = fields.join(", ");
            note(format_args!("{}: beginning anew, since what is kept differs in {what}", folder.display()));
            return Ok(anew);
        }
        if !fields.is_empty() {
            return Err(RunError::Refused(format!(
                "--state {}: an evaluation is kept there that differs in {}\nhint: run it as it was begun, or name another folder",
                folder.display(),
                fields.join(", ")
            )));
        }
        match self.suites.get(self.done.len()) {
            Some((suite, _)) => note(format_args!("{}: going on with {suite}", folder.display())),
            None => note(format_args!("{}: everything was done before", folder.display())),
        }
        Ok(self)
    }
}

/// The folder of an evaluation that can be resumed, held for this process alone.
#[derive(Debug)]
pub(super) struct StateFolder {
    path: PathBuf,
    _lock: Lock,
}

impl StateFolder {
    /// Opens or makes it.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(cli::Error::io("make", path))?;
        let lock = Lock::take(&path.join(LOCK)).map_err(cli::Error::io("lock", path))?;
        let Some(lock) = lock else {
            return Err(RunError::Refused(format!(
                "--state {}: another evaluation is writing there\nhint: wait for it, or name another folder",
                path.display()
            )));
        };
        disk::sweep(path, |name| name == FILE).map_err(cli::Error::io("tidy", path))?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier process kept; none in a new folder.
    pub fn read(&self) -> Result<Option<Kept>, RunError> {
        let file = self.path.join(FILE);
        let bytes = match fs::read(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return self.must_be_new(),
            read => read.map_err(cli::Error::io("read", &file))?,
        };
        let refused = |what: &str| {
            RunError::Refused(format!(
                "{}: {what}\nhint: begin anew in another --state folder",
                file.display()
            ))
        };
        let rest =
            bytes.strip_prefix(MAGIC).ok_or_else(|| refused("not a state of this version's evaluations"))?;
        let (hash, state) = rest.split_at_checked(blake3::OUT_LEN).ok_or_else(|| refused("it is cut off"))?;
        if blake3::hash(state).as_bytes() != hash {
            return Err(refused("it is damaged: its checksum is another"));
        }
        postcard::from_bytes(state).map(Some).map_err(|_| refused("it was made by another version"))
    }

    /// A folder that holds other things is no place for a state.
    fn must_be_new(&self) -> Result<Option<Kept>, RunError> {
        let mut entries = fs::read_dir(&self.path).map_err(cli::Error::io("read", &self.path))?;
        let other = entries.find_map(|entry| {
            let name = entry.ok()?.file_name().to_string_lossy().into_owned();
            (!name.starts_with('.') && !super::spool::FILES.contains(&name.as_str())).then_some(name)
        });
        match other {
            None => Ok(None),
            Some(name) => Err(RunError::Refused(format!(
                "--state {}: that folder holds other things, such as {}\nhint: name a new folder",
                self.path.display(),
                cli::quoted(&name)
            ))),
        }
    }

    /// Puts a state in the place of the former.
    pub fn write(&self, kept: &Kept) -> std::io::Result<()> {
        let state = postcard::to_allocvec(kept).map_err(std::io::Error::other)?;
        publish(&self.path.join(FILE), Existing::Replace, |out| {
            out.write_all(MAGIC)?;
            out.write_all(blake3::hash(&state).as_bytes())?;
            out.write_all(&state)
        })
    }
}
