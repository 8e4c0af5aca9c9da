//! A flat array and where it lies: on the host, where an engine computes, or both.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use super::arena::{Arena, Precision};

/// Memory where an engine computes. The engine that made it knows its type.
pub trait Remote: Any + Send + Sync {
    /// Its values, copied to the host. Waits for whatever still writes them, and panics with a sentence that names the
    /// device where that has stopped answering.
    fn fetch(&self) -> Arena;
}

impl dyn Remote {
    /// It, as the type that an engine keeps its memory in; none where another engine made it.
    pub fn of<T: Remote>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// The same, to write it.
    pub fn of_mut<T: Remote>(&mut self) -> Option<&mut T> {
        (self as &mut dyn Any).downcast_mut()
    }
}

/// One flat array that lies on the host, where an engine computes, or both with the same values.
///
/// Whoever reads it on the host gets the newest values, copied back on the first wish and kept. An engine that reads it
/// keeps its copy here ([`Values::keep_remote`]) and finds it again; one that writes it leaves nothing on the host
/// ([`Values::set_remote`], [`Values::remote_mut`]). A clone shares what lies where the engine computes, so an engine may
/// write in place only what [`Arc::get_mut`] gives it.
pub struct Values {
    host: OnceLock<Arena>,
    remote: OnceLock<Arc<dyn Remote>>,
    len: usize,
    precision: Precision,
}

impl Values {
    /// On the host.
    pub fn new(arena: Arena) -> Self {
        let (len, precision) = (arena.len(), arena.precision());
        Self { host: OnceLock::from(arena), remote: OnceLock::new(), len, precision }
    }

    /// `len` zeros on the host.
    pub fn zeros(len: usize, precision: Precision) -> Self {
        Self::new(Arena::zeros(len, precision))
    }

    /// Where an engine computes: `len` values that it calculated there.
    pub fn elsewhere(remote: Arc<dyn Remote>, len: usize, precision: Precision) -> Self {
        Self { host: OnceLock::new(), remote: OnceLock::from(remote), len, precision }
    }

    /// How many values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// f32 or f64.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The values on the host.
    pub fn host(&self) -> &Arena {
        self.host.get_or_init(|| {
            let arena = self.remote.get().expect("values lie on one side at least").fetch();
            assert_eq!((arena.len(), arena.precision()), (self.len, self.precision), "an engine lost values");
            arena
        })
    }

    /// The values on the host, to change them: an engine's copy is forgotten.
    pub fn host_mut(&mut self) -> &mut Arena {
        self.host();
        self.remote.take();
        self.host.get_mut().expect("just fetched")
    }

    /// Where an engine computes; none before one has kept them there.
    pub fn remote(&self) -> Option<&Arc<dyn Remote>> {
        self.remote.get()
    }

    /// Keeps an engine's copy of the same values, so that it need not be made again. Where another engine's is kept
    /// already, that stays.
    pub fn keep_remote(&self, remote: Arc<dyn Remote>) {
        // Two calls that read the same values at once both have made a right copy; the first one's stays.
        let _ = self.remote.set(remote);
    }

    /// Replaces the values by what an engine has calculated: the host's are forgotten.
    pub fn set_remote(&mut self, remote: Arc<dyn Remote>) {
        self.host.take();
        self.remote = OnceLock::from(remote);
    }

    /// What lies where an engine computes, to write it there: the host's values are forgotten. None, and nothing is
    /// forgotten, where they lie on the host alone.
    pub fn remote_mut(&mut self) -> Option<&mut Arc<dyn Remote>> {
        let remote = self.remote.get_mut()?;
        self.host.take();
        Some(remote)
    }
}

impl Clone for Values {
    /// Shares what lies where an engine computes; what lies on the host alone is copied.
    fn clone(&self) -> Self {
        match self.remote.get() {
            Some(remote) => Self::elsewhere(remote.clone(), self.len, self.precision),
            None => Self::new(self.host().clone()),
        }
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = [("host", self.host.get().is_some()), ("engine", self.remote.get().is_some())];
        let places: Vec<&str> =
            places.into_iter().filter_map(|(name, there)| there.then_some(name)).collect();
        write!(f, "{} {} values ({})", self.len, self.precision.name(), places.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static FETCHES: AtomicUsize = AtomicUsize::new(0);

    struct Far(Vec<f32>);

    impl Remote for Far {
        fn fetch(&self) -> Arena {
            FETCHES.fetch_add(1, Ordering::SeqCst);
            Arena::F32(self.0.clone())
        }
    }

    fn host(values: &Values) -> Vec<f64> {
        values.host().to_f64(0..values.len())
    }

    /// One test, because it counts copies for the whole process.
    #[test]
    fn the_newest_values_are_read_wherever_they_were_written_and_copied_back_once() {
        let mut values = Values::new(Arena::F32(vec![1.0, 2.0]));
        assert!(values.remote_mut().is_none() && host(&values) == [1.0, 2.0]);
        values.keep_remote(Arc::new(Far(vec![1.0, 2.0])));
        assert_eq!(host(&values), [1.0, 2.0]);
        assert_eq!(FETCHES.load(Ordering::SeqCst), 0, "both sides had them");

        // In place, as an engine that alone holds them may.
        let remote = values.remote_mut().unwrap();
        let alone = Arc::get_mut(remote).expect("nobody shares it");
        alone.of_mut::<Far>().unwrap().0[0] = 5.0;
        assert_eq!(host(&values), [5.0, 2.0]);
        assert_eq!(host(&values), [5.0, 2.0]);
        assert_eq!(FETCHES.load(Ordering::SeqCst), 1, "the host's copy was kept");

        // A clone shares, so neither may be written in place.
        let mut copy = values.clone();
        assert!(Arc::get_mut(values.remote_mut().unwrap()).is_none());
        copy.set_remote(Arc::new(Far(vec![7.0, 8.0])));
        assert_eq!((host(&values), host(&copy)), (vec![5.0, 2.0], vec![7.0, 8.0]));

        // Written on the host, the engine's copy is stale.
        copy.host_mut().set(1, 9.0);
        assert!(copy.remote().is_none());
        assert_eq!(host(&copy), [7.0, 9.0]);
    }

    #[test]
    fn an_engine_knows_its_own_memory_from_others() {
        struct Other;
        impl Remote for Other {
            fn fetch(&self) -> Arena {
                Arena::F32(Vec::new())
            }
        }
        let far: Arc<dyn Remote> = Arc::new(Far(vec![3.0]));
        assert!(far.of::<Other>().is_none() && far.of::<Far>().is_some_and(|far| far.0 == [3.0]));
    }
}
