//! The origin of replies: the server that sent them, and the number of attempts.

use super::clock;
use crate::options::{Address, Node};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The most servers that are told apart: nodes in containers may get a new address with every start.
const MAX_SERVERS: usize = 1 << 16;

/// The addresses of the servers, in the order of their IDs.
static SERVERS: Mutex<Vec<ServerAddress>> = Mutex::new(Vec::new());

/// The address of a server: host and port, or the path of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    pub address: String,
    pub port: Option<u16>,
}

/// Identifies the address of a server within this process. The default stands for an unknown server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerId(u32);

fn servers() -> MutexGuard<'static, Vec<ServerAddress>> {
    // A poisoned lock still holds a consistent list: it is only appended to.
    SERVERS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServerId {
    /// Returns the ID of an address; that of an unknown server for the address of several.
    pub(super) fn of(address: &Address) -> Self {
        let server = match address {
            Address::Tcp(Node { host, port }) => ServerAddress {
                address: host.clone(),
                port: Some(*port),
            },
            Address::Unix { path } => ServerAddress {
                address: path.clone(),
                port: None,
            },
            Address::Sentinel(_) | Address::Cluster(_) => return Self::default(),
        };
        let mut servers = servers();
        let index = servers.iter().position(|known| *known == server);
        if index.is_none() && servers.len() < MAX_SERVERS {
            servers.push(server);
            return Self(servers.len() as u32);
        }
        Self(index.map_or(0, |index| index as u32 + 1))
    }

    /// Returns the ID with this number.
    pub fn from_number(number: u32) -> Self {
        Self(number)
    }

    pub fn number(self) -> u32 {
        self.0
    }

    /// Returns the address, if the server is known.
    pub fn address(self) -> Option<ServerAddress> {
        let index = self.0.checked_sub(1)? as usize;
        servers().get(index).cloned()
    }

    /// Returns this server, or `other` if it is not known.
    fn or(self, other: Self) -> Self {
        if self == Self::default() { other } else { self }
    }
}

/// The server that replied, and the number of times that the commands were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub server: ServerId,
    /// 0 for commands that failed before they were sent.
    pub attempts: u32,
}

impl Origin {
    /// Adds the replies to other commands of the same step.
    pub(crate) fn join(&mut self, other: Self) {
        self.server = other.server.or(self.server);
        self.attempts = self.attempts.max(other.attempts);
    }

    /// Adds the reply to the next step.
    pub(crate) fn then(&mut self, next: Self) {
        self.server = next.server.or(self.server);
        self.attempts = self.attempts.saturating_add(next.attempts);
    }
}

/// The arrival of replies, which completes operations.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) origin: Origin,
    /// The time, read once for all replies that arrive together.
    pub(crate) at: Instant,
    /// True for an operation that shared the command of another one.
    pub(crate) is_shared: bool,
}

impl Delivery {
    pub(crate) fn now(origin: Origin) -> Self {
        Self {
            origin,
            at: clock::now(),
            is_shared: false,
        }
    }

    /// Returns the same delivery for an operation that has no command of its own.
    pub(crate) fn shared(self) -> Self {
        Self {
            is_shared: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str) -> Address {
        Address::Tcp(Node {
            host: host.into(),
            port: 7001,
        })
    }

    #[test]
    fn an_address_has_one_id() {
        let id = ServerId::of(&tcp("one.invalid"));
        assert_ne!(id, ServerId::of(&tcp("two.invalid")));
        assert_eq!(id, ServerId::of(&tcp("one.invalid")));
        let address = ServerId::from_number(id.number()).address();
        let address = address.expect("a known server");
        assert_eq!(
            (address.address.as_str(), address.port),
            ("one.invalid", Some(7001))
        );
        assert_eq!(ServerId::default().address(), None);
    }

    #[test]
    fn origins_of_a_step_are_joined_and_those_of_several_steps_added() {
        let server = ServerId::of(&tcp("one.invalid"));
        let mut origin = Origin {
            server,
            attempts: 2,
        };
        origin.join(Origin::default());
        assert_eq!(
            origin,
            Origin {
                server,
                attempts: 2
            }
        );
        origin.then(Origin {
            server,
            attempts: 1,
        });
        assert_eq!(
            origin,
            Origin {
                server,
                attempts: 3
            }
        );
    }
}
