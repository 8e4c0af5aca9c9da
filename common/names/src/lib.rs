//! Tables of names that people choose from: architectures, attacks, objectives, data sets, settings, presets.
//!
//! Every such table is a slice of references to rows, each row declared in the file of what it names. `--help`, the
//! error for an unknown name, the documentation's tables and the generic tests read the table, so a new thing is one
//! file and one entry.

mod sign;

use std::fmt::Write;

pub use sign::{acts, seen};

/// What a table holds.
pub trait Row: Sync + 'static {
    /// What a row is, in the singular: `architecture`.
    const WHAT: &'static str;

    /// Its name as lists show it. Capital letters stand for numbers, as in `wrn-D-W`.
    fn name(&self) -> &'static str;

    /// What it is, in a line.
    fn summary(&self) -> &'static str;

    /// Other names of rows, each with the row's own: what the field, or another program, calls the same thing. Written
    /// as [`plain`] writes.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// Names that people look for here and that no row has, each with where to go instead. Written as [`plain`] writes;
    /// `vgg*` stands for all that begin so.
    const SIGNPOSTS: &'static [(&'static str, &'static str)] = &[];

    /// How it is written, where a name is not all: `cifar10:FOLDER`.
    fn form(&self) -> &'static str {
        self.name()
    }

    /// One name that it answers to, for tests that try every row; differs from [`Row::name`] where that is a pattern.
    fn example(&self) -> &'static str {
        self.name()
    }
}

/// A table: rows in the order in which help shows them.
pub type Table<R> = [&'static R];

/// A name that no row of a table answers to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`\n{hint}")]
pub struct Unknown {
    what: &'static str,
    name: String,
    hint: String,
    /// Whether the hint is a signpost's.
    has_way: bool,
}

impl Unknown {
    /// Of a name that is none of `known`.
    pub fn new<'a>(what: &'static str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<(&str, &str)> = known.into_iter().map(|known| (known, known)).collect();
        Self { what, name: name.into(), hint: hint(name, &known), has_way: false }
    }

    /// Of a name that no row of a table answers to.
    pub fn among<R: Row>(table: &Table<R>, name: &str) -> Self {
        let known: Vec<(&str, &str)> = table.iter().map(|row| (row.name(), row.form())).collect();
        let unknown = Self { what: R::WHAT, name: name.into(), hint: hint(name, &known), has_way: false };
        unknown.or_way::<R>()
    }

    /// The same, where other names are known than the table's own.
    pub fn beside<'a, R: Row>(_: &Table<R>, name: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new(R::WHAT, name, known).or_way::<R>()
    }

    /// With the hint of the signpost that stands for the name, where one does.
    fn or_way<R: Row>(self) -> Self {
        let plain = plain(&self.name);
        match R::SIGNPOSTS.iter().find(|(wanted, _)| stands_for(wanted, &plain)) {
            Some((_, way)) => Self { hint: format!("hint: {way}"), has_way: true, ..self },
            None => self,
        }
    }

    /// Where to go instead, where a signpost says so.
    pub fn way(&self) -> Option<&str> {
        self.has_way.then(|| self.hint.trim_start_matches("hint: "))
    }

    /// `hint: ..`, the second line of the message: for an error that says more in its first.
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

/// Whether a signpost's name is the one given, or its beginning.
fn stands_for(wanted: &str, given: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == given, |start| given.starts_with(start))
}

/// The row called `name`, in whatever case, with `_` for `-`, or by an alias.
pub fn find<R: Row>(table: &Table<R>, name: &str) -> Result<&'static R, Unknown> {
    let spelled = spelled::<R>(name);
    find_map(table, name, |row| (plain(row.name()) == spelled).then_some(row))
}

/// A name in small letters, with `-` for `_` and blanks: the one spelling that names are compared in.
pub fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', ' '], "-")
}

/// The name that a table of such rows has for `name`, as far as its aliases know.
pub fn spelled<R: Row>(name: &str) -> String {
    let plain = plain(name);
    R::ALIASES.iter().find(|(alias, _)| *alias == plain).map_or(plain, |(_, own)| (*own).into())
}

