//! NumPy's files. The first byte chooses: an archive as it comes, one whose sums are right around two arrays, stored or
//! deflated, or the two arrays as files.
#![no_main]

use data::{DatasetSpec, Split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&form, rest)) = input.split_first() else { return };
    let place = fuzz::folder("npz");
    let (archive, images) = (place.join("data.npz"), place.join("images.npy"));
    let [first, second] = fuzz::parts::<2>(rest);
    let files = [("x_test.npy", first), ("y_test.npy", second)];
    let path = match form % 4 {
        0 => {
            fuzz::put(&archive, rest);
            archive
        }
        3 => {
            fuzz::put(&images, first);
            fuzz::put(&place.join("labels.npy"), second);
            images
        }
        form => {
            fuzz::put(&archive, &fuzz::zipped(&files, form == 2));
            archive
        }
    };
    let spec: DatasetSpec = format!("npz:{}", path.display()).parse().expect("a place of a data set");
    let _ = spec.load(Split::Test);
});
