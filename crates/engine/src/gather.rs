//! Brings contents together for a restore or a repair, in temporary files: from what is on this
//! disk, and from blocks that other members send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dunlin_blocks::{BlockRef, Manifest};
use dunlin_identity::Hash;
use dunlin_index::Storage;
use dunlin_transfer::Priority;
use dunlin_tree::fs::{Fs, FsError, TempName};
use tokio::sync::mpsc;

use crate::assemble::Assembly;
use crate::download::{self, DownloadError, blocking};
use crate::folder::{LargeFile, SYNC_EACH_MAX, Target};
use crate::history::What;
use crate::runner::Shell;

/// Files that are gathered together.
pub(crate) const BATCH_FILES: usize = 256;
/// Bytes of files that are gathered together, and one file more at most.
pub(crate) const BATCH_BYTES: u64 = 64 << 20;
/// Blocks that wait to be written.
const BLOCKS_AT_ONCE: usize = 32;

/// Why a content could not be brought together.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GatherError {
    /// The disk refused.
    #[error("{0}")]
    Fs(#[from] FsError),
    /// Some of it is nowhere.
    #[error("parts of it are on no connected device: connect one that has kept it, and try again")]
    Unavailable,
    /// The program is ending.
    #[error("the program is ending")]
    Closed,
}

impl From<DownloadError> for GatherError {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Fs(error) => Self::Fs(error),
            DownloadError::Closed => Self::Closed,
            _ => Self::Unavailable,
        }
    }
}

/// A content that is whole, durable and verified.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// What it is for.
    pub(crate) target: Target,
    /// Where it is; none for a directory.
    pub(crate) temp: Option<TempName>,
    /// The blocks of a file.
    pub(crate) blocks: Vec<(u64, BlockRef)>,
}

/// A target that could not be had, and why.
pub(crate) type Missed = (Target, GatherError);

/// One that is being brought together.
struct Item {
    target: Target,
    temp: TempName,
    blocks: Vec<(u64, BlockRef)>,
    assembly: Option<Assembly>,
}

/// Splits targets into batches that fit into bounded memory and space.
pub(crate) fn batches(targets: Vec<Target>) -> Vec<Vec<Target>> {
    let mut batches: Vec<Vec<Target>> = Vec::new();
    let mut bytes = u64::MAX;
    for target in targets {
        let full = batches.last().is_none_or(|batch| batch.len() >= BATCH_FILES);
        if full || bytes >= BATCH_BYTES {
            batches.push(Vec::new());
            bytes = 0;
        }
        if let What::File { size, .. } = target.what {
            bytes += size;
        }
        batches.last_mut().expect("one was pushed before").push(target);
    }
    batches
}

/// Brings a batch together.
///
/// # Errors
/// When the program is ending; what is wrong with single targets is told with them.
pub(crate) async fn gather<F, S>(
    shell: &Arc<Shell<F, S>>,
    targets: Vec<Target>,
) -> Result<(Vec<Gathered>, Vec<Missed>), GatherError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let (mut done, mut missed, mut items) = (Vec::new(), Vec::new(), Vec::new());
    for target in targets {
        if target.what == What::Directory {
            done.push(Gathered { target, temp: None, blocks: Vec::new() });
            continue;
        }
        let temp = fresh_temp();
        match blocks_of(shell, &target.what, &temp).await {
            Ok(blocks) => items.push(Item { target, temp, blocks, assembly: None }),
            Err(error) => missed.push((target, error)),
        }
    }
    let begun = Arc::clone(shell);
    let (mut items, failed) = blocking(move || begin(&begun, items)).await?;
    missed.extend(failed);
    fetch_missing(shell, &mut items).await;
    let ended = Arc::clone(shell);
    let (whole, failed) = blocking(move || finish(&ended, items)).await?;
    missed.extend(failed);
    done.extend(whole);
    Ok((done, missed))
}

/// A name that no other restore uses.
fn fresh_temp() -> TempName {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    TempName::parse(&format!("restore-{number}")).expect("letters and digits make a legal name")
}

/// The blocks of what is wanted: from the history, or from its manifest.
async fn blocks_of<F, S>(
    shell: &Arc<Shell<F, S>>,
    what: &What,
    temp: &TempName,
) -> Result<Vec<(u64, BlockRef)>, GatherError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    // A database that cannot be read is found out by the folder's own thread.
    if let Ok(Some(blocks)) = shell.history.blocks(what) {
        return Ok(blocks);
    }
    let What::File { root, size, .. } = what else { return Ok(Vec::new()) };
    let file = LargeFile { root: *root, size: *size, temp: temp.clone(), urgent: true };
    let (walk, _) = download::fetch_manifest(shell, &file).await?;
    let manifest = walk.finish().map_err(DownloadError::from)?;
    Ok(manifest.offsets().collect())
}

