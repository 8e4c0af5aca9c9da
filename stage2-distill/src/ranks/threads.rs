//! Ranks that are threads of one process, for tests.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::Collective;

/// A rank, with a channel to and from every rank.
struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<f32>>>,
    from: Vec<Receiver<Vec<f32>>>,
}

/// What each of so many ranks gives, in their order.
pub(crate) fn on_ranks<T: Send>(ranks: usize, work: impl Fn(&dyn Collective) -> T + Sync) -> Vec<T> {
    let mut to: Vec<Vec<_>> = (0..ranks).map(|_| Vec::new()).collect();
    let from: Vec<Vec<_>> = (0..ranks)
        .map(|_| {
            let mut receivers = Vec::new();
            for senders in &mut to {
                let (sender, receiver) = channel();
                senders.push(sender);
                receivers.push(receiver);
            }
            receivers
        })
        .collect();
    std::thread::scope(|scope| {
        let work = &work;
        let ends = to.into_iter().zip(from).enumerate();
        let running: Vec<_> =
            ends.map(|(rank, (to, from))| scope.spawn(move || work(&Thread { rank, to, from }))).collect();
        running.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

impl Collective for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn gather(&self, words: &[u64]) -> Vec<u64> {
        let halves = |word: u64| [word as u32, (word >> 32) as u32].map(f32::from_bits);
        let piece: Vec<f32> = words.iter().copied().flat_map(halves).collect();
        let mut whole = vec![0.0; piece.len() * self.ranks()];
        self.concatenate(&piece, &mut whole);
        whole
            .chunks_exact(2)
            .map(|halves| u64::from(halves[0].to_bits()) | u64::from(halves[1].to_bits()) << 32)
            .collect()
    }

    fn exchange(&self, from: &[f32], sends: &[usize], into: &mut [f32], receives: &[usize]) {
        let mut begin = 0;
        for (to, length) in self.to.iter().zip(sends) {
            to.send(from[begin..begin + length].to_vec()).unwrap();
            begin += length;
        }
        let mut begin = 0;
        for (from, length) in self.from.iter().zip(receives) {
            into[begin..begin + length].copy_from_slice(&from.recv().unwrap());
            begin += length;
        }
    }

    fn concatenate(&self, piece: &[f32], whole: &mut [f32]) {
        let from = piece.repeat(self.ranks());
        let lengths = vec![piece.len(); self.ranks()];
        self.exchange(&from, &lengths, whole, &lengths);
    }

    fn leave(&self) {}
}
