//! A label set that travelled is still the label set: through git, the Hugging Face hub, an editor or a Mac. Whatever
//! the way, its rows open and verify, and one changed bit of manifest or rows is refused as before.

mod fixture;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixture::{CLASSES, PARQUET, logit, spec, tree, write};
use labels::{Check, Dtype, Error, Form, LabelSet, Note, verify};

/// A label set on its way: where it came from, and where it arrived.
struct Journey {
    _root: tempfile::TempDir,
    from: PathBuf,
    to: PathBuf,
}

impl Journey {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        write(&from, &spec(Form::FULLEST, Dtype::F16));
        Self { _root: root, from, to }
    }

    /// The files, without folders.
    fn files(&self) -> Vec<String> {
        tree(&self.from).into_keys().filter(|name| !name.ends_with('/')).collect()
    }

    fn copy(&self) {
        for name in self.files() {
            put(&self.to.join(&name), &fs::read(self.from.join(&name)).unwrap());
        }
    }

    /// What arrived opens with these rows and notes, and is refused once any bit of manifest or rows changes.
    fn arrives(&self, notes: &[Note]) {
        let mut row = [0.0; CLASSES];
        for check in [Check::Hashes, Check::Sizes] {
            let set = LabelSet::open(&self.to, check).unwrap_or_else(|error| panic!("{error}"));
            assert!(set.read(4, 11, &mut row));
            assert_eq!(row.map(f32::to_bits), [0, 1, 2].map(|class| logit(4, 11, class).to_bits()));
            assert_eq!(set.notes(), notes);
        }
        if PARQUET {
            let report = verify(&self.to).unwrap();
            assert!(report.is_sound(), "{:?}", report.problems);
            assert_eq!(report.notes, notes);
        }
        for name in self.files() {
            let path = self.to.join(&name);
            if ["README.md", "SHA256SUMS"].contains(&name.as_str()) || !path.exists() {
                continue;
            }
            let whole = fs::read(&path).unwrap();
            for at in [0, whole.len() / 2, whole.len() - 1] {
                let mut changed = whole.clone();
                changed[at] ^= 4;
                fs::write(&path, &changed).unwrap();
                let error = LabelSet::open(&self.to, Check::Hashes).err();
                let error = error.unwrap_or_else(|| panic!("{name} byte {at}")).to_string();
                assert!(error.contains(name.rsplit('/').next().unwrap()), "{error}");
                assert!(verify(&self.to).map_or(true, |report| !report.is_sound()), "{name} byte {at}");
            }
            fs::write(&path, &whole).unwrap();
        }
        LabelSet::open(&self.to, Check::Hashes).unwrap();
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// What every repository of the hub has beside its files.
const ATTRIBUTES: &[u8] =
    b"*.parquet filter=lfs diff=lfs merge=lfs -text\n*.safetensors filter=lfs diff=lfs merge=lfs -text\n";

#[test]
fn by_git_clone() {
    let journey = Journey::new();
    let git = |dir: &Path, args: &[&str]| {
        let settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "core.autocrlf=false"];
        let out = Command::new("git").current_dir(dir).args(settings).args(args).output();
        out.is_ok_and(|out| out.status.success())
    };
    if !git(&journey.from, &["init", "--quiet"]) {
        eprintln!("by_git_clone: skipped, there is no git");
        return;
    }
    put(&journey.from.join(".gitignore"), b"*.tmp\n");
    assert!(git(&journey.from, &["add", "."]) && git(&journey.from, &["commit", "--quiet", "-m", "labels"]));
    let to = journey.to.to_str().unwrap();
    assert!(git(&journey.from, &["clone", "--quiet", ".", to]));
    assert!(journey.to.join(".git").is_dir() && journey.to.join(".gitignore").is_file());
    fs::remove_dir_all(journey.from.join(".git")).unwrap();
    fs::remove_file(journey.from.join(".gitignore")).unwrap();
    put(&journey.to.join(".gitattributes"), ATTRIBUTES);
    put(&journey.to.join("LICENSE"), b"Creative Commons\n");
    put(&journey.to.join("CITATION.cff"), b"cff-version: 1.2.0\n");
    journey.arrives(&[]);
    // Among the shards, where readers take whatever lies there, they are strangers.
    put(&journey.to.join("shards/LICENSE"), b"Creative Commons\n");
    assert!(matches!(LabelSet::open(&journey.to, Check::Hashes).err(), Some(Error::ExtraFile { .. })));
}

/// The names are those that `huggingface_hub` 1.x leaves.
#[test]
fn by_a_download_of_the_hub_into_a_folder() {
    let journey = Journey::new();
    journey.copy();
    put(&journey.to.join(".gitattributes"), ATTRIBUTES);
    let cache = journey.to.join(".cache/huggingface");
    put(&cache.join(".gitignore"), b"*");
    put(&cache.join("CACHEDIR.TAG"), b"Signature: 8a477f597d28d172789f06886806bc55\n");
    for name in journey.files() {
        put(&cache.join(format!("download/{name}.metadata")), b"0123\n4567\n1760000000.0\n");
        put(&cache.join(format!("download/{name}.lock")), b"");
    }
    journey.arrives(&[]);
}

