//! The loops of matrix products keep their sums in registers: a sum that goes to the stack and back at every step costs
//! more than half of a core's multiply-adds, and nothing but the machine code shows it.

use std::collections::{HashMap, HashSet};
use std::process::Command;

/// One instruction: its address, its name, its operands.
struct Instruction<'a> {
    address: u64,
    name: &'a str,
    operands: &'a str,
}

impl Instruction<'_> {
    fn multiplies(&self) -> bool {
        self.name.starts_with("vfmadd") || self.name.starts_with("vfnmadd")
    }

    /// Whether one value is spread over a vector: what a product does with each value of a row. Constants do not count.
    fn spreads(&self) -> bool {
        (self.name == "vbroadcastss" || self.operands.contains("{1to")) && !self.operands.contains("(%rip)")
    }

    /// Whether a vector goes to the stack or comes from it.
    fn spills(&self) -> bool {
        self.name.starts_with('v') && self.operands.contains("(%rsp")
    }

    /// Where a jump goes.
    fn target(&self) -> Option<u64> {
        let to = self.name.starts_with('j').then(|| self.operands.split(' ').next())??;
        u64::from_str_radix(to, 16).ok()
    }
}

/// The functions of a disassembly whose names contain `within`.
fn functions<'a>(disassembly: &'a str, within: &str) -> Vec<Vec<Instruction<'a>>> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in disassembly.lines() {
        if line.ends_with(">:") {
            inside = line.contains(within);
            if inside {
                found.push(Vec::new());
            }
        } else if inside && let Some((address, text)) = line.trim_start().split_once(":\t") {
            let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
            let operands = operands.trim_start();
            if let (Ok(address), Some(function)) = (u64::from_str_radix(address, 16), found.last_mut()) {
                function.push(Instruction { address, name, operands });
            }
        }
    }
    found
}

/// The loops of a function that hold no other loop.
fn innermost<'f, 'a>(function: &'f [Instruction<'a>]) -> Vec<&'f [Instruction<'a>]> {
    let at: HashMap<u64, usize> = function.iter().enumerate().map(|(i, one)| (one.address, i)).collect();
    let backwards = function.iter().enumerate().filter_map(|(end, one)| {
        let start = *at.get(&one.target()?)?;
        (start <= end).then_some((start, end))
    });
    let loops: HashSet<(usize, usize)> = backwards.collect();
    let holds = |outer: (usize, usize), inner: (usize, usize)| {
        outer != inner && outer.0 <= inner.0 && inner.1 <= outer.1
    };
    let alone = loops.iter().filter(|&&one| !loops.iter().any(|&other| holds(one, other)));
    alone.map(|&(start, end)| &function[start..=end]).collect()
}

#[test]
fn products_keep_their_sums_in_registers() {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: what is looked for is x86-64's");
        return;
    }
    let program = std::env::current_exe().expect("a test runs as a program");
    let objdump = Command::new("objdump").args(["-dC", "--no-show-raw-insn"]).arg(program).output();
    let Ok(output) = objdump else {
        eprintln!("skipped: no objdump on this machine");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    for set in ["avx2", "avx512"] {
        let functions = functions(&text, &format!("simd::{set}::x86::run"));
        let mut products = 0;
        for one in functions.iter().flat_map(|function| innermost(function)) {
            let count = |of: &dyn Fn(&Instruction<'_>) -> bool| one.iter().filter(|&i| of(i)).count();
            // Longer ones are other loops' ends, laid between this one's.
            if one.len() > 100 || count(&|i| i.multiplies()) < 10 || count(&|i| i.spreads()) < 4 {
                continue;
            }
            products += 1;
            let listing: Vec<String> = one.iter().map(|i| format!("{} {}", i.name, i.operands)).collect();
            assert_eq!(
                count(&|i| i.spills()),
                0,
                "{set}: sums leave the registers in\n{}",
                listing.join("\n")
            );
        }
        // Direct convolution, Winograd's product, both weight gradients: each has a loop for its tallest tile.
        assert!(products >= 4, "{set}: {products} loops look like a product's: is the engine optimised?");
    }
}
