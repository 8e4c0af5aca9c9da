//! The part of the Hugging Face Hub's interface that a push takes, in the test's own process, and the store where the Hub
//! keeps large files. `tools/hub` proves it by the Hub's own Python client.

pub mod git;
mod store;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::web::{Reply, Request, serve};
use git::Repo;

/// What the Hub holds and how it behaves; changed while it runs.
#[derive(Default)]
pub struct State {
    /// Where it is, and where its store is.
    pub url: String,
    pub store: String,
    /// Who has this token may read and write; nobody else is known.
    pub token: String,
    /// The token may only read.
    pub read_only: bool,
    pub repos: BTreeMap<String, Repo>,
    /// Bytes by their SHA-256, and those of them that were verified.
    pub stored: BTreeMap<String, Vec<u8>>,
    pub verified: Vec<String>,
    /// Blobs above this go in parts of so many bytes.
    pub part: Option<usize>,
    /// Parts of blobs, by address.
    pub parts: BTreeMap<String, Vec<u8>>,
    /// What was asked: method and path; of the store, too.
    pub asked: Vec<(String, String)>,
    /// The next request whose method and path hold this is answered with a status and headers.
    pub faults: Vec<(String, u16, String)>,
    /// The next request whose method and path hold this is done, and then answered with 502.
    pub lost: Option<String>,
    /// Requests after which every further one waits until the test lets it go on.
    pub halts_after: Option<usize>,
    /// The token came to the store.
    pub leaked: bool,
}

/// A Hub on a port of its own, and its store on another.
pub struct Hub {
    pub url: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    goes_on: Condvar,
}

impl Hub {
    pub fn start(state: State) -> Hub {
        let shared = Arc::new(Shared { state: Mutex::new(state), goes_on: Condvar::new() });
        let [hub, store] = [answer, store::answer].map(|answer| {
            let shared = Arc::clone(&shared);
            serve(move |request| shared.answer(request, answer))
        });
        let mut state = shared.state.lock().unwrap();
        (state.url, state.store) = (hub.clone(), store);
        drop(state);
        Hub { url: hub, shared }
    }

    /// With an account, and nothing else.
    pub fn of(token: &str) -> Hub {
        Hub::start(State { token: token.into(), ..State::default() })
    }

    /// What is asked of it, done under its lock.
    pub fn with<T>(&self, what: impl FnOnce(&mut State) -> T) -> T {
        let done = what(&mut self.shared.state.lock().unwrap());
        self.shared.goes_on.notify_all();
        done
    }

    /// What stands in a revision of a data set, by path; none where that is not there.
    pub fn files(&self, repo: &str, revision: &str) -> Option<BTreeMap<String, Vec<u8>>> {
        self.with(|state| {
            let (_, tree) = state.repos.get(repo)?.at(revision)?;
            let bytes = |file: &git::File| match file {
                git::File::Regular(bytes) => bytes.clone(),
                git::File::Blob(oid) => state.stored[oid].clone(),
            };
            Some(tree.iter().map(|(path, file)| (path.clone(), bytes(file))).collect())
        })
    }

    /// How often something was asked.
    pub fn asked(&self, method: &str, holds: &str) -> usize {
        self.with(|state| {
            state.asked.iter().filter(|(asked, path)| asked == method && path.contains(holds)).count()
        })
    }
}

impl Shared {
    fn answer(&self, request: &Request, answer: fn(&mut State, &Request) -> Reply) -> Reply {
        let mut state = self.state.lock().unwrap();
        state.asked.push((request.method.clone(), request.path.clone()));
        while state.halts_after.is_some_and(|requests| state.asked.len() > requests) {
            state = self.wait(state);
        }
        let what = format!("{} {}", request.method, request.path);
        if let Some(at) = state.faults.iter().position(|(holds, ..)| what.contains(holds)) {
            let (_, status, headers) = state.faults.remove(at);
            let authorization = request.headers.get("authorization").cloned().unwrap_or_default();
            let body = json!({"error": format!("no, you sent {authorization}")}).to_string();
            return Reply::new(&format!("{status} No"), headers, body.into_bytes());
        }
        let reply = answer(&mut state, request);
        if state.lost.as_ref().is_some_and(|holds| what.contains(holds)) {
            state.lost = None;
            return Reply::new("502 Bad Gateway", String::new(), Vec::new());
        }
        reply
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.goes_on.wait(state).unwrap()
    }
}

/// JSON, and the status that it comes with.
pub fn said(status: &str, value: &Value) -> Reply {
    Reply::new(status, "Content-Type: application/json\r\n".into(), value.to_string().into_bytes())
}

/// A refusal by the Hub's own code for it.
pub fn refused(status: &str, code: &str, message: &str) -> Reply {
    let headers = format!("X-Error-Code: {code}\r\nX-Error-Message: {message}\r\n");
    Reply::new(status, headers, json!({"error": message}).to_string().into_bytes())
}

