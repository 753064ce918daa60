//! Processes that must not outlive a test, and what one has used, read from `/proc`.

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

/// What `/proc` counts CPU time in. Linux fixes it for all programs at 100 a second.
const TICK: Duration = Duration::from_millis(10);

/// Ends its process, whatever becomes of the test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a command.
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.spawn().expect("the program under test starts"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time that a process has used so far, in user and kernel mode, by all its threads, those
/// that have ended included.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; what follows the last one is regular.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u32>().ok()? + fields.get(12)?.parse::<u32>().ok()?;
    Some(TICK * ticks)
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Bytes that a process has read from files so far, cached or not; what comes over the network by
/// `recvmsg` does not count.
pub(crate) fn bytes_read(pid: u32) -> Option<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    io.lines().find_map(|line| line.strip_prefix("rchar:"))?.trim().parse().ok()
}
