//! `distill report`: the page says what metrics.jsonl and the evaluations say, and nothing that it was not asked to.

use serde_json::Value;

#[path = "../../../tests/src/markup.rs"]
mod markup;

use self::markup::{Element, asks_nothing_of_the_network, elements};
use crate::fixture::{Finished, Scene};

/// A page's elements, once it is known to be well formed and to load nothing.
fn page(scene: &Scene, file: &str) -> Vec<Element> {
    let page = std::fs::read_to_string(scene.path(file)).unwrap();
    asks_nothing_of_the_network(&page);
    elements(&page)
}

fn read(scene: &Scene, file: &str) -> Value {
    serde_json::from_slice(&std::fs::read(scene.path(file)).unwrap()).unwrap()
}

fn judge(scene: &Scene, run: &str, attack: &str, limit: &str, file: &str) -> Finished {
    scene.run(&["eval", run, "--attack", attack, "--limit", limit, "--json", file]).succeeds()
}

/// The texts of all elements of a name.
fn texts<'a>(page: &'a [Element], name: &'a str) -> Vec<&'a str> {
    page.iter().filter(|element| element.name == name).map(|element| element.text.as_str()).collect()
}

/// The cells of the table row that begins with these words.
fn row(scene: &Scene, file: &str, words: &[&str]) -> Vec<String> {
    let text = std::fs::read_to_string(scene.path(file)).unwrap();
    let cell = |cell: &str| {
        let inside = ["code", "strong", "span"]
            .iter()
            .fold(cell.to_owned(), |cell, name| cell.replace(&format!("</{name}>"), ""));
        inside.rsplit('>').next().unwrap_or_default().to_owned()
    };
    let rows = text.split("<tr>").map(|row| {
        row.split("</th>").flat_map(|part| part.split("</td>")).map(cell).collect::<Vec<String>>()
    });
    let is_it =
        |row: &Vec<String>| row.len() > words.len() && words.iter().zip(row).all(|(word, cell)| word == cell);
    rows.into_iter().find(is_it).unwrap_or_else(|| panic!("no row {words:?}"))
}

#[test]
fn a_page_of_one_run_has_the_numbers_of_its_log_and_its_evaluations_and_loads_nothing() {
    let scene = Scene::new();
    scene.labels("labels");
    let run = "<script>alert(1)<script> & co";
    scene.train(run, &["--labels", "labels", "--objective", "rslad", "--holdout", "30"]).succeeds();
    judge(&scene, run, "pgd5", "60", "judged.json");
    let said = scene.run(&["report", run, "--images", "20"]).succeeds();
    assert!(said.stderr.contains("report.html: the report"), "{}", said.stderr);
    let file = format!("{run}/report.html");
    let page = page(&scene, &file);
    assert!(texts(&page, "h1")[0].contains("<script>alert(1)<script> & co"), "the name is text");
    let headings = texts(&page, "h2");
    for heading in ["Evaluation", "Accuracy against eps", "Training", "Classes", "Label set", "Environment"] {
        assert!(headings.contains(&heading), "{headings:?}");
    }
    let report = read(&scene, "judged.json");
    for attack in ["clean", "pgd5"] {
        let cells = row(&scene, &file, &[attack]);
        let [low, high] = [0, 1].map(|end| report["interval_95"][attack][end].as_f64().unwrap());
        assert_eq!(cells[1], format!("{:.2}", report[attack].as_f64().unwrap()), "{attack}");
        assert_eq!(cells[2], format!("{low:.2} to {high:.2}"), "{attack}");
        assert_eq!(cells[3], "60");
    }
    let log = std::fs::read_to_string(scene.path(run).join("metrics.jsonl")).unwrap();
    let epochs: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in epochs.iter().filter(|line| line["lr"].is_number()) {
        let cells = row(
            &scene,
            &file,
            &[&line["epoch"].to_string(), &format!("{:.4}", line["loss"].as_f64().unwrap())],
        );
        assert_eq!(cells[4], format!("{:.2}", line["holdout_clean"].as_f64().unwrap()));
        assert_eq!(cells[5], format!("{:.2}", line["holdout_pgd20"].as_f64().unwrap()));
    }
    let all: String = texts(&page, "html").concat();
    assert!(all.contains("distill eval '<script>alert(1)<script> & co' --attack autoattack"), "what to run");
    assert!(all.contains("not known"), "PGD's figure is not robust accuracy");
    assert!(all.contains(&read(&scene, "labels/manifest.json")["content_hash"].as_str().unwrap().to_owned()));
}

