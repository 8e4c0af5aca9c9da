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

    /// Whether what lies behind it is not what comes next.
    fn leaves(&self) -> bool {
        ["jmp", "ret", "ud2", "hlt"].iter().any(|name| self.name.starts_with(name))
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

/// The loops of a function that hold no other loop, each as its instructions in order: what lies between them and belongs
/// elsewhere is left out.
fn innermost<'f, 'a>(function: &'f [Instruction<'a>]) -> Vec<Vec<&'f Instruction<'a>>> {
    let at: HashMap<u64, usize> = function.iter().enumerate().map(|(i, one)| (one.address, i)).collect();
    let next: Vec<Vec<usize>> = function
        .iter()
        .enumerate()
        .map(|(i, one)| {
            let on = (!one.leaves() && i + 1 < function.len()).then_some(i + 1);
            on.into_iter().chain(one.target().and_then(|to| at.get(&to).copied())).collect()
        })
        .collect();
    let mut before = vec![Vec::new(); function.len()];
    for (from, next) in next.iter().enumerate() {
        for &to in next {
            before[to].push(from);
        }
    }
    let mut found = Vec::new();
    let mut graphs = vec![((0..function.len()).collect::<Vec<_>>(), HashSet::new())];
    while let Some((nodes, entries)) = graphs.pop() {
        let cycles = cycles(&nodes, &next, &entries);
        // A cycle in which nothing turns once its entries are not come back to is a loop without another.
        if cycles.is_empty() && !entries.is_empty() {
            found.push(nodes.iter().map(|&i| &function[i]).collect());
        }
        for cycle in cycles {
            let inside: HashSet<usize> = cycle.iter().copied().collect();
            let is_entry = |to: &usize| before[*to].iter().any(|from| !inside.contains(from));
            let mut entries: HashSet<usize> = cycle.iter().copied().filter(is_entry).collect();
            if entries.is_empty() {
                entries.insert(cycle[0]);
            }
            graphs.push((cycle, entries));
        }
    }
    found
}

/// The largest sets of these instructions in which each is reached from each other (Tarjan's algorithm), where nobody goes
/// to an `entry`; a single one only if it is reached from itself.
fn cycles(nodes: &[usize], next: &[Vec<usize>], entries: &HashSet<usize>) -> Vec<Vec<usize>> {
    let inside: HashSet<usize> = nodes.iter().copied().collect();
    let after = |i: usize| next[i].iter().copied().filter(|to| inside.contains(to) && !entries.contains(to));
    let (mut order, mut low) = (HashMap::<usize, usize>::new(), HashMap::<usize, usize>::new());
    let (mut open, mut is_open) = (Vec::new(), HashSet::new());
    let mut found = Vec::new();
    for &start in nodes {
        if order.contains_key(&start) {
            continue;
        }
        let mut path = vec![(start, 0)];
        while let Some(&mut (node, ref mut tried)) = path.last_mut() {
            if *tried == 0 {
                let number = order.len();
                order.insert(node, number);
                low.insert(node, number);
                open.push(node);
                is_open.insert(node);
            }
            let to = after(node).nth(*tried);
            *tried += 1;
            match to {
                Some(to) if !order.contains_key(&to) => path.push((to, 0)),
                Some(to) if is_open.contains(&to) => {
                    let lowest = low[&node].min(order[&to]);
                    low.insert(node, lowest);
                }
                Some(_) => {}
                None => {
                    path.pop();
                    if let Some(&(before, _)) = path.last() {
                        let lowest = low[&before].min(low[&node]);
                        low.insert(before, lowest);
                    }
                    if low[&node] == order[&node] {
                        let first = open.iter().rposition(|&one| one == node).expect("it is open");
                        let mut cycle = open.split_off(first);
                        for one in &cycle {
                            is_open.remove(one);
                        }
                        cycle.sort_unstable();
                        if cycle.len() > 1 || after(node).any(|to| to == node) {
                            found.push(cycle);
                        }
                    }
                }
            }
        }
    }
    found
}

