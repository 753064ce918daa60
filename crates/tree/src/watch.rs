//! Hears from the operating system what changes in a folder (notify; inotify on Linux).
//!
//! Every directory is watched by itself, and the watching of new ones is done here rather than
//! by notify: a directory that appears is first watched, then gone through for directories in it,
//! and only then reported, so that the deep look that follows the report misses nothing.
//!
//! Events are hints. What they say is looked up on the disk, and when some are lost, everything
//! is looked at ([`RawKind::Overflow`]). Writes through mmap give no event at all; a periodic
//! scan finds them.
//!
//! Limits: 16,384 events may wait inside; what is more becomes one overflow. The operating
//! system limits the number of watches; [`Watcher::warning`] tells.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use dunlin_index::{PRIVATE_NAME, RelPath, SafeName};
use notify::event::{AccessKind, AccessMode, CreateKind, Flag, ModifyKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::settle::{Node, RawEvent, RawKind};

/// Events that may wait between notify's thread and this watcher's.
const QUEUE_MAX: usize = 16_384;
/// How often an overflow is offered again to a receiver that was full.
const RETRY: Duration = Duration::from_millis(50);
/// Directories found inside new ones that are remembered for [`Inner::moved_away`].
const ADOPTED_MAX: usize = 1_024;

/// Takes an event, or returns false when it has no room. It must not block for long.
pub type Sink = Box<dyn FnMut(RawEvent) -> bool + Send>;
/// Says which directories are not to be watched, nor anything below them.
pub type Skip = Box<dyn Fn(&RelPath) -> bool + Send>;

/// Why a folder cannot be watched at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The folder's root is not there or cannot be read.
    #[error("cannot watch {path}: {error}")]
    Root {
        /// The root.
        path: PathBuf,
        /// What the operating system said.
        error: std::io::Error,
    },
    /// The operating system's means of watching is not to be had.
    #[error("cannot watch for changes: {0}")]
    Unavailable(String),
}

/// Why changes may go unheard; scans still find them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchWarning {
    /// The limit of watches is reached.
    #[error(
        "only {watched} directories are watched, the system allows no more: changes in the \
         others are found by periodic scans. To raise the limit: \
         sysctl fs.inotify.max_user_watches=1048576"
    )]
    LimitReached {
        /// Directories that are watched.
        watched: usize,
    },
    /// A directory cannot be watched.
    #[error("cannot watch {path}: {reason}; changes in it are found by periodic scans")]
    Directory {
        /// The directory.
        path: String,
        /// What the operating system said.
        reason: String,
    },
}

/// Watches one folder until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    queue: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
    warning: Arc<Mutex<Option<WatchWarning>>>,
}

enum Message {
    Event(Event),
    /// Something was lost, or could not be read.
    Lost,
    Stop,
}

impl Watcher {
    /// Begins to watch the folder at `root`, and returns when all of its directories are watched:
    /// a scan that begins now leaves no gap. `.dunlin` is not watched.
    ///
    /// # Errors
    /// [`WatchError`]; a directory that cannot be watched is a warning only.
    pub fn start(root: &Path, skip: Skip, sink: Sink) -> Result<Self, WatchError> {
        // Events carry the path that was watched; with the real one, symlinks cannot confuse.
        let root = root
            .canonicalize()
            .map_err(|error| WatchError::Root { path: root.to_owned(), error })?;
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let lost = Arc::new(AtomicBool::new(false));
        let handler = Handler { queue: queue.clone(), lost: Arc::clone(&lost) };
        let unavailable = |error: notify::Error| WatchError::Unavailable(error.to_string());
        let notify =
            RecommendedWatcher::new(handler, notify::Config::default()).map_err(unavailable)?;
        let warning = Arc::new(Mutex::new(None));
        let mut inner = Inner {
            notify,
            root,
            skip,
            sink,
            lost,
            watched: BTreeSet::new(),
            adopted: Vec::new(),
            owed: false,
            warning: Arc::clone(&warning),
        };
        let root = inner.root.clone();
        inner.watch_tree(&root, false);
        if inner.watched.is_empty() {
            let reason = warning.lock().unwrap_or_else(PoisonError::into_inner).take();
            return Err(WatchError::Unavailable(
                reason
                    .map_or_else(|| "the root is skipped".to_owned(), |reason| reason.to_string()),
            ));
        }
        let thread = std::thread::Builder::new()
            .name("dunlin-watch".to_owned())
            .spawn(move || inner.run(&messages))
            .map_err(|error| WatchError::Unavailable(error.to_string()))?;
        Ok(Self { queue, thread: Some(thread), warning })
    }

