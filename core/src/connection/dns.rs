//! Resolves host names.
//!
//! The system's lookup blocks a thread and cannot be cancelled. So there is at most one lookup per name at a time,
//! which all callers share, also those that come after others stopped waiting for it.

use super::blocking;
use super::io_cause::lookup_cause;
use crate::cause::Cause;
use futures_util::FutureExt;
use futures_util::future::Shared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::spawn;

/// The addresses, without ports, or the error.
type Resolution = Result<Arc<[SocketAddr]>, Cause>;

thread_local! {
    /// The lookups in flight, by host name. All connections live on one thread.
    static IN_FLIGHT: RefCell<HashMap<String, Shared<oneshot::Receiver<Resolution>>>> = RefCell::default();
}

/// Returns the addresses of a host, with the port.
pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![(address, port).into()]);
    }
    let found = look_up(host, |host| Ok((host, 0).to_socket_addrs()?.collect())).await?;
    let with_port = |address: &SocketAddr| {
        let mut address = *address;
        address.set_port(port);
        address
    };
    Ok(found.iter().map(with_port).collect())
}

/// Returns true while the system looks up this name.
pub(super) fn is_resolving(host: &str) -> bool {
    IN_FLIGHT.with_borrow(|lookups| lookups.contains_key(host))
}

/// Looks up a name, or joins the lookup of it that is in flight.
async fn look_up(
    host: &str,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Arc<[SocketAddr]>> {
    let lookup = IN_FLIGHT.with_borrow_mut(|lookups| {
        lookups
            .entry(host.to_owned())
            .or_insert_with(|| start(host.to_owned(), resolve))
            .clone()
    });
    match lookup.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(cause)) => Err(io::Error::other(cause)),
        Err(_) => Err(io::Error::other("the lookup of the host name did not end")),
    }
}

/// Starts a lookup.
fn start(
    host: String,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Shared<oneshot::Receiver<Resolution>> {
    let (sender, receiver) = oneshot::channel();
    // A task removes the entry even when no caller waits any more: a later caller must not get an old result.
    spawn(async move {
        let name = host.clone();
        let result = blocking::run(move || resolve(&name)).await;
        IN_FLIGHT.with_borrow_mut(|lookups| lookups.remove(&host));
        let result = match result {
            Ok(Ok(addresses)) => Ok(addresses.into()),
            Ok(Err(error)) => Err(lookup_cause(&error)),
            Err(error) => Err(Cause::new(format!(
                "the host name could not be looked up: {error}"
            ))),
        };
        // No caller may be waiting any more.
        let _ = sender.send(result);
    });
    receiver.shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// Returns a resolver that waits for `go`. The address that it returns ends with the count of lookups so far.
    fn slow(
        go: mpsc::Receiver<()>,
    ) -> impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static {
        move |_| {
            let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
            // An error means that the test has ended.
            let _ = go.recv();
            Ok(vec![([127, 0, 0, count as u8], 0).into()])
        }
    }

    #[tokio::test]
    async fn concurrent_lookups_of_a_name_share_one_lookup() {
        let (go, started) = mpsc::channel();
        let (_never, unused) = mpsc::channel();
        assert!(look_up("slow", slow(started)).now_or_never().is_none());
        assert!(is_resolving("slow") && !is_resolving("other"));
        // The first caller has stopped waiting.
        let second = look_up("slow", slow(unused));
        go.send(()).expect("a lookup in flight");
        let found = second.await.expect("an address");
        assert_eq!(*found, [([127, 0, 0, 1], 0).into()]);
        assert!(!is_resolving("slow"));
        // The result is not kept.
        let (go, started) = mpsc::channel();
        go.send(()).expect("a lookup");
        let found = look_up("slow", slow(started)).await.expect("an address");
        assert_eq!(*found, [([127, 0, 0, 2], 0).into()]);
    }

    #[tokio::test]
    async fn addresses_returns_an_ip_address_without_a_lookup() {
        let found = addresses("::1", 6379).now_or_never().expect("at once");
        assert_eq!(
            found.expect("an address"),
            ["[::1]:6379".parse().expect("an address")]
        );
        let found = addresses("localhost", 6379).await.expect("addresses");
        assert!(!found.is_empty() && found.iter().all(|address| address.port() == 6379));
    }

    #[tokio::test]
    async fn look_up_fails_when_the_name_is_not_found() {
        let refuse = |_: &str| Err(io::Error::new(io::ErrorKind::NotFound, "unknown"));
        let error = look_up("nowhere", refuse).await.expect_err("an error");
        assert_eq!(error.to_string(), "unknown (ENOTFOUND)");
        assert!(!is_resolving("nowhere"));
    }
}
