//! How an image's places are cut where their sums are rounded.

use crate::cpu::kernel::direct::phases::Phases;
use crate::plan::ConvShape;

/// Places of a segment, at most.
pub(super) const SEGMENT: usize = 128;

/// Images with fewer places than this go on from the part's value.
pub(super) const FEW_PLACES: usize = 128;

/// Places at constant distances, of one image: offsets of the first in source and gradient.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strip {
    pub(super) read: usize,
    pub(super) gradient: usize,
    pub(super) count: usize,
}

/// Cuts an image's places into strips and segments.
pub(super) fn segments(phases: &Phases, shape: &ConvShape) -> Vec<Vec<Strip>> {
    let phase = &phases.all[0];
    let [rows, cols] = phase.grid;
    let step = shape.stride[1] * phases.source.pixel;
    let read = |place: usize| phase.places[place].read as usize;
    // Where a row begins a step after the last place of the one above, the image is a single strip.
    let seamless = rows == 1 || read(cols) == cols * step;
    let strip = if seamless { rows * cols } else { cols };
    let few = rows * cols < FEW_PLACES;
    let mut segments = Vec::<Vec<Strip>>::new();
    let mut places = SEGMENT;
    for first in (0..rows * cols).step_by(strip) {
        let longest = if few { strip } else { strip.div_ceil(strip.div_ceil(SEGMENT)) };
        for start in (0..strip).step_by(longest) {
            let count = longest.min(strip - start);
            let place = first + start;
            let strip = Strip { read: read(place), gradient: place * shape.output_pixel(), count };
            match segments.last_mut() {
                Some(segment) if few || places + count <= SEGMENT => segment.push(strip),
                _ => {
                    segments.push(vec![strip]);
                    places = 0;
                }
            }
            places += count;
        }
    }
    segments
}
