//! Hashing and fetching of large files, beside the folder's thread.

use std::sync::Arc;

use bytes::Bytes;
use dunlin_blocks::{BlockRef, FileHash, ManifestError, ManifestWalk};
use dunlin_identity::Hash;
use dunlin_index::{RelPath, Storage};
use dunlin_transfer::{Fetched, Priority};
use dunlin_tree::fs::{Fs, FsError, FsErrorKind, Stat, TempName};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::assemble::Assembly;
use crate::folder::{Announce, LargeFile};
use crate::runner::Shell;

/// Manifest pieces that are asked for at a time.
const PIECES_AT_ONCE: usize = 256;
/// Blocks that wait to be written, and that are written at a time.
const BLOCKS_AT_ONCE: usize = 32;
/// After this many bytes, what has come is made durable, while more comes: so that it survives a
/// crash, and that little is left to be waited for at the end.
const SAVE_EVERY: u64 = 32 << 20;

/// Why a large file is not complete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The disk failed.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// No connected peer has all of it now.
    #[error("no connected device has all of it now")]
    Unavailable,
    /// Its manifest contradicts itself or the index.
    #[error("its block list is wrong: {0}")]
    Manifest(#[from] ManifestError),
    /// The program is ending.
    #[error("the program is ending")]
    Closed,
}

/// Cuts and hashes a file, making sure that it did not change meanwhile, and makes it durable if it
/// is announced only then.
///
/// # Errors
/// Whatever the disk reports; [`FsErrorKind::Busy`] when the file changed.
pub fn hash_file<F: Fs>(
    fs: &F,
    path: &RelPath,
    stat: &Stat,
    threads: usize,
    announce: Announce,
) -> Result<FileHash, FsError> {
    let changed = || FsError::new(FsErrorKind::Busy, "hash", path);
    let file = fs.open(path)?;
    if !file.stat()?.same_version(stat) {
        return Err(changed());
    }
    let read = |buffer: &mut [u8], offset| file.read_at(buffer, offset).map_err(Into::into);
    let hash = dunlin_blocks::hash_file(read, stat.size, threads).map_err(|_| changed())?;
    if announce == Announce::Durable {
        file.sync()?;
    }
    if !file.stat()?.same_version(stat) {
        return Err(changed());
    }
    Ok(hash)
}

/// Brings a large file's content into its temporary file.
///
/// # Errors
/// See [`DownloadError`]. What has come stays in the temporary file.
pub(crate) async fn fetch<F, S>(
    shell: &Arc<Shell<F, S>>,
    file: LargeFile,
) -> Result<(TempName, FileHash), DownloadError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let (walk, pieces) = fetch_manifest(shell, &file).await?;
    let manifest = Arc::new(walk.finish()?);
    let (begun, manifest_again, temp) =
        (Arc::clone(shell), Arc::clone(&manifest), file.temp.clone());
    let mut assembly = blocking(move || {
        let Shell { fs, rows, manifests, .. } = &*begun;
        Assembly::begin(&**fs, rows, manifests, &manifest_again, &temp)
    })
    .await??
    .shared_in(&shell.partials);

    let (sink, mut fetched) = mpsc::channel(BLOCKS_AT_ONCE);
    let missing = assembly.missing().to_vec();
    let fetcher = Arc::clone(shell);
    let priority = if file.urgent { Priority::High } else { Priority::Normal };
    let task = tokio::spawn(async move {
        if !missing.is_empty() {
            fetcher.network.fetch(fetcher.folder, missing, priority, sink).await;
        }
    });
    let mut batch: Vec<Fetched> = Vec::new();
    let mut saving = Saving::default();
    while fetched.recv_many(&mut batch, BLOCKS_AT_ONCE).await > 0 {
        let blocks = std::mem::take(&mut batch);
        saving.unsaved += bytes_of(&blocks);
        let came: Vec<Hash> =
            blocks.iter().filter(|got| got.data.is_ok()).map(|got| got.hash).collect();
        assembly = blocking(move || write_blocks(assembly, &blocks)).await??;
        shell.network.came(shell.folder, &came);
        saving.go_on(shell, &assembly).await?;
    }
    // It has ended, since it has dropped its end of the channel.
    let _ = task.await;
    saving.finish(shell, &assembly).await?;
    if !assembly.is_complete() {
        return Err(DownloadError::Unavailable);
    }
    let blocks = manifest.offsets().collect();
    let hash = FileHash { root: file.root, size: file.size, blocks, manifest_blocks: pieces };
    Ok((file.temp, hash))
}

