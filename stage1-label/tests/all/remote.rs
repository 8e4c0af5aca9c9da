//! `label push` and `label pull` over the wire, against a server in this process that does what no good one does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::fixture::{Label, Place, ended, label, tree};
use crate::web::{Language, State, Web};

const SECRET: &str = "a-secret-access-key-of-nobody";

/// An S3 of this server's, with nothing of the machine's own settings.
fn s3(command: Label, web: &Web) -> Label {
    command
        .env("AWS_ENDPOINT_URL", &web.url)
        .env("AWS_ACCESS_KEY_ID", "nobody-of-all")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_REGION", "us-east-1")
        .env("NO_PROXY", "*")
}

fn push(labels: &Path, web: &Web) -> Label {
    s3(label().arg("push").arg(labels).arg("s3://bucket/sets/one"), web)
}

fn pull(to: &Path, web: &Web) -> Label {
    s3(label().args(["pull", "s3://bucket/sets/one"]).arg(to), web)
}

/// Three shards in both forms.
fn labelled(place: &Place) -> PathBuf {
    let labels = place.path("labels");
    place.run(&labels, 20).succeeds();
    labels
}

/// A folder's files as objects below a path.
fn objects(labels: &Path, below: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    tree(labels).into_iter().map(|(path, bytes)| (format!("{below}/{}", path.display()), bytes)).collect()
}

/// The requests of one method.
fn asked(web: &Web, method: &str) -> usize {
    web.with(|state| state.asked.iter().filter(|(asked, _)| asked == method).count())
}

#[test]
fn what_goes_over_the_wire_and_back_is_the_label_set_and_goes_once() {
    let (place, web) = (Place::new(), Web::start(State::default()));
    let labels = labelled(&place);
    push(&labels, &web).succeeds();
    assert!(web.with(|state| state.objects.clone()) == objects(&labels, "/bucket/sets/one"));
    web.with(|state| state.asked.clear());
    push(&labels, &web).succeeds();
    assert_eq!(asked(&web, "PUT"), 0);
    // Lengths and hashes are asked for, and the bytes of one file that came without a hash.
    assert_eq!(asked(&web, "GET"), 1, "the manifest's");
    let shard = "/bucket/sets/one/shards/train-00001-of-00003.safetensors";
    web.with(|state| state.hashes.remove(shard));
    push(&labels, &web).succeeds();
    assert_eq!(asked(&web, "PUT"), 0);
    web.with(|state| state.objects.get_mut(shard).unwrap()[4200] ^= 1);
    push(&labels, &web).succeeds();
    assert_eq!(asked(&web, "PUT"), 1);
    assert!(web.with(|state| state.objects.clone()) == objects(&labels, "/bucket/sets/one"));
    pull(&place.path("to"), &web).succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
}

#[test]
fn googles_store_is_asked_in_its_own_words() {
    let place = Place::new();
    let labels = labelled(&place);
    let gs = |web: &Web, command: Label| {
        let account = place.path("account.json");
        let nobody = format!(
            "{{\"gcs_base_url\": \"{}\", \"disable_oauth\": true, \"client_email\": \"\", \"private_key\": \"\", \
             \"private_key_id\": \"\"}}",
            web.url
        );
        std::fs::write(&account, nobody).unwrap();
        command.env("GOOGLE_SERVICE_ACCOUNT", &account).env("NO_PROXY", "*")
    };
    let push = |web: &Web| gs(web, label().arg("push").arg(&labels).arg("gs://bucket/sets/one"));
    let web = Web::start(State { language: Language::Google, ..State::default() });
    push(&web).succeeds();
    let (found, wanted) = (web.with(|state| state.objects.clone()), objects(&labels, "/bucket/sets/one"));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    assert!(found == wanted);
    web.with(|state| state.asked.clear());
    push(&web).succeeds();
    assert_eq!((asked(&web, "PUT"), asked(&web, "GET")), (0, 1), "the manifest's bytes alone");
    gs(&web, label().args(["pull", "gs://bucket/sets/one"]).arg(place.path("to"))).succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
    // One that takes no notice of its conditions, as it does of S3's.
    for state in
        [State { language: Language::Google, overwrites: true, ..State::default() }, State::default()]
    {
        let web = Web::start(state);
        push(&web).fails(2, &["the store wrote over", "nothing was pushed", "hint: "]);
        assert!(web.with(|state| state.objects.is_empty()));
    }
}

