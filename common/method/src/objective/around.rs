//! Objectives around another one: each says what it changes and hands on the rest.

/// Declares [`Objective`](super::Objective) and, of the same methods, `Around`: an objective around another, which hands on every
/// method that it does not write itself. Both come from one list, so that a new method cannot be forgotten in one of them.
///
/// In the trait, the methods that every objective must have come first; behind `provided:` those with a usual answer.
macro_rules! with_around {
    (
        $(#[$about:meta])*
        pub trait Objective: Send + Sync {
            $(
                $(#[$doc:meta])*
                fn $name:ident(&$this:ident $(, $arg:ident: $kind:ty)*) $(-> $out:ty)?;
            )*
            provided:
            $(
                $(#[$more_doc:meta])*
                fn $more:ident(&$that:ident $(, $more_arg:ident: $more_kind:ty)*) $(-> $more_out:ty)? $usual:block
            )*
        }
    ) => {
        $(#[$about])*
        pub trait Objective: Send + Sync {
            $(
                $(#[$doc])*
                fn $name(&$this $(, $arg: $kind)*) $(-> $out)?;
            )*
            $(
                $(#[$more_doc])*
                fn $more(&$that $(, $more_arg: $more_kind)*) $(-> $more_out)? $usual
            )*
        }

        /// An objective around another one: what it does not write itself is that one's.
        pub(super) trait Around: Send + Sync {
            /// What it is around.
            fn base(&self) -> &dyn Objective;
            $(
                fn $name(&$this $(, $arg: $kind)*) $(-> $out)? {
                    $this.base().$name($($arg),*)
                }
            )*
            $(
                fn $more(&$that $(, $more_arg: $more_kind)*) $(-> $more_out)? {
                    $that.base().$more($($more_arg),*)
                }
            )*
        }

        impl<A: Around> Objective for A {
            $(
                fn $name(&$this $(, $arg: $kind)*) $(-> $out)? {
                    Around::$name($this $(, $arg)*)
                }
            )*
            $(
                fn $more(&$that $(, $more_arg: $more_kind)*) $(-> $more_out)? {
                    Around::$more($that $(, $more_arg)*)
                }
            )*
        }
    };
}
pub(super) use with_around;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::row::Around;
    use super::super::{Epoch, OBJECTIVES, Objective, Options};
    use crate::schedule::Schedule;
    use crate::taps::MapShapes;

    struct Nothing(Box<dyn Objective>);

    impl Around for Nothing {
        fn base(&self) -> &dyn Objective {
            self.0.as_ref()
        }
    }

    #[test]
    fn nothing_around_an_objective_answers_as_the_objective_does() {
        let answers = |objective: &dyn Objective| {
            let each = [0, 100, 199].map(|number| {
                let epoch = Epoch { number, of: 200, schedule: Schedule::Cosine };
                (objective.needs_in(epoch), objective.forwards(epoch))
            });
            let drawn = (objective.views(), objective.strong(), objective.unlabelled_each());
            let schedule = objective.schedule(Schedule::Multistep, 200);
            let heads = objective.heads(&MapShapes::default()).unwrap().len();
            let inner = (objective.inner(), objective.watches(), objective.memory(10));
            format!("{:?} {each:?} {drawn:?} {schedule:?} {heads} {inner:?}", objective.needs())
        };
        for row in OBJECTIVES {
            let options = Options::of(*row, &BTreeMap::new()).unwrap();
            let base = (row.make)(&options);
            let wanted = answers(base.as_ref());
            assert_eq!(answers(&Nothing(base)), wanted, "{}", row.name);
        }
    }
}
