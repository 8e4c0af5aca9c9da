//! What a comparison says: for each run, each attack's accuracy; and what makes two such numbers no pair.

use serde::Serialize;

use super::settings::Difference;
use crate::account::{Account, Against, Figure, Images};
use crate::config::Config;

/// Runs beside each other. Accuracies and intervals are in percent.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What students were judged by: `clean` first, then what may be published as robust accuracy, then upper bounds.
    pub attacks: Vec<Column>,
    /// The runs, in the order in which they were named.
    pub runs: Vec<Side>,
    /// Settings that are not the same in all runs.
    pub differences: Vec<Difference>,
    /// What is to be known before two of the numbers are compared, and what is missing: a sentence each.
    pub notes: Vec<String>,
}

/// An attack, in one ball.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub attack: String,
    /// What it may do; none of `clean`.
    pub against: Option<Against>,
    /// Whether others may break more.
    pub is_upper_bound: bool,
    /// The precision that it was measured in, where that is lesser than f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
}

/// One run.
#[derive(Debug, Serialize)]
pub struct Side {
    /// What it is called here.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// What was asked of it.
    pub settings: Config,
    /// Epochs done; none where its log does not say.
    pub epochs: Option<usize>,
    /// Epoch losses, the last one.
    pub loss: Option<f64>,
    /// Minutes of training steps.
    pub minutes: f64,
    /// BLAKE3 of the student that was judged; none before the first epoch is done.
    pub student_blake3: Option<String>,
    /// Its figures.
    pub figures: Vec<Found>,
    /// The command that would measure its robust accuracy; none where that is known, or where its student cannot be read.
    pub to_judge: Option<String>,
}

/// What one attack left of a student.
#[derive(Debug, Serialize)]
pub struct Found {
    /// Which.
    #[serde(flatten)]
    pub of: Column,
    /// Right answers.
    pub accuracy: f64,
    /// Wilson's interval of 95 %.
    pub interval_95: [f64; 2],
    /// Right answers, as a number of images.
    pub right: usize,
    /// The images.
    pub images: Images,
    /// The class with the fewest right answers.
    pub worst_class: Option<Worst>,
    /// The file that says so.
    pub file: String,
}

/// A class, and its right answers in percent.
#[derive(Debug, Serialize)]
pub struct Worst {
    /// Its name.
    pub name: String,
    /// Right answers.
    pub accuracy: f64,
}

impl Column {
    fn of(figure: &Figure) -> Self {
        let Figure { attack, against, is_upper_bound, precision, .. } = figure.clone();
        Self { attack, against, is_upper_bound, precision }
    }

    /// The attack's name, with the precision where that is a lesser one.
    pub fn title(&self) -> String {
        match &self.precision {
            Some(precision) => format!("{} in {precision}", self.attack),
            None => self.attack.clone(),
        }
    }

    fn place(&self) -> (bool, bool) {
        (self.against.is_some(), self.is_upper_bound)
    }
}

impl Side {
    fn of(account: &Account) -> Self {
        let figures = account.figures();
        let is_judged = figures.iter().any(Figure::is_publishable);
        Self {
            name: account.name.clone(),
            folder: account.folder.display().to_string(),
            settings: account.config.clone(),
            epochs: account.epochs_done(),
            loss: account.log.epochs.last().map(|line| line.loss),
            minutes: account.log.seconds() / 60.0,
            student_blake3: account.student.as_ref().map(|student| student.blake3.clone()),
            figures: figures.iter().map(Found::of).collect(),
            to_judge: account.judge_command().filter(|_| !is_judged),
        }
    }

    /// The figure of a column, where it was measured.
    pub fn figure(&self, column: &Column) -> Option<&Found> {
        self.figures.iter().find(|found| found.of == *column)
    }
}

impl Found {
    fn of(figure: &Figure) -> Self {
        let worst = figure.worst_class();
        Self {
            of: Column::of(figure),
            accuracy: figure.score.percent(),
            interval_95: figure.score.interval(),
            right: figure.score.right,
            images: figure.images.clone(),
            worst_class: worst.map(|(name, accuracy)| Worst { name: name.into(), accuracy }),
            file: figure.file.display().to_string(),
        }
    }
}

impl Comparison {
    /// Of runs that were read.
    pub fn of(accounts: &[&Account]) -> Self {
        let runs: Vec<Side> = accounts.iter().map(|account| Side::of(account)).collect();
        let mut attacks: Vec<Column> = Vec::new();
        for found in runs.iter().flat_map(|run| &run.figures) {
            if !attacks.contains(&found.of) {
                attacks.push(found.of.clone());
            }
        }
        attacks.sort_by_key(Column::place);
        let notes = notes(accounts, &runs, &attacks);
        let differences = Difference::among(accounts);
        Self { attacks, runs, differences, notes }
    }

    /// The column whose worst class is shown: what may be published as robust accuracy; clean where nothing was attacked.
    pub fn headline(&self) -> Option<&Column> {
        self.attacks.iter().find(|column| column.against.is_some()).or(self.attacks.first())
    }
}

fn notes(accounts: &[&Account], runs: &[Side], attacks: &[Column]) -> Vec<String> {
    let mut notes = Vec::new();
    for account in accounts {
        let name = &account.name;
        notes.extend(account.lacks().map(|what| format!("{name}: {what}")));
        if account.student.is_none() {
            notes.push(format!("{name}: no student yet; one is there after the first epoch"));
        }
        notes.extend(account.damage().map(|damage| format!("{name}: {damage}")));
        if let Some(other) = account.judgements.of_others.first() {
            notes.push(format!("{name}: {} is of other weights and left out", other.display()));
        }
        for file in &account.judgements.damaged {
            notes.push(format!("{name}: {}: a damaged evaluation, left out", file.display()));
        }
    }
    for column in attacks {
        let found: Vec<&Found> = runs.iter().filter_map(|run| run.figure(column)).collect();
        if found.iter().any(|other| other.images != found[0].images) {
            notes.push(format!(
                "{}: not all on the same images, so a difference may be the images'",
                column.attack
            ));
        }
    }
    let balls: Vec<&Against> = attacks.iter().filter_map(|column| column.against.as_ref()).collect();
    if balls.iter().any(|ball| *ball != balls[0]) {
        notes.push("attacks were run in several balls: columns of one attack are not one measurement".into());
    }
    notes
}
