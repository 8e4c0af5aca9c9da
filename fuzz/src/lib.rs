//! What the targets share: a folder of their own, inputs that are several files, label sets with forged seals.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use labels::{Check, LabelSet, Watch};
use weights::{Checkpoint, Sought, Wanted};

/// A folder of this process: in `$RSLAD_SCRATCH`, which `tools/fuzz` lays in memory, or where temporary files go.
pub fn scratch() -> &'static Path {
    static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
        let base = std::env::var_os("RSLAD_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let place = base.join(format!("rslad-fuzz-{}", std::process::id()));
        fs::create_dir_all(&place).expect("a folder for files that are read by their path");
        place
    });
    &PLACE
}

/// A folder in the scratch folder.
pub fn folder(name: &str) -> PathBuf {
    let place = scratch().join(name);
    fs::create_dir_all(&place).expect("a folder in the scratch folder");
    place
}

/// Writes a file over what was there.
pub fn put(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("the scratch folder takes small files");
}

/// Lets panics of other people's code unwind, as they do outside of fuzzing: Parquet's decoder panics on damaged files, and its
/// callers catch it. A panic in ours, and one that nobody catches, is a finding.
pub fn let_others_unwind() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let is_of_others = |file: &str| file.contains("/registry/src/") || file.starts_with("/rustc/");
        if !panic.location().is_some_and(|place| is_of_others(place.file())) {
            usual(panic);
        }
    }));
}

/// Whether Parquet's footer may say, in what looks like these bytes, that millions of booleans follow. The library passes
/// over such a list one by one, and none of them takes a byte: docs/reliability.md knows of it.
pub fn counts_for_long(file: &[u8]) -> bool {
    let footer = file.len().checked_sub(8).map_or(&[][..], |end| {
        let length = u32::from_le_bytes(file[end..end + 4].try_into().expect("four bytes are four"));
        &file[end.saturating_sub(length as usize)..end]
    });
    let is_long = |count: &[u8]| count.iter().all(|byte| byte & 0x80 != 0);
    footer.windows(6).any(|bytes| {
        let is_list = matches!(bytes[0], 0xf1 | 0xf2) && is_long(&bytes[1..4]);
        let kinds = if is_long(&bytes[..4]) { bytes[5] } else { bytes[4] };
        let is_map = is_long(&bytes[..3]) && matches!(kinds, 0x11 | 0x12 | 0x21 | 0x22);
        is_list || is_map
    })
}

/// Cuts an input into N files: two bytes, little-endian, give the length of each but the last, before it.
pub fn parts<const N: usize>(mut input: &[u8]) -> [&[u8]; N] {
    std::array::from_fn(|at| match input.split_first_chunk::<2>() {
        Some((length, rest)) if at + 1 < N => {
            let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
            let (part, rest) = rest.split_at(length);
            input = rest;
            part
        }
        _ => std::mem::take(&mut input),
    })
}

/// A zip archive of these files, whose sums are right: what a mutation would break first.
pub fn zipped(files: &[(&str, &[u8])], is_deflated: bool) -> Vec<u8> {
    use std::io::Write;
    use zip::CompressionMethod::{Deflated, Stored};
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let method = if is_deflated { Deflated } else { Stored };
    for (name, bytes) in files {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).expect("an archive in memory");
        zip.write_all(bytes).expect("an archive in memory");
    }
    zip.finish().expect("an archive in memory").into_inner()
}

/// The label sets that the repository keeps: of each format, of the third the largest logits and codes.
pub const KEPT: [&str; 4] = ["format-1", "format-2", "format-3", "format-3-u8"];

/// A label set that the repository keeps, copied with its shards in `forms` (`data`, `shards`).
pub fn label_set(kept: &str, forms: &[&str]) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../common/labels/tests").join(kept);
    let to = folder(kept);
    for part in ["."].iter().chain(forms) {
        fs::create_dir_all(to.join(part)).expect("a folder in the scratch folder");
        for entry in fs::read_dir(from.join(part)).expect("the repository's label sets") {
            let path = entry.expect("the repository's label sets").path();
            if path.is_file() {
                let name = path.file_name().expect("a file has a name");
                fs::copy(&path, to.join(part).join(name)).expect("the scratch folder takes small files");
            }
        }
    }
    to
}

