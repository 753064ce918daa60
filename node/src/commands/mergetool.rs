//! Merging by a tool of the user's, in a directory of its own: the tool sees copies alone, so
//! that whatever it does, nothing in the folder is lost by it.
//!
//! The names of the files, and that the exit code decides, are git's: a command that works there
//! works here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::failure::Failure;

/// A tool that is known by its name.
struct Known {
    name: &'static str,
    /// How it is called with a base.
    three_way: &'static str,
    /// How it is called without one.
    two_way: &'static str,
}

const KNOWN: &[Known] = &[
    Known {
        name: "bcompare",
        three_way: r#"bcompare "$LOCAL" "$REMOTE" "$BASE" "$MERGED""#,
        two_way: r#"bcompare "$LOCAL" "$REMOTE" -mergeoutput="$MERGED""#,
    },
    Known {
        name: "code",
        three_way: r#"code --wait --merge "$REMOTE" "$LOCAL" "$BASE" "$MERGED""#,
        two_way: r#"code --wait --merge "$REMOTE" "$LOCAL" /dev/null "$MERGED""#,
    },
    Known {
        name: "git",
        three_way: r#"git merge-file -p "$LOCAL" "$BASE" "$REMOTE" > "$MERGED""#,
        two_way: r#"git merge-file -p "$LOCAL" /dev/null "$REMOTE" > "$MERGED""#,
    },
    Known {
        name: "kdiff3",
        three_way: r#"kdiff3 -o "$MERGED" "$BASE" "$LOCAL" "$REMOTE""#,
        two_way: r#"kdiff3 -o "$MERGED" "$LOCAL" "$REMOTE""#,
    },
    Known {
        name: "meld",
        three_way: r#"meld --output "$MERGED" "$LOCAL" "$BASE" "$REMOTE""#,
        two_way: r#"meld "$LOCAL" "$MERGED" "$REMOTE""#,
    },
    Known {
        name: "nvimdiff",
        three_way: r#"nvim -d -c 'wincmd l' "$LOCAL" "$MERGED" "$REMOTE""#,
        two_way: r#"nvim -d -c 'wincmd l' "$LOCAL" "$MERGED" "$REMOTE""#,
    },
    Known {
        name: "vimdiff",
        three_way: r#"vim -d -c 'wincmd l' "$LOCAL" "$MERGED" "$REMOTE""#,
        two_way: r#"vim -d -c 'wincmd l' "$LOCAL" "$MERGED" "$REMOTE""#,
    },
];

/// A merge that is under way: the directory with its files goes when it is dropped.
pub(crate) struct Work {
    dir: TempDir,
    /// The name of the file, so that tools know its kind.
    name: String,
}

impl Work {
    /// Begins with a copy of the version that has the name.
    pub(crate) fn begin(name: &Path, winner: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::new(format!("no directory for the merge: {error}"));
        let dir = tempfile::Builder::new().prefix("dunlin-merge-").tempdir().map_err(failed)?;
        let name = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy().into_owned();
        let work = Self { dir, name };
        copy(winner, &work.merged())?;
        Ok(work)
    }

    fn file(&self, role: &str) -> PathBuf {
        self.dir.path().join(format!("{role}-{}", self.name))
    }

    /// Where what all versions came from belongs, if it is known.
    pub(crate) fn base(&self) -> PathBuf {
        self.file("BASE")
    }

    /// Where the result is.
    pub(crate) fn merged(&self) -> PathBuf {
        self.file("MERGED")
    }

    /// Lets a tool merge another version into what has been merged so far.
    pub(crate) fn merge(&mut self, tool: &str, other: &Path) -> Result<(), Failure> {
        let (local, remote, merged) = (self.file("LOCAL"), self.file("REMOTE"), self.merged());
        copy(&merged, &local)?;
        copy(other, &remote)?;
        let has_base = self.base().exists();
        if !has_base {
            // Commands that name it find an empty one.
            fs::write(self.base(), "").map_err(|error| Failure::new(error.to_string()))?;
        }
        let status = Command::new("sh")
            .arg("-c")
            .arg(command_of(tool, has_base))
            .env("LOCAL", &local)
            .env("BASE", self.base())
            .env("REMOTE", &remote)
            .env("MERGED", &merged)
            .status();
        if !has_base {
            fs::remove_file(self.base()).map_err(|error| Failure::new(error.to_string()))?;
        }
        let status = status.map_err(|error| Failure::new(format!("cannot run sh: {error}")))?;
        let changed = fs::read(&merged).ok() != fs::read(&local).ok();
        match (status.success(), changed) {
            (true, true) => Ok(()),
            // A tool that is left without saving often says that all is well.
            (true, false) => Err(Failure::new("the tool has not written $MERGED")
                .advise("dunlin conflict resolve --keep this, if that is what you want")),
            (false, _) => {
                let failure = Failure::new(format!("the merge tool failed: {status}"));
                Err(if changed { self.keep(failure) } else { failure })
            }
        }
    }

