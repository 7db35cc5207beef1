//! The server that receives commands when the primary changes.

use super::fixtures::{Server, handshake_reply, ms_since, received, reply, send, text};
use crate::connection::handle::Connection;
use crate::error::Error;
use crate::options::parse_url;
use redis::Value;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep};

// ---- Sentinel ----

/// Returns the reply of a Sentinel that has made the server at `port` the primary.
fn sentinel_reply(command: &[String], port: u16) -> Option<String> {
    let (_, words) = command.split_first()?;
    Some(match words.first()?.as_str() {
        "GET-MASTER-ADDR-BY-NAME" => {
            let port = port.to_string();
            format!("*2\r\n$1\r\np\r\n${}\r\n{port}\r\n", port.len())
        }
        "SENTINELS" => "*0\r\n".into(),
        _ => "-ERR unknown\r\n".into(),
    })
}

#[tokio::test(start_paused = true)]
async fn a_connection_moves_to_the_primary_that_the_sentinels_name() {
    let primary = Arc::new(Mutex::new(1));
    let options = parse_url("redis+sentinel://s:26379/name").expect("a URL");
    let (server, connection) = Server::start(options);
    let named = Arc::clone(&primary);
    server.serve(move |port, command| match command[0].as_str() {
        "SENTINEL" => sentinel_reply(command, *named.lock().expect("unpoisoned")),
        // The former primary never answers.
        "GET" if port == 1 && *named.lock().expect("unpoisoned") == 2 => Some(String::new()),
        "GET" => Some(format!("$1\r\n{port}\r\n")),
        _ => handshake_reply(command),
    });
    assert_eq!(
        reply(send(&connection, &["GET k"])).await.ok(),
        Some(text("1"))
    );
    *primary.lock().expect("unpoisoned") = 2;
    let begin = Instant::now();
    let get = send(&connection, &["GET k"]);
    assert_eq!(reply(get).await.ok(), Some(text("2")));
    assert!(ms_since(begin) <= 1100, "{}", ms_since(begin));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_a_primary_yet_is_not_used() {
    let options = parse_url("redis+sentinel://s:26379/name").expect("a URL");
    let (server, connection) = Server::start(options);
    let begin = Instant::now();
    server.serve(move |_, command| match command[0].as_str() {
        "SENTINEL" => sentinel_reply(command, 1),
        "ROLE" if ms_since(begin) < 1000 => Some("*1\r\n$5\r\nslave\r\n".into()),
        "SET" => Some("+OK\r\n".into()),
        _ => handshake_reply(command),
    });
    assert!(reply(send(&connection, &["SET k v"])).await.is_ok());
    assert!(
        (1000..=1600).contains(&ms_since(begin)),
        "{}",
        ms_since(begin)
    );
}

// ---- Cluster ----

/// Returns a reply to `CLUSTER SLOTS`, of ranges with the port of the primary.
pub(super) fn slots(ranges: &[(u16, u16, u16)]) -> String {
    let ranges = ranges.iter().map(|(first, last, port)| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n$1\r\nn\r\n:{port}\r\n$2\r\nid\r\n")
    });
    let ranges: Vec<_> = ranges.collect();
    format!("*{}\r\n{}", ranges.len(), ranges.concat())
}

/// The state of a cluster in memory.
pub(super) struct Nodes {
    slots: String,
    /// The ports of nodes that hang up on everything.
    dead: HashSet<u16>,
    /// The ports of nodes that answer commands with a redirect.
    redirects: Vec<(u16, String)>,
    /// The commands that the nodes executed, in order.
    executed: Vec<(u16, String)>,
}

/// A cluster in memory.
pub(super) struct Cluster(Arc<Mutex<Nodes>>);

impl Cluster {
    /// Starts nodes at these ports, and connects to them.
    pub(super) fn start(ports: &[u16], slots: String) -> (Self, Connection) {
        let hosts: Vec<_> = ports.iter().map(|port| format!("n:{port}")).collect();
        let url = format!("redis+cluster://{}", hosts.join(","));
        let (server, connection) = Server::start(parse_url(&url).expect("a URL"));
        let nodes = Arc::new(Mutex::new(Nodes {
            slots,
            dead: HashSet::new(),
            redirects: Vec::new(),
            executed: Vec::new(),
        }));
        let state = Arc::clone(&nodes);
        server.serve(move |port, command| state.lock().expect("unpoisoned").reply(port, command));
        (Self(nodes), connection)
    }

    fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().expect("unpoisoned")
    }
}

impl Nodes {
    fn reply(&mut self, port: u16, command: &[String]) -> Option<String> {
        if self.dead.contains(&port) {
            return None;
        }
        let reply = match command[0].as_str() {
            "CLUSTER" if command[1] == "SLOTS" => return Some(self.slots.clone()),
            "CLUSTER" => return Some("-ERR unknown\r\n".into()),
            "ASKING" => return Some("+OK\r\n".into()),
            "GET" => "$1\r\nx\r\n",
            "SET" => "+OK\r\n",
            _ => return handshake_reply(command),
        };
        let mut redirects = self.redirects.iter();
        if let Some((_, redirect)) = redirects.find(|(from, _)| *from == port) {
            return Some(redirect.clone());
        }
        self.executed.push((port, command.join(" ")));
        Some(reply.into())
    }

