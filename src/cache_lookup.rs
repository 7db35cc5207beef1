//! The synchronous lookup of sessions in the cache.
//!
//! It is called for every read, so the cost of a call matters. A function created from a closure costs half as much per
//! call as a method of a class: napi-rs does not have to unwrap and check `this`, or to track a borrow.

use connect_redis_core::Runtime;
use connect_redis_core::Sessions;
use napi::bindgen_prelude::{Env, Float64Array, FnArgs, Function, FunctionCallContext};
use napi::{JsString, JsValue, Result, sys};
use std::cell::RefCell;
use std::sync::Arc;

/// The size of the buffer for short IDs; those of express-session have 32 characters.
const SHORT_ID: usize = 128;

pub(crate) type Lookup<'env> = Function<'env, FnArgs<(String,)>, Option<sys::napi_value>>;

/// Creates the lookup function. It returns the text of the session under an ID, if it is cached and fresh. It writes
/// two times to `ends`, in ms since 1970: the expiry in force if the text has another, otherwise 0; and the end of the
/// key. The third number in `ends` is the time by JavaScript's clock.
pub(crate) fn lookup<'env>(
    env: &'env Env,
    sessions: Sessions,
    ends: Float64Array,
    runtime: Arc<Runtime>,
) -> Result<Lookup<'env>> {
    // The buffer of the key, and the times.
    let buffers = RefCell::new((Vec::new(), ends));
    // Dropped in this order: as in a store, the thread must end after the last connection was released.
    let owned = (sessions, runtime);
    env.create_function_from_closure("lookup", move |call: FunctionCallContext| {
        let (sessions, _) = &owned;
        let (key, ends) = &mut *buffers.borrow_mut();
        let ends = lend(ends);
        let date = ends.get(2).copied().unwrap_or(f64::NAN);
        let id: JsString = call.get(0)?;
        let mut short = [0; SHORT_ID];
        let hit = match short_text(call.env, &id, &mut short) {
            Some(id) => sessions.cached(id, key, date),
            None => sessions.cached(id.into_utf8()?.as_slice(), key, date),
        };
        let Some(hit) = hit else {
            return Ok(None);
        };
        if let [in_force, end, ..] = ends {
            // Integers up to 2^53.
            *in_force = hit.in_force.map_or(0.0, |end| end as f64);
            *end = hit.ends as f64;
        }
        Ok(Some(text(call.env, hit.text())?.raw()))
    })
}

/// Copies a string to a buffer in UTF-8, if it certainly fits. napi-rs would determine its length and allocate memory
/// first.
#[expect(
    unsafe_code,
    reason = "napi-rs reads no string into memory that is there"
)]
fn short_text<'a>(env: &Env, text: &JsString, buffer: &'a mut [u8; SHORT_ID]) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: `text` is a string of `env`, and the length passed is that of `buffer`.
    let status = unsafe {
        sys::napi_get_value_string_utf8(
            env.raw(),
            text.raw(),
            buffer.as_mut_ptr().cast(),
            SHORT_ID,
            &mut length,
        )
    };
    // A zero byte follows the text. A text that did not fit was cut off before a character of up to 4 bytes.
    (status == sys::Status::napi_ok && length + 5 <= SHORT_ID).then(|| &buffer[..length])
}

/// Converts a text to a string. Invalid UTF-8 becomes U+FFFD, as in Node's own decoding.
fn text<'env>(env: &'env Env, bytes: &[u8]) -> Result<JsString<'env>> {
    if bytes.is_ascii() {
        env.create_string_latin1(bytes)
    } else {
        let units: Vec<u16> = String::from_utf8_lossy(bytes).encode_utf16().collect();
        env.create_string_utf16(units)
    }
}

#[expect(
    unsafe_code,
    reason = "napi-rs lends typed arrays mutably no other way"
)]
fn lend(numbers: &mut Float64Array) -> &mut [f64] {
    // SAFETY: called on the event loop, so no JavaScript touches the array while it is lent. Its buffer is
    // never transferred: `lib/session/cache-reads.js` does not pass it on.
    unsafe { numbers.as_mut() }
}
