//! The registry of open connections: stores with equal options share one.

use super::handle::Connection;
use crate::options::ConnectionOptions;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A connection, and the number of its leases.
#[derive(Debug)]
struct SharedConnection {
    connection: Connection,
    leases: usize,
}

/// The open connections of one runtime.
#[derive(Debug, Default)]
pub(super) struct Registry {
    connections: Mutex<HashMap<ConnectionOptions, SharedConnection>>,
}

impl Registry {
    /// Returns the connection with these options, and opens it if there is none. Counts the lease.
    pub(super) fn lease(
        &self,
        options: &ConnectionOptions,
        open: impl FnOnce() -> Connection,
    ) -> Connection {
        match self.lock().entry(options.clone()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().leases += 1;
                entry.get().connection.clone()
            }
            Entry::Vacant(entry) => {
                let connection = open();
                entry.insert(SharedConnection {
                    connection: connection.clone(),
                    leases: 1,
                });
                connection
            }
        }
    }

    /// Ends a lease. If it was the last, removes the connection and returns it.
    pub(super) fn release(&self, options: &ConnectionOptions) -> Option<Connection> {
        let mut connections = self.lock();
        let Entry::Occupied(mut entry) = connections.entry(options.clone()) else {
            return None;
        };
        entry.get_mut().leases -= 1;
        (entry.get().leases == 0).then(|| entry.remove().connection)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionOptions, SharedConnection>> {
        // A poisoned lock still holds a consistent map: each change is one step.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
