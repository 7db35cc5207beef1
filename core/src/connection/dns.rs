//! From a host's name to its addresses.
//!
//! The system's own look-up blocks a thread, for as long as it takes, and cannot be given up. So there is one
//! at a time for each name, however many wait for it and however often they have given it up.

use super::blocking;
use futures_util::FutureExt;
use futures_util::future::Shared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::spawn;

/// Without ports.
type Resolution = Result<Arc<[SocketAddr]>, (io::ErrorKind, String)>;

thread_local! {
    /// By the host's name. All connections live on one thread.
    static UNDER_WAY: RefCell<HashMap<String, Shared<oneshot::Receiver<Resolution>>>> = RefCell::default();
}

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

/// The system is still looking for this name.
pub(super) fn is_sought(host: &str) -> bool {
    UNDER_WAY.with_borrow(|lookups| lookups.contains_key(host))
}

async fn look_up(
    host: &str,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> io::Result<Arc<[SocketAddr]>> {
    let under_way = UNDER_WAY.with_borrow_mut(|lookups| {
        lookups
            .entry(host.to_owned())
            .or_insert_with(|| begin(host.to_owned(), resolve))
            .clone()
    });
    match under_way.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err((kind, reason))) => Err(io::Error::new(kind, reason)),
        Err(_) => Err(io::Error::other("the look-up of the host came to no end")),
    }
}

fn begin(
    host: String,
    resolve: impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Shared<oneshot::Receiver<Resolution>> {
    let (sender, receiver) = oneshot::channel();
    // A task of its own: an answer that nobody waited for must not be there for who comes later.
    spawn(async move {
        let name = host.clone();
        let answer = blocking::run(move || resolve(&name)).await;
        UNDER_WAY.with_borrow_mut(|lookups| lookups.remove(&host));
        let answer = match answer {
            Ok(Ok(addresses)) => Ok(addresses.into()),
            Ok(Err(error)) => Err((error.kind(), error.to_string())),
            Err(error) => Err((error.kind(), format!("its name was not looked up: {error}"))),
        };
        // All who waited may have given up.
        let _ = sender.send(answer);
    });
    receiver.shared()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// A look-up that ends when `go` comes, with an address that tells how many there were.
    fn slow(
        go: mpsc::Receiver<()>,
    ) -> impl FnOnce(&str) -> io::Result<Vec<SocketAddr>> + Send + 'static {
        move |_| {
            let count = COUNT.fetch_add(1, Ordering::SeqCst) + 1;
            // An error means that the test is over.
            let _ = go.recv();
            Ok(vec![([127, 0, 0, count as u8], 0).into()])
        }
    }

    #[tokio::test]
    async fn there_is_one_look_up_of_a_name_at_a_time() {
        let (go, goes) = mpsc::channel();
        let (_never, unused) = mpsc::channel();
        assert!(look_up("slow", slow(goes)).now_or_never().is_none());
        assert!(is_sought("slow") && !is_sought("other"));
        // The first one who waited has given up.
        let second = look_up("slow", slow(unused));
        go.send(()).expect("a look-up under way");
        let found = second.await.expect("an address");
        assert_eq!(*found, [([127, 0, 0, 1], 0).into()]);
        assert!(!is_sought("slow"));
        // What was found then is not kept.
        let (go, goes) = mpsc::channel();
        go.send(()).expect("a look-up to come");
        let found = look_up("slow", slow(goes)).await.expect("an address");
        assert_eq!(*found, [([127, 0, 0, 2], 0).into()]);
    }

    #[tokio::test]
    async fn an_address_needs_no_look_up() {
        let found = addresses("::1", 6379).now_or_never().expect("at once");
        assert_eq!(
            found.expect("an address"),
            ["[::1]:6379".parse().expect("an address")]
        );
        let found = addresses("localhost", 6379).await.expect("addresses");
        assert!(!found.is_empty() && found.iter().all(|address| address.port() == 6379));
    }

    #[tokio::test]
    async fn a_name_that_is_not_found_is_an_error() {
        let refuse = |_: &str| Err(io::Error::new(io::ErrorKind::NotFound, "unknown"));
        let error = look_up("nowhere", refuse).await.expect_err("an error");
        assert_eq!(error.to_string(), "unknown");
        assert!(!is_sought("nowhere"));
    }
}
