//! What is in the socket, in the order in which the server will answer.

use crate::cache::Moment;
use crate::connection::link::Link;
use crate::connection::substitutes::Denied;
use crate::connection::{Job, clock};
use redis::Value;
use std::collections::VecDeque;
use std::mem;
use tokio::time::Instant;

/// What the server was asked.
pub(super) enum Asked {
    Job(Job),
    /// A job that has run out of time. Its replies still come.
    Expired,
    /// By ourselves: whether it lives, and whether commands and replies are in step.
    Ping,
    /// The same of a node of a cluster, and whether it serves a key.
    Key,
    /// Which slots it and the other nodes own, and whether it serves a key.
    Slots,
}

impl Asked {
    pub(super) fn job(&self) -> Option<&Job> {
        match self {
            Self::Job(job) => Some(job),
            _ => None,
        }
    }

    /// Whether a value can be the reply to the next command of it, after so many have come. Nothing else is
    /// answered as a `PING` is: what was sent behind one is not given the replies of what was sent before.
    fn expects(&self, come: usize, value: &Value) -> bool {
        let is_pong = matches!(value, Value::SimpleString(text) if text == "PONG");
        match self {
            Self::Job(job) => job
                .pending
                .get(come)
                .is_some_and(|&command| job.commands.expects(command, value)),
            Self::Expired => !is_pong,
            Self::Ping => is_pong || matches!(value, Value::ServerError(_)),
            Self::Slots if come == 0 => matches!(value, Value::Array(_) | Value::ServerError(_)),
            Self::Key | Self::Slots => matches!(value, Value::Int(_) | Value::ServerError(_)),
        }
    }
}

pub(super) struct Sent {
    pub(super) asked: Asked,
    /// The commands that were sent as their substitutes.
    pub(super) denied: Denied,
    /// How many replies are due.
    pub(super) due: usize,
    /// How many of them have come.
    pub(super) come: usize,
    /// Those that the job is still to be given.
    pub(super) replies: Vec<Value>,
    /// When it was queued for the socket.
    sent: Instant,
    /// The same by the clocks of the cache, where an answer is proof for it.
    pub(super) moment: Option<Moment>,
    /// The position of its end in the bytes sent.
    end: u64,
    /// When the socket had taken it all.
    flushed: Option<Instant>,
}

impl Sent {
    /// Whether a value can be the next of its replies.
    pub(super) fn expects(&self, value: &Value) -> bool {
        self.asked.expects(self.come, value)
    }

    /// Returns the next reply in the form in which Redis sends it.
    pub(super) fn normalized(&self, value: Value) -> Value {
        match &self.asked {
            Asked::Job(job) => match job.pending.get(self.come) {
                Some(&command) => {
                    let value = self.denied.restore(&job.commands, command, value);
                    job.commands.normalized(command, value)
                }
                None => value,
            },
            _ => value,
        }
    }

    /// When the socket had taken it, or last took anything.
    pub(super) fn taken(&self, link: &Link) -> Instant {
        self.flushed.unwrap_or(self.sent.max(link.wrote()))
    }
}

#[derive(Default)]
pub(super) struct InFlight {
    all: VecDeque<Sent>,
    /// The commands that this connection was found to deny.
    pub(super) denied: Denied,
    /// How many of them, from the first, the socket has taken.
    flushed: usize,
}