/// The innermost loops that look like a product's, however long they are.
fn products<'f, 'a>(function: &'f [Instruction<'a>]) -> Vec<Vec<&'f Instruction<'a>>> {
    let mut found = innermost(function);
    found.retain(|one| {
        let multiplies = one.iter().filter(|i| i.multiplies()).count();
        multiplies >= 10 && one.iter().filter(|i| i.spreads()).count() >= 4
    });
    found
}

#[test]
fn a_long_loop_is_looked_at_too() {
    let step = [
        "vbroadcastss (%rax),%ymm15",
        "vfmadd231ps %ymm15,%ymm2,%ymm3",
        "add    $0x4,%rax",
        "vmovaps %ymm0,0x20(%rsp)",
    ];
    let body = step.iter().cycle().take(120).chain(&["jne    0 <f>", "ret"]);
    let lines: Vec<String> = body.enumerate().map(|(i, text)| format!("{i:x}:\t{text}")).collect();
    let listing = format!("0000 <simd::avx2::x86::run>:\n{}", lines.join("\n"));
    let functions = functions(&listing, "run");
    let found = products(&functions[0]);
    assert_eq!((found.len(), found[0].len()), (1, 121));
    assert!(found[0].iter().any(|instruction| instruction.spills()));
}

#[test]
fn a_loop_is_what_turns_wherever_its_instructions_lie() {
    // Two loops, the inner one's end behind a stranger's return; the outer one is entered in its middle.
    let listing = "\
0000 <simd::avx2::x86::run>:
  10:\tjmp    24 <f>
  12:\tvmovaps %ymm0,(%rsp)
  14:\tvfmadd231ps %ymm1,%ymm2,%ymm3
  16:\tjmp    20 <f>
  18:\tvxorps %ymm0,%ymm0,%ymm0
  1a:\tret
  20:\tdec    %rax
  22:\tjne    14 <f>
  24:\tdec    %rbx
  26:\tjne    12 <f>
  28:\tret
";
    let functions = functions(listing, "run");
    let found: Vec<Vec<u64>> = innermost(&functions[0])
        .into_iter()
        .map(|one| one.into_iter().map(|instruction| instruction.address).collect())
        .collect();
    assert_eq!(found, [[0x14, 0x16, 0x20, 0x22]]);
}

/// What `objdump` says of this program, where it is x86-64's and there is an `objdump`.
fn disassembly() -> Option<String> {
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("skipped: what is looked for is x86-64's");
        return None;
    }
    let program = std::env::current_exe().expect("a test runs as a program");
    let objdump = Command::new("objdump").args(["-dC", "--no-show-raw-insn"]).arg(program).output();
    let output = objdump.map_err(|_| eprintln!("skipped: no objdump on this machine")).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn products_keep_their_sums_in_registers() {
    let Some(text) = disassembly() else { return };
    for set in ["avx2", "avx512"] {
        let functions = functions(&text, &format!("simd::{set}::x86::run"));
        let products: Vec<_> = functions.iter().flat_map(|function| products(function)).collect();
        for one in &products {
            let listing: Vec<String> = one.iter().map(|i| format!("{} {}", i.name, i.operands)).collect();
            let spills = one.iter().any(|i| i.spills());
            assert!(!spills, "{set}: sums leave the registers in\n{}", listing.join("\n"));
        }
        let products = products.len();
        // Direct convolution, Winograd's product, both weight gradients: each has a loop for its tallest tile.
        assert!(products >= 4, "{set}: {products} loops look like a product's: is the engine optimised?");
    }
}

/// A call out of a kernel loses its registers, and what it calls was compiled for no instruction set: half of an engine's speed
/// went that way where a build profile kept functions from being inlined across units.
#[test]
fn kernels_call_nothing_that_belongs_inside_them() {
    let Some(text) = disassembly() else { return };
    for set in ["avx2", "avx512"] {
        let functions = functions(&text, &format!("simd::{set}::x86::run"));
        assert!(functions.len() >= 20, "{set}: {} kernels", functions.len());
        let calls = functions.iter().flatten().filter(|instruction| instruction.name == "call");
        let inside = ["core::array", "core::iter", "core::core_arch", "core::ops", "engine::cpu"];
        let stray: Vec<&str> = calls
            .map(|call| call.operands)
            .filter(|to| inside.iter().any(|path| to.contains(path)))
            .collect();
        assert_eq!(stray, [""; 0], "{set}");
    }
}
