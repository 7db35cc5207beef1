//! Reply handlers and watches that the tests of several connection tasks share.

use super::{Event, Reply, ReplyHandler, Watch};
use tokio::sync::mpsc;

/// Panics on replies.
pub(super) struct Panicking;

impl ReplyHandler for Panicking {
    fn on_replies(&mut self, _: Vec<(usize, Reply)>) {
        panic!("expected by this test");
    }
}

/// Reports error messages.
pub(super) struct Errors(pub(super) mpsc::UnboundedSender<String>);

impl Watch for Errors {
    fn event(&self, event: &Event) {
        if let Event::Failed(error) = event {
            // The test may be over.
            let _ = self.0.send(error.to_string());
        }
    }
}
