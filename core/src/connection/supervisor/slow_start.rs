//! How much may be in flight after a connection was lost under what was.
//!
//! There are commands on which a server hangs up: one whose reply is longer than it may be, for instance. All that
//! is sent with such a command is lost with it, again and again. So after a loss a single command is sent, then two,
//! four and so on, each lot when the one before is answered: a command that is met alone, and lost alone so often,
//! is the cause, and is given up. Before the first there is a question that any server answers: whoever does not
//! live to answer that has not hung up on the command.

/// So often a command is lost alone before it is given up.
pub(in crate::connection) const MAX_HANG_UPS: u32 = 3;
/// From here on nothing is held back.
const UNLIMITED_FROM: usize = 1024;

#[derive(Default)]
pub(super) struct SlowStart {
    /// `None` while nothing is held back.
    limit: Option<usize>,
    /// The connection has answered something.
    has_replied: bool,
}

impl SlowStart {
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_none()
    }

    /// How many commands may be sent when all that was sent before is answered.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// The connection was lost under what was in flight.
    pub(super) fn restart(&mut self) {
        self.limit = Some(1);
    }

    /// All that was in flight is answered.
    pub(super) fn grow(&mut self) {
        self.limit = self
            .limit
            .map(|limit| 2 * limit)
            .filter(|limit| *limit < UNLIMITED_FROM);
    }

    /// Another connection begins.
    pub(super) fn begin_link(&mut self) {
        self.has_replied = false;
    }

    pub(super) fn note_reply(&mut self) {
        self.has_replied = true;
    }

    pub(super) fn has_replied(&self) -> bool {
        self.has_replied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_narrow_after_a_loss_and_doubles_until_it_is_open() {
        let mut slow_start = SlowStart::default();
        assert!(slow_start.is_over());
        slow_start.restart();
        let mut limits = Vec::new();
        while !slow_start.is_over() {
            limits.push(slow_start.limit());
            slow_start.grow();
        }
        assert_eq!(limits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(slow_start.limit(), usize::MAX);
    }
}
