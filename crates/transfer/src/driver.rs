//! The task that drives the scheduler: takes wants and reports, keeps sessions with the members of
//! wanting folders, and does what the scheduler says.
//!
//! The driver never waits for a session or a consumer: what it sends them fits into queues that
//! the scheduler's own bounds keep from filling up, and a queue that is full all the same ends the
//! session or the job.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use dunlin_blocks::BlockRef;
use dunlin_identity::{FolderId, Hash};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::api::{FetchError, Fetched, Priority};
use crate::connect::{Doors, run_session};
use crate::scheduler::{Action, Bounds, JobId, Micros, Scheduler, Source};
use crate::session::{Order, Report, Reported, Session};
use crate::shared::Shared;

/// Messages that are taken at a time before acting on them.
const BATCH: usize = 64;
/// Orders that a session may not have taken yet. Each is a batch or a cancelled block, and the
/// scheduler keeps fewer than 1024 blocks in flight to a session.
const ORDERS_MAX: usize = 2048;
/// Reports that wait for the driver; sessions wait when there are more.
const REPORTS_MAX: usize = 256;
/// Sessions that are being opened or open, at most.
const SESSIONS_MAX: usize = 256;
/// Sessions of one folder; members beyond are asked when one of these ends.
const FOLDER_SESSIONS_MAX: usize = 16;
/// How often the scheduler is ticked while anything is wanted.
const TICK: Duration = Duration::from_millis(100);
/// A device that could not be reached is tried again after this, doubled with each failure.
const RETRY_MIN: Micros = 500_000;
/// The longest such wait.
const RETRY_MAX: Micros = 30_000_000;

/// What callers ask of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    /// Wants blocks; the answers go to the job's channel, which must have room for all of them.
    Want {
        job: JobId,
        folder: FolderId,
        priority: Priority,
        blocks: Vec<BlockRef>,
        answers: Sender<Fetched>,
    },
    /// The job's consumer has taken so many bytes.
    Consumed { job: JobId, bytes: u64 },
    /// The job is over.
    End { job: JobId },
    /// Ends the driver.
    Stop,
}

struct SessionHandle {
    id: u64,
    orders: Sender<Order>,
    abort: AbortHandle,
}

/// Failures to reach a source, and when to try again.
#[derive(Clone, Copy, Default)]
struct Failures {
    count: u32,
    retry_at: Micros,
}

pub(crate) struct Driver {
    shared: Arc<Shared>,
    doors: Arc<Doors>,
    scheduler: Scheduler,
    jobs: HashMap<JobId, Sender<Fetched>>,
    sessions: HashMap<Source, SessionHandle>,
    next_session: u64,
    failures: HashMap<Source, Failures>,
    /// Something has happened after which sessions may have to be opened.
    look_around: bool,
    seen_version: u64,
    reports: Sender<Reported>,
    tasks: JoinSet<()>,
    start: Instant,
}

impl Driver {
    pub(crate) fn new(shared: Arc<Shared>, doors: Arc<Doors>) -> (Self, Receiver<Reported>) {
        let (reports, reports_receive) = mpsc::channel(REPORTS_MAX);
        let driver = Self {
            shared,
            doors,
            scheduler: Scheduler::new(Bounds::default()),
            jobs: HashMap::new(),
            sessions: HashMap::new(),
            next_session: 0,
            failures: HashMap::new(),
            look_around: false,
            seen_version: 0,
            reports,
            tasks: JoinSet::new(),
            start: Instant::now(),
        };
        (driver, reports_receive)
    }

