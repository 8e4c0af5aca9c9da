//! Label sets that several engines answered: which rows are whose is exact, and one engine's set does not say so at all.

mod fixture;

use std::fs;
use std::path::Path;

use fixture::{IMAGES, forge_manifest, logits, spec, tree, write, write_some};
use labels::{Check, Dtype, Error, Form, Kind, LabelSet, Manifest, Part, Session, Spec, finalize};

/// Rows of an image: 9 crops, mirrored or not.
const VIEWS: u64 = 18;

/// The label set as this engine would write it, content to go on with what others answered.
fn by(engine: &str, build: &str) -> Spec {
    let mut spec = spec(Form::FULLEST, Dtype::F16);
    spec.teacher.engine = engine.into();
    spec.build = Some(build.into());
    spec.any_engine = true;
    spec
}

fn alone(engine: &str, build: &str) -> Spec {
    let mut spec = by(engine, build);
    spec.any_engine = false;
    spec
}

/// Answers the first so many rows of the next shard.
fn begin_shard(session: &Session, rows: usize) {
    let job = session.pending()[0].clone();
    let mut answers = session.answers(&job).unwrap();
    let (all, width) = (logits(session.spec(), &job), session.spec().coding().kept());
    answers.add(&all[answers.rows() * width..rows * width]).unwrap();
}

/// Writes everything that is pending, going on with what was kept.
fn go_on(session: &mut Session) {
    for job in session.pending() {
        let mut answers = session.answers(&job).unwrap();
        let (all, width) = (logits(session.spec(), &job), session.spec().coding().kept());
        answers.add(&all[answers.rows() * width..]).unwrap();
        session.write_kept(&job, &answers).unwrap();
    }
}

/// Range of rows, engine and build of each entry.
fn whose(manifest: &Manifest) -> Vec<([u64; 2], &str, Option<&str>)> {
    manifest.answered.iter().map(|one| (one.rows, one.by.engine.as_str(), one.by.build.as_deref())).collect()
}

