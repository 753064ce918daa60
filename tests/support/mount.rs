//! File systems of a small size, in memory or in an image, mounted where a test wants them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::Advice;

use super::is_root;

/// A mounted `tmpfs`; unmounted when this value is dropped.
pub(crate) struct Mount {
    path: PathBuf,
}

impl Mount {
    /// Mounts a `tmpfs` of `size_mib` mebibytes at `path`; says why that is not possible here.
    pub(crate) fn tmpfs(path: &Path, size_mib: u32) -> Result<Self, String> {
        if !is_root() {
            return Err("mounting needs root".into());
        }
        mount(path, &format!("size={size_mib}m,mode=755"))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Makes an ext4 file system of `size_mib` mebibytes in the file `image` and mounts it at
    /// `path`; says why that is not possible here.
    pub(crate) fn ext4(image: &Path, path: &Path, size_mib: u64) -> Result<Self, String> {
        if !is_root() {
            return Err("mounting needs root".into());
        }
        let file = File::create(image).map_err(|error| error.to_string())?;
        file.set_len(size_mib << 20).map_err(|error| error.to_string())?;
        done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image))?;
        done(Command::new("mount").args(["-o", "loop"]).args([image, path]))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Flips a bit of the image below a mounted file system wherever it holds `pattern` (freed
    /// blocks may, too): no time, size or inode tells of it.
    pub(crate) fn rot(&self, image: &Path, pattern: &[u8]) {
        let top = File::open(&self.path).expect("it is mounted");
        rustix::fs::syncfs(&top).expect("an image can be written to");
        let bytes = std::fs::read(image).expect("the image can be read");
        let file = File::options().write(true).open(image).expect("the image can be written");
        let mut from = 0;
        while let Some(at) = bytes[from..].windows(pattern.len()).position(|at| at == pattern) {
            from += at + pattern.len() / 2;
            file.write_all_at(&[bytes[from] ^ 1], from as u64).expect("the image can be written");
        }
        assert!(from > 0, "the pattern is not in the image");
        forget(&self.path);
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, size_mib: u32) {
        mount(&self.path, &format!("remount,size={size_mib}m")).expect("a tmpfs can be resized");
    }

    /// Makes it read-only.
    pub(crate) fn make_read_only(&self) {
        mount(&self.path, "remount,ro").expect("a tmpfs can be made read-only");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, because a program under test may still hold something open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).output();
    }
}

/// Has the kernel forget what it holds of the files in a directory, so that they are read from the
/// disk. (Unmounting would not do: other processes' namespaces may have the mount, too.)
fn forget(directory: &Path) {
    for entry in std::fs::read_dir(directory).expect("a directory that can be read") {
        let path = entry.expect("a directory that can be read").path();
        if path.is_dir() {
            forget(&path);
        } else {
            let file = File::open(path).expect("a file that can be read");
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("advice can be given");
        }
    }
}

fn mount(path: &Path, options: &str) -> Result<(), String> {
    done(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path))
}

/// Runs a command to its end; says what it said when it fails.
fn done(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
