//! Images that fell: as they are, what was added, and what they became.

use page::{Html, picture};

use super::measure::{Answer, Example};
use super::{Told, missing};

/// How many times what was added is enlarged.
const TIMES: f32 = 10.0;

pub(super) fn of(told: &Told) -> Html {
    let measured = match &told.measured {
        Ok(measured) => measured,
        Err(why) => return missing(&why.what, why.command.as_deref()),
    };
    let (eps, attack) = (&told.account.config.eps, &measured.attack);
    let images = measured.clean.images;
    if measured.examples.is_empty() {
        return Html::paragraph(format!("None of {images} images fell to {attack} within eps {eps}."));
    }
    let shown = measured.examples.iter().map(|example| shown(example, &measured.class_names));
    let about = format!(
        "{} of {images} images that were right fell to {attack} within eps {eps}; here are {}. Each as it is, what was added times {TIMES} about grey, and what it became.",
        measured.fell,
        measured.examples.len()
    );
    Html::remark(about).and(Html::element("div", &[("class", "gallery")], shown.collect::<Html>()))
}

fn shown(example: &Example, class_names: &[String]) -> Html {
    let name = |class: usize| class_names.get(class).map_or_else(|| class.to_string(), Clone::clone);
    let said = |answer: Answer| format!("{} ({:.0} %)", name(answer.class), 100.0 * answer.probability);
    let [before, after] = example.said;
    let change = example.image.change_to(&example.adversarial, TIMES);
    let place = example.place;
    let three = [
        picture(
            &example.image,
            &format!("test image {place}, a {}, answered {}", name(example.label), said(before)),
        ),
        picture(&change, &format!("what the attack added to test image {place}, {TIMES} times")),
        picture(&example.adversarial, &format!("test image {place} under attack, answered {}", said(after))),
    ];
    let three = Html::element("div", &[("class", "three")], three.into_iter().collect::<Html>());
    let words = format!("{place}: {} → {}", said(before), said(after));
    Html::element("figure", &[], three.and(Html::element("figcaption", &[], words)))
}
