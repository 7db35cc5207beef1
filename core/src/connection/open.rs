//! Opens a connection to any kind of address.

use super::handle::Connection;
use super::network::Network;
use super::tracking::Tracking;
use super::{cluster, supervisor};
use crate::cache::Cache;
use crate::observers::Observers;
use crate::options::{Address, ConnectionOptions};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Opens a connection, which connects in the background.
pub(super) fn open(
    tasks: &Handle,
    network: Arc<dyn Network>,
    options: ConnectionOptions,
    observers: Arc<Observers>,
) -> Connection {
    let cache = options
        .cache
        .clone()
        .map(|cache| Arc::new(Cache::new(cache, Arc::clone(&observers))));
    match options.address.clone() {
        Address::Cluster(cluster) => {
            cluster::spawn(tasks, network, cluster, options, cache, observers)
        }
        _ => {
            let tracking = cache.clone().map(|cache| Tracking::new(cache, None));
            supervisor::spawn(tasks, network, options, cache, tracking, observers, None).0
        }
    }
}