fn answer(state: &mut State, request: &Request) -> Reply {
    let authorization = request.headers.get("authorization").cloned().unwrap_or_default();
    // Who has a signed address needs no token.
    let is_signed = request.path.starts_with("/lfs/complete/") && request.query == store::SIGNED;
    if !is_signed && authorization != format!("Bearer {}", state.token) {
        return refused("401 Unauthorized", "RepoNotFound", "Invalid username or password.");
    }
    let writes = request.method == "POST" && !request.path.ends_with("/paths-info/main");
    if writes && state.read_only {
        return refused("403 Forbidden", "Forbidden", "you must use a write token to do that");
    }
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["api", "repos", "create"]) => create(state, &body()),
        ("POST", ["api", "validate-yaml"]) => said("200 OK", &json!({"errors": [], "warnings": []})),
        ("POST", ["datasets", org, name, "info", "lfs", "objects", "batch"]) => {
            let id = format!("{org}/{}", name.trim_end_matches(".git"));
            if state.repos.contains_key(&id) { store::batch(state, &body()) } else { no_repo() }
        }
        ("POST", ["lfs", "complete", oid]) => store::complete(state, oid, &body()),
        ("POST", ["lfs", "verify"]) => store::verify(state, &body()),
        (_, ["api", "datasets", org, name, rest @ ..]) => {
            let (id, rest) = (format!("{org}/{name}"), rest.to_vec());
            interface(state, request, &id, &rest)
        }
        (_, ["datasets", org, name, "resolve", revision, path @ ..]) => {
            file(state, request, &format!("{org}/{name}"), revision, &path.join("/"))
        }
        _ => Reply::new("404 Not Found", String::new(), Vec::new()),
    }
}

fn no_repo() -> Reply {
    refused("404 Not Found", "RepoNotFound", "Repository not found")
}

fn no_revision(revision: &str) -> Reply {
    refused("404 Not Found", "RevisionNotFound", &format!("Invalid rev id: {revision}"))
}

fn create(state: &mut State, wanted: &Value) -> Reply {
    let id = format!("{}/{}", wanted["organization"].as_str().unwrap(), wanted["name"].as_str().unwrap());
    assert_eq!(wanted["type"], "dataset");
    let url = format!("{}/datasets/{id}", state.url);
    if state.repos.contains_key(&id) {
        return said("409 Conflict", &json!({"error": "You already created this dataset repo", "url": url}));
    }
    let is_private = wanted["private"] == true || wanted["visibility"] == "private";
    state.repos.insert(id.clone(), Repo::new(is_private));
    said("200 OK", &json!({"url": url, "name": id, "id": id}))
}

/// What the Hub's interface says of one data set.
fn interface(state: &mut State, request: &Request, id: &str, rest: &[&str]) -> Reply {
    let Some(repo) = state.repos.get_mut(id) else { return no_repo() };
    let revision = rest.get(1).copied().unwrap_or("main");
    if let ("POST", ["branch", name]) = (request.method.as_str(), rest) {
        return repo.branch(name);
    }
    let Some((commit, _)) = repo.at(revision) else { return no_revision(revision) };
    match (request.method.as_str(), rest) {
        ("GET", [] | ["revision", _]) => {
            said("200 OK", &json!({"id": id, "sha": commit, "private": repo.is_private, "tags": []}))
        }
        ("GET", ["tree", _, inside @ ..]) => {
            let (url, inside) = (state.url.clone(), inside.join("/"));
            repo.tree(&state.stored, &commit, &inside, &format!("{url}{}", request.path), &request.query)
        }
        ("POST", ["preupload", _]) => repo.modes(revision, &request.body),
        ("POST", ["commit", _]) => {
            let address = format!("{}/datasets/{id}", state.url);
            let reply = repo.commit(&state.verified, &address, revision, &request.body);
            reply.unwrap_or_else(|refused| refused)
        }
        _ => Reply::new("404 Not Found", String::new(), Vec::new()),
    }
}

/// A file, or where its bytes are.
fn file(state: &mut State, request: &Request, id: &str, revision: &str, path: &str) -> Reply {
    let Some(repo) = state.repos.get(id) else { return no_repo() };
    let Some((commit, tree)) = repo.at(revision) else { return no_revision(revision) };
    let commit = format!("X-Repo-Commit: {commit}\r\n");
    match tree.get(path) {
        None => refused("404 Not Found", "EntryNotFound", "Entry not found"),
        Some(git::File::Regular(bytes)) => {
            let headers = format!("{commit}ETag: \"{}\"\r\n", git::named(bytes));
            let (status, headers, body) = crate::web::part_of(bytes, request.headers.get("range"), headers);
            Reply::new(&status, headers, body)
        }
        Some(git::File::Blob(oid)) => {
            let (store, size) = (&state.store, state.stored[oid].len());
            let headers = format!(
                "{commit}X-Linked-Etag: \"{oid}\"\r\nX-Linked-Size: {size}\r\nETag: \"of-the-hub\"\r\nLocation: {store}/blob/{oid}?Signature=of-the-store\r\n"
            );
            Reply::new("302 Found", headers, Vec::new())
        }
    }
}
