//! In-flight commands, in the order in which the server will reply to them.

use crate::cache::Moment;
use crate::connection::clock;
use crate::connection::job::Job;
use crate::connection::link::Link;
use crate::connection::substitutes::Denied;
use redis::Value;
use std::collections::VecDeque;
use std::mem;
use tokio::time::Instant;

/// The purpose of an in-flight entry.
pub(super) enum Purpose {
    /// The commands of a job.
    Job(Job),
    /// A job whose deadline has passed. Its replies may still arrive.
    Expired,
    /// A heartbeat, or a check that commands and replies are in step.
    Ping,
    /// A heartbeat of a cluster node, which also checks that the node serves a key.
    KeyProbe,
    /// A request for the slot map of a cluster node, and a check that the node serves a key.
    SlotCheck,
}

impl Purpose {
    pub(super) fn job(&self) -> Option<&Job> {
        match self {
            Self::Job(job) => Some(job),
            _ => None,
        }
    }

    /// Returns true if `value` can be the reply to the next command, after `received` replies. Only a `PING` is
    /// answered with `PONG`, so commands after a `PING` never receive the replies to commands before it.
    fn expects(&self, received: usize, value: &Value) -> bool {
        let is_pong = matches!(value, Value::SimpleString(text) if text == "PONG");
        match self {
            Self::Job(job) => job
                .pending
                .get(received)
                .is_some_and(|&command| job.commands.expects(command, value)),
            Self::Expired => !is_pong,
            Self::Ping => is_pong || matches!(value, Value::ServerError(_)),
            Self::SlotCheck if received == 0 => {
                matches!(value, Value::Array(_) | Value::ServerError(_))
            }
            Self::KeyProbe | Self::SlotCheck => {
                matches!(value, Value::Int(_) | Value::ServerError(_))
            }
        }
    }
}

/// Commands that were sent together, with the replies received so far.
pub(super) struct InFlightEntry {
    pub(super) purpose: Purpose,
    /// The denied commands, which were sent as their substitutes.
    pub(super) denied: Denied,
    /// The number of replies due.
    pub(super) due: usize,
    /// The number of replies received.
    pub(super) received: usize,
    /// The received replies that the job's reply handler has not seen yet.
    pub(super) replies: Vec<Value>,
    /// The time at which it was queued for the socket.
    queued_at: Instant,
    /// The same time by the cache's clock, if a reply confirms the freshness of the cache.
    pub(super) moment: Option<Moment>,
    /// The position of its end in the sent bytes.
    end: u64,
    /// The time at which it was completely written to the socket.
    flushed_at: Option<Instant>,
}

impl InFlightEntry {
    /// Returns true if `value` can be the next reply.
    pub(super) fn expects(&self, value: &Value) -> bool {
        self.purpose.expects(self.received, value)
    }

    /// Converts the next reply to the form in which Redis sends it.
    pub(super) fn normalized(&self, value: Value) -> Value {
        match &self.purpose {
            Purpose::Job(job) => match job.pending.get(self.received) {
                Some(&command) => {
                    let value = self.denied.restore(&job.commands, command, value);
                    job.commands.normalized(command, value)
                }
                None => value,
            },
            _ => value,
        }
    }

    /// Returns the time at which it was written to the socket; until then, the time of the last write.
    pub(super) fn written_at(&self, link: &Link) -> Instant {
        self.flushed_at
            .unwrap_or(self.queued_at.max(link.last_write()))
    }
}

/// The queue of in-flight entries.
#[derive(Default)]
pub(super) struct InFlight {
    entries: VecDeque<InFlightEntry>,
    /// The commands that the server of this link denies.
    pub(super) denied: Denied,
    /// The number of entries, from the first, that are completely written.
    flushed_count: usize,
}

