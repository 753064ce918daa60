//! Reads a folder back, beside its thread: every file against what it must hold, every stored
//! block against its name. What has rotted is repaired from other copies and other devices.
//!
//! A file has rotted when its content differs while its time, size and inode are as they were last
//! seen: an edit changes at least one of these, and is the scan's business.

use std::sync::Arc;

use dunlin_blocks::{BLOCK_MAX, BlockRef};
use dunlin_identity::Hash;
use dunlin_index::{Kind, RelPath, Storage};
use dunlin_transfer::Priority;
use dunlin_tree::disk::{Row, RowId};
use dunlin_tree::fs::{Fs, ObjectName, TempName};
use tokio::sync::{mpsc, oneshot};

use crate::download::{blocking, fetch_block, hash_file};
use crate::folder::{Announce, Put, Target};
use crate::gather::{Gathered, gather};
use crate::history::{What, object};
use crate::runner::{Command, Shell};
use crate::serve::BlockReader;
use crate::types::{PATHS_MAX, RottenFile, VerifyReport};

/// Rows that are read at a time.
const PAGE: usize = 256;

/// What reading a file back gave.
enum Found {
    Good,
    /// It is not as it was last seen: a change that the folder learns of by itself.
    Changing,
    Rotten,
}

/// Reads everything back and repairs what can be.
pub(crate) async fn run<F, S>(
    shell: Arc<Shell<F, S>>,
    commands: mpsc::Sender<Command>,
) -> VerifyReport
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let mut report = VerifyReport::default();
    let mut todo = vec![(RowId::ROOT, RelPath::root())];
    while let Some((directory, at)) = todo.pop() {
        let mut after = None;
        loop {
            // A table that cannot be read is found out by the folder's own thread.
            let rows = shell.rows.children_page(directory, after.as_ref(), PAGE);
            let rows = rows.unwrap_or_default();
            let Some(last) = rows.last() else { break };
            after = Some(last.name.clone());
            for row in rows {
                let Ok(path) = at.join(&row.name) else { continue };
                match row.kind {
                    Kind::Directory => todo.push((row.id, path)),
                    Kind::File => check_file(&shell, &commands, row, path, &mut report).await,
                    Kind::Symlink => {}
                }
            }
        }
    }
    check_objects(&shell, &mut report).await;
    report
}

async fn check_file<F, S>(
    shell: &Arc<Shell<F, S>>,
    commands: &mpsc::Sender<Command>,
    row: Row,
    path: RelPath,
    report: &mut VerifyReport,
) where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let (reader, at, seen) = (Arc::clone(shell), path.clone(), row.clone());
    let found = blocking(move || read_back(&reader, &at, &seen)).await;
    match found {
        Ok(Found::Good) => {
            report.files += 1;
            report.bytes += row.stat.size;
        }
        Ok(Found::Changing) | Err(_) => report.changing += 1,
        Ok(Found::Rotten) => {
            report.files += 1;
            report.bytes += row.stat.size;
            let outcome = repair(shell, commands, &row, &path).await;
            report.rotten_count += 1;
            report.repaired_count += u64::from(outcome.is_ok());
            if report.rotten.len() < PATHS_MAX {
                report.rotten.push(RottenFile {
                    path: path.to_string(),
                    repaired: outcome.is_ok(),
                    reason: outcome.err(),
                });
            }
        }
    }
}

fn read_back<F: Fs, S: Storage>(shell: &Shell<F, S>, path: &RelPath, row: &Row) -> Found {
    let as_seen =
        |stat: Option<dunlin_tree::fs::Stat>| stat.is_some_and(|stat| stat.same_version(&row.stat));
    let Ok(stat) = shell.fs.stat(path) else { return Found::Changing };
    let (Some(root), true) = (row.root, as_seen(stat)) else { return Found::Changing };
    // Nothing is announced, so nothing need be durable for it.
    let announce = Announce::AtOnce;
    let hashed = hash_file(&*shell.fs, path, &row.stat, shell.hash_threads, announce);
    match hashed {
        Ok(hash) if hash.root == root => Found::Good,
        // It was as it should be before and after: nobody has written to it in between.
        Ok(_) if as_seen(shell.fs.stat(path).ok().flatten()) => Found::Rotten,
        // A disk that cannot read it any more has lost it as well.
        Err(error) if error.kind() == dunlin_tree::fs::FsErrorKind::Io => Found::Rotten,
        _ => Found::Changing,
    }
}

