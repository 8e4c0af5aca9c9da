//! The answers to one shard's rows as they come, kept in `.work` so that a writer that dies loses the last of them alone.
//!
//! A shard may be hours of a teacher's work, and its file can only be written whole. Until then its answers lie in a
//! file of records: number of rows (u32), the first 16 bytes of BLAKE3 over the place of the first row (u64), the number
//! and the values, then the values (f32), the logits and feature maps of each row; all little-endian. Who answers the rows behind it
//! is said by a record of no rows, in whose values' place stand the length of a text (u32) and the text; before the first of these it is whoever
//! began the label set. Reading stops at the first record that does not hold: whatever a crash left behind it is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::folder::answered::{Answered, Answerer, push};

/// The most that a power cut may take.
const BETWEEN_SYNCS: Duration = Duration::from_mins(1);
/// Number of rows and check.
const HEAD: usize = 4 + 16;
/// The most that is read of who answered.
const LONGEST_TEXT: u32 = 1 << 16;

/// The answers that are there of a shard; [`Session::answers`](crate::Session::answers) gives those that an earlier
/// writer kept.
#[derive(Debug)]
pub struct Answers {
    path: PathBuf,
    /// Made with the first answers.
    file: Option<File>,
    /// Numbers of a row.
    width: usize,
    /// Rows of the shard.
    wanted: usize,
    kept: Kept,
    us: Answerer,
    synced: Instant,
}

/// What a file of answers holds.
#[derive(Debug)]
struct Kept {
    values: Vec<f32>,
    /// Whose they are.
    answered: Vec<Answered>,
    /// Whose the file says that the next ones are.
    next: Answerer,
}

impl Answers {
    /// The answers in a file, or none yet where there is no file, of a label set that was begun by this one; to be added to by us.
    pub(crate) fn open(
        path: PathBuf,
        [wanted, width]: [usize; 2],
        begun: &Answerer,
        us: &Answerer,
    ) -> Result<Answers> {
        let mut kept = Kept { values: Vec::new(), answered: Vec::new(), next: begun.clone() };
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(mut file) => {
                recover(&mut file, wanted, width, &mut kept).map_err(Error::io("read", &path))?;
                Some(file)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        Ok(Answers { path, file, width, wanted, kept, us: us.clone(), synced: Instant::now() })
    }

    /// Whose the answers in a file are that another writer may be adding to: it is left as it is. None where there is no file.
    pub(crate) fn kept_by_others(
        path: &Path,
        [wanted, width]: [usize; 2],
        begun: &Answerer,
    ) -> Result<Vec<Answered>> {
        let mut kept = Kept { values: Vec::new(), answered: Vec::new(), next: begun.clone() };
        match File::open(path) {
            Ok(file) => {
                whole_records(&file, wanted, width, &mut kept).map_err(Error::io("read", path))?;
                Ok(kept.answered)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::io("open", path)(error)),
        }
    }

    /// Rows that are answered: the first so many of the shard.
    pub fn rows(&self) -> usize {
        self.kept.values.len() / self.width
    }

    /// Who gave the answers so far, in the order of the shard's rows.
    pub fn answered(&self) -> &[Answered] {
        &self.kept.answered
    }

    /// The answers so far, row after row as [`Coding::keep`](crate::Coding::keep) gives them: (rows, K + F), where every logit is
    /// stored as a float.
    pub fn values(&self) -> &[f32] {
        &self.kept.values
    }

    /// Keeps our answers to the next rows. They survive the process from now on, and a power cut within a minute.
    pub fn add(&mut self, values: &[f32]) -> Result<()> {
        let us = self.us.clone();
        self.add_by(values, &us)
    }

    /// The same of answers that somebody else gave, whom the manifest is to name.
    pub fn add_by(&mut self, values: &[f32], by: &Answerer) -> Result<()> {
        let rows = values.len() / self.width;
        if rows * self.width != values.len() || rows > self.wanted - self.rows() {
            let wanted =
                format!("whole rows of {} values, at most {}", self.width, self.wanted - self.rows());
            return Err(Error::unusable("number of values", wanted, values.len()));
        }
        if rows == 0 {
            return Ok(());
        }
        let mut records = Vec::new();
        if self.kept.next != *by {
            let text = serde_json::to_vec(by).expect("texts are plain data");
            let text = [&(text.len() as u32).to_le_bytes(), &text[..]].concat();
            add_record(&mut records, self.rows(), 0, &text);
        }
        add_record(&mut records, self.rows(), rows as u32, bytemuck::cast_slice(values));
        let io = |error| Error::io("write", &self.path)(error);
        if self.file.is_none() {
            self.file = Some(create(&self.path).map_err(io)?);
        }
        let file = self.file.as_mut().expect("it was made above");
        disk::crash_point("answer", &self.path);
        file.write_all(&records).map_err(io)?;
        self.kept.next.clone_from(by);
        self.kept.add(values, rows);
        if self.synced.elapsed() >= BETWEEN_SYNCS {
            self.sync()?;
        }
        Ok(())
    }

    /// Brings what was kept to the disk.
    pub fn sync(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            file.sync_data().map_err(Error::io("sync", &self.path))?;
        }
        self.synced = Instant::now();
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    disk::sync_folder(path.parent().expect("answers lie in a folder"))?;
    Ok(file)
}

impl Kept {
    fn add(&mut self, values: &[f32], rows: usize) {
        self.values.extend_from_slice(values);
        push(&mut self.answered, rows as u64, &self.next);
    }
}

fn add_record(records: &mut Vec<u8>, first: usize, rows: u32, content: &[u8]) {
    records.reserve(HEAD + content.len());
    records.extend_from_slice(&rows.to_le_bytes());
    records.extend_from_slice(&check(first, rows, content));
    records.extend_from_slice(content);
}

fn check(first: usize, rows: u32, values: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(first as u64).to_le_bytes()).update(&rows.to_le_bytes()).update(values);
    let mut check = [0; 16];
    check.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    check
}

