//! The pages that people read: no link of them leads nowhere, none is left out of the book, and their commands are commands.

mod commands;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn pages_in(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|ending| ending == "md")).collect();
    pages.sort();
    pages
}

/// The text without what stands in code, where a bracket is no link.
fn prose(text: &str) -> String {
    let outside_blocks = text.split("```").step_by(2).collect::<String>();
    outside_blocks.split('`').step_by(2).collect()
}

/// Targets of `[words](target)`.
fn links(text: &str) -> Vec<String> {
    let starts = text.match_indices("](").map(|(at, _)| &text[at + 2..]);
    starts.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// Headings as forges and mdBook turn them into anchors: small letters, hyphens for blanks, no other signs.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.split("```").step_by(2).flat_map(str::lines).filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        words.chars().filter(|&sign| sign.is_alphanumeric() || "-_".contains(sign)).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading_of_it() {
    let mut count = 0;
    for page in ["", "docs", "bench", "tests/golden"].into_iter().flat_map(pages_in) {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&prose(&text)).iter().filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.display());
            if !anchor.is_empty() {
                let known = anchors(&fs::read_to_string(&target).unwrap());
                assert!(known.contains(anchor), "{}: {link}: headings are {known:?}", page.display());
            }
            count += 1;
        }
    }
    assert!(count > 50, "only {count} links were found");
}

#[test]
fn a_page_of_the_book_links_to_no_file_that_is_outside_of_it() {
    // In the book such a link leads nowhere: there it is a path to be read in a clone.
    for page in pages_in("docs") {
        let text = fs::read_to_string(&page).unwrap();
        let outside: Vec<_> =
            links(&prose(&text)).into_iter().filter(|link| link.starts_with("..")).collect();
        assert!(outside.is_empty(), "{}: {outside:?}", page.display());
    }
}

#[test]
fn the_book_holds_every_page_once() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut listed = links(&summary);
    listed.sort();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let pages: Vec<_> = pages_in("docs").iter().map(name).filter(|name| name != "SUMMARY.md").collect();
    assert_eq!(listed, pages);
}