/// What the first row gives that answers: for tables whose names are patterns.
pub fn find_map<R: Row, T>(
    table: &Table<R>,
    name: &str,
    answer: impl FnMut(&'static R) -> Option<T>,
) -> Result<T, Unknown> {
    let found = table.iter().copied().find_map(answer);
    found.ok_or_else(|| Unknown::among(table, name))
}

/// A line for each row, name and summary in columns: for `--help`.
pub fn help<R: Row>(table: &Table<R>) -> String {
    let width = table.iter().map(|row| row.name().len()).max().unwrap_or(0).max(16);
    let mut lines = String::new();
    for row in table {
        writeln!(lines, "  {:<width$} {}", row.name(), row.summary()).expect("a string takes text");
    }
    lines
}

/// The known name most like `given`, where one is close enough to be meant. Capital letters are as good as small ones.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = plain(given);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &plain(name)), name))
        .filter(|(distance, name)| *distance <= (name.len().max(given.len()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// `hint: did you mean FORM?` where a name is near, then all forms.
fn hint(given: &str, known: &[(&str, &str)]) -> String {
    let list = known.iter().map(|(_, form)| *form).collect::<Vec<_>>().join(", ");
    let near = nearest(given, known.iter().map(|(name, _)| *name));
    match known.iter().find(|(name, _)| Some(*name) == near) {
        Some((_, form)) => format!("hint: did you mean `{form}`? known: {list}"),
        None => format!("hint: known: {list}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fruit(&'static str, &'static str);

    impl Row for Fruit {
        const WHAT: &'static str = "fruit";

        fn name(&self) -> &'static str {
            self.0
        }

        fn summary(&self) -> &'static str {
            self.1
        }

        const ALIASES: &'static [(&'static str, &'static str)] = &[("malus", "apple")];
        const SIGNPOSTS: &'static [(&'static str, &'static str)] =
            &[("tomato", "look among the vegetables"), ("plum*", "no stone fruit here")];
    }

    const FRUITS: &Table<Fruit> = &[&Fruit("apple", "grows on trees"), &Fruit("melonN", "N of them")];

    #[test]
    fn a_signpost_stands_for_one_name_or_for_all_that_begin_so() {
        let way = |name: &str| find(FRUITS, name).err().and_then(|unknown| unknown.way().map(str::to_owned));
        assert_eq!(way("Plum_Cake16").as_deref(), Some("no stone fruit here"));
        assert_eq!(way("tomato").as_deref(), Some("look among the vegetables"));
        assert_eq!((way("tomatoes"), way("aplum")), (None, None));
    }

    #[test]
    fn a_row_is_found_by_its_name_or_by_what_it_makes_of_a_name() {
        assert_eq!(find(FRUITS, "apple").unwrap().1, "grows on trees");
        let melons = |name: &str| {
            find_map(FRUITS, name, |row| name.strip_prefix(row.0.strip_suffix('N')?)?.parse::<u32>().ok())
        };
        assert_eq!(melons("melon12"), Ok(12));
        assert!(melons("melons").is_err());
    }

    #[test]
    fn a_row_is_found_in_any_case_and_by_its_alias() {
        for name in ["Apple", "APPLE", "malus", "Malus"] {
            assert_eq!(find(FRUITS, name).unwrap().0, "apple", "{name}");
        }
        assert_eq!(plain(" WRN_28 10"), "wrn-28-10");
    }

    #[test]
    fn a_name_that_people_look_for_here_is_answered_with_where_it_is() {
        let error = find(FRUITS, "Tomato").err().unwrap().to_string();
        assert_eq!(error, "unknown fruit `Tomato`\nhint: look among the vegetables");
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_near_one_and_the_whole_list() {
        let error = find(FRUITS, "aple").err().unwrap().to_string();
        assert_eq!(error, "unknown fruit `aple`\nhint: did you mean `apple`? known: apple, melonN");
        let error = find(FRUITS, "transformer").err().unwrap().to_string();
        assert_eq!(error, "unknown fruit `transformer`\nhint: known: apple, melonN");
    }

    #[test]
    fn help_has_a_line_for_each_row() {
        assert_eq!(help(FRUITS), "  apple            grows on trees\n  melonN           N of them\n");
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_nonsense_is_not() {
        let known = ["resnet18", "mobilenet-v2", "wrn-34-10"];
        assert_eq!(nearest("resnet81", known), Some("resnet18"));
        assert_eq!(nearest("mobilenetv2", known), Some("mobilenet-v2"));
        assert_eq!(nearest("RESNET18", known), Some("resnet18"));
        assert_eq!(nearest("transformer", known), None);
    }
}