#[test]
fn a_set_that_moved_between_engines_says_which_rows_are_whose() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), by("a", "1")).unwrap();
    assert!(session.others().unwrap().is_empty());
    write_some(&mut session, 1);
    begin_shard(&session, 10);
    drop(session);
    let session = Session::open(dir.path(), by("b", "1")).unwrap();
    assert_eq!(session.others().unwrap().iter().map(|by| by.engine.as_str()).collect::<Vec<_>>(), ["a"]);
    begin_shard(&session, 25);
    drop(session);
    let mut session = Session::open(dir.path(), by("a", "1")).unwrap();
    assert_eq!(session.others().unwrap().iter().map(|by| by.engine.as_str()).collect::<Vec<_>>(), ["b"]);
    go_on(&mut session);
    let manifest = session.finish().unwrap();
    // The first shard has three images, and ten rows and then fifteen of the second were answered before it was written.
    let (shard, rows) = (3 * VIEWS, IMAGES as u64 * VIEWS);
    let wanted = [
        ([0, shard + 10], "a", None),
        ([shard + 10, shard + 25], "b", None),
        ([shard + 25, rows], "a", None),
    ];
    assert_eq!(whose(&manifest), wanted);
    assert_eq!(
        (manifest.teacher.engine.as_str(), manifest.computed_by()),
        ("a", "f32: 111 rows by a, cpu; 15 rows by b, cpu".into())
    );
    // Its rows are those of a set by one engine; who answered is no part of them.
    let one = tempfile::tempdir().unwrap();
    assert_eq!(write(one.path(), &alone("a", "1")).content_hash, manifest.content_hash);
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    assert_eq!(set.manifest(), &manifest);
    assert!(labels::verify(dir.path()).unwrap().is_sound());
    let parents = set.as_parents();
    assert_eq!(parents.iter().map(|parent| parent.engine.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!(parents.iter().all(|parent| parent.content_hash == manifest.content_hash));
    let card = fs::read_to_string(dir.path().join("README.md")).unwrap();
    assert!(card.contains("| computed by | f32: 111 rows by a, cpu; 15 rows by b, cpu |"), "{card}");
    // Whoever comes late finds it done, unless it was to be one engine's.
    assert!(Session::open(dir.path(), by("c", "1")).unwrap().is_finished());
    for engine in ["a", "b"] {
        let error = Session::open(dir.path(), alone(engine, "1")).err().unwrap();
        assert_eq!(error.kind(), Kind::Input, "{error}");
    }
}

#[test]
fn parts_on_machines_of_two_kinds_are_finalized_to_one_set() {
    let dir = tempfile::tempdir().unwrap();
    for (index, engine) in [(2, "b"), (0, "a"), (1, "b")] {
        let mut session = Session::open_part(dir.path(), by(engine, "1"), Part { index, of: 3 }).unwrap();
        go_on(&mut session);
    }
    let manifest = finalize(dir.path()).unwrap();
    // Who began it does not matter: the first row is a's.
    assert_eq!(whose(&manifest), [([0, 3 * VIEWS], "a", None), ([3 * VIEWS, 7 * VIEWS], "b", None)]);
    assert_eq!(manifest.teacher.engine, "a");
}

#[test]
fn a_set_that_one_engine_answered_alone_is_the_same_whoever_began_it() {
    let wanted = tempfile::tempdir().unwrap();
    write(wanted.path(), &spec_of("b"));
    let dir = tempfile::tempdir().unwrap();
    drop(Session::open(dir.path(), by("a", "1")).unwrap());
    let mut session = Session::open(dir.path(), by("b", "2")).unwrap();
    go_on(&mut session);
    session.finish().unwrap();
    assert_eq!(tree(dir.path()), tree(wanted.path()));
}

/// Without a word on builds, as other writers have it.
fn spec_of(engine: &str) -> Spec {
    let mut spec = alone(engine, "");
    spec.build = None;
    spec
}

#[test]
fn builds_are_named_only_where_they_differ() {
    let dir = tempfile::tempdir().unwrap();
    write_some(&mut Session::open(dir.path(), by("a", "1")).unwrap(), 2);
    let mut session = Session::open(dir.path(), by("a", "2")).unwrap();
    go_on(&mut session);
    let manifest = session.finish().unwrap();
    assert_eq!(
        whose(&manifest),
        [([0, 6 * VIEWS], "a", Some("1")), ([6 * VIEWS, 7 * VIEWS], "a", Some("2"))]
    );
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    assert_eq!(set.as_parents().len(), 1, "parents name engines");
    // Refused with the rows of the other build; both builds have some, and a third has none.
    for (build, rows, other) in [("1", "108 to 125", "2"), ("2", "0 to 107", "1"), ("3", "0 to 107", "1")] {
        let said = Session::open(dir.path(), alone("a", build)).err().unwrap().to_string();
        let wanted = format!(
            "rows {rows} were answered by a, cpu, build {other}, wanted all by a, cpu, build {build}\n"
        );
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn a_writer_that_wants_one_engine_refuses_what_others_began_or_answered() {
    let begun = |dir: &Path| drop(Session::open(dir, by("a", "1")).unwrap());
    let dir = tempfile::tempdir().unwrap();
    begun(dir.path());
    let refused = |spec: Spec| Session::open(dir.path(), spec).err().unwrap().to_string();
    let said = refused(alone("b", "1"));
    assert!(said.contains("teacher.engine is \"a\" there, this run has \"b\""), "{said}");
    let said = refused(alone("a", "2"));
    assert!(said.contains("build is \"1\" there, this run has \"2\""), "{said}");
    begin_shard(&Session::open(dir.path(), by("b", "1")).unwrap(), 4);
    let session = Session::open(dir.path(), alone("a", "1")).unwrap();
    let error = session.answers(&session.pending()[0]).err().unwrap();
    assert!(matches!(error, Error::OtherEngine { .. }) && error.to_string().contains("shard 0"), "{error}");
    drop(session);
    go_on(&mut Session::open(dir.path(), by("b", "1")).unwrap());
    let said = refused(alone("a", "1"));
    assert!(said.contains("rows of shard 0 were answered by b, cpu, build 1, wanted all by a"), "{said}");
}

#[test]
fn a_part_that_wants_one_engine_refuses_what_others_wrote_of_other_parts() {
    let dir = tempfile::tempdir().unwrap();
    let part = |spec: Spec, index| Session::open_part(dir.path(), spec, Part { index, of: 3 });
    go_on(&mut part(alone("a", "1"), 0).unwrap());
    go_on(&mut part(alone("a", "1"), 1).unwrap());
    // Shards of its own engine, and those that are not there, are no reason.
    assert_eq!(part(alone("a", "1"), 2).unwrap().pending().len(), 1);
    go_on(&mut part(by("b", "1"), 2).unwrap());
    let error = part(alone("a", "1"), 0).err().unwrap();
    assert!(matches!(error, Error::OtherEngine { .. }) && error.kind() == Kind::Input, "{error}");
    assert!(error.to_string().contains("rows of shard 2 were answered by b, cpu, build 1"), "{error}");
    part(by("a", "1"), 0).unwrap();
}

#[test]
fn answers_whose_rows_do_not_add_up_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_some(&mut Session::open(dir.path(), by("a", "1")).unwrap(), 1);
    let mut session = Session::open(dir.path(), by("b", "1")).unwrap();
    go_on(&mut session);
    session.finish().unwrap();
    let whole = fs::read_to_string(dir.path().join("manifest.json")).unwrap();
    let long = format!("\"engine\": \"{}\"", "b".repeat(257));
    let cases = [
        ("      \"rows\": [\n        54,", "      \"rows\": [\n        53,", "answered[1].rows"),
        ("        54,\n        126\n", "        54,\n        54\n", "answered[1].rows"),
        ("        54,\n        126\n", "        54,\n        125\n", "end of answered"),
        ("\"engine\": \"b\"", "\"engine\": \"a\"", "answered[1].by"),
        ("        \"engine\": \"a\"", "        \"engine\": \"c\"", "answered[0].by.engine"),
        ("\"engine\": \"b\",", "\"engine\": \"b\",\n        \"host\": \"x\",", "unknown field `host`"),
        ("\"engine\": \"b\"", "\"engine\": \"\"", "answered[1].by.engine"),
        ("\"engine\": \"b\"", "\"engine\": \"b\\u001b[2J\"", "answered[1].by.engine"),
        ("\"engine\": \"b\"", &long, "answered[1].by.engine"),
        ("\"engine\": \"b\",", "\"engine\": \"b\", \"build\": \"\",", "answered[1].by.build"),
    ];
    for (from, to, said) in cases {
        assert_eq!(whole.matches(from).count(), 1, "{from} in {whole}");
        forge_manifest(dir.path(), |text| text.replace(from, to));
        let error = Manifest::read(dir.path()).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
        fs::write(dir.path().join("manifest.json"), &whole).unwrap();
    }
    Manifest::read(dir.path()).unwrap();
    // A build is named where builds differ, and only there: of one range alone, or another of each, but not the same of all.
    let built = |builds: [&str; 2]| {
        forge_manifest(dir.path(), |text| {
            let [a, b] = ["a", "b"].map(|engine| format!("        \"engine\": \"{engine}\","));
            let [first, second] = builds.map(|build| format!(" \"build\": \"{build}\","));
            text.replace(&a, &(a.clone() + &first)).replace(&b, &(b.clone() + &second))
        });
        let read = Manifest::read(dir.path());
        fs::write(dir.path().join("manifest.json"), &whole).unwrap();
        read
    };
    built(["1", "2"]).unwrap();
    assert!(built(["1", "1"]).err().unwrap().to_string().contains("answered[0].by.build"));
    let (start, end) = (whole.find("  \"answered\": [").unwrap(), whole.find("  \"right\":").unwrap());
    forge_manifest(dir.path(), |text| format!("{}  \"answered\": [],\n{}", &text[..start], &text[end..]));
    let error = Manifest::read(dir.path()).err().unwrap().to_string();
    assert!(error.contains("wanted at least 2 ranges"), "{error}");
}

#[test]
fn more_answerers_than_anybody_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write_some(&mut Session::open(dir.path(), by("a", "1")).unwrap(), 1);
    let mut session = Session::open(dir.path(), by("b", "1")).unwrap();
    go_on(&mut session);
    session.finish().unwrap();
    let read = |ranges: u64, builds: u64| {
        let entry = |row: u64| {
            let (end, build) = (row + 1, row % builds);
            format!(
                "{{\"rows\": [{row}, {end}], \"by\": {{\"engine\": \"a\", \"device\": \"cpu\", \"build\": \"{build}\"}}}}"
            )
        };
        let entries: Vec<String> = (0..ranges).map(entry).collect();
        let path = dir.path().join("manifest.json");
        let whole = fs::read_to_string(&path).unwrap();
        let (start, end) = (whole.find("  \"answered\": [").unwrap(), whole.find("  \"right\":").unwrap());
        forge_manifest(dir.path(), |text| {
            format!("{}  \"answered\": [{}],\n{}", &text[..start], entries.join(","), &text[end..])
        });
        let said = Manifest::read(dir.path()).err().unwrap().to_string();
        fs::write(&path, whole).unwrap();
        said
    };
    // A thousand are let through to the next check: there are 126 rows.
    let said = read(1001, 1000);
    assert!(said.contains("end of answered"), "{said}");
    let said = read(1001, 1001);
    assert!(said.contains("engines, devices and builds of answered is 1001"), "{said}");
}

#[test]
fn what_another_part_keeps_is_looked_at_where_one_engine_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let part = |index| Part { index, of: 2 };
    let theirs = Session::open_part(dir.path(), by("a", "1"), part(0)).unwrap();
    drop(Session::open_part(dir.path(), alone("a", "1"), part(1)).unwrap());
    // The part goes on on another engine, and has not written its first shard.
    drop(theirs);
    let theirs = Session::open_part(dir.path(), by("b", "1"), part(0)).unwrap();
    begin_shard(&theirs, 10);
    let kept = dir.path().join(".work/answers-00000");
    let half = [fs::read(&kept).unwrap(), vec![9, 9, 9]].concat();
    fs::write(&kept, &half).unwrap();
    let error = Session::open_part(dir.path(), alone("a", "1"), part(1)).err().unwrap();
    assert!(matches!(&error, Error::OtherEngine { rows, .. } if rows == "rows of shard 0"), "{error}");
    assert!(fs::read(&kept).unwrap() == half, "what another part writes is left as it is");
    Session::open_part(dir.path(), by("a", "1"), part(1)).unwrap();
}