#[test]
fn a_store_that_writes_over_what_is_there_is_refused_and_left_as_it_was() {
    let place = Place::new();
    let web = Web::start(State { overwrites: true, ..State::default() });
    let labels = labelled(&place);
    push(&labels, &web).fails(2, &["the store wrote over", "nothing was pushed", "hint: "]);
    assert!(web.with(|state| state.objects.is_empty()));
    let put: Vec<_> = web.with(|state| state.asked.clone());
    let put = put.iter().filter(|(method, _)| method == "PUT");
    assert!(put.clone().all(|(_, path)| path.contains("/.rslad-probe-")) && put.count() == 2);
}

#[test]
fn bodies_that_break_off_are_asked_for_again_and_a_server_that_is_away_is_a_matter_for_later() {
    let (place, web) = (Place::new(), Web::start(State::default()));
    let labels = labelled(&place);
    push(&labels, &web).succeeds();
    web.with(|state| state.cuts = 4);
    pull(&place.path("to"), &web).succeeds();
    assert_eq!(web.with(|state| state.cuts), 0);
    assert!(tree(&place.path("to")) == tree(&labels));
    // A server that sends all of a file to whoever asks for its end.
    let begun = place.path("begun");
    let shard = "train-00001-of-00003.safetensors";
    pull(&begun, &web).succeeds();
    let half = std::fs::read(begun.join("shards").join(shard)).unwrap();
    let half = &half[..half.len() / 2];
    for knows_no_ranges in [false, true] {
        web.with(|state| state.knows_no_ranges = knows_no_ranges);
        let to = place.path(&format!("resumed {knows_no_ranges}"));
        std::fs::create_dir_all(to.join(".work")).unwrap();
        std::fs::copy(begun.join("manifest.json"), to.join(".work/incoming.json")).unwrap();
        std::fs::write(to.join(format!(".work/arriving-{shard}")), half).unwrap();
        let url = format!("{}/bucket/sets/one", web.url);
        label().args(["pull", &url]).arg(&to).env("NO_PROXY", "*").succeeds();
        assert!(tree(&to) == tree(&labels));
    }
    // Nobody listens there any more.
    let gone = Web { url: "http://127.0.0.1:9".into(), state: web.state };
    pull(&place.path("other"), &gone)
        .fails(75, &["s3://bucket/sets/one/manifest.json", "hint: run the same command again"]);
    push(&labels, &gone).fails(75, &["hint: run the same command again"]);
    assert!(!place.path("other").exists());
}

#[test]
fn what_is_secret_is_not_in_what_is_said_whatever_the_store_says() {
    let place = Place::new();
    let labels = labelled(&place);
    for (status, code) in [(403, 2), (400, 2), (500, 75)] {
        let web = Web::start(State { refuses: Some(status), ..State::default() });
        for command in [push(&labels, &web), pull(&place.path("to"), &web)] {
            let said =
                command.arg("-v").env("AWS_SESSION_TOKEN", "a-token-of-nobody").fails(code, &["hint: "]);
            for secret in [SECRET, "a-token-of-nobody", "Bearer "] {
                assert!(!said.stderr.contains(secret) && !said.stdout.contains(secret), "{}", said.stderr);
            }
        }
        let web = Web::start(State { refuses: Some(status), ..State::default() });
        let hub = label().args(["pull", "hf://datasets/org/name", "-v"]).arg(place.path("to"));
        let hub = hub.env("HF_ENDPOINT", &web.url).env("HF_TOKEN", "hf_of_nobody").env("NO_PROXY", "*");
        let said = hub.fails(code, &["hint: "]);
        assert!(!said.stderr.contains("hf_of_nobody"), "{}", said.stderr);
        assert!(
            said.stderr.contains("***") || status != 400,
            "the body was shown, without it: {}",
            said.stderr
        );
    }
}

#[test]
fn the_hub_gives_a_data_set_to_whoever_has_the_token_which_goes_no_further() {
    let place = Place::new();
    let labels = labelled(&place);
    let files = objects(&labels, "/datasets/org/name/resolve/main");
    let store = Web::start(State { objects: files.clone(), ..State::default() });
    let hub = Web::start(State {
        objects: files,
        token: Some("hf_of_nobody".into()),
        sends_on: Some(store.url.clone()),
        ..State::default()
    });
    let pull = |to: &str| {
        let command = label().args(["pull", "hf://datasets/org/name"]).arg(place.path(to));
        command.env("HF_ENDPOINT", &hub.url).env("NO_PROXY", "*").env("HF_HOME", place.path("nobody's"))
    };
    pull("without").without("HF_TOKEN").fails(2, &["401"]);
    pull("half").env("HF_TOKEN", "hf_of_nobody").args(["--form", "parquet"]).succeeds();
    assert!(!place.path("half/shards").exists());
    label().arg("verify").arg(place.path("half")).succeeds();
    pull("half").env("HF_TOKEN", "hf_of_nobody").succeeds();
    assert!(tree(&place.path("half")) == tree(&labels));
    assert!(!store.with(|state| state.leaked), "the hub's token went to its store");
    // As `hf auth login` leaves it.
    std::fs::create_dir(place.path("home")).unwrap();
    std::fs::write(place.path("home/token"), "hf_of_nobody\n").unwrap();
    pull("by-file").without("HF_TOKEN").env("HF_HOME", place.path("home")).succeeds();
    assert!(tree(&place.path("by-file")) == tree(&labels));
    let revision = label().args(["pull", "hf://datasets/org/name@v2"]).arg(place.path("to"));
    revision
        .env("HF_ENDPOINT", &hub.url)
        .env("HF_TOKEN", "hf_of_nobody")
        .fails(2, &["no label set is there"]);
    assert!(hub.with(|state| state.asked.iter().any(|(_, path)| path.contains("/resolve/v2/"))));
}

