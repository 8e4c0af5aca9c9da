//! Flags of `distill export`.

use std::path::PathBuf;

use clap::Args;
use cli::{Interruptible, MachineArgs, NetworkArgs, Stop, show, whole};
use method::threat::Fraction;

use crate::error::RunError;
use crate::export::{Export, FORMS, export};
use crate::verb::eval::EvalArgs;

/// Flags of `distill export`.
#[derive(Args)]
pub struct ExportArgs {
    /// A run's folder, for its best student, or weights of any network that rslad reads
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The form: onnx, torch or candle
    #[arg(long, value_name = "FORM")]
    to: String,
    /// Also in eight bits, calibrated on clean and adversarial training images
    #[arg(long)]
    int8: bool,
    /// Folder to write, which must not be there yet [default: the form's name, in the run's folder]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Data set whose test images it is compared and judged on [default: the run's]
    #[arg(long, value_name = "DATASET")]
    data: Option<String>,
    /// Radius of the attack that the card's robust accuracy is for [default: the run's]
    #[arg(long, value_name = "FRACTION", value_parser = Fraction::of_any_size)]
    eps: Option<Fraction>,
    /// Images of the test split that accuracies are measured on
    #[arg(long, value_name = "N", default_value = "1000", value_parser = whole::<1, { u32::MAX }>)]
    limit: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ExportArgs {
    pub(super) fn run(&self, machine: MachineArgs) -> Result<(), RunError> {
        let form = names::find(FORMS, &self.to).map_err(|unknown| RunError::Refused(unknown.to_string()))?;
        if self.int8 && self.to != "onnx" {
            return Err(RunError::Refused(format!(
                "--int8 with --to {}: eight bits are written as ONNX alone\nhint: add --to onnx, or drop --int8",
                self.to
            )));
        }
        let exam =
            EvalArgs::for_export(&self.run, &self.network, self.data.clone(), self.eps.clone(), self.limit)?;
        let folder = if self.run.is_dir() {
            self.run.clone()
        } else {
            self.run.parent().map(Into::into).unwrap_or_default()
        };
        let out = self.out.clone().unwrap_or_else(|| folder.join(names::Row::name(form)));
        let stop = Stop::on_signals_after("this pass")?;
        let machine = machine.machine();
        // What is compared rounds no more than a plain sum.
        let engine = machine.start_for_judging(true, exam.verdicts())?;
        let what = Export { form, exam, int8: self.int8, out };
        let engine = Interruptible::new(engine.as_ref(), &stop);
        Ok(show(&export(&what, &engine, machine.threads, &stop)?, self.json)?)
    }
}
