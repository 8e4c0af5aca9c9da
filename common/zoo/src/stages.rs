//! Stages in an architecture's name: `5x320-5x640-5x512` is five blocks of 320 channels, and so on.

/// The most blocks of a stage, and channels.
const MOST: usize = 10_000;

/// Blocks and channels of each of three stages.
pub(super) type Stages = [(usize, usize); 3];

/// Reads `5x320-5x640-5x512`.
pub(super) fn parse(text: &str) -> Option<Stages> {
    let stages: Vec<(usize, usize)> = text
        .split('-')
        .map(|stage| {
            let (blocks, channels) = stage.split_once('x')?;
            Some((number(blocks)?, number(channels)?))
        })
        .collect::<Option<_>>()?;
    stages.try_into().ok()
}

/// Writes them as [`parse`] reads them.
pub(super) fn text(stages: &Stages) -> String {
    stages.map(|(blocks, channels)| format!("{blocks}x{channels}")).join("-")
}

/// A positive number, written in one way.
pub(super) fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|&n: &usize| (1..=MOST).contains(&n) && n.to_string() == text)
}
