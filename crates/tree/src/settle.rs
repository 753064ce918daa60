//! Waits until what the watcher reports has settled: when a path is worth looking at.
//!
//! A file that was closed after writing is looked at at once; one that is still written to, when
//! it is quiet; a name that vanished, only after a window in which programs that save by renaming
//! bring it back (rule 3 of the design). The state machine does no I/O and reads no clock: times
//! are milliseconds of any monotonic clock.
//!
//! | event | looked at after |
//! | --- | --- |
//! | written and closed; a directory or symlink created | 0 ms |
//! | attributes changed | 50 ms |
//! | a file created | 200 ms of quiet, or when it is closed |
//! | a directory that needs another look | 300 ms |
//! | removed or moved away | 300 ms, or 0 ms when the name comes back |
//! | moved here, over something known or from somewhere unknown | 0 ms |
//! | a directory moved within the folder | 20 ms, together with the path that it came from |
//! | moved here otherwise | together with the path that it came from |
//! | written to | 1 s of quiet |
//!
//! Only what was waited for in that window counts as deleted when it is gone
//! ([`LookAt::settled`]); a file that vanished between its close and the look has another event
//! coming. Whoever scans the whole folder does well to push a [`RawKind::Remove`] for what was
//! missing, rather than to believe it at once.
//!
//! Limits: no path waits longer than 10 s after its first event, and with more than 20,000 paths
//! waiting the whole folder is scanned instead. No event is ever lost: each is followed by a look
//! at its path, at a directory above it with all that is below, or at everything.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use dunlin_index::RelPath;

use crate::scan::LookAt;

/// The window in which a name that vanished may come back, in milliseconds.
pub const RENAME_WINDOW_MS: u64 = 300;
/// How long a directory of whose move both halves were seen is waited with, in milliseconds. It is
/// known by its inode and not by its name, so that the window would decide nothing; a few of them
/// are often moved at once.
pub const DIRECTORY_MOVE_MS: u64 = 20;
/// Quiet after which a file that is still open for writing is looked at, in milliseconds.
pub const QUIET_MS: u64 = 1_000;
/// Quiet after which a new file that nobody closes (a hard link has no close) is looked at.
pub const CREATED_MS: u64 = 200;
/// Changes of attributes come in bursts; they are looked at after so many milliseconds.
pub const ATTRIB_MS: u64 = 50;
/// The longest that any event waits, in milliseconds.
pub const DELAY_MS_MAX: u64 = 10_000;
/// Paths that may wait at once.
pub const PENDING_MAX: usize = 20_000;
/// How long a scan of everything waits for a burst to end, in milliseconds.
const SCAN_ALL_MS: u64 = 200;
/// Moves of which only the first half was seen.
const COOKIES_MAX: usize = 4_096;

/// What was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A regular file, or something that was gone again before it could be told.
    File,
    /// A directory.
    Directory,
    /// A symlink, complete from the first moment.
    Symlink,
}

/// What happened at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawKind {
    /// A name was made.
    Create(Node),
    /// A file that was open for writing was closed.
    CloseWrite,
    /// A file was written to or truncated.
    Modify,
    /// A name was removed.
    Remove,
    /// A name was moved away; the other half of the move has the same number.
    MovedFrom(Option<u32>),
    /// A name was moved here.
    MovedTo(Option<u32>),
    /// Mode, owner, times or link count changed.
    Attrib,
    /// The directory must be looked at with all below, for example because a name in it cannot be
    /// told.
    Rescan,
    /// Events were lost: everything must be looked at. The path means nothing.
    Overflow,
}

/// One event of a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEvent {
    /// What happened.
    pub kind: RawKind,
    /// Where.
    pub path: RelPath,
    /// Whether the path is, or was, a directory, as far as the watcher knows.
    pub is_dir: bool,
}

impl RawEvent {
    /// The event that says that events were lost.
    #[must_use]
    pub fn overflow() -> Self {
        Self { kind: RawKind::Overflow, path: RelPath::root(), is_dir: true }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Look at these paths, all in one go: renames are found among them.
    Look(Vec<LookAt>),
    /// Scan the whole folder.
    ScanAll,
}

#[derive(Debug, Clone)]
struct Pending {
    due_ms: u64,
    /// When the first event came that nobody has looked into yet.
    first_ms: u64,
    deep: bool,
    wait: Wait,
}

/// What a path waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// A moment that no later event puts off.
    Moment,
    /// Quiet: every write begins the wait anew.
    Quiet,
    /// The end of the window in which the name may come back.
    Window,
}

/// The first half of a move.
#[derive(Debug, Clone)]
struct MovedAway {
    at_ms: u64,
    /// Where it was, if it is a directory.
    directory: Option<RelPath>,
}

/// The state machine; see the module's documentation.
#[derive(Debug, Default)]
pub struct Settler {
    pending: BTreeMap<RelPath, Pending>,
    /// The first halves of moves.
    cookies: BTreeMap<u32, MovedAway>,
    scan_all_ms: Option<u64>,
}

