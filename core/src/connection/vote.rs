//! Votes: several servers are asked at once, and most of them decide. One that was partitioned may still report what
//! has changed since.

use crate::options::Node;
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The timeout of a vote.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// The additional time for the other servers after the first reply.
const GRACE: Duration = Duration::from_millis(50);

/// A server that votes. Its ID identifies it under any address; `None` if it does not report one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Voter {
    pub(super) node: Node,
    pub(super) id: Option<String>,
}

impl Voter {
    /// Returns true if both are the same server, possibly at two addresses.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.node == other.node || (self.id.is_some() && self.id == other.id)
    }
}

/// A voter and its reply.
pub(super) struct Vote<T> {
    pub(super) voter: Voter,
    pub(super) choice: T,
}

/// Collects the votes of the servers that reply in time, one per server, or else the last failure.
pub(super) async fn collect<T, E>(
    queries: impl IntoIterator<Item = impl Future<Output = Result<Vote<T>, E>>>,
    mut failure: E,
) -> Result<Vec<Vote<T>>, E> {
    let mut queries: FuturesUnordered<_> = queries.into_iter().collect();
    let mut votes: Vec<Vote<T>> = Vec::new();
    let begin = Instant::now();
    let mut deadline = begin + TIMEOUT;
    while let Ok(Some(reply)) = timeout_at(deadline, queries.next()).await {
        match reply {
            Ok(vote) => {
                if votes.is_empty() {
                    deadline = deadline.min(Instant::now() + begin.elapsed() + GRACE);
                }
                if !votes.iter().any(|other| other.voter.is(&vote.voter)) {
                    votes.push(vote);
                }
            }
            Err(error) => failure = error,
        }
    }
    match votes.is_empty() {
        true => Err(failure),
        false => Ok(votes),
    }
}

/// Groups votes that agree, and returns the largest groups: several if they are equal in size.
pub(super) fn largest_groups<T>(
    votes: Vec<Vote<T>>,
    agree: impl Fn(&T, &T) -> bool,
) -> Vec<Vec<Vote<T>>> {
    let mut groups: Vec<Vec<Vote<T>>> = Vec::new();
    for vote in votes {
        let agrees = |group: &&mut Vec<Vote<T>>| {
            let first = group.first();
            first.is_some_and(|first| agree(&first.choice, &vote.choice))
        };
        match groups.iter_mut().find(agrees) {
            Some(group) => group.push(vote),
            None => groups.push(vec![vote]),
        }
    }
    let most = groups.iter().map(Vec::len).max();
    groups.retain(|group| Some(group.len()) == most);
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    fn vote(host: &str, id: Option<&str>, choice: u32) -> Vote<u32> {
        let (host, id) = (host.to_owned(), id.map(str::to_owned));
        let node = Node { host, port: 1 };
        Vote {
            voter: Voter { node, id },
            choice,
        }
    }

    async fn after(ms: u64, reply: Result<Vote<u32>, &str>) -> Result<Vote<u32>, &str> {
        sleep(Duration::from_millis(ms)).await;
        reply
    }

    fn choices(votes: &[Vote<u32>]) -> Vec<u32> {
        votes.iter().map(|vote| vote.choice).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn collect_waits_for_a_while_after_the_first_reply() {
        let begin = Instant::now();
        let votes = collect(
            [
                after(100, Ok(vote("a", None, 1))),
                after(10, Err("refused")),
                after(240, Ok(vote("b", None, 2))),
                after(260, Ok(vote("c", None, 3))),
            ],
            "none",
        );
        assert_eq!(choices(&votes.await.expect("votes")), [1, 2]);
        assert_eq!(begin.elapsed().as_millis(), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn collect_fails_with_the_last_failure_when_no_server_replies() {
        let begin = Instant::now();
        let queries = [
            after(10, Err("refused")),
            after(3000, Ok(vote("a", None, 1))),
        ];
        assert_eq!(collect(queries, "none").await.err(), Some("refused"));
        assert_eq!(begin.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_with_two_addresses_has_one_vote() {
        let queries = [
            after(1, Ok(vote("a", Some("id"), 1))),
            after(2, Ok(vote("b", Some("id"), 2))),
            after(3, Ok(vote("a", None, 3))),
            after(4, Ok(vote("c", None, 4))),
            after(5, Ok(vote("d", None, 5))),
        ];
        let votes = collect(queries, "none").await.expect("votes");
        assert_eq!(choices(&votes), [1, 4, 5]);
    }

    #[test]
    fn largest_groups_returns_all_groups_of_the_largest_size() {
        let groups = |choices: &[u32]| -> Vec<Vec<u32>> {
            let votes = choices.iter().map(|&choice| vote("a", None, choice));
            let groups = largest_groups(votes.collect(), |one, other| one == other);
            groups.iter().map(|group| self::choices(group)).collect()
        };
        assert_eq!(groups(&[1, 2, 1, 3]), [vec![1, 1]]);
        assert_eq!(groups(&[1, 2, 2, 1, 3]), [vec![1, 1], vec![2, 2]]);
        assert!(groups(&[]).is_empty());
    }
}