    /// Runs until it is stopped or all handles are gone, then closes the endpoint.
    pub(crate) async fn run(
        mut self,
        mut reports: Receiver<Reported>,
        mut commands: Receiver<Command>,
    ) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut told, mut asked) = (Vec::with_capacity(BATCH), Vec::with_capacity(BATCH));
        loop {
            let shared = self.shared.clone();
            // Jobs are looked after even when nothing is under way: their fetches may be dropped.
            let busy = !self.scheduler.is_idle() || !self.jobs.is_empty();
            tokio::select! {
                count = commands.recv_many(&mut asked, BATCH) => if count == 0 { break },
                _ = reports.recv_many(&mut told, BATCH) => {}
                () = shared.changed.notified() => self.look_around = true,
                Some(_) = self.tasks.join_next() => continue,
                _ = ticks.tick(), if busy => self.tick(),
            }
            if asked.iter().any(|command| matches!(command, Command::Stop)) {
                break;
            }
            asked.drain(..).for_each(|command| self.on_command(command));
            told.drain(..).for_each(|reported| self.on_report(reported));
            self.act();
        }
        self.tasks.abort_all();
        self.shared.quic.close();
    }

    fn now(&self) -> Micros {
        self.start.elapsed().as_micros() as Micros
    }

    fn tick(&mut self) {
        // A fetch that was dropped half-way has closed its channel.
        let over: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.is_closed()).map(|(id, _)| *id).collect();
        for job in over {
            self.end(job);
        }
        self.look_around = true;
        let now = self.now();
        self.scheduler.set_give_up(self.shared.patience_us.load(Ordering::Relaxed));
        self.scheduler.tick(now);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Want { job, folder, priority, blocks, answers } => {
                self.look_around = true;
                self.jobs.entry(job).or_insert(answers);
                self.scheduler.want(job, folder, priority, &blocks);
            }
            Command::Consumed { job, bytes } => self.scheduler.consumed(job, bytes),
            Command::End { job } => self.end(job),
            Command::Stop => {}
        }
    }

    fn end(&mut self, job: JobId) {
        self.jobs.remove(&job);
        self.scheduler.end(job);
    }

    fn on_report(&mut self, reported: Reported) {
        let Reported { source, session, report } = reported;
        let now = self.now();
        let current = self.sessions.get(&source).filter(|handle| handle.id == session);
        if current.is_none() {
            // Of a session that was left; a block that came all the same is good.
            if let Report::Arrived(hash, data) = report {
                self.deliver(&source, hash, &data, now);
            }
            return;
        }
        match report {
            Report::Up => {
                if !self.scheduler.source_up(source, now) {
                    self.close(&source);
                }
            }
            Report::Arrived(hash, data) => {
                self.failures.remove(&source);
                self.deliver(&source, hash, &data, now);
            }
            Report::Lacks(hash) => self.scheduler.lacks(&source, &hash, now),
            Report::Told(has, lacks) => self.scheduler.told(&source, &has, &lacks),
            Report::Skipped(hash) => self.scheduler.skipped(&source, &hash, now),
            Report::Lied(hash) => {
                warn!(device = %source.device, block = %hash, "a block came with a wrong hash");
                self.scheduler.lied(&source, &hash, now);
            }
            Report::Progress => self.scheduler.progress(&source, now),
            Report::Down(error) => {
                self.close(&source);
                if error.is_some() {
                    self.note_failure(source, now);
                }
            }
        }
    }

    fn note_failure(&mut self, source: Source, now: Micros) {
        let failures = self.failures.entry(source).or_default();
        let wait = RETRY_MIN.saturating_mul(1 << failures.count.min(16)).min(RETRY_MAX);
        *failures = Failures { count: failures.count + 1, retry_at: now + wait };
    }

    fn deliver(&mut self, source: &Source, hash: Hash, data: &Bytes, now: Micros) {
        for job in self.scheduler.arrived(source, &hash, data.len() as u32, now) {
            self.answer(job, Fetched { hash, data: Ok(data.clone()) });
        }
    }

    fn answer(&mut self, job: JobId, fetched: Fetched) {
        let Some(answers) = self.jobs.get(&job) else { return };
        if answers.try_send(fetched).is_err() {
            // The fetch is over; it never wants more than its channel can take.
            self.end(job);
        }
    }

    /// Opens sessions that are needed, and does what the scheduler says.
    fn act(&mut self) {
        let now = self.now();
        self.scheduler.set_metered(self.shared.metered.load(Ordering::Relaxed));
        if std::mem::take(&mut self.look_around) {
            self.scheduler.set_folder_priorities(&self.shared.directory().priorities);
            self.open_sessions(now);
        }
        for action in self.scheduler.actions(now) {
            match action {
                Action::Request { source, blocks } => self.order(&source, Order::Ask(blocks)),
                Action::Watch { source, hashes } => self.order(&source, Order::Watch(hashes)),
                Action::Cancel { source, hash } => self.order(&source, Order::TakeBack(hash)),
                Action::Fail { jobs, hash } => {
                    for job in jobs {
                        let data = Err(FetchError::Unavailable);
                        self.answer(job, Fetched { hash, data });
                    }
                }
                Action::Drop { source, fault } => {
                    debug!(device = %source.device, ?fault, "leaving a source");
                    self.close(&source);
                }
            }
        }
    }

    fn order(&mut self, source: &Source, order: Order) {
        let Some(handle) = self.sessions.get(source) else { return };
        if handle.orders.try_send(order).is_err() {
            self.close(source);
        }
    }

    /// Leaves a session, whether it is up or being opened.
    fn close(&mut self, source: &Source) {
        if let Some(handle) = self.sessions.remove(source) {
            handle.abort.abort();
        }
        self.scheduler.source_down(source);
    }

    /// Opens sessions with the members of folders of which something is wanted, and leaves those
    /// with devices that are no longer members.
    fn open_sessions(&mut self, now: Micros) {
        let wanting: Vec<FolderId> = self.scheduler.wanting().collect();
        let (members, version) = {
            let directory = self.shared.directory();
            if wanting.is_empty() && directory.version == self.seen_version {
                return;
            }
            let of = |folder: &FolderId| directory.members.get(folder).cloned().unwrap_or_default();
            let members: Vec<_> = wanting.iter().map(|folder| (*folder, of(folder))).collect();
            (members, directory.version)
        };
        if version != self.seen_version {
            self.seen_version = version;
            self.failures.clear();
            self.leave_strangers();
        }
        for (folder, devices) in members {
            let mut open = self.sessions.keys().filter(|source| source.folder == folder).count();
            for device in devices {
                let source = Source { folder, device };
                let may_try = self.failures.get(&source).is_none_or(|f| f.retry_at <= now);
                let needed = device != self.shared.me && !self.sessions.contains_key(&source);
                let room = self.sessions.len() < SESSIONS_MAX && open < FOLDER_SESSIONS_MAX;
                if needed && room && may_try && self.scheduler.is_welcome(&source, now) {
                    self.open_session(source);
                    open += 1;
                }
            }
        }
    }

    fn leave_strangers(&mut self) {
        let left: Vec<Source> = {
            let directory = self.shared.directory();
            let is_member = |source: &Source| {
                let members = directory.members.get(&source.folder);
                members.is_some_and(|members| members.contains(&source.device))
            };
            self.sessions.keys().filter(|source| !is_member(source)).copied().collect()
        };
        for source in left {
            self.close(&source);
        }
    }

    fn open_session(&mut self, source: Source) {
        self.next_session += 1;
        let id = self.next_session;
        let (orders, orders_receive) = mpsc::channel(ORDERS_MAX);
        let reports = self.reports.clone();
        let session = Session { shared: self.shared.clone(), source, session: id, reports };
        let abort = self.tasks.spawn(run_session(session, self.doors.clone(), orders_receive));
        self.sessions.insert(source, SessionHandle { id, orders, abort });
    }
}
