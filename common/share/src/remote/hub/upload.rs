//! Bytes on their way to where the Hub keeps them, by Git LFS: a blob is named by its SHA-256, and one that is there is not
//! sent again.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::remote::hub::client::{Client, Said};
use crate::remote::hub::wire::{Action, Actions, Batch, Blob, batch};
use crate::store::Watch;

/// Blobs that are asked about at once: the addresses that the Hub gives do not live for long.
pub(super) const AT_ONCE: usize = 16;
/// Bytes that are read at once.
const PIECE: u64 = 1 << 18;
/// How long nothing of a body may move.
const PATIENCE: Duration = Duration::from_mins(5);
const LFS: &str = "application/vnd.git-lfs+json";

/// Where the blobs of one data set go.
pub(super) struct Uploads<'a> {
    pub client: &'a Client,
    /// `ORG/NAME`.
    pub repo: &'a str,
    pub revision: &'a str,
}

impl Uploads<'_> {
    /// Which of some blobs are not there, by their places among them, and how each goes.
    pub fn missing(&self, blobs: &[Blob]) -> Result<Vec<(usize, Actions)>> {
        let address = self.client.address(&format!("datasets/{}.git/info/lfs/objects/batch", self.repo));
        let body = batch(blobs, self.revision).to_string();
        let said = self.client.ask(&|| {
            let request = self.client.request(Method::POST, &address);
            Ok(request.header("accept", LFS).header("content-type", LFS).body(body.clone()))
        })?;
        let Batch { objects } = self.client.read(&said)?;
        let mut missing = Vec::new();
        for (index, blob) in blobs.iter().enumerate() {
            let unsaid = || self.client.broken(format!("it did not say where blob {} goes", blob.oid));
            let object = objects.iter().position(|object| object.oid == blob.oid).ok_or_else(unsaid)?;
            if let Some(refused) = &objects[object].error {
                return Err(Error::Denied {
                    place: self.client.calls.place.clone(),
                    what: format!(
                        "blob {}: {} {}",
                        blob.oid,
                        refused.code,
                        crate::redacted(&refused.message)
                    ),
                    hint: "check the room that the data set's owner has there".into(),
                });
            }
            missing.push((index, object));
        }
        let mut actions: Vec<_> = objects.into_iter().map(|object| object.actions).collect();
        // Two files of the same bytes are one blob, which goes once.
        Ok(missing.into_iter().filter_map(|(index, object)| Some((index, actions[object].take()?))).collect())
    }

    /// Sends a blob from a file. It is asked for again whether one counts whose address was too old.
    pub fn send(&self, blob: &Blob, actions: &Actions, file: &Path) -> Result<()> {
        let told = Told::new(self.client.calls.watch.clone());
        let said = self.try_to_send(blob, actions, file, &told)?;
        if said.is_fine() {
            return Ok(());
        }
        let again = self.missing(std::slice::from_ref(blob))?.pop();
        let Some((_, actions)) = again.filter(|_| said.status == 403) else {
            return Err(self.client.refusal(&said));
        };
        let said = self.try_to_send(blob, &actions, file, &told)?;
        if said.is_fine() { Ok(()) } else { Err(self.client.refusal(&said)) }
    }

    /// The last answer of what a blob takes.
    fn try_to_send(&self, blob: &Blob, actions: &Actions, file: &Path, told: &Arc<Told>) -> Result<Said> {
        let Some(upload) = &actions.upload else {
            return Err(self.client.broken(format!("it did not say how blob {} goes", blob.oid)));
        };
        let said = match part_bytes(upload) {
            Some(bytes) => self.in_parts(blob, upload, bytes, file, told)?,
            None => self.put(&upload.href, Some(upload), Range { from: 0, bytes: blob.size }, file, told)?,
        };
        let Some(verify) = actions.verify.as_ref().filter(|_| said.is_fine()) else { return Ok(said) };
        self.tell(&verify.href, &json!({"oid": blob.oid, "size": blob.size}))
    }

    /// Sends a blob in parts of so many bytes and says that these were all.
    fn in_parts(
        &self,
        blob: &Blob,
        upload: &Action,
        bytes: u64,
        file: &Path,
        told: &Arc<Told>,
    ) -> Result<Said> {
        let mut addresses: Vec<(u64, &str)> = upload
            .header
            .iter()
            .filter_map(|(name, address)| Some((name.parse().ok()?, address.as_str()?)))
            .collect();
        addresses.sort_unstable();
        if bytes == 0 || addresses.len() as u64 != blob.size.div_ceil(bytes) {
            let count = addresses.len();
            let what = format!("{count} addresses for {} bytes in parts of {bytes}", blob.size);
            return Err(self.client.broken(what));
        }
        let mut parts = Vec::new();
        for (index, (number, address)) in addresses.into_iter().enumerate() {
            let from = index as u64 * bytes;
            let range = Range { from, bytes: bytes.min(blob.size - from) };
            let said = self.put(address, None, range, file, told)?;
            if !said.is_fine() {
                return Ok(said);
            }
            parts.push(json!({"partNumber": number, "etag": said.header("etag")}));
        }
        self.tell(&upload.href, &json!({"oid": blob.oid, "parts": parts}))
    }

    /// Sends a range of a file.
    fn put(
        &self,
        address: &str,
        upload: Option<&Action>,
        range: Range,
        file: &Path,
        told: &Arc<Told>,
    ) -> Result<Said> {
        let address = self.client.given(address);
        let request = || {
            told.now();
            let pieces = Pieces::of(file, range, told.clone()).map_err(Error::io("read", file))?;
            let body = Body::wrap_stream(futures_util::stream::iter(pieces));
            // Stores want to know the length before.
            let request = self.client.request(Method::PUT, &address).header(CONTENT_LENGTH, range.bytes);
            let headers = upload.into_iter().flat_map(|upload| &upload.header);
            let headers = headers.filter_map(|(name, value)| Some((name, value.as_str()?)));
            Ok(headers.fold(request, |request, (name, value)| request.header(name, value)).body(body))
        };
        self.client.ask_while(&request, &|_| told.last().elapsed() < PATIENCE)
    }

    fn tell(&self, address: &str, what: &Value) -> Result<Said> {
        let (address, body) = (self.client.given(address), what.to_string());
        self.client.ask(&|| {
            let request = self.client.request(Method::POST, &address);
            Ok(request.header("accept", LFS).header("content-type", LFS).body(body.clone()))
        })
    }
}