    /// As [`Watcher::start`], with a channel that holds `capacity` events.
    ///
    /// # Errors
    /// As [`Watcher::start`].
    pub fn channel(
        root: &Path,
        skip: Skip,
        capacity: usize,
    ) -> Result<(Self, Receiver<RawEvent>), WatchError> {
        let (give, take) = sync_channel(capacity);
        // A receiver that is gone will not want the event later either.
        let sink = move |event| !matches!(give.try_send(event), Err(TrySendError::Full(_)));
        Ok((Self::start(root, skip, Box::new(sink))?, take))
    }

    /// Why changes may go unheard, if there is a reason; the newest one.
    #[must_use]
    pub fn warning(&self) -> Option<WatchWarning> {
        self.warning.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The thread always empties the queue, so this does not wait for long.
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Runs on notify's own thread, which must never wait.
struct Handler {
    queue: SyncSender<Message>,
    lost: Arc<AtomicBool>,
}

impl notify::EventHandler for Handler {
    fn handle_event(&mut self, event: notify::Result<Event>) {
        let message = match event {
            // Every look at a file opens it; that is no change.
            Ok(event) if is_noise(&event.kind) => return,
            Ok(event) if event.attrs.flag() == Some(Flag::Rescan) => Message::Lost,
            Ok(event) => Message::Event(event),
            Err(_) => Message::Lost,
        };
        if let Err(TrySendError::Full(_)) = self.queue.try_send(message) {
            self.lost.store(true, Ordering::Release);
            // Should the queue have been emptied in between, this wakes its reader.
            let _ = self.queue.try_send(Message::Lost);
        }
    }
}

fn is_noise(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => true,
        _ => false,
    }
}

struct Inner {
    notify: RecommendedWatcher,
    root: PathBuf,
    skip: Skip,
    sink: Sink,
    lost: Arc<AtomicBool>,
    watched: BTreeSet<PathBuf>,
    /// Directories that were found inside new ones and not reported by themselves.
    adopted: Vec<PathBuf>,
    /// An overflow that the receiver had no room for yet.
    owed: bool,
    warning: Arc<Mutex<Option<WatchWarning>>>,
}

impl Inner {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            let message = if self.owed {
                match messages.recv_timeout(RETRY) {
                    Ok(message) => Some(message),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            } else {
                match messages.recv() {
                    Ok(message) => Some(message),
                    Err(_) => return,
                }
            };
            match message {
                Some(Message::Stop) => return,
                Some(Message::Event(event)) => self.translate(&event),
                Some(Message::Lost) => self.lost.store(true, Ordering::Release),
                None => {}
            }
            if self.lost.swap(false, Ordering::AcqRel) {
                self.start_over();
            }
            if self.owed {
                self.owed = !(self.sink)(RawEvent::overflow());
            }
        }
    }

    /// After lost events nothing is known of which directories are new.
    fn start_over(&mut self) {
        let before = std::mem::take(&mut self.watched);
        let root = self.root.clone();
        self.watch_tree(&root, false);
        for gone in before.difference(&self.watched) {
            let _ = self.notify.unwatch(gone);
        }
        self.owed = true;
    }

    fn give(&mut self, kind: RawKind, path: RelPath, is_dir: bool) {
        // While an overflow is owed, single events add nothing.
        if !self.owed && !(self.sink)(RawEvent { kind, path, is_dir }) {
            self.owed = true;
        }
    }

