//! Stores beyond folders, through `object_store`: what is asked of a [`Store`](crate::Store) as requests. The Hub's
//! files are read so; pushing there has an interface of its own.

mod calls;
mod connect;
mod hub;
mod profile;
mod said;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use labels::{Hex, Piece};
use object_store::path::Path as Key;
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode,
    PutMultipartOptions, PutOptions,
};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::store::{Found, Source, Store, Watch};

pub(crate) use hub::push::push as push_to_hub;

use calls::Calls;
use said::Answer;

/// The name of what is left with an object: the BLAKE3 of its bytes.
const BLAKE3: Attribute = Attribute::Metadata(std::borrow::Cow::Borrowed("blake3"));
/// Files above this go in parts of at least this. A store takes at most 10,000 parts.
const PART: u64 = 16 << 20;
const MOST_PARTS: u64 = 9_000;
/// How long the parts of an upload that was stopped may take to be removed.
const FAREWELL: Duration = Duration::from_secs(3);

/// The store at a place beyond this machine.
pub(crate) fn open(location: &Location, watch: &Arc<dyn Watch>) -> Result<Box<dyn Store>> {
    let calls = Calls::to(location, watch)?;
    let (store, base) = connect::connect(location)?;
    Ok(Box::new(Objects { store, base, calls }))
}

/// An object store and where in it the label set lies.
struct Objects {
    store: Box<dyn ObjectStore>,
    base: Key,
    calls: Arc<Calls>,
}

impl Objects {
    /// The files below an address of the Hub's.
    fn on_hub(location: &Location, address: &str, calls: &Arc<Calls>) -> Result<Objects> {
        let store = connect::hub_files(location, address)?;
        Ok(Objects { store, base: Key::default(), calls: calls.clone() })
    }

    fn key(&self, key: &str) -> Key {
        key.split('/').fold(self.base.clone(), Key::join)
    }

    /// Writes a small file in one request.
    fn put(&self, piece: &Piece, file: &Path) -> Result<()> {
        let bytes = std::fs::read(file).map_err(Error::io("read", file))?;
        if *blake3::hash(&bytes).as_bytes() != piece.blake3.0 {
            return Err(Error::Changed { path: file.into() });
        }
        let options = PutOptions { attributes: left_with(piece), ..PutOptions::default() };
        let key = self.key(&piece.path);
        self.calls
            .wait(&piece.path, self.store.put_opts(&key, bytes.into(), options))?
            .or_denied(&self.calls.place)?;
        Ok(())
    }

    /// Writes a large file in parts; it is there once the last has arrived.
    fn put_in_parts(&self, piece: &Piece, file: &Path, sent: &mut dyn FnMut(u64)) -> Result<()> {
        let options = PutMultipartOptions { attributes: left_with(piece), ..PutMultipartOptions::default() };
        let key = self.key(&piece.path);
        let begun = self.calls.wait(&piece.path, self.store.put_multipart_opts(&key, options))?;
        let mut upload = begun.or_denied(&self.calls.place)?;
        let done = self.parts(upload.as_mut(), piece, file, sent);
        if done.is_err() {
            // What is not removed now costs its owner room until the store's own rule removes it.
            let _ = self.calls.runtime.block_on(tokio::time::timeout(FAREWELL, upload.abort()));
        }
        done
    }

    fn parts(
        &self,
        upload: &mut dyn MultipartUpload,
        piece: &Piece,
        path: &Path,
        sent: &mut dyn FnMut(u64),
    ) -> Result<()> {
        let mut file = File::open(path).map_err(Error::io("open", path))?;
        let part = PART.max(piece.bytes.div_ceil(MOST_PARTS));
        let mut hasher = blake3::Hasher::new();
        loop {
            let mut bytes = Vec::new();
            (&mut file).take(part).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
            if bytes.is_empty() {
                break;
            }
            hasher.update(&bytes);
            let count = bytes.len() as u64;
            let answered = self.calls.wait(&piece.path, upload.put_part(bytes.into()))?;
            answered.or_denied(&self.calls.place)?;
            sent(count);
        }
        if *hasher.finalize().as_bytes() != piece.blake3.0 {
            return Err(Error::Changed { path: path.into() });
        }
        self.calls.wait(&piece.path, upload.complete())?.or_denied(&self.calls.place)?;
        Ok(())
    }
}

impl Store for Objects {
    fn place(&self) -> String {
        self.calls.place.clone()
    }

    fn look(&self, key: &str) -> Result<Option<Found>> {
        let options = GetOptions { head: true, ..GetOptions::default() };
        let found = self.calls.wait(key, self.store.get_opts(&self.key(key), options))?;
        Ok(found.there()?.map(|found| Found {
            bytes: found.meta.size,
            blake3: found.attributes.get(&BLAKE3).and_then(|value| value.parse::<Hex>().ok()),
        }))
    }

    fn read(&self, key: &str, from: u64) -> Result<Option<Box<dyn Source>>> {
        let get = |range| {
            let options = GetOptions { range, ..GetOptions::default() };
            self.calls.wait(key, self.store.get_opts(&self.key(key), options))
        };
        let mut skipped = 0;
        let mut answer = get((from > 0).then_some(GetRange::Offset(from)));
        if from > 0 && matches!(answer, Ok(Answer::CannotDo(_)) | Err(Error::Denied { .. })) {
            // A server that knows no ranges, or has fewer bytes than that, sends all of it.
            skipped = from;
            answer = get(None);
        }
        let stream = |pieces| Stream { pieces, skipped, key: key.into(), calls: self.calls.clone() };
        Ok(answer?.there()?.map(|found| Box::new(stream(found.into_stream())) as Box<dyn Source>))
    }

    fn write(&self, piece: &Piece, file: &Path, sent: &mut dyn FnMut(u64)) -> Result<()> {
        if piece.bytes > PART {
            return self.put_in_parts(piece, file, sent);
        }
        self.put(piece, file)?;
        sent(piece.bytes);
        Ok(())
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let payload = Bytes::copy_from_slice(bytes).into();
        match self.calls.wait(key, self.store.put_opts(&self.key(key), payload, options))? {
            Answer::Given(_) => Ok(true),
            Answer::Exists => Ok(false),
            Answer::CannotDo(what) => Err(Error::Unconditional { place: self.place(), what }),
            absent @ Answer::Absent => absent.or_denied(&self.calls.place).map(|_| true),
        }
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.calls.wait(key, self.store.delete(&self.key(key)))?.there()?;
        Ok(())
    }
}

/// An object that is read; `object_store` asks again for the rest of one whose connection broke.
struct Stream {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    /// Bytes that come and are not wanted.
    skipped: u64,
    key: String,
    calls: Arc<Calls>,
}

impl Source for Stream {
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let next = async { self.pieces.next().await.transpose() };
            let piece = self.calls.wait(&self.key, next)?.or_denied(&self.calls.place)?;
            let Some(piece) = piece else { return Ok(None) };
            let skipped = self.skipped.min(piece.len() as u64);
            self.skipped -= skipped;
            if skipped < piece.len() as u64 {
                return Ok(Some(piece[skipped as usize..].to_vec()));
            }
        }
    }
}

/// What a file leaves with its object.
fn left_with(piece: &Piece) -> Attributes {
    Attributes::from_iter([(BLAKE3, piece.blake3.to_string())])
}
