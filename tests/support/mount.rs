//! Memory file systems of a small size, mounted where a test wants them.

use std::path::{Path, PathBuf};
use std::process::Command;

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

fn mount(path: &Path, options: &str) -> Result<(), String> {
    let output = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(path)
        .output()
        .map_err(|error| format!("cannot run mount: {error}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("mount: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
