//! Conflicts on a folder's thread: what is asked of it, and the resolver that a program may have
//! registered. Reading, hashing and fetching go on elsewhere.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use dunlin_blocks::SMALL_MAX;
use dunlin_identity::Hash;
use dunlin_index::{Content, Kind, Millis, RelPath, Storage};
use dunlin_tree::fs::{Fs, TempName};
use tokio::sync::oneshot;

use super::{Command, Shell, Worker};
use crate::conflict::{
    Case, ConflictError, ConflictInfo, Keep, MERGED_MAX, Resolver, Verdict, Version,
};
use crate::content::{self, ContentReader};
use crate::folder::{CONFLICTS_MAX, Decision, MergedFile, OpenConflict, author_name};
use crate::types::FolderState;

/// Bytes of a merged content that are read at a time.
const READ_BYTES: usize = 1 << 20;

/// Where an answer goes.
pub type Answer<T> = oneshot::Sender<Result<T, ConflictError>>;

/// What is asked about conflicts.
pub enum ConflictCommand {
    /// Which there are; with a path, the one that it is a side of.
    List(Option<RelPath>, Answer<Vec<ConflictInfo>>),
    /// What all sides of the one at the path replaced.
    Base(RelPath, Answer<ContentReader>),
    /// End one.
    Resolve(Wish, How, Answer<()>),
    /// The merged content that was to end one is in a temporary file.
    Staged(Wish, Result<MergedFile, ConflictError>, Answer<()>),
    /// A resolver has been registered, or there may be something for it to do.
    Look,
    /// The resolver has decided about the one that it was asked about.
    Decided(Asked, Verdict),
}

/// Which conflict is to end.
pub struct Wish {
    /// The path of one of its sides.
    pub path: RelPath,
    /// The versions that it must still have.
    pub expect: Option<Vec<String>>,
}

/// How one is to end.
pub enum How {
    /// Some sides stay as they are.
    Keep(Keep),
    /// What can be read here takes the place of all sides.
    Merged(Box<dyn Read + Send>),
}

/// What a resolver was asked about.
#[derive(Clone)]
pub struct Asked {
    winner: RelPath,
    copy: RelPath,
    ids: Vec<String>,
}

/// What the folder's thread knows of its resolver's work.
#[derive(Debug, Default)]
pub(super) struct Asking {
    /// Whether it is at work.
    busy: bool,
    /// The conflicts that it was asked about, by their versions.
    asked: BTreeSet<Vec<String>>,
    /// The state in which there was nothing more to ask.
    looked: Option<Hash>,
    /// Counts the temporary files.
    temps: u64,
}

impl Asking {
    fn temp(&mut self, purpose: &str) -> TempName {
        self.temps += 1;
        // What begins with `item-` does not outlive the next start.
        TempName::parse(&format!("item-{purpose}-{}", self.temps))
            .expect("letters, digits and dashes make a legal name")
    }
}

