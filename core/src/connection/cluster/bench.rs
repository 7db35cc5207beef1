//! Hot paths of a cluster, for `cargo bench`.

/// Returns the slot of a key.
pub fn slot(key: &[u8]) -> u16 {
    super::slot_map::slot(key)
}