/// Adds the answers of the records that hold, from the beginning; cuts the file off behind them.
fn recover(file: &mut File, wanted: usize, width: usize, kept: &mut Kept) -> io::Result<()> {
    let whole = whole_records(file, wanted, width, kept)?;
    file.set_len(whole)?;
    file.seek(SeekFrom::End(0))?;
    Ok(())
}

/// Adds the answers of the records that hold; gives the bytes that these take.
fn whole_records(file: &File, wanted: usize, width: usize, kept: &mut Kept) -> io::Result<u64> {
    let mut whole = 0;
    let length = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    loop {
        let first = kept.values.len() / width;
        let Some(head) = next::<HEAD>(&mut reader)? else { break };
        let rows = u32::from_le_bytes(head[..4].try_into().expect("four bytes"));
        if rows == 0 {
            let Some((next, bytes)) = who(&mut reader, &head, first)? else { break };
            kept.next = next;
            whole += HEAD as u64 + bytes;
            continue;
        }
        let bytes = u64::from(rows) * width as u64 * 4;
        let fits = rows as usize <= wanted - first && whole + HEAD as u64 + bytes <= length;
        if !fits {
            break;
        }
        let mut answers = vec![0f32; rows as usize * width];
        reader.read_exact(bytemuck::cast_slice_mut(&mut answers))?;
        if head[4..] != check(first, rows, bytemuck::cast_slice(&answers)) {
            break;
        }
        kept.add(&answers, rows as usize);
        whole += HEAD as u64 + bytes;
    }
    Ok(whole)
}

/// Who the record behind this head says is next, and the bytes that it takes; none where it does not hold.
fn who(reader: &mut impl Read, head: &[u8; HEAD], first: usize) -> io::Result<Option<(Answerer, u64)>> {
    let Some(length) = next::<4>(reader)? else { return Ok(None) };
    let bytes = u32::from_le_bytes(length);
    if bytes > LONGEST_TEXT {
        return Ok(None);
    }
    let mut content = length.to_vec();
    reader.take(bytes.into()).read_to_end(&mut content)?;
    let holds = head[4..] == check(first, 0, &content);
    let who = serde_json::from_slice(&content[4..]).ok().filter(|_| holds);
    Ok(who.map(|who| (who, content.len() as u64)))
}

