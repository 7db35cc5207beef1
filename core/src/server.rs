//! The server of a connection, as errors name it.

use crate::options::Address;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A server, or a group of them behind one connection.
#[derive(Clone, Debug)]
pub struct Server(Arc<Description>);

#[derive(Debug)]
struct Description {
    name: String,
    /// The address, if it is that of a single server. With Sentinel, the primary changes it.
    address: Mutex<Option<Address>>,
    /// True if other nodes may have the keys, and the cluster's router follows its redirects.
    is_cluster_node: bool,
}

impl Server {
    pub(crate) fn new(name: String, address: Option<Address>, is_cluster_node: bool) -> Self {
        Self(Arc::new(Description {
            name,
            address: Mutex::new(address),
            is_cluster_node,
        }))
    }

    /// Returns the name: a URL without user and password.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn is_cluster_node(&self) -> bool {
        self.0.is_cluster_node
    }

    /// Returns the address, if it is that of a single server: a host with a port, or a socket.
    pub(crate) fn address(&self) -> Option<Address> {
        self.lock().clone()
    }

    /// Sets the address of the server that serves now.
    pub(crate) fn set_address(&self, address: Address) {
        *self.lock() = Some(address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Address>> {
        // A poisoned lock still holds a valid address.
        self.0
            .address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PartialEq for Server {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Serialize for Server {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl From<&Self> for Server {
    fn from(server: &Self) -> Self {
        server.clone()
    }
}

impl From<&str> for Server {
    /// Creates a server whose address is unknown.
    fn from(name: &str) -> Self {
        Self::new(name.to_owned(), None, false)
    }
}
