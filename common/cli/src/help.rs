//! The tables that `--help` shows, so that nobody has to know a name by heart.

use method::{attack, model, objective};

/// Columns that a terminal is sure to have.
const COLUMNS: usize = 80;

/// What a process's exit code says.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 74 disk,
  75 interrupted: run the same command again, 101 our bug";

/// Every architecture.
pub fn architectures() -> String {
    section("Architectures", &names::help(model::ZOO))
}

/// Every normalisation that has a name.
pub fn normalisations() -> String {
    section("Normalisations", &names::help(model::NORMALISATIONS))
}

/// Every objective.
pub fn objectives() -> String {
    section("Objectives", &names::help(objective::OBJECTIVES))
}

/// The numbers that objectives let their user choose.
pub fn options() -> String {
    let rows = objective::OBJECTIVES.iter().map(|row| (row.name, row.options));
    section("Options of objectives, for --set and [options] of a file", &choices(&rows))
}

/// A line for each option of each row.
fn choices<'a>(rows: &(impl Iterator<Item = (&'a str, &'a [objective::Choice])> + Clone)) -> String {
    let all = || rows.clone().flat_map(|(row, choices)| choices.iter().map(move |choice| (row, choice)));
    let width = all().map(|(_, choice)| choice.key.len()).max().unwrap_or(0);
    let line = |(row, choice): (&str, &objective::Choice)| {
        let objective::Choice { key, help, default, .. } = choice;
        format!("  {key:<width$} {row}: {help} [default: {default}]")
    };
    all().map(line).collect::<Vec<String>>().join("\n")
}

/// Every attack, every suite and panel of them, and what attacks let their user choose.
pub fn attacks() -> String {
    let tables = names::help(attack::ATTACKS) + &names::help(attack::SUITES) + &names::help(attack::PANELS);
    let rows = attack::ATTACKS.iter().map(|row| (row.name, row.options));
    let options = section("Options of attacks, as in apgd-t:targets=3:steps=20", &choices(&rows));
    section("Attacks", &tables) + "\n" + &options
}

/// Every engine.
fn engines() -> String {
    section("Devices, what runs the networks", &names::help(engine::ENGINES))
}

/// Every data set, with the forms on disk that are read.
pub fn datasets() -> String {
    let rows: Vec<String> = data::help().lines().map(|line| format!("  {line}")).collect();
    section("Data sets", &rows.join("\n"))
}

/// Sections and what every command has last, a blank line between them.
pub fn after<const N: usize>(sections: [String; N]) -> String {
    let mut text = String::new();
    for section in sections.into_iter().chain([engines()]) {
        text += &section;
        text += "\n";
    }
    text + EXIT_CODES
}

/// A heading over a table as [`names::help`] makes it. A summary too long for its line goes on below its beginning.
pub fn section(heading: &str, table: &str) -> String {
    let mut text = format!("{heading}:\n");
    for line in table.lines() {
        let name = line.len() - line.trim_start().len();
        let summary = line[name..].find(' ').map_or(line.len(), |end| {
            let rest = &line[name + end..];
            name + end + (rest.len() - rest.trim_start().len())
        });
        let mut column = line[..summary].chars().count();
        text += &line[..summary];
        for (count, word) in line[summary..].split_whitespace().enumerate() {
            let width = word.chars().count();
            if count > 0 && column + 1 + width > COLUMNS {
                text += "\n";
                text += &" ".repeat(summary);
                column = summary;
            } else if count > 0 {
                text += " ";
                column += 1;
            }
            text += word;
            column += width;
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_summary_goes_on_below_its_beginning() {
        let long = "word ".repeat(20);
        let text = section("Fruits", &format!("  apple  {long}\n  fig    short\n"));
        let words = |count| vec!["word"; count].join(" ");
        assert_eq!(text, format!("Fruits:\n  apple  {}\n         {}\n  fig    short\n", words(14), words(6)));
    }

    #[test]
    fn every_table_fits_eighty_columns_and_names_all_its_rows() {
        let tables =
            [architectures(), normalisations(), objectives(), attacks(), datasets(), engines(), options()];
        for table in &tables {
            assert!(table.lines().all(|line| line.chars().count() <= COLUMNS), "{table}");
        }
        for (table, name) in tables.iter().zip([
            "wrn-D-W",
            "cifar10-kuangliu",
            "rslad",
            "pgdN",
            "cifar10:FOLDER",
            "cpu",
            "alpha",
        ]) {
            assert!(table.contains(&format!("\n  {name}")), "{table}");
        }
    }
}
