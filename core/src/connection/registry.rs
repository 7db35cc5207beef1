//! The registry of open connections: stores with equal options share one.

use super::handle::Connection;
use super::network::System;
use super::open::open;
use crate::observers::Observers;
use crate::options::ConnectionOptions;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;

/// The open connections of one runtime, each with the number of its leases.
#[derive(Debug)]
pub(super) struct Registry {
    tasks: Handle,
    connections: Mutex<HashMap<ConnectionOptions, (Connection, usize)>>,
}

impl Registry {
    /// Creates a registry of connections that run as `tasks`.
    pub(super) fn new(tasks: Handle) -> Self {
        Self {
            tasks,
            connections: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectionOptions, (Connection, usize)>> {
        // A poisoned lock still holds a consistent map: each change is one step.
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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
    /// Takes a share in the connection with these options, and opens it if there is none. `observed` are the kinds of
    /// observations that the caller will [observe](Connection::observe).
    pub(super) fn take(registry: Arc<Registry>, options: ConnectionOptions, observed: u32) -> Self {
        let connection = {
            let mut connections = registry.lock();
            let shared = connections.entry(options.clone()).or_insert_with(|| {
                let network = Arc::new(System);
                let observers = Arc::new(Observers::expecting(observed));
                let connection = open(&registry.tasks, network, options.clone(), observers);
                (connection, 0)
            });
            shared.1 += 1;
            shared.0.clone()
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
    pub(crate) fn renew(&self, observed: u32) -> Self {
        Self::take(Arc::clone(&self.registry), self.options.clone(), observed)
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
        entry.get_mut().1 -= 1;
        (entry.get().1 == 0).then(|| entry.remove().0)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The connection ends with its last handle, which is this one if it was the last share.
        drop(self.release());
    }
}