/// How many bytes a part has, of an upload in parts. The Hub writes the number as a text.
fn part_bytes(upload: &Action) -> Option<u64> {
    let bytes = upload.header.get("chunk_size")?;
    Some(bytes.as_u64().or_else(|| bytes.as_str()?.parse().ok()).unwrap_or(0))
}

#[derive(Clone, Copy)]
struct Range {
    from: u64,
    bytes: u64,
}

/// What of a file somebody was told that it went, and when.
struct Told {
    watch: Arc<dyn Watch>,
    most: AtomicU64,
    last: Mutex<Instant>,
}

impl Told {
    fn new(watch: Arc<dyn Watch>) -> Arc<Told> {
        Arc::new(Told { watch, most: AtomicU64::new(0), last: Mutex::new(Instant::now()) })
    }

    /// Bytes up to here went; once, however often they are sent.
    fn tell(&self, at: u64) {
        let before = self.most.fetch_max(at, Ordering::Relaxed);
        self.watch.moved(at.saturating_sub(before));
        self.now();
    }

    fn now(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A range of a file, piece by piece.
struct Pieces {
    file: File,
    at: u64,
    end: u64,
    told: Arc<Told>,
}

impl Pieces {
    fn of(path: &Path, Range { from, bytes }: Range, told: Arc<Told>) -> io::Result<Pieces> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Pieces { file, at: from, end: from + bytes, told })
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        // The piece before was taken.
        self.told.tell(self.at);
        if self.at == self.end {
            return None;
        }
        let mut bytes = vec![0; (self.end - self.at).min(PIECE) as usize];
        self.at += bytes.len() as u64;
        Some(self.file.read_exact(&mut bytes).map(|()| bytes.into()))
    }
}
