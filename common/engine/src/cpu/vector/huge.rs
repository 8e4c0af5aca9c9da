//! That large buffers lie in huge pages, as the kernel counts them.

use super::memory::Buffer;
use super::pages::{self, HUGE};

const LEN: usize = 4 << 20;
const BYTES: usize = LEN * size_of::<f32>();

/// Bytes in huge pages of the mapping that an address lies in, and perhaps of others beside it.
fn huge(start: usize) -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let holds = |line: &str| {
        let (range, _) = line.split_once(' ')?;
        let (first, end) = range.split_once('-')?;
        let [first, end] = [first, end].map(|at| usize::from_str_radix(at, 16).ok());
        Some((first?..end?).contains(&start))
    };
    let mut lines = maps.lines().skip_while(|line| holds(line) != Some(true));
    let count = lines.find_map(|line| line.strip_prefix("AnonHugePages:"));
    count.and_then(|count| count.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0) << 10
}

/// Whether the system gives huge pages to whoever asks it directly.
#[allow(unsafe_code)]
fn has_huge_pages() -> bool {
    let layout = std::alloc::Layout::from_size_align(BYTES, HUGE).unwrap();
    let start = pages::take(layout);
    // SAFETY: the memory is written within its layout, and given back once.
    unsafe { start.write_bytes(1, BYTES) };
    let found = huge(start.addr());
    // SAFETY: as above.
    unsafe { pages::give_back(start, layout) };
    found >= BYTES
}

/// A network of an ONNX file ran up to 5 % longer than the zoo's own: its weights lay where the file had been read, in
/// pages that were there already and stayed small.
#[test]
fn a_large_buffer_lies_in_huge_pages_whatever_memory_was_used_for_before() {
    if !has_huge_pages() {
        eprintln!("skipped: this system gives no huge pages");
        return;
    }
    // As a binary that has read a file in pieces, each touched and freed.
    crate::process::configure(1);
    drop((0..16).map(|_| vec![1u8; 3 << 20]).collect::<Vec<_>>());
    assert!(Buffer::zeros(LEN).iter().all(|&value| value == 0.0), "zeros");
    let mut buffer = Buffer::zeros(LEN);
    buffer.fill(1.0);
    let start = buffer.as_ptr().addr();
    assert!(huge(start) >= BYTES, "{} bytes of {BYTES} in huge pages", huge(start));
}
