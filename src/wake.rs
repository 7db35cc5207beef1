//! Wakes the event loop, and keeps it alive while something is under way.

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

/// The one threadsafe function of some completions, until they are over. Weak: by itself it does not keep the event
/// loop alive.
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

    /// Has the drain called soon. From any thread.
    pub(crate) fn wake(&self) {
        if let Some(drain) = &*self.read() {
            // An error means that the env is being torn down: nobody is left to wake.
            let _ = drain.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }

    /// Keeps the event loop alive. On the JavaScript thread of `env` only.
    pub(crate) fn hold(&self, env: &Env) -> Result<()> {
        let Some(drain) = &*self.read() else {
            return Ok(());
        };
        // SAFETY: `raw` lives as long as `drain` does, and `env` is the env it was made in.
        check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), drain.raw()) })
    }

    /// Undoes `hold`.
    pub(crate) fn release(&self, env: &Env) -> Result<()> {
        let Some(drain) = &*self.read() else {
            return Ok(());
        };
        // SAFETY: as in `hold`.
        check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), drain.raw()) })
    }

    /// Lets go of the drain: nobody is woken any more.
    pub(crate) fn end(&self) {
        let mut drain = self.drain.write().unwrap_or_else(PoisonError::into_inner);
        *drain = None;
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Drain>> {
        // Poisoned or not, there is a drain or none.
        self.drain.read().unwrap_or_else(PoisonError::into_inner)
    }
}