/// The next bytes; none where the file ends before.
fn next<const N: usize>(reader: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    match reader.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROWS: usize = 6;
    const CLASSES: usize = 2;

    fn by(engine: &str) -> Answerer {
        let mut teacher = crate::folder::teacher::Teacher::named("net");
        (teacher.engine, teacher.device) = (engine.into(), "cpu".into());
        Answerer::new(&teacher, None)
    }

    fn opened(path: &Path, us: &str) -> Result<Answers> {
        Answers::open(path.into(), [ROWS, CLASSES], &by("begun"), &by(us))
    }

    /// Records of one, three and two rows: 28, 44 and 36 bytes.
    fn kept(folder: &Path) -> (PathBuf, Vec<f32>) {
        let path = folder.join("answers");
        let logits: Vec<f32> = (0..ROWS * CLASSES).map(|value| value as f32 / 3.0 - 1.0).collect();
        let mut answers = opened(&path, "begun").unwrap();
        for rows in [0..2, 2..8, 8..12] {
            answers.add(&logits[rows]).unwrap();
        }
        (path, logits)
    }

    /// Rows whose record ends at or before a byte of the file.
    fn whole_rows(bytes: usize) -> usize {
        [(108, 6), (72, 4), (28, 1)].into_iter().find(|&(end, _)| end <= bytes).map_or(0, |(_, rows)| rows)
    }

    #[test]
    fn a_file_cut_at_any_byte_gives_the_records_before_and_goes_on_from_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, logits) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 108);
        for length in 0..=bytes.len() {
            // A crash may leave zeros where the data did not reach the disk.
            for zeros in [0, 1, 50] {
                let mut torn = bytes[..length].to_vec();
                torn.resize(length + zeros, 0);
                fs::write(&path, torn).unwrap();
                let mut answers = opened(&path, "begun").unwrap();
                let rows = answers.rows();
                assert_eq!(rows, whole_rows(length), "{length} bytes and {zeros} zeros");
                assert_eq!(answers.values(), &logits[..rows * CLASSES]);
                answers.add(&logits[rows * CLASSES..]).unwrap();
                drop(answers);
                assert_eq!(opened(&path, "begun").unwrap().values(), logits);
            }
        }
    }

    #[test]
    fn a_flipped_bit_costs_its_record_and_those_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, logits) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped).unwrap();
            let answers = opened(&path, "begun").unwrap();
            assert_eq!(answers.rows(), whole_rows(at), "byte {at}");
            assert_eq!(answers.values(), &logits[..answers.values().len()]);
        }
    }

    #[test]
    fn records_out_of_their_place_are_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = kept(folder.path());
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..28], &bytes[72..]].concat()).unwrap();
        assert_eq!(opened(&path, "begun").unwrap().rows(), 1);
        // A number of rows that the shard does not have allocates nothing.
        let mut forged = bytes[..28].to_vec();
        forged.extend([0xff; 20]);
        fs::write(&path, forged).unwrap();
        assert_eq!(opened(&path, "begun").unwrap().rows(), 1);
    }

    #[test]
    fn more_rows_than_the_shard_has_and_parts_of_rows_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut answers = opened(&path, "begun").unwrap();
        answers.add(&[]).unwrap();
        assert!(!path.exists(), "nothing is made for nothing");
        assert!(answers.add(&[0.0; 3]).is_err());
        assert!(answers.add(&[0.0; 14]).is_err());
        answers.add(&[0.0; 12]).unwrap();
        assert!(answers.add(&[0.0; 2]).is_err());
        assert_eq!(answers.rows(), ROWS);
    }

    /// A machine answers one row, another three, the first again the last two.
    #[test]
    fn who_answered_survives_a_cut_at_any_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let logits: Vec<f32> = (0..ROWS * CLASSES).map(|value| value as f32).collect();
        let turns = [("begun", 0..2, 28), ("other", 2..8, 0), ("begun", 8..12, 0)];
        let mut ends = Vec::new();
        for (who, rows, _) in turns.clone() {
            opened(&path, who).unwrap().add(&logits[rows.clone()]).unwrap();
            ends.push((std::fs::metadata(&path).unwrap().len() as usize, rows.end / CLASSES));
        }
        assert_eq!(ends[0].0, 28, "who began it need not be said");
        let bytes = fs::read(&path).unwrap();
        let wanted = |rows: usize| {
            let mut wanted = Vec::new();
            push(&mut wanted, rows.min(1) as u64, &by("begun"));
            push(&mut wanted, rows.saturating_sub(1).min(3) as u64, &by("other"));
            push(&mut wanted, rows.saturating_sub(4) as u64, &by("begun"));
            wanted
        };
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let rows = ends.iter().rev().find(|(end, _)| *end <= length).map_or(0, |(_, rows)| *rows);
            let mut answers = opened(&path, "third").unwrap();
            assert_eq!((answers.rows(), answers.answered()), (rows, &wanted(rows)[..]), "{length} bytes");
            answers.add(&logits[rows * CLASSES..]).unwrap();
            let mut all = wanted(rows);
            push(&mut all, (ROWS - rows) as u64, &by("third"));
            let again = opened(&path, "begun").unwrap();
            assert_eq!((again.values(), again.answered()), (&logits[..], &all[..]), "{length} bytes");
        }
        // A bit of a record that says who takes what is behind it along.
        for at in 28..ends[1].0 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert_eq!(opened(&path, "begun").unwrap().rows(), 1, "byte {at}");
        }
    }
}