impl InFlight {
    /// `end` is the position of its end in the bytes sent.
    pub(super) fn push(&mut self, asked: Asked, due: usize, end: u64, moment: Option<Moment>) {
        self.all.push_back(Sent {
            replies: Vec::with_capacity(asked.job().map_or(0, |_| due)),
            asked,
            denied: self.denied,
            due,
            come: 0,
            sent: clock::now(),
            moment,
            end,
            flushed: None,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn jobs(&self) -> impl Iterator<Item = (&Sent, &Job)> {
        let jobs = self.all.iter().map(|sent| (sent, sent.asked.job()));
        jobs.filter_map(|(sent, job)| Some((sent, job?)))
    }

    /// Somebody waits for some of it.
    pub(super) fn is_wanted(&self) -> bool {
        self.jobs().next().is_some()
    }

    /// By when the first must be answered that somebody waits for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.jobs().next().map(|(_, job)| job.deadline)
    }

    /// How many replies are due that somebody waits for.
    pub(super) fn owed(&self) -> usize {
        self.jobs().map(|(sent, _)| sent.due - sent.come).sum()
    }

    pub(super) fn first(&self) -> Option<&Sent> {
        self.all.front()
    }

    pub(super) fn last(&self) -> Option<&Sent> {
        self.all.back()
    }

    pub(super) fn first_mut(&mut self) -> Option<&mut Sent> {
        self.all.front_mut()
    }

    /// The first, once all its replies have come.
    pub(super) fn pop_answered(&mut self) -> Option<Sent> {
        self.all.front().filter(|sent| sent.come >= sent.due)?;
        // Its replies may have come before it was marked.
        self.flushed = self.flushed.saturating_sub(1);
        self.all.pop_front()
    }

    /// Marks what the socket has taken.
    pub(super) fn note_written(&mut self, link: &Link) {
        while let Some(sent) = self.all.get_mut(self.flushed)
            && sent.end <= link.written()
        {
            sent.flushed = Some(link.wrote());
            self.flushed += 1;
        }
    }

    /// The jobs that have run out of time, each with those of its replies that have come.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(Job, Vec<Value>)> {
        let is_over = |sent: &&mut Sent| sent.asked.job().is_none_or(|job| job.deadline <= now);
        let over = self.all.iter_mut().take_while(is_over);
        over.filter_map(|sent| match mem::replace(&mut sent.asked, Asked::Expired) {
            Asked::Job(job) => Some((job, mem::take(&mut sent.replies))),
            other => {
                sent.asked = other;
                None
            }
        })
        .collect()
    }

    /// All that somebody waits for, each with those of its replies that have come and the commands that were sent as
    /// their substitutes; nothing is left.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (Job, Vec<Value>, Denied)> + use<> {
        let all = mem::take(self).all.into_iter();
        all.filter_map(|sent| match sent.asked {
            Asked::Job(job) => Some((job, sent.replies, sent.denied)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::commands::{Access, Commands, Expect};
    use crate::connection::{Reply, ReplyHandler};
    use std::time::Duration;

    struct Nobody;

    impl ReplyHandler for Nobody {
        fn on_replies(&mut self, _: Vec<(usize, Reply)>) {}
    }

    fn job(deadline: Instant) -> Asked {
        let get = Commands::of(Access::Read, Expect::Text, Some(1), &[b"GET", b"k"]);
        Asked::Job(Job::new(get, 1, deadline, Box::new(Nobody)))
    }

    fn reply(bytes: &[u8]) -> Value {
        redis::parse_redis_value(bytes).expect("a reply")
    }

    #[test]
    fn the_answer_to_a_ping_fits_nothing_else() {
        let replies = [
            reply(b"+PONG\r\n"),
            reply(b"$1\r\nx\r\n"),
            reply(b":-2\r\n"),
            reply(b"-NOPERM no\r\n"),
        ];
        let fits = |asked: &Asked| replies.each_ref().map(|reply| asked.expects(0, reply));
        assert_eq!(fits(&job(Instant::now())), [false, true, false, true]);
        assert_eq!(fits(&Asked::Expired), [false, true, true, true]);
        assert_eq!(fits(&Asked::Ping), [true, false, false, true]);
        assert_eq!(fits(&Asked::Key), [false, false, true, true]);
    }

    #[test]
    fn what_runs_out_of_time_keeps_its_place() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut in_flight = InFlight::default();
        for (place, deadline) in [now, later].into_iter().enumerate() {
            in_flight.push(job(deadline), 1, place as u64, None);
        }
        assert_eq!((in_flight.owed(), in_flight.deadline()), (2, Some(now)));
        assert_eq!(in_flight.expire(now).len(), 1);
        assert!(in_flight.expire(now).is_empty());
        assert_eq!((in_flight.owed(), in_flight.deadline()), (1, Some(later)));
        assert!(in_flight.pop_answered().is_none());
        for asked in 0..2 {
            assert!(in_flight.is_wanted());
            if let Some(first) = in_flight.first_mut() {
                first.come = 1;
            }
            let answered = in_flight.pop_answered().expect("all replies have come");
            assert_eq!(answered.asked.job().is_some(), asked == 1);
        }
        assert!(in_flight.is_empty());
    }
}
