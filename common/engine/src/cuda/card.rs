//! What cards can do, for the model of their time.

/// What a card can do at most, as its maker states it, and what share of that plain kernels reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// Bytes a second from its memory.
    pub bandwidth: f64,
    /// Operations a second of its tensor cores in 16 bits with f32 sums, without sparsity.
    pub tensor: f64,
    /// Multiprocessors.
    pub processors: usize,
    /// Whether its tensor cores multiply by warpgroups: Hopper's.
    pub warpgroups: bool,
}

impl Card {
    /// By a part of its name; an A100 where it is not known.
    pub(super) fn named(name: &str, processors: usize, warpgroups: bool) -> Self {
        // Makers' data sheets: TB/s, TFLOP/s.
        const CARDS: &[(&str, f64, f64)] = &[
            ("H200", 4.8, 989.0),
            ("H100 PCIe", 2.0, 756.0),
            ("H100", 3.35, 989.0),
            ("B200", 8.0, 2250.0),
            ("L40S", 0.864, 362.0),
            ("RTX 5090", 1.79, 209.0),
            ("RTX 4090", 1.01, 165.0),
            ("RTX 3090", 0.936, 71.0),
            ("RTX 3060", 0.36, 25.0),
            ("T4", 0.32, 65.0),
            ("A100", 1.94, 312.0),
        ];
        let known = CARDS.iter().find(|(part, ..)| name.contains(part)).unwrap_or(&CARDS[CARDS.len() - 1]);
        // Plain loads reach four fifths of the bandwidth; `mma.sync` three fifths of Hopper's tensor cores.
        Self { bandwidth: 0.8e12 * known.1, tensor: 0.6e12 * known.2, processors, warpgroups }
    }
}
