//! One order for the nodes of a graph, however an exporter lists them.
//!
//! Exporters list first what a program did first: a pre-activation block computes its shortcut before or after the
//! convolutions beside it, as its author happened to write. The network computes the same either way; the plan that runs it
//! is another one, since the branch that is computed last takes the sum along. Here the longer of two branches that meet
//! in a sum is computed first, as in the zoo.

use std::cmp::Reverse;

use super::{Blueprint, Computes, Step};

impl Blueprint {
    /// The same graph in that order, without nodes that its last one does not depend on. Every node reads earlier ones, as in
    /// any network.
    pub(crate) fn ordered(self) -> Self {
        let mut steps: Vec<Option<Step>> = self.0.into_iter().map(Some).collect();
        // Places count from the image, which is 0 and no step.
        let reads: Vec<Vec<usize>> = std::iter::once(Vec::new())
            .chain(steps.iter().flatten().map(|Step(_, _, from)| from.clone()))
            .collect();
        let mut depths = vec![0usize; reads.len()];
        for (place, from) in reads.iter().enumerate() {
            depths[place] = from.iter().map(|&input| depths[input] + 1).max().unwrap_or(0);
        }
        for Step(_, computes, from) in steps.iter_mut().flatten() {
            if *computes == Computes::Add {
                // Stable: branches of one length stay as they were given.
                from.sort_by_key(|&input| Reverse(depths[input]));
            }
        }
        let mut places = vec![None; reads.len()];
        places[0] = Some(0);
        let mut ordered = Vec::with_capacity(steps.len());
        // A stack of its own: a graph may be as deep as it has nodes.
        let mut open = vec![reads.len() - 1];
        while let Some(&place) = open.last() {
            let next = match &steps.get(place.wrapping_sub(1)) {
                Some(Some(Step(_, _, from))) => from.iter().find(|&&input| places[input].is_none()).copied(),
                _ => None,
            };
            if let Some(next) = next {
                open.push(next);
                continue;
            }
            open.pop();
            // A node that several wait for comes here more than once.
            if let Some(Step(name, computes, from)) =
                steps.get_mut(place.wrapping_sub(1)).and_then(Option::take)
            {
                let from = from.iter().map(|&input| places[input].expect("it was waited for")).collect();
                ordered.push(Step(name, computes, from));
                places[place] = Some(ordered.len());
            }
        }
        Self(ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Task;
    use crate::table::{ZOO, build};
    use method::rng::{Purpose, Stream};

    /// The same graph as some exporter might list it: its nodes in any order in which each comes after what it reads, the
    /// terms of its sums in any order.
    fn shuffled(graph: &Blueprint, draws: &Stream) -> Blueprint {
        let mut numbers = vec![0.0; 4 * graph.0.len()];
        draws.uniforms(&mut numbers);
        let mut numbers = numbers.into_iter();
        let mut draw = |below: usize| (numbers.next().expect("enough of them") * below as f64) as usize;
        let mut places = vec![None; graph.0.len() + 1];
        places[0] = Some(0);
        let mut left: Vec<usize> = (1..=graph.0.len()).collect();
        let mut found = Vec::new();
        while !left.is_empty() {
            let is_ready =
                |&&place: &&usize| graph.0[place - 1].2.iter().all(|&input| places[input].is_some());
            let ready: Vec<usize> = left.iter().filter(is_ready).copied().collect();
            let place = ready[draw(ready.len())];
            left.retain(|&other| other != place);
            let Step(name, computes, from) = graph.0[place - 1].clone();
            let mut from: Vec<usize> = from.into_iter().map(|input| places[input].unwrap()).collect();
            if computes == Computes::Add && draw(2) == 1 {
                from.reverse();
            }
            found.push(Step(name, computes, from));
            places[place] = Some(found.len());
        }
        Blueprint(found)
    }

    /// Families whose shortcut comes inside the longer branch, before its excitation: PyTorch lists the parameters of that
    /// last, and the zoo has theirs in PyTorch's order.
    const INSIDE: [&str; 2] = ["ra-wrn-", "ms-ra-wrn-"];

    /// Right is the network of the zoo itself, whose plan is thereby the plan: an engine knows nothing of a network but its
    /// nodes.
    #[test]
    fn however_an_exporter_lists_the_nodes_of_a_network_of_the_zoo_they_come_in_the_zoos_order() {
        let task = Task { input: [3, 32, 32], classes: 10 };
        for (number, row) in ZOO.iter().enumerate() {
            let (_, network) = build(row.example, task).unwrap();
            let own = Blueprint::of(&network);
            let is_inside = INSIDE.iter().any(|family| network.architecture().starts_with(family));
            let wanted = own.clone().ordered();
            assert_eq!(wanted == own, !is_inside, "{}", row.example);
            let mut others = 0;
            for tried in 0..8 {
                let listed = shuffled(&own, &Stream::new(0, Purpose::Init, number, tried));
                others += usize::from(listed != own);
                assert!(listed.ordered() == wanted, "{}, listing {tried}", row.example);
            }
            let branches = network.nodes().iter().any(|node| node.inputs.len() > 1);
            assert!(others > 0 || !branches, "{}: no other listing was tried", row.example);
        }
    }

    #[test]
    fn what_the_logits_do_not_depend_on_is_left_out_and_what_several_read_comes_once() {
        let text = r#"[["stem","relu",[0]],["idle","relu6",[1]],["far","silu",[1]],["near","add",[0,3]],["sum","add",[1,4]],
            ["mean","global-avg-pool",[5]]]"#;
        let read: Blueprint = serde_json::from_str(text).unwrap();
        let names = |graph: &Blueprint| graph.0.iter().map(|step| step.0.clone()).collect::<Vec<_>>();
        let ordered = read.ordered();
        assert_eq!(names(&ordered), ["stem", "far", "near", "sum", "mean"]);
        assert_eq!((&ordered.0[2].2, &ordered.0[3].2), (&vec![2, 0], &vec![3, 1]));
        assert!(ordered.clone().ordered() == ordered, "once is enough");
    }
}
