//! Which server is the primary: the sentinels say.
//!
//! See <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use super::commands::{Access, Expect};
use super::failure::Failure;
use super::handshake::User;
use super::link::Link;
use super::tls;
use crate::error::Error;
use crate::options::{Address, Node, Sentinel};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How often the sentinels are asked whether the primary is still the same.
const WATCH: Duration = Duration::from_secs(1);
/// How long one sentinel may take.
const LIMIT: Duration = Duration::from_secs(2);
/// What others may take longer than the first.
const GRACE: Duration = Duration::from_millis(50);

/// The sentinels of a primary, as far as they are known: those of the options, and those they name.
#[derive(Clone, Debug)]
pub(super) struct Sentinels {
    options: Sentinel,
    /// Of all clones: what the one that watches a connection learns, the next attempt to connect is to know.
    known: Arc<Mutex<Vec<Node>>>,
    tls: Option<tls::Client>,
}

/// A sentinel, and its own name for itself, by which it is known under whatever address; `None` if it does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    node: Node,
    id: Option<String>,
}

impl Peer {
    fn is(&self, other: &Self) -> bool {
        self.node == other.node || (self.id.is_some() && self.id == other.id)
    }
}

struct SentinelReply {
    primary: Node,
    /// Who answers.
    from: Peer,
    /// The others that it names.
    others: Vec<Peer>,
}

impl Sentinels {
    pub(super) fn new(options: Sentinel, tls: Option<tls::Client>) -> Self {
        Self {
            known: Arc::new(Mutex::new(options.nodes.clone())),
            options,
            tls,
        }
    }

    fn known(&self) -> MutexGuard<'_, Vec<Node>> {
        // A list is replaced as a whole, so it is sound whatever has panicked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the primary is. All sentinels are asked at once, and most of them decide: one that was cut
    /// off may still name yesterday's.
    pub(super) async fn primary(&self) -> Result<Node, Failure> {
        let mut answers: Vec<SentinelReply> = Vec::new();
        let mut failure = Failure::lost("there is no sentinel to ask");
        {
            let begin = Instant::now();
            let mut deadline = begin + LIMIT;
            let known = self.known().clone();
            let mut asked: FuturesUnordered<_> = known.iter().map(|node| self.ask(node)).collect();
            while let Ok(Some(result)) = timeout_at(deadline, asked.next()).await {
                match result {
                    Ok(answer) => {
                        if answers.is_empty() {
                            deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
                        }
                        // One that is known by two addresses has one vote.
                        if !answers.iter().any(|other| other.from.is(&answer.from)) {
                            answers.push(answer);
                        }
                    }
                    Err(reason) => failure = reason,
                }
            }
        }
        let votes = |node: &Node| answers.iter().filter(|a| a.primary == *node).count();
        let Some(primary) = answers
            .iter()
            .map(|answer| &answer.primary)
            .max_by_key(|node| votes(node))
            .cloned()
        else {
            return Err(failure);
        };
        let known = self.to_ask(answers);
        *self.known() = known;
        Ok(primary.reached(&self.options.nat_map))
    }

    /// The sentinels of the options, and all others that have answered or were named, each by one address.
    fn to_ask(&self, answers: Vec<SentinelReply>) -> Vec<Node> {
        let given = self.options.nodes.iter().map(|node| {
            let answer = answers.iter().find(|answer| answer.from.node == *node);
            Peer {
                node: node.clone(),
                id: answer.and_then(|answer| answer.from.id.clone()),
            }
        });
        let mut peers: Vec<_> = given.collect();
        for answer in answers {
            for peer in [answer.from].into_iter().chain(answer.others) {
                if !peers.iter().any(|other| other.is(&peer)) {
                    peers.push(peer);
                }
            }
        }
        peers.into_iter().map(|peer| peer.node).collect()
    }

    /// Resolves when the sentinels name another primary than this one.
    pub(super) async fn primary_changed(self, primary: Node) -> Failure {
        loop {
            sleep(WATCH).await;
            if let Ok(now) = self.primary().await
                && now != primary
            {
                return Failure::lost(format!("the sentinels have made {now} the primary"));
            }
        }
    }