/// Makes a file durable now and then, beside what goes on.
#[derive(Default)]
struct Saving {
    /// Bytes that have come since the last time.
    unsaved: u64,
    under_way: Option<JoinHandle<Result<(), FsError>>>,
}

impl Saving {
    /// Begins anew when the last time is over and enough has come since.
    async fn go_on<F, S>(
        &mut self,
        shell: &Arc<Shell<F, S>>,
        assembly: &Assembly,
    ) -> Result<(), DownloadError>
    where
        F: Fs + 'static,
        S: Storage + Clone + Sync + 'static,
    {
        let busy = self.under_way.as_ref().is_some_and(|last| !last.is_finished());
        if self.unsaved < SAVE_EVERY || busy {
            return Ok(());
        }
        self.wait().await?;
        self.unsaved = 0;
        let (checkpoint, shell) = (assembly.checkpoint(), Arc::clone(shell));
        let save = move || checkpoint.save(&shell.manifests);
        self.under_way = Some(tokio::task::spawn_blocking(save));
        Ok(())
    }

    /// Makes all durable that has come.
    async fn finish<F, S>(
        mut self,
        shell: &Arc<Shell<F, S>>,
        assembly: &Assembly,
    ) -> Result<(), DownloadError>
    where
        F: Fs + 'static,
        S: Storage + Clone + Sync + 'static,
    {
        self.wait().await?;
        let (checkpoint, shell) = (assembly.checkpoint(), Arc::clone(shell));
        Ok(blocking(move || checkpoint.save(&shell.manifests)).await??)
    }

    async fn wait(&mut self) -> Result<(), DownloadError> {
        match self.under_way.take() {
            Some(last) => Ok(last.await.map_err(|_| DownloadError::Closed)??),
            None => Ok(()),
        }
    }
}

fn bytes_of(blocks: &[Fetched]) -> u64 {
    let there = blocks.iter().filter_map(|got| got.data.as_ref().ok());
    there.map(|data| data.len() as u64).sum()
}

fn write_blocks(mut assembly: Assembly, blocks: &[Fetched]) -> Result<Assembly, FsError> {
    for got in blocks {
        if let Ok(data) = &got.data {
            assembly.supply(&got.hash, data)?;
        }
    }
    Ok(assembly)
}

/// Fetches the pieces of the manifest that are not here.
pub(crate) async fn fetch_manifest<F, S>(
    shell: &Arc<Shell<F, S>>,
    file: &LargeFile,
) -> Result<(ManifestWalk, Vec<(Hash, Vec<u8>)>), DownloadError>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let mut walk = ManifestWalk::new(file.root, file.size)?;
    let mut pieces = Vec::new();
    while !walk.is_complete() {
        let mut missing: Vec<BlockRef> = Vec::new();
        for piece in walk.wanted(PIECES_AT_ONCE) {
            match shell.manifests.get(&piece.hash) {
                Ok(Some(data)) => {
                    walk.supply(&piece.hash, &data)?;
                    pieces.push((piece.hash, data.to_vec()));
                }
                _ => missing.push(piece),
            }
        }
        if missing.is_empty() {
            continue;
        }
        let (sink, mut fetched) = mpsc::channel(PIECES_AT_ONCE);
        let fetcher = Arc::clone(shell);
        tokio::spawn(async move {
            fetcher.network.fetch(fetcher.folder, missing, Priority::High, sink).await;
        });
        while let Some(got) = fetched.recv().await {
            let data = got.data.map_err(|_| DownloadError::Unavailable)?;
            walk.supply(&got.hash, &data)?;
            pieces.push((got.hash, data.to_vec()));
        }
    }
    Ok((walk, pieces))
}

/// Fetches one block; none when no connected peer has it.
pub(crate) async fn fetch_block<F, S>(
    shell: &Arc<Shell<F, S>>,
    block: BlockRef,
    priority: Priority,
) -> Option<Bytes>
where
    F: Fs + 'static,
    S: Storage + Clone + Sync + 'static,
{
    let (sink, mut fetched) = mpsc::channel(1);
    let fetcher = Arc::clone(shell);
    tokio::spawn(async move {
        fetcher.network.fetch(fetcher.folder, vec![block], priority, sink).await;
    });
    fetched.recv().await.and_then(|got| got.data.ok())
}

/// Runs what blocks on a thread that may.
///
/// # Errors
/// [`DownloadError::Closed`] when the program is ending.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DownloadError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| DownloadError::Closed)
}
