//! Named groups of settings.

use names::{Row, Table};

/// A named group of settings.
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a line.
    pub summary: &'static str,
    /// Keys and values.
    pub settings: &'static [(&'static str, &'static str)],
}

impl Row for Preset {
    const WHAT: &'static str = "preset";

    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }
}

/// Every preset.
pub static PRESETS: &Table<Preset> = &[
    &Preset {
        name: "rslad-cifar10",
        summary: "the paper's CIFAR-10 training: ResNet-18, 300 epochs, eps 8/255",
        settings: &[("student", "resnet18"), ("objective", "rslad")],
    },
    &Preset {
        name: "rslad-cifar100",
        summary: "the paper's CIFAR-100 training; the loss has the same scale for any number of classes",
        settings: &[("student", "resnet18"), ("objective", "rslad")],
    },
    &Preset {
        name: "trades-300-cifar10",
        summary: "TRADES under RSLAD's 300 epochs: the baseline of its paper's appendix",
        settings: &[("student", "resnet18"), ("objective", "trades")],
    },
    &Preset {
        name: "trades-100-cifar10",
        summary: "TRADES as released: wrn-34-10, eps 0.031, 100 epochs, drops from 75, 90, 100 on",
        settings: &[
            ("student", "wrn-34-10"),
            ("objective", "trades"),
            ("epochs", "100"),
            ("eps", "0.031"),
            ("step-size", "0.007"),
            // Its code counts epochs from 1 and lowers the rate before the 75th, 90th and 100th. The published network
            // is of epoch 76, where its authors stopped.
            ("milestones", "74,89,99"),
        ],
    },
    &Preset {
        name: "quickstart",
        summary: "rslad on digits in minutes: tiny-cnn, eps 0.3",
        settings: &[
            ("data", "sample"),
            ("student", "tiny-cnn"),
            ("objective", "rslad"),
            ("epochs", "4"),
            ("batch", "64"),
            ("eps", "0.3"),
            ("schedule", "cosine"),
            // RSLAD's loss is a tenth of a KL divergence by its definition: with ten times the rate and a tenth of the
            // decay it takes the steps that a cross-entropy takes.
            ("lr", "3"),
            ("weight-decay", "0.00002"),
        ],
    },
];
