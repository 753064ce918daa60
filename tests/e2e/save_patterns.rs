//! Programs that save by renaming: what they save is an edit of the same file.

use std::path::Path;
use std::process::Command;

use crate::support::files::{append, names, read, remove, rename, write};
use crate::support::node::Group;
use crate::support::skipped;

/// A way to save `text` into the file `name` of `dir`.
struct Pattern {
    name: &'static str,
    save: fn(&Path, &str, &str) -> Result<(), String>,
    /// What it leaves beside the file, if anything.
    leaves: Option<&'static str>,
}

const PATTERNS: &[Pattern] = &[
    Pattern { name: "in place", save: in_place, leaves: None },
    Pattern { name: "sed -i", save: sed, leaves: None },
    Pattern { name: "vim itself", save: vim, leaves: None },
    Pattern { name: "like vim", save: like_vim, leaves: None },
    Pattern { name: "like vim with a backup", save: like_vim_backup, leaves: Some("~") },
    Pattern { name: "like LibreOffice", save: like_libreoffice, leaves: None },
    Pattern { name: "temporary file over it", save: temporary_over, leaves: None },
    Pattern { name: "delete and write", save: delete_and_write, leaves: None },
];

fn in_place(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    write(dir.join(name), text);
    Ok(())
}

fn sed(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    run(Command::new("sed").arg("-i").arg(format!("s/.*/{text}/")).arg(dir.join(name)))
}

fn vim(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    // Its own default of renaming the old file away and writing a new one.
    let settings = "set nocompatible writebackup backupcopy=no";
    let mut vim = Command::new("vim");
    vim.args(["-u", "NONE", "-es", "-c", settings, "-c"]).arg(format!("%s/.*/{text}/"));
    run(vim.args(["-c", "wq"]).arg(dir.join(name)))
}

fn like_vim(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let swap = dir.join(format!(".{name}.swp"));
    write(&swap, "swap");
    write(dir.join("4913"), "");
    remove(dir.join("4913"));
    let backup = dir.join(format!("{name}~"));
    rename(dir.join(name), &backup);
    write(dir.join(name), text);
    remove(backup);
    remove(swap);
    Ok(())
}

fn like_vim_backup(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    rename(dir.join(name), dir.join(format!("{name}~")));
    write(dir.join(name), text);
    Ok(())
}

fn like_libreoffice(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let lock = dir.join(format!(".~lock.{name}#"));
    write(&lock, ",user,host,now;");
    let temporary = dir.join("lu12345abcde.tmp");
    write(&temporary, &text[..text.len() / 2]);
    append(&temporary, &text.as_bytes()[text.len() / 2..]);
    rename(&temporary, dir.join(name));
    remove(lock);
    Ok(())
}

fn temporary_over(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    let temporary = dir.join(format!(".{name}.tmp-1"));
    write(&temporary, text);
    rename(temporary, dir.join(name));
    Ok(())
}

fn delete_and_write(dir: &Path, name: &str, text: &str) -> Result<(), String> {
    remove(dir.join(name));
    write(dir.join(name), text);
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {stderr}")) }
}

#[test]
fn what_editors_save_by_renaming_is_an_edit_and_follows_a_rename_made_elsewhere() {
    let mut group = Group::pair();
    for pattern in PATTERNS {
        let dir = group.nodes[0].at(pattern.name);
        std::fs::create_dir(&dir).expect("a directory");
        write(dir.join("file.txt"), "first\n");
    }
    group.converge(&[0, 1]);
    let patterns = save_all(&group, "second");
    group.converge(&[0, 1]);
    for pattern in &patterns {
        assert_saved(&group, pattern, "file.txt", "second");
    }
    group.assert_no_conflicts(&[0, 1]);

    // A saves while B is away, B renames while A is away: that is one file, edited and renamed.
    group.nodes[1].stop();
    save_all(&group, "third");
    group.nodes[0].cli(&["scan"]).expect_code(0);
    group.nodes[0].stop();
    for pattern in &patterns {
        let dir = group.nodes[1].at(pattern.name);
        rename(dir.join("file.txt"), dir.join("renamed.txt"));
    }
    group.start(&[0, 1]);
    group.converge(&[0, 1]);
    for pattern in &patterns {
        assert_saved(&group, pattern, "renamed.txt", "third");
    }
    group.assert_no_conflicts(&[0, 1]);
}

/// Saves `text` on A in every way that is there; gives those.
fn save_all(group: &Group, text: &str) -> Vec<&'static Pattern> {
    let mut worked = Vec::new();
    for pattern in PATTERNS {
        match (pattern.save)(&group.nodes[0].at(pattern.name), "file.txt", text) {
            Ok(()) => worked.push(pattern),
            Err(why) => skipped(&format!("saving with {}", pattern.name), &why),
        }
    }
    worked
}

#[track_caller]
fn assert_saved(group: &Group, pattern: &Pattern, name: &str, text: &str) {
    for node in &group.nodes {
        let dir = node.at(pattern.name);
        let mut expected = vec![name.to_owned()];
        expected.extend(pattern.leaves.map(|suffix| format!("file.txt{suffix}")));
        expected.sort();
        assert_eq!(names(&dir), expected, "{} on {}", pattern.name, node.name);
        let saved = String::from_utf8(read(dir.join(name))).expect("text");
        assert_eq!(saved.trim_end(), text, "{} on {}", pattern.name, node.name);
    }
}

fn git(dir: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).args(["-c", "user.name=A Name", "-c", "user.email=a@example.org"]);
    // No housekeeping behind our back, and nobody's own settings. A question must not write to the
    // index, which both sides would then have changed.
    git.arg("--no-optional-locks");
    git.args(["-c", "gc.auto=0", "-c", "safe.directory=*", "-c", "init.defaultBranch=main"]);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    let output = git.args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

#[test]
fn a_git_work_tree_arrives_whole_when_branches_are_checked_out() {
    let group = Group::pair();
    let tree = group.nodes[0].at("work");
    std::fs::create_dir(&tree).expect("a directory");
    if let Err(why) = git(&tree, &["init", "-q"]) {
        return skipped("a git work tree", &why);
    }
    let git_a = |arguments: &[&str]| git(&tree, arguments).expect("git works here");
    for i in 0..20 {
        std::fs::create_dir_all(tree.join(format!("src/m{i}"))).expect("a directory");
        write(tree.join(format!("src/m{i}/lib.rs")), format!("// {i}\n").repeat(50));
    }
    git_a(&["add", "."]);
    git_a(&["commit", "-qm", "main"]);
    git_a(&["checkout", "-qb", "other"]);
    for i in 0..10 {
        write(tree.join(format!("src/m{i}/lib.rs")), format!("// other {i}\n"));
        git_a(&["mv", &format!("src/m{}/lib.rs", i + 10), &format!("src/m{i}/moved.rs")]);
    }
    git_a(&["rm", "-qrf", "src/m5"]);
    write(tree.join("new.rs"), "// new\n");
    git_a(&["add", "."]);
    git_a(&["commit", "-qm", "other"]);
    group.converge(&[0, 1]);
    for branch in ["main", "other", "main"] {
        git_a(&["checkout", "-q", branch]);
        group.converge(&[0, 1]);
    }
    group.assert_no_conflicts(&[0, 1]);
    let there = group.nodes[1].at("work");
    for question in [&["rev-parse", "HEAD"][..], &["status", "--porcelain"], &["fsck", "--full"]] {
        assert_eq!(git(&there, question), git(&tree, question), "git {question:?}");
    }
    assert_eq!(git(&there, &["status", "--porcelain"]).as_deref(), Ok(""));
}
