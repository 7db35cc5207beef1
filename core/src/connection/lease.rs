//! A store's share in a connection.

use super::handle::Connection;
use super::network::System;
use super::open::open;
use super::registry::Registry;
use super::runtime::Runtime;
use crate::options::ConnectionOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        let open = || open(&runtime.spawner(), Arc::new(System), options.clone());
        let connection = registry.lease(&options, open);
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
        self.registry.release(&self.options)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The connection ends with its last handle, which is this one if it was the last share.
        drop(self.release());
    }
}
