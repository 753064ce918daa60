//! What a folder's owner wants left alone: `.dunlinignore` files, in gitignore's syntax.
//!
//! There may be one in every directory; its patterns hold for that directory and all below. As in
//! git, the last pattern that matches decides, a deeper file counts before one further up, and
//! what lies below an ignored directory cannot be taken back by a `!` pattern. The files
//! themselves are synced like any other, so that all devices ignore the same things.
//!
//! Besides, a folder's members may share patterns that are in no file. They hold for the whole
//! folder, and every file counts before them.
//!
//! Nothing is ignored unasked: no editor's backup, no `.DS_Store`. Only `.dunlin` at the root,
//! Dunlin's own, never counts as part of the folder, and no path can name it.
//!
//! An ignored path is left alone and is never taken for a deleted one (rule 11 of the design).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use dunlin_index::{RelPath, SafeName};
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::fs::{FileKind, Fs, FsError, FsErrorKind, Listing, Stat};

/// The name of the files that hold the patterns.
pub const IGNORE_FILE: &str = ".dunlinignore";

/// A file of patterns that is larger, in bytes, is not read.
pub const IGNORE_FILE_BYTES_MAX: u64 = 256 * 1024;
/// Directories with patterns of their own; further ones are reported and not read.
const RULE_FILES_MAX: usize = 4096;
/// Directories that [`IgnoreRules::load`] enters, one inside another.
const DEPTH_MAX: usize = 512;

/// Something about an ignore file that its owner should know. It is not fatal: the other patterns
/// hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IgnoreWarning {
    /// A line is no valid pattern.
    #[error("{file}, line {line}: {reason}")]
    Pattern {
        /// The ignore file.
        file: RelPath,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is no regular file, is too large, is no UTF-8 or cannot be read. The patterns
    /// that were read from it before hold on.
    #[error("{file}: {reason}")]
    Unusable {
        /// The ignore file.
        file: RelPath,
        /// What is wrong with it.
        reason: String,
    },
}

/// The patterns of one directory, and of which version of its file they are.
#[derive(Debug, Clone)]
struct DirRules {
    matcher: Gitignore,
    read_from: Stat,
}

/// The patterns of a whole folder.
///
/// A walk keeps them current: it hands each listing to [`IgnoreRules::refresh`] before it looks
/// at what is in the directory.
#[derive(Debug, Clone, Default)]
pub struct IgnoreRules {
    dirs: BTreeMap<RelPath, DirRules>,
    warnings: BTreeMap<RelPath, Vec<IgnoreWarning>>,
    shared: Shared,
}

/// The patterns that are in no file.
#[derive(Debug, Clone, Default)]
struct Shared {
    patterns: Vec<String>,
    matcher: PathPatterns,
}

/// Patterns in gitignore's syntax that hold for a whole folder, whatever they are for.
#[derive(Debug, Clone, Default)]
pub struct PathPatterns(Option<Gitignore>);

impl PathPatterns {
    /// Reads patterns; what is none has no effect.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns.iter().filter(|pattern| check_pattern(pattern).is_ok()) {
            // It was checked.
            let _ = builder.add_line(None, pattern);
        }
        Self(builder.build().ok().filter(|matcher| !matcher.is_empty()))
    }

    /// Whether nothing matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a file's path, or a directory above it, matches.
    #[must_use]
    pub fn matches(&self, path: &RelPath) -> bool {
        let Some(matcher) = &self.0 else { return false };
        matcher.matched_path_or_any_parents(Path::new(&path.to_string()), false).is_ignore()
    }
}

/// Whether a text can be a pattern, by itself on a line.
///
/// # Errors
/// Why not, in words for the user.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    if pattern.contains(['\n', '\r']) {
        return Err("a pattern is one line".to_owned());
    }
    if pattern.trim().is_empty() || pattern.starts_with('#') {
        return Err("it is a comment, and not a pattern".to_owned());
    }
    let mut builder = GitignoreBuilder::new("");
    builder.add_line(None, pattern).map_err(|error| error.to_string())?;
    Ok(())
}

impl IgnoreRules {
    /// Rules that ignore nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all ignore files of a folder by going through its directories. A walk makes this
    /// unnecessary.
    ///
    /// # Errors
    /// Fails when the folder as a whole cannot be read; a single unreadable directory is skipped.
    pub fn load(fs: &dyn Fs) -> Result<Self, FsError> {
        let mut rules = Self::new();
        let mut stack = vec![(RelPath::root(), 0)];
        while let Some((dir, depth)) = stack.pop() {
            let listing = match fs.list(&dir) {
                Ok(listing) => listing,
                Err(error) if dir.is_root() || error.kind().pauses_folder() => return Err(error),
                Err(_) => continue,
            };
            rules.refresh(fs, &dir, &listing);
            for (name, stat) in listing.entries {
                let Ok(path) = dir.join(&name) else { continue };
                let enter = stat.kind == FileKind::Directory && depth < DEPTH_MAX;
                if enter && !rules.is_ignored(&path, true) {
                    stack.push((path, depth + 1));
                }
            }
        }
        Ok(rules)
    }

    /// Puts the patterns that the folder's members share in force, and returns whether they differ
    /// from before. What is no pattern has no effect.
    pub fn set_shared(&mut self, patterns: &[String]) -> bool {
        if self.shared.patterns == patterns {
            return false;
        }
        self.shared = Shared { patterns: patterns.to_vec(), matcher: PathPatterns::new(patterns) };
        true
    }

    /// Says what is wrong with the ignore files as they are now.
    pub fn warnings(&self) -> impl Iterator<Item = &IgnoreWarning> {
        self.warnings.values().flatten()
    }