    fn executed(&self) -> Vec<(u16, &str)> {
        let executed = self.executed.iter();
        executed
            .map(|(port, command)| (*port, command.as_str()))
            .collect()
    }
}

// The slots: "a" 15495, "b" 3300, "c" 7365.
const HALVES: [(u16, u16, u16); 2] = [(0, 8191, 1), (8192, 16_383, 2)];

#[tokio::test(start_paused = true)]
async fn each_command_goes_to_the_node_of_its_slot() {
    let (cluster, connection) = Cluster::start(&[1, 2], slots(&HALVES));
    let replies = received(send(&connection, &["SET a 1", "SET b 1", "GET c"])).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    let mut executed = cluster.nodes().executed.clone();
    executed.sort();
    let expected = [(1, "GET c"), (1, "SET b 1"), (2, "SET a 1")];
    assert_eq!(
        executed,
        expected.map(|(port, command)| (port, command.to_owned()))
    );
}

#[tokio::test(start_paused = true)]
async fn commands_of_a_slot_follow_a_moved_redirect_in_order() {
    let (cluster, connection) = Cluster::start(&[1, 2], slots(&HALVES));
    assert!(reply(send(&connection, &["GET b"])).await.is_ok());
    cluster.nodes().executed.clear();
    cluster.nodes().redirects = vec![(1, "-MOVED 3300 n:2\r\n".into())];
    let lines = ["SET b 1", "GET b", "SET b 2"];
    let replies = received(send(&connection, &lines)).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(cluster.nodes().executed(), lines.map(|line| (2, line)));
}

#[tokio::test(start_paused = true)]
async fn an_ask_redirect_is_followed_for_its_command_only() {
    let (cluster, connection) = Cluster::start(&[1, 2], slots(&HALVES));
    assert!(reply(send(&connection, &["GET b"])).await.is_ok());
    cluster.nodes().executed.clear();
    cluster.nodes().redirects = vec![(1, "-ASK 3300 n:2\r\n".into())];
    assert!(reply(send(&connection, &["SET b 1"])).await.is_ok());
    cluster.nodes().redirects.clear();
    assert!(reply(send(&connection, &["SET b 2"])).await.is_ok());
    assert_eq!(cluster.nodes().executed(), [(2, "SET b 1"), (1, "SET b 2")]);
}

#[tokio::test(start_paused = true)]
async fn commands_of_a_lost_node_wait_for_its_successor_while_others_are_served() {
    let (cluster, connection) = Cluster::start(&[1, 2, 3], slots(&HALVES));
    assert!(reply(send(&connection, &["GET b"])).await.is_ok());
    cluster.nodes().dead.insert(1);
    let begin = Instant::now();
    let lines = ["SET b 1", "SET b 2"];
    let waiting = send(&connection, &lines);
    assert!(reply(send(&connection, &["GET a"])).await.is_ok());
    assert!(ms_since(begin) < 10);
    sleep(Duration::from_millis(1500)).await;
    cluster.nodes().slots = slots(&[(0, 8191, 3), (8192, 16_383, 2)]);
    cluster.nodes().executed.clear();
    let replies = received(waiting).await;
    assert!(replies.iter().all(Result::is_ok), "{replies:?}");
    assert_eq!(cluster.nodes().executed(), lines.map(|line| (3, line)));
    // The topology is refreshed after a tenth of the failure's age.
    assert!(ms_since(begin) < 1900, "{}", ms_since(begin));
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_retried_by_one_command_of_its_slot_with_backoff() {
    let (cluster, connection) = Cluster::start(&[1], slots(&[(0, 16_383, 1)]));
    assert!(reply(send(&connection, &["GET b"])).await.is_ok());
    cluster.nodes().redirects = vec![(1, "-TRYAGAIN later\r\n".into())];
    cluster.nodes().executed.clear();
    let lines = ["SET b 1", "SET b 2"];
    let sets = send(&connection, &lines);
    sleep(Duration::from_millis(400)).await;
    cluster.nodes().redirects.clear();
    let begin = Instant::now();
    let replies: Vec<_> = received(sets).await.into_iter().map(Result::ok).collect();
    assert_eq!(replies, [Some(Value::Okay), Some(Value::Okay)]);
    assert!(ms_since(begin) <= 500, "{}", ms_since(begin));
    assert_eq!(cluster.nodes().executed(), lines.map(|line| (1, line)));
}

#[tokio::test(start_paused = true)]
async fn commands_of_a_slot_without_a_node_fail_at_their_deadline() {
    let (_cluster, connection) = Cluster::start(&[1], slots(&[(0, 8191, 1)]));
    let begin = Instant::now();
    let error = reply(send(&connection, &["GET a"]))
        .await
        .expect_err("no node");
    let Error::Unavailable { cause, .. } = error else {
        panic!("{error}");
    };
    assert!(cause.to_string().contains("15495"), "{cause}");
    assert_eq!(ms_since(begin), 5000);
}
