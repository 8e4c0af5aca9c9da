//! What carries requests out, and waits for them in small steps so that somebody who asks to stop is heard.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::location::Location;
use crate::remote::said::{Answer, answer};
use crate::store::Watch;

/// Time between two looks at whether to stop.
const TICK: Duration = Duration::from_millis(100);

/// A runtime on whichever thread waits, and for whom.
pub(super) struct Calls {
    pub runtime: Runtime,
    /// What messages call the place that is asked.
    pub place: String,
    pub watch: Arc<dyn Watch>,
}

impl Calls {
    pub fn to(location: &Location, watch: &Arc<dyn Watch>) -> Result<Arc<Calls>> {
        let place = location.to_string();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("start a thread for", Path::new(&place)))?;
        Ok(Arc::new(Calls { runtime, place, watch: watch.clone() }))
    }

    /// Waits for what will be, until somebody asks to stop, or for none once it is `given_up`.
    pub fn until<T>(
        &self,
        future: impl Future<Output = T>,
        given_up: impl Fn() -> bool,
    ) -> Result<Option<T>> {
        self.runtime.block_on(async {
            let mut future = pin!(future);
            loop {
                match tokio::time::timeout(TICK, &mut future).await {
                    Ok(come) => return Ok(Some(come)),
                    Err(_) if self.watch.stop() => return Err(Error::Interrupted),
                    Err(_) if given_up() => return Ok(None),
                    Err(_) => {}
                }
            }
        })
    }

    /// Waits for a store's answer about an object.
    pub fn wait<T>(
        &self,
        key: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<Answer<T>> {
        let answered = self.until(request, || false)?.expect("nobody gives up");
        answer(&format!("{}/{key}", self.place), answered)
    }

    /// Lets time pass.
    pub fn pause(&self, time: Duration) -> Result<()> {
        // A timer belongs to the runtime that it is made in.
        self.until(async { tokio::time::sleep(time).await }, || false).map(|_| ())
    }
}
