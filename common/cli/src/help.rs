//! The tables that `--help` shows, so that nobody has to know a name by heart.

use std::collections::BTreeMap;

use method::schedule::Schedule;
use method::{attack, objective};

/// Columns that a terminal is sure to have.
const COLUMNS: usize = 80;

/// What a process's exit code says.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check failed, 2 bad usage or input, 74 disk,
  75 interrupted: run the same command again, 101 our bug";

/// Every architecture.
pub fn architectures() -> String {
    let rows: Vec<&zoo::Architecture> = zoo::ZOO.iter().copied().chain([zoo::onnx::row()]).collect();
    section("Architectures", &names::help(&rows))
}

/// Every normalisation that has a name.
pub fn normalisations() -> String {
    section("Normalisations", &names::help(zoo::NORMALISATIONS))
}

/// Every objective with what a step asks of teachers, and what can be added to one.
pub fn objectives() -> String {
    let lines = objective::OBJECTIVES.iter().map(|row| {
        let summary = names::Row::summary(*row);
        format!("  {:<16} {summary}; needs: {}", row.name, passes(row, &BTreeMap::new()))
    });
    let table = lines.collect::<Vec<_>>().join("\n");
    let heading = format!("Objectives, with what a step of {USUAL_STEPS} attack steps needs");
    section(&heading, &table)
        + "\n"
        + &section("Additions to an objective, for --set", &names::help(objective::ADDITIONS))
}

/// What a step of the usual run asks at its end, with these options and additions.
fn passes(row: &'static objective::Row, given: &BTreeMap<String, f64>) -> objective::Passes {
    let epoch =
        objective::Epoch { number: USUAL_EPOCHS - 1, of: USUAL_EPOCHS, schedule: Schedule::default() };
    let made = objective::compose(row, given, false).expect("a row takes its defaults");
    objective::Passes::of(&*made, epoch, USUAL_STEPS)
}

/// Epochs of a run that says nothing else.
const USUAL_EPOCHS: usize = 300;
/// Steps of its attack.
const USUAL_STEPS: usize = 10;

/// The numbers that objectives let their user choose.
pub fn options() -> String {
    let own = objective::OBJECTIVES.iter().map(|row| (row.name, row.options));
    let rows = own.chain(objective::ADDITIONS.iter().map(|row| (row.name, row.options)));
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

    /// The cells of the rows of docs/methods.md's tables that say what a step costs, by their first cells.
    fn documented() -> Vec<Vec<&'static str>> {
        let text = include_str!("../../../docs/methods.md");
        let part = text.split("\n## ").find(|part| part.starts_with("What a step costs")).unwrap();
        let rows = part.lines().filter(|line| line.starts_with("| `"));
        let cells = |line: &'static str| line[1..].trim_end_matches('|').split('|');
        rows.map(|line| cells(line).map(|cell| cell.trim().trim_matches('`')).collect()).collect()
    }

    /// `needs`, cached, live and student as a row of the tables has them.
    fn cells(passes: objective::Passes) -> [String; 4] {
        let [cached, live] = passes.teacher.cost();
        let [more_cached, more_live] = passes.second.cost();
        let counts = [cached + more_cached, live + more_live, passes.student()];
        let [cached, live, student] = counts.map(|count| count.to_string());
        [passes.to_string(), cached, live, student]
    }

    #[test]
    fn docs_methods_lists_every_objective_and_addition_with_what_a_step_of_it_costs() {
        let documented = documented();
        for row in objective::OBJECTIVES {
            let found = documented.iter().find(|cells| cells[0] == row.name && cells.len() == 6);
            let found = found.unwrap_or_else(|| panic!("docs/methods.md has no row for {}", row.name));
            assert_eq!(found[1..5], cells(passes(row, &BTreeMap::new())), "docs/methods.md: {}", row.name);
            let arxiv = row.summary.split("arXiv:").nth(1).map(|text| text.trim_end_matches(')'));
            assert!(arxiv.is_none_or(|number| found[5].contains(number)), "docs/methods.md: {}", row.name);
        }
        for row in objective::ADDITIONS {
            let is_its = |cells: &&Vec<&str>| cells[0] == row.name && cells.len() == 7;
            assert!(
                documented.iter().any(|cells| is_its(&cells)),
                "docs/methods.md has no row for {}",
                row.name
            );
            for found in documented.iter().filter(is_its) {
                let given = BTreeMap::from([(row.name.to_string(), 1.0)]);
                let (base, name) = (objective::find(found[1]).unwrap(), row.name);
                assert_eq!(
                    found[2..6],
                    cells(passes(base, &given)),
                    "docs/methods.md: {name} on {}",
                    found[1]
                );
            }
        }
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
