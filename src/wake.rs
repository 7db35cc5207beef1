//! Wakes the event loop, and keeps it alive while requests are in flight.

#![expect(
    unsafe_code,
    reason = "napi-rs has no way to reference a shared threadsafe function"
)]

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status, check_status, sys};
use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

type Drain = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The threadsafe function of a queue of completions, until the queue ends. It is weak: by itself it does not keep the
/// event loop alive.
pub(crate) struct Wake {
    drain: RwLock<Option<Drain>>,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

impl Wake {
    pub(crate) fn new(env: &Env, drain: &FunctionRef<(), ()>) -> Result<Self> {
        let drain: Function<(), ()> = drain.borrow_back(env)?;
        Ok(Self {
            drain: RwLock::new(Some(
                drain
                    .build_threadsafe_function()
                    .callee_handled::<false>()
                    .weak::<true>()
                    .build()?,
            )),
        })
    }

    /// Schedules a call of the drain function. Callable on any thread.
    pub(crate) fn wake(&self) {
        if let Some(drain) = &*self.read() {
            // An error means that the environment is being torn down, so there is nothing to wake.
            let _ = drain.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Keeps the event loop alive. Callable on the JavaScript thread of `env` only.
    pub(crate) fn add_ref(&self, env: &Env) -> Result<()> {
        let Some(drain) = &*self.read() else {
            return Ok(());
        };
        // SAFETY: `raw` lives as long as `drain` does, and `env` is the env it was made in.
        check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), drain.raw()) })
    }

    /// Lets the event loop end.
    pub(crate) fn unref(&self, env: &Env) -> Result<()> {
        let Some(drain) = &*self.read() else {
            return Ok(());
        };
        // SAFETY: as in `add_ref`.
        check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), drain.raw()) })
    }

    /// Releases the drain function: `wake` has no effect any more.
    pub(crate) fn end(&self) {
        let mut drain = self.drain.write().unwrap_or_else(PoisonError::into_inner);
        *drain = None;
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Drain>> {
        // A poisoned lock still holds a consistent value.
        self.drain.read().unwrap_or_else(PoisonError::into_inner)
    }
}