impl Settler {
    /// A settler that waits for nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an event. `known` says whether a path has a row: what is moved over a known path is
    /// the last step of a program's saving and does not wait.
    pub fn push(&mut self, event: RawEvent, now_ms: u64, known: impl FnOnce(&RelPath) -> bool) {
        if self.scan_all_ms.is_some() {
            // The scan that is to come covers it.
            return;
        }
        let RawEvent { kind, path, is_dir } = event;
        match kind {
            RawKind::Overflow => self.scan_all(now_ms),
            RawKind::CloseWrite | RawKind::Create(Node::Symlink) => {
                self.wait(path, now_ms, 0, Wait::Moment, false);
            }
            RawKind::Create(Node::Directory) => self.wait(path, now_ms, 0, Wait::Moment, true),
            RawKind::Rescan => self.wait(path, now_ms, RENAME_WINDOW_MS, Wait::Window, true),
            RawKind::Create(Node::File) => {
                self.wait(path, now_ms, CREATED_MS, Wait::Quiet, is_dir);
            }
            RawKind::Modify => self.wait(path, now_ms, QUIET_MS, Wait::Quiet, false),
            RawKind::Attrib => {
                if !self.pending.contains_key(&path) {
                    self.wait(path, now_ms, ATTRIB_MS, Wait::Moment, false);
                }
            }
            RawKind::Remove => self.wait(path, now_ms, RENAME_WINDOW_MS, Wait::Window, is_dir),
            RawKind::MovedFrom(cookie) => {
                if let Some(cookie) = cookie {
                    let directory = is_dir.then(|| path.clone());
                    self.remember(cookie, MovedAway { at_ms: now_ms, directory });
                }
                self.wait(path, now_ms, RENAME_WINDOW_MS, Wait::Window, is_dir);
            }
            RawKind::MovedTo(cookie) => {
                let source = cookie.and_then(|cookie| self.cookies.remove(&cookie));
                let returns = self.pending.get(&path).is_some_and(|at| at.wait == Wait::Window);
                match source {
                    // Both halves then become due at the same moment.
                    Some(away) if !returns && !known(&path) => match away.directory {
                        Some(from) if is_dir => {
                            for half in [from, path] {
                                self.wait(half, now_ms, DIRECTORY_MOVE_MS, Wait::Window, true);
                            }
                        }
                        _ => {
                            let left = (away.at_ms + RENAME_WINDOW_MS).saturating_sub(now_ms);
                            self.wait(path, now_ms, left, Wait::Window, is_dir);
                        }
                    },
                    _ => self.wait(path, now_ms, 0, Wait::Moment, is_dir),
                }
            }
        }
        if self.pending.len() > PENDING_MAX {
            self.scan_all(now_ms);
        }
    }

    /// When [`Settler::due`] will next have something, in the clock of the events.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        match self.scan_all_ms {
            Some(at) => Some(at),
            None => self.pending.values().map(|at| at.due_ms).min(),
        }
    }

    /// Takes out what is due. Paths below a directory that is to be gone through are left out.
    pub fn due(&mut self, now_ms: u64) -> Option<Due> {
        if let Some(at) = self.scan_all_ms {
            if at > now_ms {
                return None;
            }
            self.scan_all_ms = None;
            return Some(Due::ScanAll);
        }
        self.cookies.retain(|_, away| away.at_ms + RENAME_WINDOW_MS > now_ms);
        let due: Vec<LookAt> = (self.pending)
            .extract_if(.., |_, at| at.due_ms <= now_ms)
            .map(|(path, at)| LookAt { path, deep: at.deep, settled: at.wait == Wait::Window })
            .collect();
        let mut looks: Vec<LookAt> = Vec::with_capacity(due.len());
        let mut above: Option<(RelPath, bool)> = None;
        for look in due {
            // In path order a directory comes right before all that is below it.
            let below = |(dir, settled): &(RelPath, bool)| {
                look.path.starts_with(dir) && (*settled || !look.settled)
            };
            if above.as_ref().is_some_and(below) {
                continue;
            }
            if look.deep {
                above = Some((look.path.clone(), look.settled));
            }
            looks.push(look);
        }
        (!looks.is_empty()).then_some(Due::Look(looks))
    }

    /// Forgets the single paths: a scan of everything is about to begin anyway.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    fn scan_all(&mut self, now_ms: u64) {
        self.pending.clear();
        self.cookies.clear();
        self.scan_all_ms = Some(now_ms + SCAN_ALL_MS);
    }

    fn remember(&mut self, cookie: u32, away: MovedAway) {
        if self.cookies.len() >= COOKIES_MAX {
            // Forgotten halves only cost the second half its wait.
            self.cookies.clear();
        }
        self.cookies.insert(cookie, away);
    }

    fn wait(&mut self, path: RelPath, now_ms: u64, delay_ms: u64, wait: Wait, deep: bool) {
        let due_ms = now_ms + delay_ms;
        let at =
            (self.pending.entry(path)).or_insert(Pending { due_ms, first_ms: now_ms, deep, wait });
        at.deep |= deep;
        match (at.wait, wait) {
            // A moment that has been set stands, unless the name has gone meanwhile: looking then
            // would take for deleted what is about to come back.
            (Wait::Moment, Wait::Moment | Wait::Quiet) => at.due_ms = at.due_ms.min(due_ms),
            // The name has come back and is being written: its close, or quiet, decides.
            _ => {
                at.due_ms = due_ms;
                at.wait = wait;
            }
        }
        at.due_ms = at.due_ms.min(at.first_ms + DELAY_MS_MAX);
    }
}