    /// Keeps what has been merged so far for the user, who is told where it is.
    pub(crate) fn keep(&self, failure: Failure) -> Failure {
        let kept = tempfile::Builder::new()
            .prefix("dunlin-merged-")
            .suffix(&format!("-{}", self.name))
            .tempfile()
            .and_then(|file| Ok(file.keep()?.1));
        match kept.and_then(|path| fs::copy(self.merged(), &path).map(|_| path)) {
            Ok(path) => failure.advise(format!("what was merged so far: {}", path.display())),
            Err(error) => failure.advise(format!("what was merged so far is lost: {error}")),
        }
    }
}

/// The command of a tool that is known by name; anything else is a command itself.
fn command_of(tool: &str, has_base: bool) -> &str {
    match KNOWN.iter().find(|known| known.name == tool) {
        Some(known) if has_base => known.three_way,
        Some(known) => known.two_way,
        None => tool,
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let copied = fs::copy(from, to).map(drop);
    copied.map_err(|error| Failure::new(format!("cannot copy {}: {error}", from.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (winner, copy) = (dir.path().join("a.txt"), dir.path().join("b.txt"));
        fs::write(&winner, "one\n").unwrap();
        fs::write(&copy, "two\n").unwrap();
        (dir, winner, copy)
    }

    #[test]
    fn a_command_sees_all_versions_and_its_result_counts() {
        let (_dir, winner, copy) = files();
        let mut work = Work::begin(Path::new("sub/a.txt"), &winner).unwrap();
        fs::write(work.base(), "base\n").unwrap();
        let command = r#"cat "$BASE" "$LOCAL" "$REMOTE" > "$MERGED""#;
        work.merge(command, &copy).unwrap();
        assert_eq!(fs::read_to_string(work.merged()).unwrap(), "base\none\ntwo\n");
        // The next version is merged into the result.
        work.merge(command, &copy).unwrap();
        let text = fs::read_to_string(work.merged()).unwrap();
        assert_eq!(text, "base\nbase\none\ntwo\ntwo\n");
        assert!(work.merged().file_name().unwrap().to_string_lossy().ends_with("a.txt"));
        assert_eq!(fs::read_to_string(&winner).unwrap(), "one\n");
    }

    #[test]
    fn without_a_base_the_variable_names_an_empty_file() {
        let (_dir, winner, copy) = files();
        let mut work = Work::begin(Path::new("a.txt"), &winner).unwrap();
        work.merge(r#"wc -c < "$BASE" > "$MERGED""#, &copy).unwrap();
        assert_eq!(fs::read_to_string(work.merged()).unwrap().trim(), "0");
        assert!(!work.base().exists());
    }

    #[test]
    fn a_tool_that_fails_or_writes_nothing_ends_no_conflict() {
        let (_dir, winner, copy) = files();
        for (command, kept) in
            [("false", false), ("true", false), (r#"echo x > "$MERGED"; exit 3"#, true)]
        {
            let mut work = Work::begin(Path::new("a.txt"), &winner).unwrap();
            let failure = format!("{:?}", work.merge(command, &copy).unwrap_err());
            assert_eq!(failure.contains("what was merged so far: "), kept, "{failure}");
            if let Some((_, path)) = failure.split_once("so far: ") {
                let path = path.split('"').next().unwrap();
                assert_eq!(fs::read_to_string(path).unwrap(), "x\n");
                fs::remove_file(path).unwrap();
            }
        }
    }

    #[test]
    fn names_stand_for_commands() {
        assert!(command_of("meld", true).contains("$BASE"));
        assert!(!command_of("meld", false).contains("$BASE"));
        assert_eq!(command_of("my-tool $MERGED", true), "my-tool $MERGED");
    }
}
