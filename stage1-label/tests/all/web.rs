//! A small web server in the test's own process, for what takes faults: the part of S3's language that a label set
//! takes, the Hugging Face Hub's way to a file, and connections that break.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What the server holds and how it behaves; changed while it runs.
#[derive(Default)]
pub struct State {
    /// Objects by their paths, which begin with `/`.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// The hash that was left with them.
    pub hashes: BTreeMap<String, String>,
    /// What was asked: method and path.
    pub asked: Vec<(String, String)>,
    pub language: Language,
    /// Put-if-absent writes over what is there.
    pub overwrites: bool,
    /// The next so many bodies are cut in half.
    pub cuts: usize,
    /// Whoever asks for a part gets all.
    pub knows_no_ranges: bool,
    /// Bodies wait for so long.
    pub stalls: Option<Duration>,
    /// Whose keys the last request was signed with, and for which day, region and service.
    pub signed_by: String,
    /// Everything is refused with this, and what was sent comes back in the body.
    pub refuses: Option<u16>,
    /// The token without which no path is shown; with it, one is sent on to the other server.
    pub token: Option<String>,
    /// Where paths are sent on to.
    pub sends_on: Option<String>,
    /// A request came with the token that should not have.
    pub leaked: bool,
}

/// Whose names of headers a store knows.
#[derive(Default, Clone, Copy)]
pub enum Language {
    #[default]
    S3,
    /// Google's XML interface.
    Google,
}

impl State {
    /// The header that leaves a hash with an object.
    fn left_hash(&self) -> &'static str {
        match self.language {
            Language::S3 => "x-amz-meta-blake3",
            Language::Google => "x-goog-meta-blake3",
        }
    }
}

/// A server on a port of its own.
pub struct Web {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Web {
    pub fn start(state: State) -> Web {
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let url = serve(move |request| answer(request, &shared));
        Web { url, state }
    }

    /// What is asked of it, done under its lock.
    pub fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        what(&mut self.state.lock().unwrap())
    }
}

/// What was asked.
pub struct Request {
    pub method: String,
    pub path: String,
    /// What stands behind the `?`.
    pub query: String,
    /// By their names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What is answered.
pub struct Reply {
    pub status: String,
    /// Each with its line's end.
    pub headers: String,
    pub body: Vec<u8>,
    /// The body is cut in half.
    pub cut: bool,
    /// The second half waits for so long.
    pub stall: Option<Duration>,
}

impl Reply {
    pub fn new(status: &str, headers: String, body: Vec<u8>) -> Reply {
        Reply { status: status.into(), headers, body, cut: false, stall: None }
    }
}

/// A server on a port of its own, which ends with the test's process; gives its URL.
pub fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                if let Some(request) = read(&stream) {
                    write(stream, &request, &answer(&request));
                }
            });
        }
    });
    url
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, address) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = address.split_once('?').unwrap_or((&address, ""));
    let (path, query) = (unescaped(path), query.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None => break,
        };
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, query, headers, body })
}

/// A path without its escapes: Google's client escapes all but letters and digits.
fn unescaped(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        whole.push(char::from(u8::from_str_radix(code, 16).unwrap()));
        whole.push_str(rest);
    }
    whole
}

fn write(mut stream: TcpStream, request: &Request, reply: &Reply) {
    let Reply { status, headers, body, cut, stall } = reply;
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    if request.method == "HEAD" {
        return;
    }
    let _ = stream.write_all(&body[..length / 2]);
    if let Some(stall) = stall {
        let _ = stream.flush();
        thread::sleep(*stall);
    }
    if !cut {
        let _ = stream.write_all(&body[length / 2..]);
    }
}

fn answer(request: &Request, state: &Mutex<State>) -> Reply {
    let mut state = state.lock().unwrap();
    state.asked.push((request.method.clone(), request.path.clone()));
    let (status, headers, body) = respond(&mut state, request);
    let cut = request.method == "GET" && body.len() > 1 && state.cuts > 0;
    state.cuts -= usize::from(cut);
    let stall = state.stalls.filter(|_| request.method == "GET");
    Reply { status, headers, body, cut, stall }
}

fn respond(state: &mut State, request: &Request) -> (String, String, Vec<u8>) {
    let Request { method, path, headers, body, .. } = request;
    let plain = |status: &str| (status.to_owned(), String::new(), Vec::new());
    let authorization = headers.get("authorization").cloned().unwrap_or_default();
    let credential = authorization.split("Credential=").nth(1).and_then(|rest| rest.split(',').next());
    state.signed_by = credential.unwrap_or_default().into();
    if let Some(status) = state.refuses {
        return (format!("{status} No"), String::new(), format!("you sent {authorization}").into_bytes());
    }
    if let Some(token) = &state.token {
        if authorization != format!("Bearer {token}") {
            return plain("401 Unauthorized");
        }
    } else if authorization.starts_with("Bearer ") {
        state.leaked = true;
    }
    if let (Some(other), true) = (&state.sends_on, state.objects.contains_key(path)) {
        let location = format!("Location: {other}{path}?Signature=of-the-store\r\n");
        return ("302 Found".into(), location, Vec::new());
    }
    match method.as_str() {
        "PUT" => {
            let is_there = state.objects.contains_key(path);
            // Of Google's objects, generation 0 is the one that is not there.
            let (condition, absent) = match state.language {
                Language::S3 => ("if-none-match", "*"),
                Language::Google => ("x-goog-if-generation-match", "0"),
            };
            let only_if_absent = headers.get(condition).is_some_and(|said| said == absent);
            if only_if_absent && is_there && !state.overwrites {
                return plain("412 Precondition Failed");
            }
            if let Some(hash) = headers.get(state.left_hash()) {
                state.hashes.insert(path.clone(), hash.clone());
            }
            state.objects.insert(path.clone(), body.clone());
            ("200 OK".into(), "ETag: \"1\"\r\n".into(), Vec::new())
        }
        "DELETE" => {
            state.objects.remove(path);
            plain("204 No Content")
        }
        _ => given(state, path, headers.get("range")),
    }
}

/// An object, or a range of it.
fn given(state: &State, path: &str, range: Option<&String>) -> (String, String, Vec<u8>) {
    let Some(bytes) = state.objects.get(path) else {
        return ("404 Not Found".into(), String::new(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec());
    };
    let hash =
        state.hashes.get(path).map_or(String::new(), |hash| format!("{}: {hash}\r\n", state.left_hash()));
    let tag = "ETag: \"1\"\r\nLast-Modified: Thu, 26 Nov 2026 00:00:00 GMT\r\n";
    part_of(bytes, range.filter(|_| !state.knows_no_ranges), format!("{tag}{hash}"))
}

/// Bytes, or a range of them, under these headers.
pub fn part_of(bytes: &[u8], range: Option<&String>, headers: String) -> (String, String, Vec<u8>) {
    let Some((from, to)) = range.and_then(|range| range.strip_prefix("bytes=")?.split_once('-')) else {
        return ("200 OK".into(), headers, bytes.to_vec());
    };
    let from: usize = from.parse().unwrap();
    if from >= bytes.len() {
        return ("416 Range Not Satisfiable".into(), headers, Vec::new());
    }
    let to = to.parse().map_or(bytes.len() - 1, |to: usize| to.min(bytes.len() - 1));
    let range = format!("Content-Range: bytes {from}-{to}/{}\r\n", bytes.len());
    ("206 Partial Content".into(), format!("{headers}{range}"), bytes[from..=to].to_vec())
}
