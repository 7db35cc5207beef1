//! The function that gives sessions which are kept in this process, in the tick in which they are asked for.
//!
//! It is called for every read, alone, so what a call costs counts. A function made of a closure is called at
//! half the price of a method: nothing has to be found by `this` and checked, and no borrow is written down.

use connect_redis_core::Runtime;
use connect_redis_core::Sessions;
use napi::bindgen_prelude::{Env, Float64Array, FnArgs, Function, FunctionCallContext};
use napi::{JsString, JsValue, Result, sys};
use std::cell::RefCell;
use std::sync::Arc;

/// Ids of express-session have 32 letters.
const SHORT_ID: usize = 128;

pub(crate) type Lookup<'env> = Function<'env, FnArgs<(String,)>, Option<sys::napi_value>>;

/// The function gives the text of the session under an id, if it is kept and may be given out. It writes two
/// times to `ends`, in ms since 1970: when the session ends where its text says otherwise, 0 where it does
/// not; and when it ends in any case. The third number there is what JavaScript's clock says.
pub(crate) fn lookup<'env>(
    env: &'env Env,
    sessions: Sessions,
    ends: Float64Array,
    runtime: Arc<Runtime>,
) -> Result<Lookup<'env>> {
    // The key that is looked up, and the times. What is held is dropped in this order: as in a store, the
    // thread ends after the last connection was let go.
    let room = RefCell::new((Vec::new(), ends));
    let held = (sessions, runtime);
    env.create_function_from_closure("lookup", move |call: FunctionCallContext| {
        let (sessions, _) = &held;
        let (key, ends) = &mut *room.borrow_mut();
        let ends = lend(ends);
        let date = ends.get(2).copied().unwrap_or(f64::NAN);
        let id: JsString = call.get(0)?;
        let mut short = [0; SHORT_ID];
        let kept = match short_text(call.env, &id, &mut short) {
            Some(id) => sessions.kept(id, key, date),
            None => sessions.kept(id.into_utf8()?.as_slice(), key, date),
        };
        let Some(kept) = kept else {
            return Ok(None);
        };
        if let [shown, end, ..] = ends {
            // Whole numbers up to 2^53.
            *shown = kept.shown.map_or(0.0, |shown| shown as f64);
            *end = kept.ends as f64;
        }
        Ok(Some(text(call.env, kept.text())?.raw()))
    })
}

/// A string in UTF-8, if it certainly fits: napi-rs would ask for its length first, and for memory.
#[expect(
    unsafe_code,
    reason = "napi-rs reads no string into memory that is there"
)]
fn short_text<'a>(env: &Env, text: &JsString, room: &'a mut [u8; SHORT_ID]) -> Option<&'a [u8]> {
    let mut length = 0;
    // SAFETY: `text` is a string of `env`, and the length given is that of `room`.
    let status = unsafe {
        sys::napi_get_value_string_utf8(
            env.raw(),
            text.raw(),
            room.as_mut_ptr().cast(),
            SHORT_ID,
            &mut length,
        )
    };
    // A zero byte follows the text. SessionRequest that did not fit was cut off before a character of up to 4 bytes.
    (status == sys::Status::napi_ok && length + 5 <= SHORT_ID).then(|| &room[..length])
}

/// A text as a string. What is not UTF-8 becomes U+FFFD, as Node's own decoding has it.
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
    // SAFETY: called on the event loop, so no JavaScript touches the array while it is lent. Its buffer stays
    // where it is: `lib/session/cache.js` gives it to nobody else.
    unsafe { numbers.as_mut() }
}
