//! The card of an exported student: what it takes, what it answers, and how well.

use std::fmt::Write;

use engine::Network;
use method::eval::Report;

/// What is said of a student beside its network.
pub struct Facts<'a> {
    /// What the export is and how it is run.
    pub form: &'a str,
    /// The files and what they are.
    pub files: &'a [(&'a str, &'a str)],
    /// Names of the classes, in the order of the logits.
    pub classes: &'a [String],
    /// The data set.
    pub data: &'a str,
    /// The radius that the student was trained for, where its run says it.
    pub eps: Option<String>,
    /// Digest of the weights that were exported.
    pub blake3: &'a str,
    /// Accuracies; none where nobody asked.
    pub report: Option<&'a Report>,
    /// What was compared, a sentence each.
    pub compared: &'a [String],
    /// The accuracies of eight bits beside those of f32: which images, and both in percent.
    pub int8: &'a [(String, f64, f64)],
}

/// `README.md`.
pub fn text(network: &Network, facts: &Facts) -> String {
    let mut card = String::new();
    let written = write(&mut card, network, facts);
    written.expect("a string takes any text");
    card
}

fn write(card: &mut String, network: &Network, facts: &Facts) -> std::fmt::Result {
    let [channels, height, width] = network.input();
    writeln!(card, "# {} on {}\n", plain(network.architecture()), plain(facts.data))?;
    writeln!(card, "{}\n", facts.form)?;
    for (file, what) in facts.files {
        writeln!(card, "- `{file}`: {what}")?;
    }
    writeln!(card, "\n| | |\n|---|---|")?;
    writeln!(
        card,
        "| images | (N, {channels}, {height}, {width}) f32, pixels in [0, 1] (bytes divided by 255) |"
    )?;
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let inside = network.normalisation().map_or_else(
        || "nothing is subtracted or divided by".to_owned(),
        |(mean, std)| {
            format!(
                "the network itself takes away {} and divides by {}: do not do it again",
                list(mean),
                list(std)
            )
        },
    );
    writeln!(card, "| normalisation | {inside} |")?;
    writeln!(card, "| answers | logits (N, {}); no softmax |", network.classes())?;
    writeln!(card, "| classes | {} |", plain(&facts.classes.join(", ")))?;
    let eps = facts.eps.as_deref().unwrap_or("not known");
    writeln!(card, "| trained for eps | {eps} (l-infinity) |")?;
    writeln!(card, "| weights | BLAKE3 {} |", facts.blake3)?;
    for compared in facts.compared {
        writeln!(card, "| compared | {} |", plain(compared))?;
    }
    if let Some(report) = facts.report {
        let text = report.to_string();
        writeln!(
            card,
            "\n## Accuracy\n\nOf the student before it was exported:\n\n```\n{}\n```",
            text.trim_end()
        )?;
    }
    if !facts.int8.is_empty() {
        writeln!(card, "\n## Eight bits\n\n| images | f32 | int8 |\n|---|---|---|")?;
        for (images, f32, int8) in facts.int8 {
            writeln!(card, "| {} | {f32:.2} % | {int8:.2} % |", plain(images))?;
        }
    }
    Ok(())
}

/// Text that stays in its cell of a table: names come from other people's files.
fn plain(text: &str) -> String {
    names::seen(text, ' ').replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use zoo::Task;

    use super::*;

    #[test]
    fn names_of_classes_break_no_row_of_the_table() {
        let (_, network) = zoo::build("tiny-cnn", Task { input: [1, 28, 28], classes: 3 }).unwrap();
        let classes = ["cat|dog", "two\nlines", "| --- |"].map(str::to_owned);
        let facts = Facts {
            form: "A form.",
            files: &[],
            classes: &classes,
            data: "a\n|set",
            eps: None,
            blake3: "0",
            report: None,
            compared: &["by|hand\r\n".into()],
            int8: &[("a|b".into(), 1.0, 2.0)],
        };
        let text = text(&network, &facts);
        assert!(text.contains("\n| classes | cat\\|dog, two lines, \\| --- \\| |\n"), "{text}");
        // A row of GitHub's tables ends with its line, and a bar that no backslash precedes ends a cell.
        let bars = |row: &str| row.replace("\\|", "").matches('|').count();
        let rows = text.lines().filter(|line| line.starts_with('|'));
        let bars: Vec<usize> = rows.map(bars).collect();
        assert_eq!(bars, [[3; 9].as_slice(), &[4; 3]].concat(), "{text}");
    }
}
