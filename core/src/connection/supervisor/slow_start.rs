//! How much may be in flight after a connection was lost under what was.
//!
//! There are commands on which a server hangs up: one whose reply is longer than it may be, for instance. All that
//! is sent with such a command is lost with it, again and again. So after a loss a single command is sent, then two,
//! four and so on, each lot when the one before is answered: a command that is met alone, and lost alone so often,
//! is the cause, and is given up. Before the first there is a question that any server answers: whoever does not
//! live to answer that has not hung up on the command.

/// So often a command is lost alone before it is given up.
pub(in crate::connection) const MOST_HANG_UPS: u32 = 3;
/// From here on nothing is held back.
const WIDE: usize = 1024;

#[derive(Default)]
pub(super) struct SlowStart {
    /// `None` while nothing is held back.
    room: Option<usize>,
    /// The connection has answered something.
    is_proven: bool,
}

impl SlowStart {
    pub(super) fn is_open(&self) -> bool {
        self.room.is_none()
    }

    /// How many commands may be sent when all that was sent before is answered.
    pub(super) fn room(&self) -> usize {
        self.room.unwrap_or(usize::MAX)
    }

    /// The connection was lost under what was in flight.
    pub(super) fn narrow(&mut self) {
        self.room = Some(1);
    }

    /// All that was in flight is answered.
    pub(super) fn widen(&mut self) {
        self.room = self.room.map(|room| 2 * room).filter(|room| *room < WIDE);
    }

    /// Another connection begins.
    pub(super) fn begin(&mut self) {
        self.is_proven = false;
    }

    pub(super) fn prove(&mut self) {
        self.is_proven = true;
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_narrow_after_a_loss_and_doubles_until_it_is_open() {
        let mut window = SlowStart::default();
        assert!(window.is_open());
        window.narrow();
        let mut rooms = Vec::new();
        while !window.is_open() {
            rooms.push(window.room());
            window.widen();
        }
        assert_eq!(rooms, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
        assert_eq!(window.room(), usize::MAX);
    }
}
