//! What a tree holds, in a form that can be compared and whose differences can be read.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How many differences a failing test prints.
const SHOWN_MAX: usize = 12;

/// One thing in a tree.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    /// Bytes (as their hash), mode bits and modification time.
    File { hash: blake3::Hash, size: u64, mode: u32, mtime_ns: i128 },
    /// Mode bits; a directory's times are nobody's business.
    Directory { mode: u32 },
    /// Where it points.
    Symlink { target: PathBuf },
    /// A FIFO, a socket or a device.
    Other,
}

impl fmt::Debug for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { hash, size, mode, mtime_ns } => {
                let hash = &hash.to_hex()[..8];
                write!(f, "file {size} bytes {hash} mode {mode:o} mtime {mtime_ns}")
            }
            Self::Directory { mode } => write!(f, "directory mode {mode:o}"),
            Self::Symlink { target } => write!(f, "link to {}", target.display()),
            Self::Other => write!(f, "something else"),
        }
    }
}

/// A tree's paths, relative to its root, and what is there. `.dunlin` at the root is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(pub(crate) BTreeMap<PathBuf, Thing>);

impl Snapshot {
    /// Reads the tree at `root`; fails the test when that is not possible.
    #[track_caller]
    pub(crate) fn of(root: impl AsRef<Path>) -> Self {
        let root = root.as_ref();
        match Self::try_of(root) {
            Ok(snapshot) => snapshot,
            Err(error) => panic!("cannot read the tree {}: {error}", root.display()),
        }
    }

    /// Reads the tree at `root`, which may be changing: what vanishes meanwhile is left out, so
    /// that a caller who polls sees a difference and looks again.
    pub(crate) fn try_of(root: &Path) -> io::Result<Self> {
        let mut things = BTreeMap::new();
        let mut directories = vec![PathBuf::new()];
        while let Some(directory) = directories.pop() {
            let listing = match fs::read_dir(root.join(&directory)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                listing => listing?,
            };
            for entry in listing {
                let name = entry?.file_name();
                let path = directory.join(&name);
                if directory.as_os_str().is_empty() && name == ".dunlin" {
                    continue;
                }
                let Some(thing) = look(&root.join(&path))? else { continue };
                if matches!(thing, Thing::Directory { .. }) {
                    directories.push(path.clone());
                }
                things.insert(path, thing);
            }
        }
        Ok(Self(things))
    }

    /// How many files and links it holds.
    pub(crate) fn files(&self) -> usize {
        self.0.values().filter(|thing| !matches!(thing, Thing::Directory { .. })).count()
    }

    /// The first differences to `other`, one a line; `None` when there are none.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let mut lines = Vec::new();
        for (path, thing) in &self.0 {
            match other.0.get(path) {
                None => lines.push(format!("only left:  {}: {thing:?}", path.display())),
                Some(there) if there != thing => {
                    lines.push(format!("differs:    {}: {thing:?} | {there:?}", path.display()));
                }
                Some(_) => {}
            }
        }
        for (path, thing) in &other.0 {
            if !self.0.contains_key(path) {
                lines.push(format!("only right: {}: {thing:?}", path.display()));
            }
        }
        let count = lines.len();
        lines.truncate(SHOWN_MAX);
        (count > 0).then(|| format!("{count} differences:\n{}", lines.join("\n")))
    }
}

fn look(path: &Path) -> io::Result<Option<Thing>> {
    let thing = match fs::symlink_metadata(path) {
        Ok(meta) => describe(path, &meta),
        Err(error) => Err(error),
    };
    match thing {
        Ok(thing) => Ok(Some(thing)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(path: &Path, meta: &Metadata) -> io::Result<Thing> {
    let mode = meta.mode() & 0o7777;
    Ok(if meta.is_dir() {
        Thing::Directory { mode }
    } else if meta.is_symlink() {
        let target = fs::read_link(path)?;
        Thing::Symlink { target }
    } else if meta.is_file() {
        let hash = blake3::Hasher::new().update_reader(fs::File::open(path)?)?.finalize();
        let mtime_ns = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        Thing::File { hash, size: meta.len(), mode, mtime_ns }
    } else {
        Thing::Other
    })
}

/// Fails the test unless both trees hold the same: kinds, bytes, modes, times, link targets.
#[track_caller]
pub(crate) fn assert_same_tree(left: impl AsRef<Path>, right: impl AsRef<Path>) {
    let (left, right) = (left.as_ref(), right.as_ref());
    if let Some(difference) = Snapshot::of(left).difference(&Snapshot::of(right)) {
        panic!("{} and {} are not the same: {difference}", left.display(), right.display());
    }
}
