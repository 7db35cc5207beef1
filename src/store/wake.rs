//! Wakes the event loop, and keeps it alive while something is under way.

#![expect(
    unsafe_code,
    reason = "napi-rs has no way to reference a shared threadsafe function"
)]

use napi::bindgen_prelude::{Function, FunctionRef};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Result, Status, check_status, sys};
use std::fmt;

type Drain = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The one threadsafe function of an env's completions. Weak: by itself it does not keep the event
/// loop alive.
pub(super) struct Wake {
    drain: Drain,
}

impl fmt::Debug for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wake")
    }
}

impl Wake {
    pub(super) fn new(env: &Env, drain: &FunctionRef<(), ()>) -> Result<Self> {
        let drain: Function<(), ()> = drain.borrow_back(env)?;
        Ok(Self {
            drain: drain
                .build_threadsafe_function()
                .callee_handled::<false>()
                .weak::<true>()
                .build()?,
        })
    }

    /// Has the drain called soon. From any thread.
    pub(super) fn wake(&self) {
        // An error means that the env is being torn down: nobody is left to wake.
        let _ = self.drain.call((), ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Keeps the event loop alive. On the JavaScript thread of `env` only.
    pub(super) fn hold(&self, env: &Env) -> Result<()> {
        // SAFETY: `raw` lives as long as `self.drain` does, and `env` is the env it was made in.
        check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), self.drain.raw()) })
    }

    /// Undoes `hold`.
    pub(super) fn release(&self, env: &Env) -> Result<()> {
        // SAFETY: as in `hold`.
        check_status!(unsafe { sys::napi_unref_threadsafe_function(env.raw(), self.drain.raw()) })
    }
}
