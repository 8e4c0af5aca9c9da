//! A row's logits, borrowed from a label set as they are stored, and read as K numbers whatever is stored of them.

use crate::row::dtype::Stored;

/// The logits of a row, borrowed from a label set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Logits<'a> {
    /// All K of them.
    Plain(Stored<'a>),
    /// A code of eight bits each: a logit is `low + scale * code`, product and sum rounded to f32.
    Codes {
        /// The K codes.
        codes: &'a [u8],
        /// The logit of code 0.
        low: f32,
        /// Logits from one code to the next.
        scale: f32,
    },
    /// The N largest.
    Top {
        /// What they are, from the largest down.
        logits: Stored<'a>,
        /// Their classes.
        classes: &'a [u16],
        /// The logit of each class beside them.
        rest: f32,
        /// K.
        of: usize,
    },
}

impl Logits<'_> {
    /// K, the number of classes.
    pub fn len(&self) -> usize {
        match self {
            Logits::Plain(logits) => logits.len(),
            Logits::Codes { codes, .. } => codes.len(),
            Logits::Top { of, .. } => *of,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the K logits into `out`; exactly what is stored, where they are floats. Panics unless `out` has K values.
    #[inline]
    pub fn copy_to(&self, out: &mut [f32]) {
        match *self {
            Logits::Plain(logits) => logits.copy_to(out),
            Logits::Codes { codes, low, scale } => {
                assert_eq!(out.len(), codes.len(), "a row has one logit per class");
                for (out, &code) in out.iter_mut().zip(codes) {
                    *out = low + scale * f32::from(code);
                }
            }
            Logits::Top { logits, classes, rest, of } => {
                assert_eq!(out.len(), of, "a row has one logit per class");
                out.fill(rest);
                for (place, &class) in classes.iter().enumerate() {
                    // Rows that nobody looked at may name any class.
                    if let Some(out) = out.get_mut(usize::from(class)) {
                        *out = logits.get(place);
                    }
                }
            }
        }
    }

    /// The K logits.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.copy_to(&mut out);
        out
    }

    /// The class that the teacher answers: that of the largest logit, the first of equals.
    pub fn argmax(&self) -> usize {
        match *self {
            Logits::Plain(logits) => logits.argmax(),
            Logits::Codes { codes, low, scale } => {
                Logits::first(codes.iter().map(|&code| low + scale * f32::from(code)))
            }
            // Where the rest is as large as the largest, all are alike.
            Logits::Top { logits, classes, rest, .. } if logits.get(0) > rest => usize::from(classes[0]),
            Logits::Top { .. } => 0,
        }
    }

    /// The first of the largest.
    pub(crate) fn first(logits: impl Iterator<Item = f32>) -> usize {
        let mut largest = (0, f32::NEG_INFINITY);
        for (class, logit) in logits.enumerate() {
            if logit > largest.1 {
                largest = (class, logit);
            }
        }
        largest.0
    }

    /// What is wrong with a row that is not plain: what, what is wanted, what is found. `seen` is room for a bit per class.
    pub(crate) fn problem(&self, seen: &mut Vec<u64>) -> Option<[String; 3]> {
        match *self {
            Logits::Plain(_) => None,
            Logits::Codes { codes, low, scale } => codes_problem(codes, low, scale),
            Logits::Top { logits, classes, rest, of } => {
                seen.clear();
                seen.resize(of.div_ceil(64), 0);
                top_problem(logits, classes, rest, of, seen)
            }
        }
    }
}

/// What, what is wanted, what is found.
#[allow(clippy::needless_pass_by_value, reason = "callers pass texts and numbers alike")]
fn wrong(what: &str, wanted: impl ToString, found: impl ToString) -> [String; 3] {
    [what.into(), wanted.to_string(), found.to_string()]
}

fn codes_problem(codes: &[u8], low: f32, scale: f32) -> Option<[String; 3]> {
    if !low.is_finite() {
        return Some(wrong("low", "a finite number", low));
    }
    if !(scale >= 0.0 && (low + scale * 255.0).is_finite()) {
        return Some(wrong("scale", "0 or more, and finite logits", scale));
    }
    let ends = codes.iter().fold([u8::MAX, 0], |[least, most], &code| [least.min(code), most.max(code)]);
    let wanted = if scale > 0.0 { [0, 255] } else { [0, 0] };
    if ends == wanted {
        None
    } else {
        Some(wrong("smallest and largest code", format!("{wanted:?}"), format!("{ends:?}")))
    }
}

fn top_problem(
    logits: Stored,
    classes: &[u16],
    rest: f32,
    of: usize,
    seen: &mut [u64],
) -> Option<[String; 3]> {
    for (place, &class) in classes.iter().enumerate() {
        let (logit, class) = (logits.get(place), usize::from(class));
        if !logit.is_finite() {
            return Some(wrong(&format!("logit {place}"), "a finite number", logit));
        }
        if class >= of {
            return Some(wrong(&format!("class {place}"), format!("0 to {}", of - 1), class));
        }
        let (word, bit) = (class / 64, 1 << (class % 64));
        if seen[word] & bit != 0 {
            return Some(wrong(&format!("class {place}"), "each class once", format!("{class} twice")));
        }
        seen[word] |= bit;
        let before = place.checked_sub(1).map(|before| (logits.get(before), usize::from(classes[before])));
        if before.is_some_and(|(above, other)| above < logit || above <= logit && other > class) {
            return Some(wrong(
                &format!("logit {place}"),
                "logits that fall, of equals classes that rise",
                logit,
            ));
        }
    }
    let last = logits.get(classes.len() - 1);
    // A NaN is no number that is as small.
    if rest.is_finite() && rest <= last {
        None
    } else {
        Some(wrong("rest", format!("a number no larger than the last logit, {last}"), rest))
    }
}