/// A manifest with the id that its bytes ask for, as a forger would write it.
pub fn sealed(manifest: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = b"\"id\": \"";
    let mut bytes = manifest.to_vec();
    let start = bytes.windows(KEY.len()).position(|window| window == KEY).map(|at| at + KEY.len());
    if let Some(id) = start.and_then(|start| bytes.get_mut(start..start + 64)) {
        id.fill(b'0');
        let digest = blake3::hash(&bytes).to_hex();
        let start = start.expect("it was found");
        bytes[start..start + 64].copy_from_slice(digest.as_bytes());
    }
    bytes
}

/// Waits for a verification to its end.
pub struct Nobody;

impl Watch for Nobody {
    fn begin(&self, _: u64) {}

    fn hashed(&self, _: u64) {}

    fn stop(&self) -> bool {
        false
    }
}

/// Verifies a label set, which reads it in another way than who opens it: what is sound can be opened.
pub fn verify_label_set(dir: &Path) {
    let Ok(Some(report)) = labels::verify_watched(dir, 1, &Nobody) else { return };
    if report.is_sound() {
        LabelSet::open(dir, Check::Hashes).expect("it is sound");
    }
}

/// Opens a label set and reads every row by every way in.
pub fn read_label_set(dir: &Path, check: Check) {
    let Ok(set) = LabelSet::open(dir, check) else { return };
    assert_eq!(set.rows().count() as u64, set.manifest().rows);
    let mut values = vec![0.0; set.classes()];
    for image in 0..set.images() {
        assert!((set.label(image) as usize) < set.classes(), "a label that is none");
        let _ = set.image_hash(image);
        for &view in set.views_of(image) {
            assert!(set.read(image, view, &mut values) && set.logits(image, view).is_some());
            let _ = set.features(image, view);
        }
    }
}

/// A label set in which one shard is whatever comes, with a manifest that agrees.
pub struct Forgery {
    dir: PathBuf,
    shard: PathBuf,
    /// The manifest before the shard's length, between length and digest, and behind the digest.
    manifest: [String; 3],
}

impl Forgery {
    /// Of a label set that is kept the shards of one form, as `shards/train-00000-of-00003.safetensors`.
    pub fn of(kept: &str, shard: &str) -> Self {
        let form = shard.split('/').next().expect("a path has a beginning");
        let dir = label_set(kept, &[form]);
        let text = fs::read_to_string(dir.join("manifest.json")).expect("the repository's label sets");
        let at = text.find(shard).expect("a manifest lists its shards");
        let bytes = at + text[at..].find("\"bytes\": ").expect("a record has a length") + 9;
        let between = bytes + text[bytes..].find(',').expect("a length is not the last field");
        let digest = between + text[between..].find("\"blake3\": \"").expect("a record has a digest") + 11;
        let manifest = [&text[..bytes], &text[between..digest], &text[digest + 64..]].map(String::from);
        Self { shard: dir.join(shard), dir, manifest }
    }

    /// Puts the bytes in the shard's place and reads the label set.
    pub fn read(&self, bytes: &[u8]) {
        let [before, between, behind] = &self.manifest;
        let manifest = format!("{before}{}{between}{}{behind}", bytes.len(), blake3::hash(bytes).to_hex());
        put(&self.shard, bytes);
        put(&self.dir.join("manifest.json"), &sealed(manifest.as_bytes()));
        read_label_set(&self.dir, Check::Hashes);
        verify_label_set(&self.dir);
    }
}

/// Looks in a weights file for the network that `tests/golden/make_weights.py` saved.
pub fn locate(file: &[u8]) {
    static WANTED: LazyLock<Vec<Wanted>> = LazyLock::new(|| {
        let tensors: [(&str, &[usize], bool); 9] = [
            ("0.weight", &[2, 1, 3, 3], false),
            ("0.bias", &[2], false),
            ("1.weight", &[2], false),
            ("1.bias", &[2], false),
            ("1.running_mean", &[2], false),
            ("1.running_var", &[2], false),
            ("1.num_batches_tracked", &[], true),
            ("3.weight", &[3, 8], false),
            ("3.bias", &[3], false),
        ];
        let wanted = |(name, shape, optional): (&str, &[usize], bool)| Wanted {
            name: name.into(),
            shape: shape.into(),
            optional,
        };
        tensors.map(wanted).into()
    });
    let Ok(mut checkpoint) = Checkpoint::open(file) else { return };
    let _ = (checkpoint.beginning(), checkpoint.unreadable(), checkpoint.spots(Some("state_dict")));
    for key in [None, Some("model")] {
        let sought =
            Sought { wanted: &WANTED, unused: &["aux."], input: [1, 4, 4], key, is_normalised: false };
        let _ = checkpoint.locate(&sought);
    }
}