    async fn ask(&self, node: &Node) -> Result<SentinelReply, Failure> {
        timeout(LIMIT, self.exchange(node))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::silent(format!(
                    "the sentinel {node} did not answer within {} ms",
                    LIMIT.as_millis()
                )))
            })
    }

    async fn exchange(&self, node: &Node) -> Result<SentinelReply, Failure> {
        let at = |failure: Failure| failure.of(&format!("the sentinel {node}"));
        let address = Address::Tcp {
            host: node.host.clone(),
            port: node.port,
        };
        let mut link = Link::open(&address, self.tls.as_ref()).await.map_err(at)?;
        let user = User::of(
            self.options.username.as_deref(),
            self.options.password.as_ref(),
        );
        let mut commands = user.authentication();
        let authentications = commands.len();
        let name = self.options.name.as_bytes();
        let questions: [&[&[u8]]; 3] = [
            &[b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name],
            &[b"SENTINEL", b"SENTINELS", name],
            // Sentinels before 6.2 do not know this, and an ACL may forbid it.
            &[b"SENTINEL", b"MYID"],
        ];
        for question in questions {
            commands.add(Access::Read, Expect::Any, None, question);
        }
        let replies = link.exchange(&commands).await.map_err(at)?;
        for reply in replies.iter().take(authentications + 1) {
            if let Value::ServerError(error) = reply {
                let server = format!("the sentinel {node}");
                let refusal = Error::from_reply(&server, error.code(), error.details());
                return Err(Failure::refused(refusal));
            }
        }
        let mut replies = replies.into_iter().skip(authentications);
        let primary = replies.next().and_then(|reply| pair(&reply));
        let Some(primary) = primary else {
            return Err(Failure::lost(format!(
                "the sentinel {node} knows no primary called \"{}\"",
                self.options.name
            )));
        };
        let mut others = Vec::new();
        if let Some(Value::Array(descriptions)) = replies.next() {
            others.extend(descriptions.iter().filter_map(described));
        }
        for other in &mut others {
            other.node = other.node.clone().reached(&self.options.nat_map);
        }
        let from = Peer {
            node: node.clone(),
            id: replies.next().as_ref().and_then(text).map(str::to_owned),
        };
        Ok(SentinelReply {
            primary,
            from,
            others,
        })
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// `[host, port]`.
fn pair(reply: &Value) -> Option<Node> {
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

/// `[field, value, field, value, …]` with `ip`, `port` and `runid`.
fn described(reply: &Value) -> Option<Peer> {
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
    // Empty, as long as it is not known.
    let id = field("runid").filter(|id| !id.is_empty());
    Some(Peer {
        node,
        id: id.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(text: &str) -> Value {
        redis::parse_redis_value(text.replace(' ', "\r\n").as_bytes()).expect("a reply")
    }

    #[test]
    fn the_primary_is_read_from_the_reply() {
        let node = pair(&reply("*2 $9 127.0.0.1 $4 6380 ")).expect("a node");
        assert_eq!(node.to_string(), "127.0.0.1:6380");
        assert_eq!(pair(&Value::Nil), None);
        assert_eq!(pair(&reply("*2 $1 h $5 99999 ")), None);
    }

    #[test]
    fn sentinels_are_read_from_their_descriptions() {
        let text = "*8 $4 name $1 x $2 ip $3 ::1 $4 port $5 26379 $5 runid $2 ab ";
        let peer = described(&reply(text)).expect("a sentinel");
        assert_eq!(peer.node.to_string(), "[::1]:26379");
        assert_eq!(peer.id.as_deref(), Some("ab"));
        assert_eq!(described(&reply("*1 $4 name ")), None);
    }

    fn peer(host: &str, id: Option<&str>) -> Peer {
        let node = Node {
            host: host.into(),
            port: 26379,
        };
        let id = id.map(str::to_owned);
        Peer { node, id }
    }

    #[test]
    fn each_sentinel_is_asked_by_one_address() {
        let sentinels = |hosts: &[&str]| {
            let options = Sentinel {
                name: "m".into(),
                nodes: hosts.iter().map(|host| peer(host, None).node).collect(),
                username: None,
                password: None,
                tls: None,
                nat_map: Vec::new(),
            };
            Sentinels::new(options, None)
        };
        let answer = |from, others| SentinelReply {
            primary: peer("p", None).node,
            from,
            others,
        };
        let hosts = |known: Vec<Node>| known.into_iter().map(|node| node.host).collect::<Vec<_>>();
        let told = || {
            vec![
                answer(peer("a.example", Some("a")), vec![peer("::2", Some("b"))]),
                answer(peer("::2", Some("b")), vec![peer("::1", Some("a"))]),
                answer(peer("::3", None), vec![peer("::4", None)]),
            ]
        };
        let known = sentinels(&["a.example"]).to_ask(told());
        assert_eq!(hosts(known), ["a.example", "::2", "::3", "::4"]);
        // One that does not answer by its name is asked by what others call it.
        let known = sentinels(&["a.example", "b.example"]).to_ask(told());
        assert_eq!(
            hosts(known),
            ["a.example", "b.example", "::2", "::3", "::4"]
        );
    }
}
