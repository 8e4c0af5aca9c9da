//! `label push hf://..` against a Hub in this process that refuses, breaks off, loses answers and is pushed to by two.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::fixture::{Ended, Label, Place, ended, label, tree};
use crate::hub::git::{File, Repo, digits};
use crate::hub::{Hub, State};

const TOKEN: &str = "hf_of_nobody_at_all";
const PLACE: &str = "hf://datasets/org/name";

fn on(command: Label, hub: &Hub) -> Label {
    let command = command.env("HF_ENDPOINT", &hub.url).env("HF_TOKEN", TOKEN).env("NO_PROXY", "*");
    command.env("HF_HOME", "/nowhere").without("HF_TOKEN_PATH").without("HF_HUB_DISABLE_IMPLICIT_TOKEN")
}

fn push(labels: &Path, to: &str, hub: &Hub) -> Label {
    on(label().arg("push").arg(labels).arg(to), hub)
}

fn pull(from: &str, to: &Path, hub: &Hub) -> Label {
    on(label().arg("pull").arg(from).arg(to), hub)
}

/// Three shards in both forms.
fn labelled(place: &Place) -> PathBuf {
    let labels = place.path("labels");
    place.run(&labels, 20).succeeds();
    labels
}

/// A folder's files by their paths below another.
fn files(labels: &Path, below: &str) -> BTreeMap<String, Vec<u8>> {
    tree(labels).into_iter().map(|(path, bytes)| (format!("{below}{}", path.display()), bytes)).collect()
}

/// What is there of a data set but for what the Hub put there itself.
fn there(hub: &Hub, revision: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = hub.files("org/name", revision).expect("the data set is there");
    files.remove(".gitattributes");
    files
}

fn commits(hub: &Hub) -> usize {
    hub.with(|state| state.repos["org/name"].commits.len() - 1)
}

#[test]
fn what_is_pushed_to_the_hub_is_the_folder_in_one_commit_and_goes_once() {
    let (place, hub) = (Place::new(), Hub::of(TOKEN));
    let labels = labelled(&place);
    let said = push(&labels, PLACE, &hub).ends();
    assert!(said.stderr.contains("9 files sent"), "{}", said.stderr);
    assert!(there(&hub, "main") == files(&labels, ""));
    assert_eq!(commits(&hub), 1);
    assert!(hub.with(|state| state.repos["org/name"].is_private && !state.leaked));
    assert_eq!(hub.asked("PUT", "/blob/"), 6, "each shard once, and no small file");
    let said = push(&labels, PLACE, &hub).ends();
    assert!(said.stderr.contains("0 files sent (0 bytes), 9 were there"), "{}", said.stderr);
    assert_eq!((commits(&hub), hub.asked("PUT", "")), (1, 6));
    pull(PLACE, &place.path("to"), &hub).succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
    // What is damaged or lost there, whoever did it, is mended by another push.
    hub.with(|state| {
        let other = b"other bytes".to_vec();
        let oid = digits(&other);
        state.stored.insert(oid.clone(), other);
        let repo = state.repos.get_mut("org/name").unwrap();
        let files = repo.commits.get_mut(&repo.branches["main"]).unwrap();
        files.insert("data/train-00001-of-00003.parquet".into(), File::Blob(oid));
        files.insert("README.md".into(), File::Regular(b"another card".to_vec()));
        files.remove("shards/train-00002-of-00003.safetensors");
    });
    let said = push(&labels, PLACE, &hub).ends();
    assert!(said.stderr.contains("1 files sent"), "the blobs are there still: {}", said.stderr);
    assert!(there(&hub, "main") == files(&labels, ""));
    assert_eq!((commits(&hub), hub.asked("PUT", "")), (2, 6));
}

#[test]
fn a_hub_that_never_shows_what_was_committed_is_left_in_the_end() {
    let (place, hub) = (Place::new(), Hub::of(TOKEN));
    let labels = labelled(&place);
    let repo = Repo { forgets: Some("SHA256SUMS".into()), ..Repo::new(true) };
    hub.with(|state| state.repos.insert("org/name".into(), repo));
    push(&labels, PLACE, &hub).fails(75, &["or it does not show what was committed", "hint: "]);
    assert!(commits(&hub) <= 25, "{} commits", commits(&hub));
    let label = push(&labels, "hf://datasets/org/name/a%20b", &hub);
    label.fails(2, &["has none with `%`"]);
}

#[test]
fn a_branch_and_a_folder_are_made_and_what_else_is_there_stays() {
    let (place, hub) = (Place::new(), Hub::of(TOKEN));
    let labels = labelled(&place);
    push(&labels, PLACE, &hub).succeeds();
    let to = "hf://datasets/org/name@v2/sets/one";
    push(&labels, to, &hub).succeeds();
    let mut wanted = files(&labels, "");
    assert!(there(&hub, "main") == wanted);
    wanted.extend(files(&labels, "sets/one/"));
    assert!(there(&hub, "v2") == wanted);
    assert_eq!(hub.asked("PUT", "/blob/"), 6, "the same bytes are one blob");
    pull(to, &place.path("to"), &hub).succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
}

