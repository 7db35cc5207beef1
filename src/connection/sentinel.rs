//! Which server is the primary: the sentinels say.
//!
//! See <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use super::commands::{Access, Expect};
use super::link::{Failure, Link, User};
use super::slots::mapped;
use super::tls;
use crate::error::Error;
use crate::options::{Address, Node, Sentinel};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::Value;
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
    known: Vec<Node>,
    tls: Option<tls::Client>,
}

struct Answer {
    primary: Node,
    /// The one that answers, which names all but itself, and those.
    sentinels: Vec<Node>,
}

impl Sentinels {
    pub(super) fn new(options: Sentinel, tls: Option<tls::Client>) -> Self {
        Self {
            known: options.nodes.clone(),
            options,
            tls,
        }
    }

    /// Where the primary is. All sentinels are asked at once, and most of them decide: one that was cut
    /// off may still name yesterday's.
    pub(super) async fn primary(&mut self) -> Result<Node, Failure> {
        let mut answers: Vec<Answer> = Vec::new();
        let mut failure = Failure::lost("there is no sentinel to ask");
        {
            let begin = Instant::now();
            let mut deadline = begin + LIMIT;
            let mut asked: FuturesUnordered<_> =
                self.known.iter().map(|node| self.ask(node)).collect();
            while let Ok(Some(result)) = timeout_at(deadline, asked.next()).await {
                match result {
                    Ok(answer) => {
                        if answers.is_empty() {
                            deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
                        }
                        answers.push(answer);
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
        let mut known = self.options.nodes.clone();
        for node in answers.into_iter().flat_map(|answer| answer.sentinels) {
            if !known.contains(&node) {
                known.push(node);
            }
        }
        self.known = known;
        Ok(mapped(primary, &self.options.nat_map))
    }

    /// Resolves when the sentinels name another primary than this one.
    pub(super) async fn moved(mut self, primary: Node) -> Failure {
        loop {
            sleep(WATCH).await;
            if let Ok(now) = self.primary().await
                && now != primary
            {
                return Failure::lost(format!("the sentinels have made {now} the primary"));
            }
        }
    }

    async fn ask(&self, node: &Node) -> Result<Answer, Failure> {
        timeout(LIMIT, self.exchange(node))
            .await
            .unwrap_or_else(|_| {
                Err(Failure::silent(format!(
                    "the sentinel {node} did not answer within {} ms",
                    LIMIT.as_millis()
                )))
            })
    }

    async fn exchange(&self, node: &Node) -> Result<Answer, Failure> {
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
        for question in [&b"GET-MASTER-ADDR-BY-NAME"[..], b"SENTINELS"] {
            commands.add(
                Access::Read,
                Expect::Any,
                None,
                &[b"SENTINEL", question, name],
            );
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
        let mut sentinels = vec![node.clone()];
        if let Some(Value::Array(others)) = replies.next() {
            let others = others.iter().filter_map(described);
            sentinels.extend(others.map(|other| mapped(other, &self.options.nat_map)));
        }
        Ok(Answer { primary, sentinels })
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

/// `[field, value, field, value, …]` with `ip` and `port`.
fn described(reply: &Value) -> Option<Node> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let field = |name: &str| {
        let mut pairs = parts.chunks_exact(2);
        let found = pairs.find(|pair| text(&pair[0]) == Some(name))?;
        text(&found[1])
    };
    Some(Node {
        host: field("ip")?.to_owned(),
        port: field("port")?.parse().ok()?,
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
        let text = "*6 $4 name $1 x $2 ip $3 ::1 $4 port $5 26379 ";
        let node = described(&reply(text)).expect("a node");
        assert_eq!(node.to_string(), "[::1]:26379");
        assert_eq!(described(&reply("*1 $4 name ")), None);
    }
}
