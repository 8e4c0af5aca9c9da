//! The page: of one run its parts, of several first what they are beside each other.

use std::path::Path;

use page::{Html, Page};

use super::{Told, beside, headline, parts};
use crate::error::RunError;

/// The page as the text of a file.
pub(super) fn of(told: &[Told]) -> String {
    let mut page = Page::new(title(told), made_by());
    match told {
        [one] => {
            page.lead(headline::of(one));
            for (heading, inside) in parts::of(one) {
                page.section(heading, inside);
            }
        }
        several => {
            for (heading, inside) in beside::of(several) {
                page.section(heading, inside);
            }
            for one in several {
                let parts = parts::of(one).into_iter();
                let inside = parts.map(|(heading, inside)| Html::heading(heading).and(inside));
                page.section(&one.account.name, headline::of(one).and(inside.collect::<Html>()));
            }
        }
    }
    page.finish()
}

fn title(told: &[Told]) -> String {
    match told {
        [one] => format!("{}: a distilled student", one.account.name),
        several => format!("{} runs compared", several.len()),
    }
}

fn made_by() -> String {
    let commit = cli::build::commit().map_or_else(String::new, |commit| format!(" of {commit}"));
    format!(
        "Written by distill report {}{commit}. This file loads nothing from anywhere.",
        cli::build::VERSION
    )
}

/// Writes the page, whole or not at all.
pub(super) fn write(path: &Path, page: &str) -> Result<(), RunError> {
    Ok(::page::write(path, page).map_err(cli::Error::io("write", path))?)
}
