//! The embedded store's only writer: a thread that takes commands, makes them durable in groups and ends leases in time.
//!
//! A thread and not a task, because writing waits for the disk. When a write fails, its callers are told that the store is
//! unavailable and nothing has changed. Invariant: a reply or a watch event is sent only after the disk has the write.

use super::file::{EmbeddedSettings, Shared};
use super::group::Group;
use super::lease::Leases;
use super::tables::{DiskError, Header};
use crate::store::{Compare, LeaseId, Op, Revision, StoreError};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::oneshot;

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer can be asked to do. A reply that is dropped unsent means: not done, the disk failed.
pub(super) enum Command {
    Commit { compares: Vec<Compare>, ops: Vec<Op>, reply: Reply<Option<Revision>> },
    Grant { ttl: Duration, reply: Reply<LeaseId> },
    KeepAlive { lease: LeaseId, reply: Reply<bool> },
    Revoke { lease: LeaseId, reply: Reply<()> },
    Compact { revision: Revision, reply: Reply<()> },
}

/// What is done once a group is on disk: the leases in memory follow, and the caller gets its reply.
type Afterwards = Box<dyn FnOnce(&mut Leases)>;

/// Commands made durable together, at most.
const GROUP: usize = 256;

/// How long the writer waits at most before it looks at the clock again while there are leases, and how long it leaves
/// a disk alone that has just failed.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    header: Header,
    leases: Leases,
    history_events: u64,
    history_bytes: u64,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        commands: Receiver<Command>,
        header: Header,
        leases: Vec<(LeaseId, Duration)>,
        settings: &EmbeddedSettings,
    ) -> Self {
        let leases = Leases::new(settings.clock.clone(), leases);
        let (history_events, history_bytes) = (settings.history_events, settings.history_bytes);
        Self { shared, commands, header, leases, history_events, history_bytes }
    }

    /// Runs until the store is closed.
    pub(super) fn run(mut self) {
        let mut failed = false;
        loop {
            let wait = self.leases.next().map(|until| until.min(LONGEST_WAIT));
            let first = match wait {
                None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) if failed => self.commands.recv_timeout(LONGEST_WAIT),
                Some(wait) => self.commands.recv_timeout(wait),
            };
            let commands: Vec<Command> = match first {
                Ok(first) => std::iter::once(first).chain(self.commands.try_iter().take(GROUP - 1)).collect(),
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            failed = false;
            if let Err(error) = self.turn(commands) {
                tracing::error!(%error, "the embedded store could not write");
                failed = true;
            }
        }
    }

    /// Renewals at once; everything else in one write, after the leases that are due.
    fn turn(&mut self, commands: Vec<Command>) -> Result<(), DiskError> {
        let due = self.leases.due();
        let mut writes = Vec::new();
        for command in commands {
            match command {
                // A caller that no longer waits has no use for the reply; so below, too.
                Command::KeepAlive { lease, reply } => drop(reply.send(Ok(self.leases.renew(lease)))),
                write => writes.push(write),
            }
        }
        if due.is_empty() && writes.is_empty() {
            return Ok(());
        }
        let (header, afterwards) = self.write(due, writes)?;
        self.header = header;
        self.shared.revision.send_replace(header.revision);
        for then in afterwards {
            then(&mut self.leases);
        }
        Ok(())
    }

    fn write(&self, due: Vec<LeaseId>, writes: Vec<Command>) -> Result<(Header, Vec<Afterwards>), DiskError> {
        let txn = self.shared.database.begin_write()?;
        let mut group = Group::open(&txn, self.header)?;
        let mut afterwards: Vec<Afterwards> = Vec::new();
        for lease in due {
            group.revoke(lease)?;
            afterwards.push(Box::new(move |leases| leases.end(lease)));
        }
        for command in writes {
            afterwards.push(carry_out(command, &mut group)?);
        }
        let header = group.close(self.history_events, self.history_bytes)?;
        header.write(&txn)?;
        txn.commit()?;
        Ok((header, afterwards))
    }
}

fn carry_out(command: Command, group: &mut Group<'_>) -> Result<Afterwards, DiskError> {
    Ok(match command {
        Command::Commit { compares, ops, reply } => {
            let outcome = group.commit(&compares, &ops)?;
            Box::new(move |_| drop(reply.send(outcome)))
        }
        Command::Grant { ttl, reply } => {
            let ttl = Duration::from_secs((ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(1));
            let lease = group.grant(ttl)?;
            Box::new(move |leases| {
                leases.begin(lease, ttl);
                drop(reply.send(Ok(lease)));
            })
        }
        Command::Revoke { lease, reply } => {
            group.revoke(lease)?;
            Box::new(move |leases| {
                leases.end(lease);
                drop(reply.send(Ok(())));
            })
        }
        Command::Compact { revision, reply } => {
            let outcome = group.compact(revision)?;
            Box::new(move |_| drop(reply.send(outcome)))
        }
        Command::KeepAlive { lease, reply } => Box::new(move |leases| drop(reply.send(Ok(leases.renew(lease))))),
    })
}
