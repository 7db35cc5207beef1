//! Which stores share a connection: those that ask for the same one.

use super::Connection;
use super::runtime::Runtime;
use crate::options::ConnectionOptions;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection and how many share it.
#[derive(Debug)]
struct Leased {
    connection: Connection,
    leases: usize,
}

/// The open connections of one runtime.
#[derive(Debug, Default)]
pub(super) struct Registry {
    connections: Mutex<HashMap<ConnectionOptions, Leased>>,
}

/// A store's share in a connection. The last one that is given back, or dropped, ends it.
#[derive(Debug)]
pub struct Lease {
    options: ConnectionOptions,
    connection: Connection,
    registry: Arc<Registry>,
    returned: AtomicBool,
}

impl Lease {
    /// A share in the connection with these options, which is opened if there is none.
    pub fn take(runtime: &Runtime, options: ConnectionOptions) -> Self {
        let registry = Arc::clone(runtime.registry());
        let connection = match registry.lock().entry(options.clone()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().leases += 1;
                entry.get().connection.clone()
            }
            Entry::Vacant(entry) => {
                let connection = Connection::open(&runtime.spawner(), options.clone());
                entry.insert(Leased {
                    connection: connection.clone(),
                    leases: 1,
                });
                connection
            }
        };
        Self {
            options,
            connection,
            registry,
            returned: AtomicBool::new(false),
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes another share in the same connection, or in a new one if that has been ended.
    pub(crate) fn renew(&self, runtime: &Runtime) -> Self {
        Self::take(runtime, self.options.clone())
    }

    /// Gives the share back. If it was the last, lets what was sent before finish and ends the
    /// connection; resolves then.
    pub async fn end(&self) {
        if let Some(connection) = self.give_back() {
            connection.close().await;
        }
    }

    /// The connection, if nobody shares it any more: no store can get it from here on.
    fn give_back(&self) -> Option<Connection> {
        if self.returned.swap(true, Ordering::Relaxed) {
            return None;
        }
        let mut connections = self.registry.lock();
        let Entry::Occupied(mut entry) = connections.entry(self.options.clone()) else {
            return None;
        };
        entry.get_mut().leases -= 1;
        (entry.get().leases == 0).then(|| entry.remove().connection)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The connection ends with its last handle, which is this one if nobody shares it.
        drop(self.give_back());
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionOptions, Leased>> {
        // A poisoned lock still holds a usable map: each change is one step.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
