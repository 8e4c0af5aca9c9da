//! What a run says, in every form, and that nobody has to listen.

use std::process::Command;

use crate::fixture::{Finished, Scene};

/// The program behind a shell that redirects its streams.
fn shell(scene: &Scene, redirected: &str, words: &[&str]) -> Finished {
    let script = format!("exec {} {} {redirected}", env!("CARGO_BIN_EXE_distill"), words.join(" "));
    let output = Command::new("bash").args(["-c", &script]).current_dir(scene.path("")).output().unwrap();
    Finished::of(&output)
}

#[test]
fn a_stream_that_is_closed_full_or_not_read_ends_no_run() {
    let scene = Scene::new();
    scene.train("heard", &[]).succeeds();
    for (count, redirected) in
        ["2>&-", "2>/dev/full", "2> >(head -c 1 >/dev/null)", ">&-", ">&- 2>&- <&-"].into_iter().enumerate()
    {
        let out = format!("run{count}");
        let words = Scene::training(&out, &["--progress", "lines"]);
        let finished = shell(&scene, redirected, &words);
        assert_eq!(finished.code, Some(0), "{redirected}: {}", finished.stderr);
        assert_eq!(scene.student(&out), scene.student("heard"), "{redirected}");
    }
    let eval = ["eval", "heard", "--limit", "20", "--attack", "fgsm"];
    for redirected in [">&-", "| head -c 1", "2>/dev/full", "2>&-"] {
        let finished = shell(&scene, redirected, &eval);
        assert_eq!(finished.code, Some(0), "{redirected}: {}", finished.stderr);
    }
    // What was asked for and could not be given is another matter than what is said beside it.
    shell(&scene, ">/dev/full", &eval).refused(74, &["cannot write stdout", "hint: free some space"]);
    let wrong = ["eval", "nowhere"];
    assert_eq!(shell(&scene, "2>/dev/full", &wrong).code, Some(2));
    assert_eq!(shell(&scene, ">/dev/full", &["--help"]).code, Some(0));
}

#[test]
fn quiet_says_nothing_and_other_forms_say_the_same_run() {
    let scene = Scene::new();
    let quiet = scene.train("quiet", &["-q"]).succeeds();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    let lines = scene.train("lines", &[]).succeeds().stderr;
    for words in [
        "tiny-cnn learns sat on sample, eps 0.1, into lines",
        "130 images, 3 epochs of 3 steps, on cpu",
        "epoch 3/3 loss ",
        "images/s",
        "lines/student.safetensors: after 3 epochs",
    ] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    assert!(lines.lines().all(|line| line.chars().count() <= 80), "{lines}");
    assert!(!lines.contains('\x1b'), "no colours where nobody sees them");
    let more = scene.train("more", &["-v"]).succeeds().stderr;
    for words in ["reads images ", "reads views all of crop2", "momentum = 0.9", "epoch 3/3 loss "] {
        assert!(more.contains(words), "{words}: {more}");
    }
    assert!(!lines.contains("momentum"), "{lines}");
    let json = scene.train("json", &["--progress", "json"]).succeeds().stderr;
    let events: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["event"] == "line"), "{json}");
    assert!(events.iter().all(|event| event["event"].is_string()), "{json}");
    let error = scene.run(&["eval", "nowhere", "--progress", "json"]).stderr;
    let error: serde_json::Value = serde_json::from_str(error.trim_end()).unwrap();
    assert_eq!(error["event"], "error");
    scene.train("never", &["-q", "-v"]).refused(2, &["hint:"]);
    assert_eq!(scene.student("quiet"), scene.student("json"));
}

#[test]
fn everything_that_is_missing_is_said_at_once_with_a_command_that_works() {
    let scene = Scene::new();
    let bare = scene.run(&["train", "--epochs", "1", "--limit", "60"]);
    bare.refused(2, &["no data, student, objective and out were given"]);
    let command = bare.stderr.split("for example `distill ").nth(1).unwrap().split('`').next().unwrap();
    let words: Vec<&str> = command.split(' ').collect();
    assert!(words.starts_with(&["train", "--epochs", "1"]), "what was given stays: {command}");
    scene.run(&words).succeeds();
}

#[test]
fn bash_completes_verbs_and_flags_and_each_verb_has_a_manual_page() {
    let scene = Scene::new();
    let script = scene.run(&["completions", "bash"]).succeeds().stdout;
    std::fs::write(scene.path("distill.bash"), script).unwrap();
    let complete = |words: &str, last: usize| {
        let ask = format!(
            "source distill.bash; COMP_WORDS=({words}); COMP_CWORD={last}; \
             _distill distill \"${{COMP_WORDS[{last}]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        let mut bash = Command::new("bash");
        let output = bash.args(["--norc", "-c", &ask]).current_dir(scene.path("")).output().unwrap();
        Finished::of(&output).succeeds().stdout
    };
    assert_eq!(complete("distill sw", 1).trim(), "sweep");
    assert_eq!(complete("distill train --obj", 2).trim(), "--objective");

    scene.run(&["manual", "pages/man1"]).succeeds();
    let page = |name: &str| std::fs::read_to_string(scene.path(&format!("pages/man1/{name}.1"))).unwrap();
    for verb in ["train", "eval", "sweep", "bench", "completions", "manual"] {
        assert!(page(&format!("distill-{verb}")).contains(".SH SYNOPSIS"), "{verb}");
        assert!(page("distill").contains(&format!("distill\\-{verb}(1)")), "{verb}");
    }
    assert!(page("distill-train").contains("\\fB\\-\\-objective\\fR"), "flags are in it");
}
