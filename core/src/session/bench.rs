//! Hot paths of sessions, for `cargo bench`.

use super::expiry::{self, Remaining};

/// Finds the expiry in force of a stored session whose key ends at 2026-01-31T12:00:30.000Z.
pub fn in_force(text: &[u8]) -> bool {
    expiry::in_force(text, Remaining::Milliseconds(30_000), 1_769_860_800_000).is_some()
}