    /// Whether nothing is ignored anywhere.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dirs.is_empty() && self.shared.matcher.is_empty()
    }

    /// Whether `path`, or a directory above it, is ignored. `is_dir` says what `path` itself is:
    /// patterns that end in a slash match directories only.
    #[must_use]
    pub fn is_ignored(&self, path: &RelPath, is_dir: bool) -> bool {
        if self.is_empty() {
            return false;
        }
        let mut prefix = RelPath::root();
        let names = path.names();
        for (at, name) in names.iter().enumerate() {
            let Ok(next) = prefix.join(name) else { return false };
            prefix = next;
            if self.matches(&prefix, is_dir || at + 1 < names.len()) {
                return true;
            }
        }
        false
    }

    /// Whether a name in `dir` is ignored, when nothing above it is.
    #[must_use]
    pub fn is_ignored_in(&self, dir: &RelPath, name: &SafeName, is_dir: bool) -> bool {
        if self.is_empty() {
            return false;
        }
        dir.join(name).is_ok_and(|path| self.matches(&path, is_dir))
    }

    /// Reads the ignore file of `dir` again when the listing shows another one than before, and
    /// returns whether the rules differ from before.
    pub fn refresh(&mut self, fs: &dyn Fs, dir: &RelPath, listing: &Listing) -> bool {
        let found = listing
            .entries
            .binary_search_by(|(name, _)| name.as_str().cmp(IGNORE_FILE))
            .ok()
            .map(|at| listing.entries[at].1);
        let Some(stat) = found else {
            self.warnings.remove(dir);
            return self.dirs.remove(dir).is_some();
        };
        if self.dirs.get(dir).is_some_and(|rules| rules.read_from == stat) {
            return false;
        }
        self.read(fs, dir, stat)
    }

    /// Forgets the rules of `dir` and of all below it; for a directory that is gone.
    pub fn forget(&mut self, dir: &RelPath) {
        self.dirs.retain(|at, _| !at.starts_with(dir));
        self.warnings.retain(|at, _| !at.starts_with(dir));
    }

    fn read(&mut self, fs: &dyn Fs, dir: &RelPath, stat: Stat) -> bool {
        let full = !self.dirs.contains_key(dir) && self.dirs.len() >= RULE_FILES_MAX;
        let Ok(file) = SafeName::parse(IGNORE_FILE)
            .map_err(drop)
            .and_then(|name| dir.join(&name).map_err(drop))
        else {
            return false;
        };
        let text = if full {
            Err(format!("more than {RULE_FILES_MAX} directories have one"))
        } else {
            read_text(fs, &file, &stat)
        };
        let text = match text {
            Ok(text) => text,
            Err(reason) => {
                let warning = IgnoreWarning::Unusable { file, reason };
                self.warnings.insert(dir.clone(), vec![warning]);
                return false;
            }
        };
        let (matcher, warnings) = parse(&file, &text);
        if warnings.is_empty() {
            self.warnings.remove(dir);
        } else {
            self.warnings.insert(dir.clone(), warnings);
        }
        self.dirs.insert(dir.clone(), DirRules { matcher, read_from: stat });
        true
    }

    /// Asks the files from the deepest to the root's, then the shared patterns; the first that has
    /// a word decides.
    fn matches(&self, path: &RelPath, is_dir: bool) -> bool {
        let names = path.names();
        let mut dir = path.parent();
        while let Some(at) = dir {
            if let Some(rules) = self.dirs.get(&at) {
                let below: Vec<&str> =
                    names[at.names().len()..].iter().map(SafeName::as_str).collect();
                match rules.matcher.matched(Path::new(&below.join("/")), is_dir) {
                    Match::None => {}
                    Match::Ignore(_) => return true,
                    Match::Whitelist(_) => return false,
                }
            }
            dir = at.parent();
        }
        let shared = self.shared.matcher.0.as_ref();
        shared
            .is_some_and(|shared| shared.matched(Path::new(&path.to_string()), is_dir).is_ignore())
    }
}

fn read_text(fs: &dyn Fs, file: &RelPath, stat: &Stat) -> Result<String, String> {
    if stat.kind != FileKind::File {
        return Err("it is not a regular file".to_owned());
    }
    if stat.size > IGNORE_FILE_BYTES_MAX {
        return Err(format!("it is larger than {IGNORE_FILE_BYTES_MAX} bytes"));
    }
    let bytes = read_bounded(fs, file).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "it is not valid UTF-8".to_owned())
}

/// Reads at most the allowed size, even when the file grows meanwhile.
fn read_bounded(fs: &dyn Fs, file: &RelPath) -> Result<Vec<u8>, FsError> {
    let open = fs.open(file)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let got = open.read_at(&mut buffer, bytes.len() as u64)?;
        if got == 0 {
            return Ok(bytes);
        }
        bytes.extend_from_slice(&buffer[..got]);
        if bytes.len() as u64 > IGNORE_FILE_BYTES_MAX {
            return Err(FsError::new(FsErrorKind::Busy, "read", file));
        }
    }
}

fn parse(file: &RelPath, text: &str) -> (Gitignore, Vec<IgnoreWarning>) {
    let mut warnings = Vec::new();
    // Paths are given relative to the file's own directory, so its root is the empty path.
    let mut builder = GitignoreBuilder::new("");
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if let Err(error) = builder.add_line(None, line) {
            let reason = error.to_string();
            warnings.push(IgnoreWarning::Pattern { file: file.clone(), line: at + 1, reason });
        }
    }
    match builder.build() {
        Ok(matcher) => (matcher, warnings),
        Err(error) => {
            let reason = error.to_string();
            warnings.push(IgnoreWarning::Unusable { file: file.clone(), reason });
            (Gitignore::empty(), warnings)
        }
    }
}