impl<F, S> Worker<'_, F, S>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    pub(super) fn conflict_command(&mut self, command: ConflictCommand, now: Millis) {
        match command {
            ConflictCommand::List(path, answer) => {
                // Nobody need wait for it any more; so below.
                let _ = answer.send(self.list_conflicts(path.as_ref()));
            }
            ConflictCommand::Base(path, answer) => self.open_base(&path, answer),
            ConflictCommand::Resolve(wish, How::Keep(keep), answer) => {
                let decision = Decision::Keep(keep);
                let _ = answer.send(self.resolve(&wish, &decision, now));
            }
            ConflictCommand::Resolve(wish, How::Merged(reader), answer) => {
                self.stage_merged(wish, reader, answer);
            }
            ConflictCommand::Staged(wish, staged, answer) => {
                let done = staged.and_then(|merged| self.put_merged(&wish, merged, now));
                let _ = answer.send(done);
            }
            ConflictCommand::Look => self.conflicts.looked = None,
            ConflictCommand::Decided(asked, verdict) => {
                self.conflicts.busy = false;
                self.decided(asked, verdict, now);
            }
        }
    }

    fn list_conflicts(&self, path: Option<&RelPath>) -> Result<Vec<ConflictInfo>, ConflictError> {
        let open = self.folder.conflicts(path)?;
        if let (Some(path), true) = (path, open.is_empty()) {
            return Err(ConflictError::NoConflict(path.to_string()));
        }
        open.iter().map(|open| Ok(self.folder.conflict_info(open)?)).collect()
    }

    fn resolve(
        &mut self,
        wish: &Wish,
        decision: &Decision,
        now: Millis,
    ) -> Result<(), ConflictError> {
        self.folder.resolve(&wish.path, decision, wish.expect.as_deref(), now)
    }

    fn put_merged(
        &mut self,
        wish: &Wish,
        merged: MergedFile,
        now: Millis,
    ) -> Result<(), ConflictError> {
        let temp = merged.temp.clone();
        let done = self.resolve(wish, &Decision::Merged(merged), now);
        if done.is_err() {
            // What stays is removed at the next start.
            let _ = self.shell.fs.temp_remove(&temp);
        }
        done
    }

    fn open_base(&mut self, path: &RelPath, answer: Answer<ContentReader>) {
        let base = match self.folder.conflicts(Some(path)) {
            Ok(open) => match open.first().map(|open| open.base.clone()) {
                Some(Some(Content::File { root, size, .. })) => Ok((root, size)),
                Some(_) => Err(ConflictError::NoBase(path.to_string())),
                None => Err(ConflictError::NoConflict(path.to_string())),
            },
            Err(error) => Err(error.into()),
        };
        let (root, size) = match base {
            Ok(base) => base,
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        };
        let (shell, temp) = (Arc::clone(&self.shell), self.conflicts.temp("base"));
        let shown = path.to_string();
        self.outer.handle.spawn(async move {
            let reader = content::open(&shell, root, size, temp).await;
            let _ = answer.send(reader.map_err(|_| ConflictError::BaseGone(shown)));
        });
    }

    fn stage_merged(&mut self, wish: Wish, reader: Box<dyn Read + Send>, answer: Answer<()>) {
        let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
        let temp = self.conflicts.temp("merged");
        self.outer.handle.spawn(async move {
            let staged = tokio::task::spawn_blocking(move || stage(&shell, temp, reader)).await;
            let staged = staged.unwrap_or(Err(ConflictError::Closed));
            let command = ConflictCommand::Staged(wish, staged, answer);
            // The folder may be closed by now.
            let _ = commands.send(Command::Conflict(command)).await;
        });
    }

    /// Asks the resolver about the next conflict that it has not been asked about.
    pub(super) fn ask_resolver(&mut self) {
        let Some(resolver) = self.shell.resolver.get() else { return };
        let print = self.folder.index().fingerprint();
        let idle = self.folder.state() == FolderState::Idle;
        if self.conflicts.busy || !idle || self.conflicts.looked == Some(print) {
            return;
        }
        // A database that cannot be read shows in the folder's state.
        let open = match self.folder.index().counts().conflicts {
            0 => Vec::new(),
            _ => self.folder.conflicts(None).unwrap_or_default(),
        };
        let asked = &self.conflicts.asked;
        let new = |open: &OpenConflict| is_between_files(open) && !asked.contains(&open.ids());
        let Some(open) = open.into_iter().find(new) else {
            self.conflicts.looked = Some(print);
            return;
        };
        if self.conflicts.asked.len() >= CONFLICTS_MAX {
            self.conflicts.asked.clear();
        }
        self.conflicts.asked.insert(open.ids());
        self.conflicts.busy = true;
        self.ask(resolver, &open);
    }

    fn ask(&mut self, resolver: Arc<dyn Resolver>, open: &OpenConflict) {
        let [winner, copy] = &open.paths[..] else { return };
        let asked = Asked { winner: winner.clone(), copy: copy.clone(), ids: open.ids() };
        let devices = self.folder.device_names();
        let mut versions = open
            .sides()
            .map(|(item, path)| (path.clone(), item.content.clone(), author_name(&devices, item)));
        let (Some(winner), Some(copy)) = (versions.next(), versions.next()) else { return };
        let (folder, base) = (self.folder.name().to_owned(), open.base.clone());
        let temp = self.conflicts.temp("base");
        let (shell, commands) = (Arc::clone(&self.shell), self.outer.commands.clone());
        self.outer.handle.spawn(async move {
            let base = open_base(&shell, base, &winner.0, temp).await;
            let judged = tokio::task::spawn_blocking(move || {
                let path = winner.0.to_string();
                let winner = open_version(&shell, winner);
                let (Some(winner), Some(copy)) = (winner, open_version(&shell, copy)) else {
                    return Verdict::Leave;
                };
                resolver.resolve(&mut Case { folder, path, winner, copy, base })
            });
            // A resolver that panics has decided nothing.
            let verdict = judged.await.unwrap_or(Verdict::Leave);
            let command = ConflictCommand::Decided(asked, verdict);
            // The folder may be closed by now.
            let _ = commands.send(Command::Conflict(command)).await;
        });
    }

    fn decided(&mut self, asked: Asked, verdict: Verdict, now: Millis) {
        let Asked { winner, copy, ids } = asked;
        let (path, keep) = match verdict {
            Verdict::Leave => return,
            Verdict::KeepWinner => (winner, Keep::This),
            Verdict::KeepCopy => (copy, Keep::This),
            Verdict::Both => (winner, Keep::Both),
            Verdict::Merged(bytes) if bytes.len() > MERGED_MAX => {
                tracing::warn!(path = %winner, "a resolver gave more than {MERGED_MAX} bytes");
                return;
            }
            Verdict::Merged(bytes) => {
                let wish = Wish { path: winner, expect: Some(ids) };
                // Nobody waits for the answer; what is refused is asked about anew when it changes.
                let answer = oneshot::channel().0;
                return self.stage_merged(wish, Box::new(std::io::Cursor::new(bytes)), answer);
            }
        };
        let wish = Wish { path, expect: Some(ids) };
        if let Err(error) = self.resolve(&wish, &Decision::Keep(keep), now) {
            tracing::info!(path = %wish.path, %error, "a resolver's verdict was dropped");
        }
    }
}