    fn translate(&mut self, event: &Event) {
        let Some(path) = event.paths.first() else { return };
        let cookie = event.attrs.tracker().and_then(|cookie| u32::try_from(cookie).ok());
        let place = match self.relative(path) {
            Place::Path(place) => place,
            Place::Unnamed(dir) => return self.give(RawKind::Rescan, dir, true),
            Place::Outside => return,
        };
        if place.is_root() {
            // The root itself was moved or removed; its attributes do not matter.
            if !matches!(event.kind, EventKind::Modify(ModifyKind::Metadata(_))) {
                self.owed = true;
            }
            return;
        }
        match event.kind {
            EventKind::Create(kind) => self.created(path, place, kind),
            EventKind::Remove(_) => {
                let was_dir = self.forget(path);
                self.give(RawKind::Remove, place, was_dir);
            }
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
                // Without a number it is the directory itself telling what its parent tells too.
                if cookie.is_some() {
                    let was_dir = self.forget(path);
                    self.give(RawKind::MovedFrom(cookie), place, was_dir);
                    self.moved_away(was_dir);
                }
            }
            EventKind::Modify(ModifyKind::Name(_)) => {
                let is_dir = self.watch_tree(path, true);
                self.give(RawKind::MovedTo(cookie), place, is_dir);
            }
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                let is_dir = self.watched.contains(path);
                self.give(RawKind::Attrib, place, is_dir);
            }
            EventKind::Modify(_) => self.give(RawKind::Modify, place, false),
            EventKind::Access(_) => self.give(RawKind::CloseWrite, place, false),
            EventKind::Any | EventKind::Other => {
                let dir = place.parent().unwrap_or_default();
                self.give(RawKind::Rescan, dir, true);
            }
        }
    }

    fn created(&mut self, path: &Path, place: RelPath, kind: CreateKind) {
        let node = if self.watch_tree(path, true) || kind == CreateKind::Folder {
            Node::Directory
        } else if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
            Node::Symlink
        } else {
            Node::File
        };
        self.give(RawKind::Create(node), place, node == Node::Directory);
    }

    /// Watches a directory and all below it; returns whether there is one. A directory is watched
    /// before it is listed, so that whatever appears in it is either listed or reported.
    fn watch_tree(&mut self, top: &Path, adopt: bool) -> bool {
        let is_directory =
            |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
        if !is_directory(top) {
            return false;
        }
        let mut stack = vec![top.to_owned()];
        while let Some(dir) = stack.pop() {
            match self.relative(&dir) {
                Place::Path(place) if !(self.skip)(&place) => {}
                _ => continue,
            }
            if !self.watch(&dir) {
                continue;
            }
            if adopt && dir != top {
                self.adopted.push(dir.clone());
            }
            let Ok(entries) = std::fs::read_dir(&dir) else { continue };
            let below = entries.flatten().filter(|entry| {
                // The type comes with the name on nearly every file system; no stat is needed.
                entry.file_type().is_ok_and(|kind| kind.is_dir())
            });
            stack.extend(below.map(|entry| entry.path()));
        }
        if self.adopted.len() > ADOPTED_MAX {
            self.adopted.clear();
        }
        true
    }

    fn watch(&mut self, dir: &Path) -> bool {
        let error = match self.notify.watch(dir, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(dir.to_owned());
                return true;
            }
            Err(error) => error,
        };
        let warning = match error.kind {
            notify::ErrorKind::MaxFilesWatch => {
                WatchWarning::LimitReached { watched: self.watched.len() }
            }
            // It is gone already, which its parent reports.
            notify::ErrorKind::PathNotFound => return false,
            notify::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return false;
            }
            other => WatchWarning::Directory {
                path: dir.strip_prefix(&self.root).unwrap_or(dir).display().to_string(),
                reason: notify::Error::new(other).to_string(),
            },
        };
        tracing::warn!("{warning}");
        *self.warning.lock().unwrap_or_else(PoisonError::into_inner) = Some(warning);
        false
    }

    /// Notify has dropped the watches of a directory that went; so does the list. Returns whether
    /// it was a directory.
    fn forget(&mut self, path: &Path) -> bool {
        if !self.watched.contains(path) {
            return false;
        }
        let below: Vec<PathBuf> = (self.watched.range(path.to_owned()..))
            .take_while(|at| at.starts_with(path))
            .cloned()
            .collect();
        for path in below {
            self.watched.remove(&path);
        }
        true
    }

    /// A watch belongs to the inode: when notify drops the one of a directory's old path, the new
    /// path's goes too. A new path inside a new directory is not reported, only found, so these
    /// are watched, and looked at, once more.
    fn moved_away(&mut self, was_dir: bool) {
        if !was_dir {
            return;
        }
        for dir in std::mem::take(&mut self.adopted) {
            if self.watch_tree(&dir, false)
                && let Place::Path(place) = self.relative(&dir)
            {
                self.give(RawKind::Rescan, place, true);
            }
        }
    }

    fn relative(&self, path: &Path) -> Place {
        let Ok(below) = path.strip_prefix(&self.root) else { return Place::Outside };
        let mut place = RelPath::root();
        for (depth, part) in below.iter().enumerate() {
            if depth == 0 && part == OsStr::new(PRIVATE_NAME) {
                return Place::Outside;
            }
            let name = part.to_str().and_then(|part| SafeName::parse(part).ok());
            if name.is_none_or(|name| place.push(name).is_err()) {
                return Place::Unnamed(place);
            }
        }
        Place::Path(place)
    }
}

/// Where an event's path is in the folder.
enum Place {
    Path(RelPath),
    /// A name that cannot be told, in this directory.
    Unnamed(RelPath),
    /// Outside of the folder, or private to Dunlin.
    Outside,
}