#[test]
fn rows_that_are_taken_over_say_whose_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut session = Session::open(dir.path(), by("a", "1")).unwrap();
    let theirs = by("b", "1");
    let theirs = Session::open(tempfile::tempdir().unwrap().path(), theirs).unwrap().answerer().clone();
    for job in session.pending() {
        let mut answers = session.answers(&job).unwrap();
        let (all, width) = (logits(session.spec(), &job), session.spec().dataset.classes);
        let (first, rest) = all.split_at(4 * width);
        answers.add_by(first, &theirs).unwrap();
        answers.add(rest).unwrap();
        session.write_kept(&job, &answers).unwrap();
    }
    let manifest = session.finish().unwrap();
    // Shards of 3, 3 and 1 images.
    let wanted = [0, 3 * VIEWS, 6 * VIEWS].map(|start| ([start, start + 4], "b", None));
    let found = whose(&manifest);
    assert_eq!(found.iter().filter(|one| one.1 == "b").copied().collect::<Vec<_>>(), wanted);
    let set = LabelSet::open(dir.path(), Check::Hashes).unwrap();
    for (image, view) in (0..IMAGES).flat_map(|image| (0..VIEWS as u16).map(move |view| (image, view))) {
        let by = set.answerer(image, view).map(|by| by.engine.as_str());
        assert_eq!(by, Some(if image % 3 == 0 && view < 4 { "b" } else { "a" }), "{image} {view}");
    }
    assert!(set.answerer(0, VIEWS as u16).is_none() && set.answerer(IMAGES, 0).is_none());
}