#[test]
fn large_files_go_in_parts_and_many_files_in_several_commits_the_manifest_with_the_last() {
    let place = Place::new();
    let hub = Hub::start(State { token: TOKEN.into(), part: Some(1000), ..State::default() });
    let labels = place.path("labels");
    place.run_in_shards(&labels, 60, 1).succeeds();
    push(&labels, PLACE, &hub).succeeds();
    assert!(there(&hub, "main") == files(&labels, ""));
    assert_eq!(commits(&hub), 2, "123 files");
    assert!(hub.asked("PUT", "/part/") > 120 && hub.asked("PUT", "/blob/") == 0);
    let with_manifest = |state: &mut State| {
        state.repos["org/name"].commits.values().filter(|tree| tree.contains_key("manifest.json")).count()
    };
    assert_eq!(hub.with(with_manifest), 1);
    assert!(!hub.with(|state| state.leaked));
}

/// Waits until so many requests came.
fn once_asked(hub: &Hub, requests: usize, child: &mut Child) -> bool {
    let began = Instant::now();
    while hub.with(|state| state.asked.len()) <= requests {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < Duration::from_mins(2), "request {requests} did not come");
        thread::sleep(Duration::from_millis(5));
    }
    true
}

#[test]
fn a_push_killed_at_any_request_and_pushed_again_sends_nothing_twice() {
    let place = Place::new();
    let labels = labelled(&place);
    let wanted = files(&labels, "");
    for requests in (0..).step_by(2) {
        let hub = Hub::start(State { halts_after: Some(requests), token: TOKEN.into(), ..State::default() });
        let mut child = push(&labels, PLACE, &hub).start();
        if !once_asked(&hub, requests, &mut child) {
            assert!(child.wait_with_output().unwrap().status.success());
            assert!(requests > 20, "{requests}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The request that was under way arrives, or does not, which is the same.
        hub.with(|state| state.halts_after = None);
        push(&labels, PLACE, &hub).succeeds();
        assert!(there(&hub, "main") == wanted, "after {requests} requests");
        hub.with(|state| {
            let mut verified = state.verified.clone();
            verified.sort();
            verified.dedup();
            assert_eq!(verified.len(), 6);
            // One may have been on its way.
            let sent = state.asked.iter().filter(|(method, _)| method == "PUT").count();
            assert!((6..=7).contains(&sent), "{sent} after {requests} requests");
        });
    }
}

#[test]
fn what_is_busy_is_asked_again_and_a_lost_answer_makes_no_second_commit() {
    let (place, hub) = (Place::new(), Hub::of(TOKEN));
    let labels = labelled(&place);
    let faults = [
        ("GET /api/datasets", 503, ""),
        ("POST /api/repos/create", 500, ""),
        ("preupload", 429, "Retry-After: 1\r\n"),
        ("objects/batch", 502, ""),
        ("PUT /blob/", 500, ""),
        ("PUT /blob/", 503, "Retry-After: 0\r\n"),
        ("lfs/verify", 504, ""),
        ("commit/main", 429, "RateLimit: \"api\";r=0;t=1\r\n"),
    ];
    hub.with(|state| {
        state.faults = faults.map(|(what, status, headers)| (what.into(), status, headers.into())).to_vec();
        state.lost = Some("commit/main".into());
    });
    let began = Instant::now();
    push(&labels, PLACE, &hub).succeeds();
    assert!(began.elapsed() >= Duration::from_secs(2), "both wanted to be left alone for a second");
    assert!(hub.with(|state| state.faults.is_empty() && state.lost.is_none()));
    assert!(there(&hub, "main") == files(&labels, ""));
    assert_eq!((commits(&hub), hub.asked("POST", "commit/main")), (1, 3));
    // An address that is too old is asked for anew.
    let other = place.path("other");
    place.run(&other, 10).succeeds();
    hub.with(|state| state.faults.push(("PUT /blob/".into(), 403, String::new())));
    push(&other, "hf://datasets/org/name/other", &hub).succeeds();
    // Who is to come back after an hour comes back by himself.
    hub.with(|state| state.faults.push(("revision".into(), 429, "Retry-After: 3600\r\n".into())));
    push(&labels, PLACE, &hub).fails(75, &["429", "not before 3600 seconds", "hint: run the same command"]);
}

#[test]
fn a_refusal_says_what_can_be_done_and_never_the_token() {
    let place = Place::new();
    let labels = labelled(&place);
    let refused = |fault: Option<(&str, u16, &str)>, change: fn(&mut State), words: &[&str]| -> Ended {
        let hub = Hub::of(TOKEN);
        hub.with(|state| {
            change(state);
            let fault = fault
                .map(|(what, status, code)| (what.to_owned(), status, format!("X-Error-Code: {code}\r\n")));
            state.faults.extend(fault);
        });
        let ended = push(&labels, PLACE, &hub).arg("-v").fails(2, words);
        assert!(!ended.stderr.contains(TOKEN), "{}", ended.stderr);
        assert_eq!(hub.asked("POST", "commit"), 0);
        ended
    };
    refused(None, |state| state.token = "another".into(), &["401", "hint: ", "hf auth login"]);
    refused(None, |state| state.read_only = true, &["403", "hint: the token may not write there"]);
    refused(Some(("revision", 403, "GatedRepo")), |_| (), &["403", "hint: ask for access"]);
    refused(Some(("revision", 404, "Other")), |_| (), &["404", "hint: check the URL"]);
    let shown = refused(Some(("preupload", 400, "Other")), |_| (), &["400", "you sent Bearer"]);
    assert!(shown.stderr.contains("***"), "{}", shown.stderr);
    refused(Some(("objects/batch", 413, "Other")), |_| (), &["413", "--shard-images"]);
    // A token that a file holds is kept as well.
    let hub = Hub::of("another");
    std::fs::create_dir(place.path("home")).unwrap();
    std::fs::write(place.path("home/token"), TOKEN).unwrap();
    let by_file = |command: Label| command.without("HF_TOKEN").env("HF_HOME", place.path("home"));
    hub.with(|state| state.faults.push(("GET".into(), 400, String::new())));
    let said = by_file(push(&labels, PLACE, &hub)).fails(2, &["you sent Bearer ***"]);
    assert!(!said.stderr.contains(TOKEN));
    hub.with(|state| state.faults.push(("GET".into(), 400, String::new())));
    let said = by_file(pull(PLACE, &place.path("to"), &hub)).fails(2, &["you sent Bearer ***"]);
    assert!(!said.stderr.contains(TOKEN));
    // Nobody is asked before there is a token and a branch.
    push(&labels, PLACE, &hub).without("HF_TOKEN").fails(2, &["hint: set HF_TOKEN"]);
    let commit = format!("{PLACE}@{}", "0".repeat(40));
    push(&labels, &commit, &hub).fails(2, &["it can be read, not written", "hint: name a branch"]);
}

#[test]
fn another_label_set_that_is_there_or_was_begun_is_left_as_it_is() {
    let (place, hub) = (Place::new(), Hub::of(TOKEN));
    let labels = labelled(&place);
    let other = place.path("other");
    place.run(&other, 10).succeeds();
    push(&other, PLACE, &hub).succeeds();
    push(&labels, PLACE, &hub).fails(2, &["another label set is there", "hint: push to another place"]);
    assert!(there(&hub, "main") == files(&other, ""));
    let change = |change: fn(&mut BTreeMap<String, File>)| {
        hub.with(|state| {
            let repo = state.repos.get_mut("org/name").unwrap();
            change(repo.commits.get_mut(&repo.branches["main"]).unwrap());
        });
    };
    change(|files| drop(files.remove("manifest.json")));
    push(&labels, PLACE, &hub).fails(2, &["train-00000-of-00002", "none of the label set's", "hint: "]);
    change(|files| files.retain(|path, _| !path.contains("train-")));
    change(|files| drop(files.insert(".gitignore".into(), File::Regular(b"SHA256SUMS\n".to_vec()))));
    push(&labels, PLACE, &hub).fails(2, &[".gitignore names SHA256SUMS", "hint: "]);
    change(|files| drop(files.remove(".gitignore")));
    push(&labels, PLACE, &hub).succeeds();
    assert!(there(&hub, "main") == files(&labels, ""));
}

#[test]
fn two_pushes_at_once_give_one_manifest_and_never_a_mixture() {
    let place = Place::new();
    let labels = labelled(&place);
    let other = place.path("other");
    place.run(&other, 19).succeeds();
    for round in 0..6 {
        let hub = Hub::of(TOKEN);
        let sets = if round % 2 == 0 { [&labels, &labels] } else { [&labels, &other] };
        // They meet where the first of them is about to commit.
        hub.with(|state| state.faults.push(("commit/main".into(), 429, "Retry-After: 1\r\n".into())));
        let children = sets.map(|set| push(set, PLACE, &hub).start());
        let ended = children.map(|child| ended(&child.wait_with_output().unwrap()));
        let codes = ended.each_ref().map(|ended| ended.code);
        if round % 2 == 0 {
            assert_eq!(codes, [Some(0); 2], "{ended:?}");
            assert!(there(&hub, "main") == files(&labels, ""));
        } else {
            let won = codes.iter().position(|&code| code == Some(0)).expect("one of them wins");
            assert_eq!(codes[1 - won], Some(2), "{ended:?}");
            assert!(ended[1 - won].stderr.contains("another label set is there"), "{ended:?}");
            assert!(there(&hub, "main") == files(sets[won], ""));
        }
        assert_eq!(commits(&hub), 1);
    }
}

/// A Hub for `tools/hub`: it serves until its input ends, and says on its output where it is.
#[test]
#[ignore = "a server for other programs, which tools/hub starts"]
fn a_hub_for_other_programs() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    let hub = Hub::start(State { token: TOKEN.into(), part: number("HUB_PART"), ..State::default() });
    println!("\nhub at {} takes {TOKEN}", hub.url);
    let mut line = String::new();
    while std::io::stdin().read_line(&mut line).is_ok_and(|bytes| bytes > 0) {}
}
