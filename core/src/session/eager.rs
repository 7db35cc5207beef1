//! Futures that make their first step when they are created.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

/// Polls a future once, so that its first command takes its place in the order. The next poll registers a waker.
/// Returns `None` if the future has already completed.
pub(super) fn begun<F: Future>(future: F) -> Option<Pin<Box<F>>> {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    let poll = future.as_mut().poll(&mut context);
    poll.is_pending().then_some(future)
}