fn is_between_files(open: &OpenConflict) -> bool {
    open.paths.len() == 2
        && open.conflict.winner.is_some()
        && open.conflict.sides().all(|side| side.kind == Kind::File)
}

async fn open_base<F, S>(
    shell: &Arc<Shell<F, S>>,
    base: Option<Content>,
    path: &RelPath,
    temp: TempName,
) -> Option<Version>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let Content::File { root, size, mtime_ns, .. } = base? else { return None };
    let reader = content::open(shell, root, size, temp).await.ok()?;
    let (path, device_name) = (path.to_string(), String::new());
    Some(Version { path, device_name, modified_ns: mtime_ns, reader })
}

fn open_version<F: Fs, S: Storage>(
    shell: &Shell<F, S>,
    (path, content, device_name): (RelPath, Content, String),
) -> Option<Version> {
    let Content::File { size, mtime_ns, .. } = content else { return None };
    let reader = ContentReader::file(shell.fs.open(&path).ok()?, size);
    Some(Version { path: path.to_string(), device_name, modified_ns: mtime_ns, reader })
}

/// Writes a merged content into a temporary file, durably, and hashes it.
fn stage<F: Fs, S: Storage>(
    shell: &Shell<F, S>,
    temp: TempName,
    mut reader: Box<dyn Read + Send>,
) -> Result<MergedFile, ConflictError> {
    let file = shell.fs.temp_create(&temp, 0)?;
    file.set_len(0)?;
    let mut buffer = vec![0; READ_BYTES];
    let mut size = 0;
    loop {
        match reader.read(&mut buffer).map_err(ConflictError::Merged)? {
            0 => break,
            read => {
                file.write_at(&buffer[..read], size)?;
                size += read as u64;
            }
        }
    }
    // Zeros at the end are left out as a hole.
    file.set_len(size)?;
    file.sync()?;
    let read = |buffer: &mut [u8], offset| file.read_at(buffer, offset).map_err(Into::into);
    let hash = dunlin_blocks::hash_file(read, size, shell.hash_threads);
    let hash = hash.map_err(ConflictError::Merged)?;
    let root = hash.root;
    Ok(MergedFile { temp, root, size, hash: (size > SMALL_MAX).then_some(hash) })
}
