//! Whether a teacher's answers can be what was meant. A wrong normalisation, another copy of the weights, an activation
//! or a pooling that names do not show: nothing fails, the answers are only worthless. So they are looked at before the
//! work and after it, whether a label set is made or a student learns beside the teacher, and what looks wrong is said;
//! nothing is stopped, for a weak teacher is no error.

use labels::RightAnswers;

/// Images that are looked at before the work, in data sets of four times as many and more: the others are done as soon.
const FIRST_LOOK: usize = 512;

/// Fewer images say nothing.
const FEWEST: u64 = 100;

/// Share of right answers that every published robust teacher of a data set exceeds, clean or under mild augmentation:
/// RobustBench's weakest entry has 78 % on CIFAR-10 and 53 % on CIFAR-100, certified ones have less, and TRADES'
/// network has 99.5 % on MNIST, whose digits the sample has.
const USUAL: [(&str, f64); 4] = [("cifar10", 0.5), ("cifar100", 0.3), ("mnist", 0.8), ("sample", 0.8)];

/// What is to be said of so many right answers on so many different images of a data set; none where they look right.
pub fn doubt(right: &RightAnswers, images: u64, dataset: &str) -> Option<String> {
    let independent = right.rows.min(images);
    let most = right.per_class.iter().map(|class| class.rows).max().unwrap_or(0);
    // Of one class alone, every share of right answers may be luck.
    if independent < FEWEST || most == right.rows {
        return None;
    }
    let share = right.right as f64 / right.rows as f64;
    // Whoever always answers the most frequent class is right as often as that.
    let chance = most as f64 / right.rows as f64;
    // Views of an image are answered alike, so only images count; three deviations are no accident.
    let deviation = (chance * (1.0 - chance) / independent as f64).sqrt();
    let found =
        format!("the teacher is right on {} of {} rows ({:.1} %)", right.right, right.rows, 100.0 * share);
    let hint = "a wrong normalisation (--normalize, --mean and --std), part of the file (--weights-key) or architecture (--arch) ends like this";
    if share <= chance + 3.0 * deviation {
        let chance = 100.0 * chance;
        return Some(format!("{found}, about as often as chance ({chance:.1} %)\nhint: {hint}"));
    }
    let usual = USUAL.iter().find(|(name, _)| *name == dataset).map(|(_, usual)| *usual);
    usual.filter(|usual| share + 3.0 * deviation < *usual).map(|usual| {
        format!("{found}; robust teachers of {dataset} are on more than {:.0} %\nhint: {hint}", 100.0 * usual)
    })
}

/// Asks a teacher about a few images all over a data set, which is often sorted by class, and gives what is to be said:
/// none where its answers look right, or the data set is small.
///
/// `answer` gives the logits of the images at these places, K each, or none where it was asked to stop.
pub fn first_look<E>(
    labels: &[i32],
    classes: usize,
    dataset: &str,
    batch: usize,
    mut answer: impl FnMut(&[usize]) -> Result<Option<Vec<f32>>, E>,
) -> Result<Option<String>, E> {
    if labels.len() < 4 * FIRST_LOOK {
        return Ok(None);
    }
    let mut right = RightAnswers::none(classes);
    for places in spread(labels.len(), FIRST_LOOK).chunks(batch.max(1)) {
        let Some(logits) = answer(places)? else { return Ok(None) };
        for (&place, logits) in places.iter().zip(logits.chunks_exact(classes)) {
            right.add(labels[place], largest(logits));
        }
    }
    let doubt = doubt(&right, right.rows, dataset);
    Ok(doubt.map(|doubt| format!("of the first {} images looked at:\n{doubt}", right.rows)))
}

/// So many places spread evenly over `images`.
fn spread(images: usize, count: usize) -> Vec<usize> {
    (0..count).map(|place| place * images / count).collect()
}

/// The class of the largest logit, the first of equals.
pub fn largest(logits: &[f32]) -> usize {
    logits.iter().enumerate().fold(0, |best, (class, logit)| if *logit > logits[best] { class } else { best })
}

#[cfg(test)]
mod tests {
    use labels::ClassCount;

    use super::*;

    fn answers(rows: &[u64], right: &[u64]) -> RightAnswers {
        let per_class: Vec<_> =
            rows.iter().zip(right).map(|(&rows, &right)| ClassCount { rows, right }).collect();
        let sum = |of: fn(&ClassCount) -> u64| per_class.iter().map(of).sum();
        RightAnswers { rows: sum(|class| class.rows), right: sum(|class| class.right), per_class }
    }

    #[test]
    fn a_teacher_at_chance_is_doubted_on_any_data_and_a_weak_one_where_better_is_known() {
        let ten = |right: u64| answers(&[100; 10], &[right; 10]);
        let said = |right: u64, images, data| doubt(&ten(right), images, data);
        assert!(
            said(10, 1000, "npz")
                .unwrap()
                .contains("100 of 1000 rows (10.0 %), about as often as chance (10.0 %)")
        );
        // The deviation of 1,000 guesses is 0.95 %.
        assert!(said(12, 1000, "npz").is_some());
        assert_eq!(said(13, 1000, "npz"), None);
        // A thousand views of a hundred images are a hundred guesses: 3 %.
        assert!(said(18, 100, "npz").is_some());
        assert_eq!(said(20, 100, "npz"), None);
        assert!(
            said(40, 1000, "cifar10").unwrap().contains("robust teachers of cifar10 are on more than 50 %")
        );
        assert_eq!(said(40, 1000, "cifar100"), None);
        assert_eq!(said(77, 1000, "cifar10"), None);
        assert_eq!(said(10, 99, "npz"), None, "too few to say");
    }

    #[test]
    fn one_who_always_says_the_most_frequent_class_is_at_chance() {
        assert!(doubt(&answers(&[700, 300], &[700, 0]), 1000, "npz").unwrap().contains("chance (70.0 %)"));
        assert_eq!(doubt(&answers(&[700, 300], &[650, 200]), 1000, "npz"), None);
        assert_eq!(doubt(&answers(&[1000, 0], &[1000, 0]), 1000, "npz"), None, "one class says nothing");
    }

    #[test]
    fn a_first_look_sees_images_from_end_to_end_and_stops_when_asked() {
        assert_eq!(spread(10, 4), [0, 2, 5, 7]);
        let labels: Vec<i32> = (0..4096).map(|image| image / 2048).collect();
        // Right on the first half alone, which is one class: a look at the first 512 would find nothing wrong.
        let mut seen = Vec::new();
        let said = first_look(&labels, 2, "npz", 100, |places| {
            seen.extend_from_slice(places);
            Ok::<_, ()>(Some(places.iter().flat_map(|_| [1.0, 0.0]).collect()))
        });
        assert!(said.unwrap().unwrap().contains("256 of 512 rows (50.0 %), about as often as chance"));
        assert_eq!((seen.len(), seen[0], seen[511]), (512, 0, 4088));
        assert_eq!(first_look(&labels, 2, "npz", 100, |_| Ok::<_, ()>(None)), Ok(None));
        assert_eq!(
            first_look(&labels[..2047], 2, "npz", 100, |_| Err(())),
            Ok(None),
            "small sets are not looked at"
        );
        assert_eq!(first_look(&labels, 2, "npz", 100, |_| Err(())), Err(()));
    }
}
