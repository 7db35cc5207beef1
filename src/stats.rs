//! The statistics of a store, for JavaScript.

use connect_redis_core::{BOUNDS_MICROS, OPERATIONS, OperationFigures, ServerId, Sessions};
use napi_derive::napi;

/// The statistics of one operation. Counts are exact up to 2^53.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct OperationStats {
    pub name: String,
    /// The sum of all latencies in seconds.
    pub sum: f64,
    /// The number of operations up to each bound, and that of the others.
    pub counts: Vec<f64>,
}

/// The address of a server: host and port, or the path of a socket.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ServerName {
    pub address: String,
    pub port: Option<u16>,
}

/// The result of `stats`.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StoreStats {
    pub operations: Vec<OperationStats>,
    pub read: f64,
    pub written: f64,
    pub reconnects: f64,
    pub queued: f64,
    pub in_flight: f64,
    pub server: Option<ServerName>,
    pub server_name: Option<String>,
    pub version: Option<String>,
    pub features: Vec<String>,
}

impl OperationStats {
    fn new(name: &str, figures: OperationFigures) -> Self {
        Self {
            name: name.to_owned(),
            sum: figures.sum.as_secs_f64(),
            counts: figures.counts.map(|count| count as f64).into(),
        }
    }
}

impl StoreStats {
    pub(crate) fn of(sessions: &Sessions) -> Self {
        let operations = OPERATIONS.iter().zip(sessions.operation_figures());
        let connection = sessions.connection_figures();
        Self {
            operations: operations
                .map(|(name, figures)| OperationStats::new(name, figures))
                .collect(),
            read: connection.read as f64,
            written: connection.written as f64,
            reconnects: connection.reconnects as f64,
            queued: connection.queued as f64,
            in_flight: connection.in_flight as f64,
            server: server_name(connection.server.number()),
            server_name: connection.server_name,
            version: connection.version,
            features: connection.features,
        }
    }
}

/// Returns the bounds of the latencies that a histogram counts together, in seconds.
#[napi(catch_unwind)]
pub(crate) fn latency_bounds() -> Vec<f64> {
    let bounds = BOUNDS_MICROS.iter();
    bounds.map(|&micros| micros as f64 / 1e6).collect()
}

/// Returns the address of the server with this number, if it is known.
#[napi(catch_unwind)]
pub(crate) fn server_name(number: u32) -> Option<ServerName> {
    let server = ServerId::from_number(number).address()?;
    Some(ServerName {
        address: server.address,
        port: server.port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_bounds_are_in_seconds() {
        let bounds = latency_bounds();
        assert_eq!((bounds.first(), bounds.last()), (Some(&50e-6), Some(&10.0)));
    }
}
