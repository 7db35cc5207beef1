//! The session of a request that writes.

/// The session of a request: its key, the text to store, and its lifetime.
pub(super) struct Stored<'a> {
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
    /// For `SetIfEqual`: the text that must be stored. Empty if it is unknown: no stored session is empty.
    pub(super) base: &'a [u8],
    pub(super) ttl: Option<u64>,
}