/// Fills the temporary files from what is on this disk.
fn begin<F: Fs, S: Storage>(shell: &Shell<F, S>, items: Vec<Item>) -> (Vec<Item>, Vec<Missed>) {
    let (mut begun, mut missed) = (Vec::new(), Vec::new());
    for mut item in items {
        match begin_one(shell, &item) {
            Ok(assembly) => {
                item.assembly = assembly;
                begun.push(item);
            }
            Err(error) => missed.push((item.target, error.into())),
        }
    }
    (begun, missed)
}

fn begin_one<F: Fs, S: Storage>(
    shell: &Shell<F, S>,
    item: &Item,
) -> Result<Option<Assembly>, FsError> {
    let Shell { fs, rows, manifests, .. } = shell;
    fs.temp_remove(&item.temp)?;
    match &item.target.what {
        What::Symlink { target } => fs.temp_symlink(&item.temp, target).map(|()| None),
        What::Directory => Ok(None),
        What::File { size, .. } => {
            let blocks = item.blocks.iter().map(|(_, block)| *block).collect();
            let manifest = Manifest { size: *size, blocks };
            Assembly::begin(&**fs, rows, manifests, &manifest, &item.temp).map(Some)
        }
    }
}

/// Fetches what this disk does not have, each block once.
async fn fetch_missing<F, S>(shell: &Arc<Shell<F, S>>, items: &mut [Item])
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let mut wanted: BTreeMap<Hash, Vec<usize>> = BTreeMap::new();
    let (mut blocks, mut seen) = (Vec::new(), BTreeSet::new());
    for (number, item) in items.iter().enumerate() {
        for block in item.assembly.iter().flat_map(Assembly::missing) {
            wanted.entry(block.hash).or_default().push(number);
            if seen.insert(block.hash) {
                blocks.push(*block);
            }
        }
    }
    if blocks.is_empty() {
        return;
    }
    let (sink, mut fetched) = mpsc::channel(BLOCKS_AT_ONCE);
    let fetcher = Arc::clone(shell);
    tokio::spawn(async move {
        fetcher.network.fetch(fetcher.folder, blocks, Priority::High, sink).await;
    });
    while let Some(got) = fetched.recv().await {
        let Ok(data) = got.data else { continue };
        for number in wanted.remove(&got.hash).unwrap_or_default() {
            if let Some(assembly) = &mut items[number].assembly
                && let Err(error) = assembly.supply(&got.hash, &data)
            {
                // It is not whole then, which is told below.
                tracing::warn!(%error, "a block could not be written");
            }
        }
    }
}

/// Makes what is whole durable, and removes what is not.
fn finish<F: Fs, S: Storage>(
    shell: &Shell<F, S>,
    items: Vec<Item>,
) -> (Vec<Gathered>, Vec<Missed>) {
    let one_by_one = items.len() <= SYNC_EACH_MAX;
    let (mut whole, mut missed) = (Vec::new(), Vec::new());
    for item in items {
        let Item { target, temp, blocks, assembly } = item;
        let ready = match &assembly {
            Some(assembly) if !assembly.is_complete() => Err(GatherError::Unavailable),
            Some(assembly) => {
                let dressed = assembly.dress(target.mode, target.mtime_ns);
                let synced =
                    dressed.and_then(|()| if one_by_one { assembly.sync() } else { Ok(()) });
                synced.map_err(GatherError::from)
            }
            None => Ok(()),
        };
        match ready {
            Ok(()) => whole.push(Gathered { target, temp: Some(temp), blocks }),
            Err(error) => {
                // What stays is removed at the next start.
                let _ = shell.fs.temp_remove(&temp);
                missed.push((target, error));
            }
        }
    }
    if !one_by_one && let Err(error) = shell.fs.sync_all() {
        tracing::warn!(%error, "what was gathered is not durable");
        let failed = whole.drain(..).map(|gathered| (gathered.target, GatherError::Unavailable));
        missed.extend(failed);
    }
    (whole, missed)
}

/// The bytes of a target that is a file.
pub(crate) fn bytes_of(target: &Target) -> u64 {
    match target.what {
        What::File { size, .. } => size,
        _ => 0,
    }
}