#[test]
fn by_the_hubs_cache_whose_files_are_links_to_blobs() {
    let mut journey = Journey::new();
    let repository = journey.to.join("datasets--somebody--labels");
    let snapshot = repository.join("snapshots/4f0c2b");
    for name in journey.files() {
        let bytes = fs::read(journey.from.join(&name)).unwrap();
        let blob = blake3::hash(&bytes).to_hex()[..40].to_string();
        put(&repository.join("blobs").join(&blob), &bytes);
        let up = "../".repeat(2 + name.matches('/').count());
        let link = snapshot.join(&name);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(format!("{up}blobs/{blob}"), link).unwrap();
    }
    put(&repository.join("refs/main"), b"4f0c2b");
    let error = LabelSet::open(&repository, Check::Hashes).err().unwrap();
    let way_out = format!("hint: pass {}", snapshot.display());
    assert!(matches!(error, Error::NotALabelSet { .. }) && error.to_string().contains(&way_out), "{error}");
    journey.to = snapshot;
    journey.arrives(&[]);
}

#[test]
fn with_an_edited_card_or_without_one() {
    let journey = Journey::new();
    journey.copy();
    let path = journey.to.join("README.md");
    let card = fs::read_to_string(&path).unwrap();
    let edited = card.replace("tags:", "pretty_name: Teacher's answers\ntags:") + "\nUsed in our paper.\n";
    fs::write(&path, edited).unwrap();
    journey.arrives(&[Note::CardChanged { path: path.clone(), quotes: true }]);
    fs::write(&path, "# My data set\n").unwrap();
    journey.arrives(&[Note::CardChanged { path: path.clone(), quotes: false }]);
    fs::remove_file(&path).unwrap();
    journey.arrives(&[Note::Absent { path }]);
}

#[test]
fn with_other_sums_or_without_them() {
    let journey = Journey::new();
    journey.copy();
    let path = journey.to.join("SHA256SUMS");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let notes = LabelSet::open(&journey.to, Check::Hashes).unwrap().notes().to_vec();
    assert!(matches!(&notes[..], [Note::SumsChanged { line: 1, .. }]), "{notes:?}");
    journey.arrives(&notes);
    fs::write(&path, text + "0000  another-file\n").unwrap();
    let notes = LabelSet::open(&journey.to, Check::Hashes).unwrap().notes().to_vec();
    assert!(matches!(&notes[..], [Note::SumsChanged { .. }]), "{notes:?}");
    fs::remove_file(&path).unwrap();
    journey.arrives(&[Note::Absent { path }]);
}

#[test]
fn through_finder() {
    let journey = Journey::new();
    journey.copy();
    for folder in ["", "data", "shards"].iter().map(|name| journey.to.join(name)).filter(|dir| dir.is_dir()) {
        put(&folder.join(".DS_Store"), b"\0\0\0\x01Bud1");
        put(&folder.join("Icon\r"), b"");
    }
    // On file systems that cannot hold its attributes every file gets a companion.
    for name in journey.files() {
        let path = journey.to.join(&name);
        let companion = format!("._{}", path.file_name().unwrap().to_str().unwrap());
        put(&path.with_file_name(companion), b"\0\x05\x16\x07\0\x02\0\0Mac OS X");
    }
    journey.arrives(&[]);
}

#[cfg(feature = "parquet")]
#[test]
fn with_one_of_its_forms_alone() {
    for (folder, form) in [("data", Form::Parquet), ("shards", Form::Safetensors)] {
        let journey = Journey::new();
        journey.copy();
        fs::remove_dir_all(journey.to.join(folder)).unwrap();
        let note = Note::FormAbsent { dir: journey.to.clone(), form };
        journey.arrives(std::slice::from_ref(&note));
        fs::create_dir(journey.to.join(folder)).unwrap();
        journey.arrives(std::slice::from_ref(&note));
        // A part of a form is no form.
        let one =
            tree(&journey.from).into_keys().find(|name| name.starts_with(folder) && name.contains("of"));
        let one = one.unwrap();
        fs::copy(journey.from.join(&one), journey.to.join(&one)).unwrap();
        let error = LabelSet::open(&journey.to, Check::Hashes).err().unwrap();
        assert!(matches!(error, Error::MissingFile { .. }), "{error}");
        assert_eq!(verify(&journey.to).unwrap().problems.len(), 2);
    }
}

#[test]
fn a_pointer_of_git_lfs_is_called_by_its_name() {
    let journey = Journey::new();
    journey.copy();
    let shard = journey.to.join("shards/train-00001-of-00003.safetensors");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4286\n";
    fs::write(&shard, pointer).unwrap();
    let error = LabelSet::open(&journey.to, Check::Hashes).err().unwrap();
    assert!(matches!(error, Error::NotFetched { .. }), "{error}");
    assert!(error.to_string().contains("hint: run `git lfs pull`"), "{error}");
}

#[test]
fn a_manifest_whose_line_ends_were_converted_says_so() {
    let journey = Journey::new();
    journey.copy();
    let path = journey.to.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let error = LabelSet::open(&journey.to, Check::Hashes).err().unwrap();
    assert!(matches!(error, Error::ManifestLineEnds { .. }), "{error}");
    // Converted and changed besides: that is damage, whatever the line ends.
    fs::write(&path, text.replace('\n', "\r\n").replace("toy-net", "toy-nut")).unwrap();
    let error = LabelSet::open(&journey.to, Check::Hashes).err().unwrap();
    assert!(matches!(error, Error::ManifestId { .. }), "{error}");
}
