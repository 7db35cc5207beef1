//! Finds the primary by asking its sentinels.
//!
//! See <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use super::commands::{Access, Expect};
use super::failure::Failure;
use super::handshake::User;
use super::link::Dialer;
use super::text::text;
use super::vote::{Vote, Voter, collect, largest_groups};
use crate::cause::Cause;
use crate::error::Error;
use crate::options::{Address, Node, Sentinel};
use crate::server::Server;
use redis::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The interval at which the sentinels are asked for the primary while connected.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The timeout of one sentinel.
const SENTINEL_TIMEOUT: Duration = Duration::from_secs(2);

/// The known sentinels of a primary: those of the options, and those that they report.
#[derive(Clone, Debug)]
pub(super) struct Sentinels {
    options: Sentinel,
    /// Shared by all clones: the next attempt to connect uses the sentinels found while watching the connection.
    known: Arc<Mutex<Vec<Node>>>,
    dialer: Dialer,
}

/// The reply of a sentinel.
struct SentinelReply {
    primary: Node,
    /// The other sentinels that it reports.
    others: Vec<Voter>,
}

impl Sentinels {
    pub(super) fn new(options: Sentinel, dialer: Dialer) -> Self {
        Self {
            known: Arc::new(Mutex::new(options.nodes.clone())),
            options,
            dialer,
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Node>> {
        // A poisoned lock still holds a consistent list: it is replaced as a whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the primary. Asks all sentinels in parallel, and the majority decides: a partitioned sentinel may still
    /// report a former primary.
    pub(super) async fn primary(&self) -> Result<Node, Failure> {
        let known = self.known().clone();
        let queries = known.iter().map(|node| self.query(node));
        let mut votes = collect(queries, Failure::lost("no Sentinel is known")).await?;
        let known = self.merge_known(&mut votes);
        *self.known() = known;
        let agree = |one: &SentinelReply, other: &SentinelReply| one.primary == other.primary;
        let winner = largest_groups(votes, agree)
            .pop()
            .and_then(|mut group| group.pop());
        let primary = winner.map(|vote| vote.choice.primary);
        let primary = primary.ok_or_else(|| Failure::lost("no Sentinel replied"))?;
        Ok(primary.reached(&self.options.nat_map))
    }

    /// Returns the sentinels of the options, and all others that replied or were reported, each with one address.
    fn merge_known(&self, votes: &mut [Vote<SentinelReply>]) -> Vec<Node> {
        let configured = self.options.nodes.iter().map(|node| {
            let vote = votes.iter().find(|vote| vote.voter.node == *node);
            Voter {
                node: node.clone(),
                id: vote.and_then(|vote| vote.voter.id.clone()),
            }
        });
        let mut peers: Vec<_> = configured.collect();
        for vote in votes {
            let others = vote.choice.others.drain(..);
            for peer in [vote.voter.clone()].into_iter().chain(others) {
                if !peers.iter().any(|other| other.is(&peer)) {
                    peers.push(peer);
                }
            }
        }
        peers.into_iter().map(|peer| peer.node).collect()
    }

    /// Resolves when the sentinels report another primary than this one.
    pub(super) async fn primary_changed(self, primary: Node) -> Failure {
        loop {
            sleep(POLL_INTERVAL).await;
            if let Ok(now) = self.primary().await
                && now != primary
            {
                return Failure::lost(format!("the Sentinels report {now} as the primary"));
            }
        }
    }

    /// Asks one sentinel, with a timeout.
    async fn query(&self, node: &Node) -> Result<Vote<SentinelReply>, Failure> {
        timeout(SENTINEL_TIMEOUT, self.exchange(node))
            .await
            .unwrap_or_else(|_| {
                let limit = SENTINEL_TIMEOUT.as_millis();
                let cause = format!("the Sentinel {node} did not reply within {limit} ms");
                Err(Failure::timed_out(
                    Cause::new(cause).at(&Address::Tcp(node.clone())),
                ))
            })
    }

    /// Asks one sentinel for the primary, the other sentinels and its own ID.
    async fn exchange(&self, node: &Node) -> Result<Vote<SentinelReply>, Failure> {
        let with_name = |failure: Failure| failure.of("the Sentinel", node);
        let address = Address::Tcp(node.clone());
        let mut link = self.dialer.open(&address).await.map_err(with_name)?;
        let user = User::of(
            self.options.username.as_deref(),
            self.options.password.as_ref(),
        );
        let mut commands = user.authentication();
        let authentications = commands.len();
        let name = self.options.name.as_bytes();
        let queries: [&[&[u8]]; 3] = [
            &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name],
            &[b"SENTINEL", b"SENTINELS", name],
            // Sentinels before 6.2 do not know this command, and an ACL may forbid it.
            &[b"SENTINEL", b"MYID"],
        ];
        for query in queries {
            commands.add(Access::Read, Expect::Any, None, query);
        }
        let replies = link.exchange(&commands).await.map_err(with_name)?;
        for reply in replies.iter().take(authentications + 1) {
            if let Value::ServerError(error) = reply {
                let server = Server::new(format!("the Sentinel {node}"), Some(address), false);
                let refusal = Error::from_reply(&server, error.code(), error.details());
                return Err(Failure::refused(refusal));
            }
        }
        let mut replies = replies.into_iter().skip(authentications);
        let primary = replies.next().and_then(|reply| parse_address(&reply));
        let Some(primary) = primary else {
            let name = &self.options.name;
            let cause = format!("the Sentinel {node} knows no primary named \"{name}\"");
            return Err(Failure::lost(Cause::new(cause).at(&address)));
        };
        let mut others = Vec::new();
        if let Some(Value::Array(descriptions)) = replies.next() {
            others.extend(descriptions.iter().filter_map(parse_peer));
        }
        for other in &mut others {
            other.node = other.node.clone().reached(&self.options.nat_map);
        }
        let voter = Voter {
            node: node.clone(),
            id: replies.next().as_ref().and_then(text).map(str::to_owned),
        };
        let choice = SentinelReply { primary, others };
        Ok(Vote { voter, choice })
    }
}

/// Parses `[host, port]`.
fn parse_address(reply: &Value) -> Option<Node> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let [host, port] = parts.as_slice() else {
        return None;
    };
    Some(Node {
        host: text(host)?.to_owned(),
        port: text(port)?.parse().ok()?,
    })
}

/// Parses `[field, value, field, value, …]` with `ip`, `port` and `runid`.
fn parse_peer(reply: &Value) -> Option<Voter> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let field = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        let found = pairs.find(|pair| text(&pair[0]) == Some(name))?;
        text(&found[1])
    };
    let node = Node {
        host: field("ip")?.to_owned(),
        port: field("port")?.parse().ok()?,
    };
    // The field is empty while the ID is unknown.
    let id = field("runid").filter(|id| !id.is_empty());
    Some(Voter {
        node,
        id: id.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::network::System;

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.replace(' ', "\r\n").as_bytes()).expect("a reply")
    }

    #[test]
    fn parse_address_returns_the_node_of_a_valid_reply() {
        let node = parse_address(&reply("*2 $9 127.0.0.1 $4 6380 ")).expect("a node");
        assert_eq!(node.to_string(), "127.0.0.1:6380");
        assert_eq!(parse_address(&Value::Nil), None);
        assert_eq!(parse_address(&reply("*2 $1 h $5 99999 ")), None);
    }

    #[test]
    fn parse_peer_returns_the_address_and_id_of_a_sentinel() {
        let text = "*8 $4 name $1 x $2 ip $3 ::1 $4 port $5 26379 $5 runid $2 ab ";
        let peer = parse_peer(&reply(text)).expect("a sentinel");
        assert_eq!(peer.node.to_string(), "[::1]:26379");
        assert_eq!(peer.id.as_deref(), Some("ab"));
        assert_eq!(parse_peer(&reply("*1 $4 name ")), None);
    }

    fn peer(host: &str, id: Option<&str>) -> Voter {
        let node = Node {
            host: host.into(),
            port: 26379,
        };
        let id = id.map(str::to_owned);
        Voter { node, id }
    }

    #[test]
    fn merge_known_returns_one_address_per_sentinel() {
        let sentinels = |hosts: &[&str]| {
            let options = Sentinel {
                name: "m".into(),
                nodes: hosts.iter().map(|host| peer(host, None).node).collect(),
                username: None,
                password: None,
                tls: None,
                nat_map: Vec::new(),
            };
            let network = Arc::new(System);
            Sentinels::new(options, Dialer { network, tls: None })
        };
        let reply = |voter, others| Vote {
            voter,
            choice: SentinelReply {
                primary: peer("p", None).node,
                others,
            },
        };
        let hosts = |known: Vec<Node>| known.into_iter().map(|node| node.host).collect::<Vec<_>>();
        let replies = || {
            vec![
                reply(peer("a.example", Some("a")), vec![peer("::2", Some("b"))]),
                reply(peer("::2", Some("b")), vec![peer("::1", Some("a"))]),
                reply(peer("::3", None), vec![peer("::4", None)]),
            ]
        };
        let known = sentinels(&["a.example"]).merge_known(&mut replies());
        assert_eq!(hosts(known), ["a.example", "::2", "::3", "::4"]);
        // A sentinel that does not reply under its configured address is known by its reported one.
        let known = sentinels(&["a.example", "b.example"]).merge_known(&mut replies());
        assert_eq!(
            hosts(known),
            ["a.example", "b.example", "::2", "::3", "::4"]
        );
    }
}