/// The first image that fell is shown, and the figures at the run's eps are those of `distill eval` on as many images.
#[test]
fn what_is_measured_for_the_page_is_what_eval_finds_and_grows_no_easier_with_eps() {
    let scene = Scene::new();
    let enough = ["--limit", "3000", "--epochs", "2", "--holdout", "0", "--set", "lr=0.3"];
    scene.train("run", &[&["--objective", "natural"], &enough[..]].concat()).succeeds();
    judge(&scene, "run", "quick", "20", "elsewhere.json");
    let report = read(&scene, "elsewhere.json");
    std::fs::rename(scene.path("elsewhere.json"), scene.path("elsewhere.txt")).unwrap();
    scene.run(&["report", "run", "--images", "20", "--out", "page.html"]).succeeds();
    let page = page(&scene, "page.html");
    let cells = row(&scene, "page.html", &["quick"]);
    assert_eq!(cells[1], format!("{:.2}", report["quick"].as_f64().unwrap()));
    assert_eq!((cells[3].as_str(), cells[7].as_str(), cells[8].as_str()), ("20", "upper bound", "this page"));
    let radii = ["0", "0.025", "0.05", "0.1", "0.15", "0.2"];
    let accuracies = radii.map(|eps| row(&scene, "page.html", &[eps])[1].parse::<f64>().unwrap());
    assert!(accuracies.is_sorted_by(|a, b| a >= b), "{accuracies:?}");
    assert_eq!(Some(accuracies[0]), report["clean"].as_f64());
    assert_eq!(Some(accuracies[3]), report["quick"].as_f64());
    let fates = report["outcomes"][1]["fates"].as_array().unwrap();
    let fell: Vec<usize> = (0..20).filter(|&place| fates[place].as_i64().unwrap() >= 0).collect();
    let shown = page.iter().filter(|element| element.name == "img").collect::<Vec<_>>();
    assert_eq!(shown.len(), 3 * fell.len().min(12));
    assert!(shown[0].attribute("alt").unwrap().starts_with(&format!("test image {}, a ", fell[0])));
    let before = std::fs::read(scene.path("page.html")).unwrap();
    std::fs::rename(scene.path("elsewhere.txt"), scene.path("elsewhere.json")).unwrap();
    scene.run(&["report", "run", "--images", "0", "--out", "page.html"]).succeeds();
    assert_ne!(std::fs::read(scene.path("page.html")).unwrap(), before, "an earlier page is written anew");
    assert_eq!(row(&scene, "page.html", &["quick"])[8], "elsewhere.json");
}

#[test]
fn several_runs_are_compared_and_what_is_missing_says_what_to_run() {
    let scene = Scene::new();
    scene.train("runs/one", &["--epochs", "1"]).succeeds();
    scene.train("runs/two", &["--epochs", "1", "--seed", "1"]).succeeds();
    judge(&scene, "runs/two", "pgd5", "30", "runs/two.json");
    scene.run(&["report", "runs", "--images", "0"]).succeeds();
    let page = page(&scene, "report.html");
    let headings = texts(&page, "h2");
    assert_eq!(headings, ["Comparison", "Curves", "Settings that differ", "one", "two"]);
    assert_eq!(row(&scene, "report.html", &["seed"])[..3], ["seed", "0", "1"]);
    let codes = texts(&page, "code");
    assert!(codes.contains(&"distill report runs/one --images 100"), "{codes:?}");
    assert!(
        codes.iter().any(|code| code.starts_with("distill eval runs/one --attack autoattack")),
        "{codes:?}"
    );
    assert!(texts(&page, "p").contains(&"This run read no label set."));
}

#[test]
fn images_that_are_gone_leave_a_page_and_another_file_is_not_written_over() {
    let scene = Scene::new();
    scene.npz("digits.npz", 8, 8);
    let arguments = Scene::training("run", &["--epochs", "1", "--limit", "20"]);
    let arguments: Vec<&str> =
        arguments.into_iter().map(|word| if word == "sample" { "npz:digits.npz" } else { word }).collect();
    scene.run(&arguments).succeeds();
    std::fs::remove_file(scene.path("digits.npz")).unwrap();
    let said = scene.run(&["report", "run"]).succeeds();
    assert!(said.stderr.contains("not measured"), "{}", said.stderr);
    let page = page(&scene, "run/report.html");
    let form = data::DATASETS.iter().find(|row| row.name == "npz").unwrap().form;
    let command = format!("distill report run --data {form}");
    assert!(texts(&page, "code").contains(&command.as_str()), "{:?}", texts(&page, "code"));
    std::fs::write(scene.path("thesis.html"), "<p>mine").unwrap();
    scene.run(&["report", "run", "--out", "thesis.html"]).refused(2, &["thesis.html", "no report", "hint:"]);
    scene.run(&["report", "run", "--attack", "paper"]).refused(2, &["--attack paper", "one attack", "hint:"]);
    assert_eq!(std::fs::read(scene.path("thesis.html")).unwrap(), b"<p>mine");
}
