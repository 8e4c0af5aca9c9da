//! The fast gradient sign method. Source: Goodfellow et al., arXiv:1412.6572.

use super::pgd::{Signed, Start, Stride};
use super::row::Row;

/// One step of PGD from the image, as wide as the ball.
pub(super) static ROW: Row = Row {
    name: "fgsm",
    summary: "one signed gradient step of size eps from the image (arXiv:1412.6572)",
    example: "fgsm",
    make: |name| {
        let fgsm = || Signed { name: name.into(), steps: 1, start: Start::Image, stride: Stride::Eps };
        (name == "fgsm").then(|| Box::new(fgsm()) as _)
    },
};
