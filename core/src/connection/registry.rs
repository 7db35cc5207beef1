//! The registry of open connections: stores with equal options share one.

use super::Connection;
use super::runtime::Runtime;
use crate::options::ConnectionOptions;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// A store's share in a connection. The connection ends when its last lease is released or dropped.
#[derive(Debug)]
pub struct Lease {
    options: ConnectionOptions,
    connection: Connection,
    registry: Arc<Registry>,
    is_released: AtomicBool,
}

impl Lease {
    /// Takes a share in the connection with these options, and opens it if there is none.
    pub fn take(runtime: &Runtime, options: ConnectionOptions) -> Self {
        let registry = Arc::clone(runtime.registry());
        let connection = match registry.lock().entry(options.clone()) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().leases += 1;
                entry.get().connection.clone()
            }
            Entry::Vacant(entry) => {
                let connection = Connection::open(&runtime.spawner(), options.clone());
                entry.insert(SharedConnection {
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
            is_released: AtomicBool::new(false),
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes another share in the same connection, or in a new one if that connection has ended.
    pub(crate) fn renew(&self, runtime: &Runtime) -> Self {
        Self::take(runtime, self.options.clone())
    }

    /// Releases the share. If it was the last, ends the connection after the commands sent so far have completed, and
    /// resolves then.
    pub async fn end(&self) {
        if let Some(connection) = self.release() {
            connection.close().await;
        }
    }

    /// Releases the share. If it was the last, removes the connection from the registry and returns it.
    fn release(&self) -> Option<Connection> {
        if self.is_released.swap(true, Ordering::Relaxed) {
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
        // The connection ends with its last handle, which is this one if it was the last share.
        drop(self.release());
    }
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionOptions, SharedConnection>> {
        // A poisoned lock still holds a consistent map: each change is one step.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