/// Brings a good copy together and puts it in place of the rotten one.
async fn repair<F, S>(
    shell: &Arc<Shell<F, S>>,
    commands: &mpsc::Sender<Command>,
    row: &Row,
    path: &RelPath,
) -> Result<(), String>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let root = row.root.ok_or("it was never read whole")?;
    let target = Target {
        path: path.clone(),
        what: What::File { root, size: row.stat.size, list: Vec::new() },
        mode: row.stat.mode,
        mtime_ns: row.stat.mtime_ns,
        expect: Some(row.stat),
    };
    let (mut whole, missed) =
        gather(shell, vec![target]).await.map_err(|error| error.to_string())?;
    if let Some((_, error)) = missed.first() {
        return Err(error.to_string());
    }
    let Some(Gathered { target, temp, blocks }) = whole.pop() else {
        return Err("no good copy was found".to_owned());
    };
    let (answer, answered) = oneshot::channel();
    let put = Put { target, temp, blocks, repair: true };
    let closed = || "the folder is closed".to_owned();
    commands.send(Command::Put(vec![put], answer)).await.map_err(|_| closed())?;
    let mut outcomes = answered.await.map_err(|_| closed())?;
    outcomes.pop().unwrap_or(Ok(())).map_err(|error| error.to_string())
}

/// Reads the stored blocks of old versions back.
async fn check_objects<F, S>(shell: &Arc<Shell<F, S>>, report: &mut VerifyReport)
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    for byte in 0..=u8::MAX {
        let reader = Arc::clone(shell);
        let Ok((count, damaged)) = blocking(move || damaged_objects(&reader, byte)).await else {
            return;
        };
        report.objects += count;
        for hash in damaged {
            report.objects_damaged += 1;
            report.objects_repaired += u64::from(repair_object(shell, hash).await);
        }
    }
}

fn damaged_objects<F: Fs, S: Storage>(shell: &Shell<F, S>, byte: u8) -> (u64, Vec<Hash>) {
    let objects = shell.fs.objects(byte).unwrap_or_default();
    let count = objects.len() as u64;
    let is_damaged = |object: &ObjectName| match shell.fs.object_open(object) {
        // It was swept meanwhile.
        Ok(None) => false,
        Ok(Some(file)) => object::read(&*file, &object.hash()).is_none(),
        Err(_) => true,
    };
    let damaged = objects.into_iter().map(|(object, _)| object).filter(is_damaged);
    (count, damaged.map(|object| object.hash()).collect())
}

/// Writes an object anew, from a file that holds the block or from another device. A damaged one
/// for which there is nothing better goes: it is of no use to anyone.
async fn repair_object<F, S>(shell: &Arc<Shell<F, S>>, hash: Hash) -> bool
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let here = BlockReader::new(&*shell.fs, &shell.rows).read(&hash).ok().flatten();
    let data = match here {
        Some(data) => Some(data),
        None => {
            let block = BlockRef { hash, len: BLOCK_MAX };
            fetch_block(shell, block, Priority::Low).await
        }
    };
    let writer = Arc::clone(shell);
    let written = blocking(move || -> Result<bool, dunlin_tree::fs::FsError> {
        let object = ObjectName::of(&hash);
        writer.fs.object_remove(&object)?;
        let Some(data) = data else { return Ok(false) };
        let temp = TempName::parse(&format!("restore-{hash}"))
            .expect("letters and digits make a legal name");
        writer.fs.temp_remove(&temp)?;
        let stored = object::encode(&data);
        let file = writer.fs.temp_create(&temp, stored.len() as u64)?;
        file.write_at(&stored, 0)?;
        file.set_len(stored.len() as u64)?;
        file.sync()?;
        writer.fs.object_put(&temp, &object)?;
        Ok(true)
    });
    matches!(written.await, Ok(Ok(true)))
}
