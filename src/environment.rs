//! Reports to JavaScript that its environment was torn down.
//!
//! At teardown, the finalizers of all wrapped objects run and free what the objects point to. Node runs no
//! JavaScript afterwards. Deno does: its test runner polls the event loop again, so that timers and replies still reach
//! objects whose native half is freed.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

/// The environment of one JavaScript module instance, which must keep it alive: garbage collection would run the
/// finalizer before the teardown.
#[napi]
#[derive(Debug)]
pub struct Environment {
    /// A byte that is 1 after teardown. It is never freed, since JavaScript reads it after this object is.
    torn_down: *mut u8,
}

#[napi]
impl Environment {
    #[napi(constructor, catch_unwind)]
    pub fn new() -> Self {
        Self {
            torn_down: Box::leak(Box::new(0)),
        }
    }

    /// Returns an array with one number: 1 once the environment is torn down, 0 until then. Called once.
    #[napi(catch_unwind)]
    pub fn torn_down(&self) -> Uint8Array {
        share(self.torn_down)
    }
}

#[expect(
    unsafe_code,
    reason = "napi-rs shares no memory with JavaScript otherwise"
)]
fn share(byte: *mut u8) -> Uint8Array {
    // SAFETY: one byte that is never freed, so nothing needs to be done when JavaScript releases it. A runtime that
    // does not allow an addon to share its memory gets a copy, which stays 0.
    unsafe { Uint8Array::with_external_data(byte, 1, |_, _| {}) }
}

impl Drop for Environment {
    #[expect(unsafe_code, reason = "the byte is shared with JavaScript")]
    fn drop(&mut self) {
        // SAFETY: never freed, and read by this thread alone.
        unsafe { self.torn_down.write(1) };
    }
}