impl InFlight {
    /// Adds an entry. `end` is the position of its end in the sent bytes.
    pub(super) fn push(&mut self, purpose: Purpose, due: usize, end: u64, moment: Option<Moment>) {
        self.entries.push_back(InFlightEntry {
            replies: Vec::with_capacity(purpose.job().map_or(0, |_| due)),
            purpose,
            denied: self.denied,
            due,
            received: 0,
            queued_at: clock::now(),
            moment,
            end,
            flushed_at: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn jobs(&self) -> impl Iterator<Item = (&InFlightEntry, &Job)> {
        let jobs = self.entries.iter().map(|sent| (sent, sent.purpose.job()));
        jobs.filter_map(|(sent, job)| Some((sent, job?)))
    }

    /// Returns true if any job is in flight.
    pub(super) fn has_jobs(&self) -> bool {
        self.jobs().next().is_some()
    }

    /// Returns the deadline of the first job.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.jobs().next().map(|(_, job)| job.deadline)
    }

    /// Returns the number of replies due to jobs.
    pub(super) fn replies_due(&self) -> usize {
        self.jobs().map(|(sent, _)| sent.due - sent.received).sum()
    }

    pub(super) fn first(&self) -> Option<&InFlightEntry> {
        self.entries.front()
    }

    pub(super) fn last(&self) -> Option<&InFlightEntry> {
        self.entries.back()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut InFlightEntry> {
        self.entries.front_mut()
    }

    /// Removes the first entry once all its replies are received.
    pub(super) fn pop_answered(&mut self) -> Option<InFlightEntry> {
        self.entries
            .front()
            .filter(|sent| sent.received >= sent.due)?;
        // Its replies may have arrived before it was marked as written.
        self.flushed_count = self.flushed_count.saturating_sub(1);
        self.entries.pop_front()
    }

    /// Marks the entries that are completely written.
    pub(super) fn note_written(&mut self, link: &Link) {
        while let Some(sent) = self.entries.get_mut(self.flushed_count)
            && sent.end <= link.written()
        {
            sent.flushed_at = Some(link.last_write());
            self.flushed_count += 1;
        }
    }

    /// Takes the jobs whose deadline has passed, each with its received replies. Their entries keep their places, since
    /// the remaining replies may still arrive.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Job, Vec<Value>)> {
        let is_expired =
            |sent: &&mut InFlightEntry| sent.purpose.job().is_none_or(|job| job.deadline <= now);
        let expired = self.entries.iter_mut().take_while(is_expired);
        expired
            .filter_map(
                |sent| match mem::replace(&mut sent.purpose, Purpose::Expired) {
                    Purpose::Job(job) => Some((job, mem::take(&mut sent.replies))),
                    other => {
                        sent.purpose = other;
                        None
                    }
                },
            )
            .collect()
    }

    /// Takes all jobs, each with its received replies and the commands that were sent as substitutes, and clears the
    /// queue.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Job, Vec<Value>, Denied)> + use<> {
        let entries = mem::take(self).entries.into_iter();
        entries.filter_map(|sent| match sent.purpose {
            Purpose::Job(job) => Some((job, sent.replies, sent.denied)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Commands, Expect};
    use crate::connection::job::{Reply, ReplyHandler};
    use crate::connection::origin::Origin;
    use std::time::Duration;

    struct IgnoreReplies;

    impl ReplyHandler for IgnoreReplies {
        fn on_replies(&mut self, _: Vec<(usize, Reply)>, _: Origin) {}
    }

    fn job(deadline: Instant) -> Purpose {
        let get = Commands::of(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
        Purpose::Job(Job::new(get, 1, deadline, Box::new(IgnoreReplies)))
    }

    fn reply(bytes: &[u8]) -> Value {
        redis::parse_redis_value(bytes).expect("a reply")
    }

    #[test]
    fn a_pong_is_expected_only_by_a_ping() {
        let replies = [
            reply(b"+PONG\r\n"),
            reply(b"$1\r\nx\r\n"),
            reply(b":-2\r\n"),
            reply(b"-NOPERM no\r\n"),
        ];
        let fits = |purpose: &Purpose| replies.each_ref().map(|reply| purpose.expects(0, reply));
        assert_eq!(fits(&job(Instant::now())), [false, true, false, true]);
        assert_eq!(fits(&Purpose::Expired), [false, true, true, true]);
        assert_eq!(fits(&Purpose::Ping), [true, false, false, true]);
        assert_eq!(fits(&Purpose::KeyProbe), [false, false, true, true]);
    }

    #[test]
    fn an_expired_job_keeps_its_place() {
        let now = Instant::now();
        let next = now + Duration::from_secs(1);
        let mut in_flight = InFlight::default();
        for (place, deadline) in [now, next].into_iter().enumerate() {
            in_flight.push(job(deadline), 1, place as u64, None);
        }
        assert_eq!(
            (in_flight.replies_due(), in_flight.deadline()),
            (2, Some(now))
        );
        assert_eq!(in_flight.expire(now).len(), 1);
        assert!(in_flight.expire(now).is_empty());
        assert_eq!(
            (in_flight.replies_due(), in_flight.deadline()),
            (1, Some(next))
        );
        assert!(in_flight.pop_answered().is_none());
        for place in 0..2 {
            assert!(in_flight.has_jobs());
            if let Some(first) = in_flight.first_mut() {
                first.received = 1;
            }
            let answered = in_flight.pop_answered().expect("all replies have arrived");
            assert_eq!(answered.purpose.job().is_some(), place == 1);
        }
        assert!(in_flight.is_empty());
    }
}
