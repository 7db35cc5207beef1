//! Tells JavaScript that its environment has been torn down.
//!
//! The finalizers of all wrapped objects run at teardown, and with them ends what the objects point to. Node runs no
//! JavaScript afterwards. Deno does: its test runner polls the event loop again, so that timers and replies still reach
//! objects whose native half is freed.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;

/// The environment of one JavaScript module instance, which must keep it: the finalizer of an object that no one can
/// reach any more marks the end of nothing.
#[napi]
#[derive(Debug)]
pub struct Environment {
    /// SessionRequest byte that is never freed, as JavaScript reads it after this object's end: 1 after teardown.
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

    /// SessionRequest number: 1 once the environment is torn down, until then 0. Made once.
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
    // SAFETY: one byte that is never freed, so nothing is left to do when JavaScript releases it. A runtime that does not
    // allow an addon to share its memory gets a copy, which stays 0.
    unsafe { Uint8Array::with_external_data(byte, 1, |_, _| {}) }
}

impl Drop for Environment {
    #[expect(unsafe_code, reason = "the byte is shared with JavaScript")]
    fn drop(&mut self) {
        // SAFETY: never freed, and read by this thread alone.
        unsafe { self.torn_down.write(1) };
    }
}
