//! Slow start: limits the commands in flight after a link was lost with commands in flight.
//!
//! A server may hang up on a command, for example because its reply would be too long. Every retry of the command loses
//! all commands that were sent with it. So after a loss, a single command is sent, then two, then four and so on, each
//! group when the previous one is answered. A command that is in flight alone at [`MAX_HANG_UPS`] losses is the cause,
//! and fails. A heartbeat precedes the first command: a server that does not answer it has not hung up on the command.

/// The number of times a link may be lost with a single command in flight before that command fails.
pub(in crate::connection) const MAX_HANG_UPS: u32 = 3;
/// Slow start is over when the limit reaches this number of commands.
const UNLIMITED_FROM: usize = 1024;

/// The state of slow start.
#[derive(Default)]
pub(super) struct SlowStart {
    /// The limit of commands in flight; `None` when slow start is over.
    limit: Option<usize>,
    /// True once the current link has received a reply.
    has_replied: bool,
}

impl SlowStart {
    /// Returns true if nothing limits the commands in flight.
    pub(super) fn is_over(&self) -> bool {
        self.limit.is_none()
    }

    /// Returns the number of commands that may be sent once all earlier ones are answered.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(usize::MAX)
    }

    /// Starts again with a single command, after a link was lost with commands in flight.
    pub(super) fn restart(&mut self) {
        self.limit = Some(1);
    }

    /// Doubles the limit, after all in-flight commands were answered.
    pub(super) fn grow(&mut self) {
        self.limit = self
            .limit
            .map(|limit| 2 * limit)
            .filter(|limit| *limit < UNLIMITED_FROM);
    }

    /// Begins a new link, which has not received a reply yet.
    pub(super) fn begin_link(&mut self) {
        self.has_replied = false;
    }

    /// Notes that the link has received a reply.
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
    fn the_limit_starts_at_one_and_doubles_until_slow_start_is_over() {
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