#[test]
fn a_web_server_is_read_and_one_that_hides_what_is_not_there_too() {
    let place = Place::new();
    let labels = labelled(&place);
    let web = Web::start(State { objects: objects(&labels, "/labels"), ..State::default() });
    label()
        .args(["pull", &format!("{}/labels/", web.url)])
        .arg(place.path("to"))
        .env("NO_PROXY", "*")
        .succeeds();
    assert!(tree(&place.path("to")) == tree(&labels));
}

#[test]
fn keys_that_amazons_files_hold_are_taken_where_no_variable_has_them_and_shown_nowhere() {
    let place = Place::new();
    let labels = labelled(&place);
    let web = Web::start(State::default());
    let (config, keys) = (place.path("config"), place.path("credentials"));
    std::fs::write(
        &config,
        format!(
            "[profile team]\nregion = eu-north-1\nendpoint_url = {}\n[profile sso]\nsso_session = s\n",
            web.url
        ),
    )
    .unwrap();
    std::fs::write(&keys, "[default]\naws_access_key_id = of-default\naws_secret_access_key = d-secret\n[team]\naws_access_key_id = of-the-team\naws_secret_access_key = t-secret-of-it\n").unwrap();
    let pushed = |profile: &str, command: Label| {
        let command = command.env("AWS_CONFIG_FILE", &config).env("AWS_SHARED_CREDENTIALS_FILE", &keys);
        let command = command.env("AWS_PROFILE", profile).env("NO_PROXY", "*");
        ["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"].into_iter().fold(command, Label::without)
    };
    let elsewhere = || label().arg("push").arg(&labels).arg("s3://bucket/sets/one");
    let command = || elsewhere().without("AWS_DEFAULT_REGION");
    let bare = || command().without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
    pushed("team", bare()).succeeds();
    let by = web.with(|state| state.signed_by.clone());
    assert!(by.starts_with("of-the-team/") && by.contains("/eu-north-1/s3/"), "{by}");
    let by_variables =
        command().env("AWS_ACCESS_KEY_ID", "of-variables").env("AWS_SECRET_ACCESS_KEY", SECRET);
    pushed("team", by_variables).succeeds();
    let by = web.with(|state| state.signed_by.clone());
    assert!(by.starts_with("of-variables/"), "{by}");
    let of_team = elsewhere().without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
    pushed("team", of_team.env("AWS_DEFAULT_REGION", "us-east-2")).succeeds();
    let by = web.with(|state| state.signed_by.clone());
    assert!(by.starts_with("of-the-team/") && by.contains("/us-east-2/s3/"), "{by}");
    web.with(|state| state.refuses = Some(400));
    let said = pushed("team", bare()).fails(2, &["you sent AWS4-HMAC-SHA256 Credential=***"]);
    assert!(!said.stderr.contains("of-the-team"), "{}", said.stderr);
    pushed("sso", bare())
        .fails(2, &["gets its keys by sso_session", "aws configure export-credentials --profile sso"]);
    pushed("nobody", bare()).fails(2, &["it is in neither file of ~/.aws", "hint: "]);
}

#[test]
fn whoever_waits_for_a_server_and_presses_ctrl_c_is_heard_at_once() {
    let place = Place::new();
    let labels = labelled(&place);
    let web = Web::start(State {
        objects: objects(&labels, "/bucket/sets/one"),
        stalls: Some(Duration::from_mins(1)),
        ..State::default()
    });
    let child = pull(&place.path("to"), &web).start();
    let began = Instant::now();
    while asked(&web, "GET") == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "nothing was asked for");
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = ended(&child.wait_with_output().unwrap());
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: run the same command again"), "{}", ended.stderr);
    assert!(!place.path("to/manifest.json").exists());
}
