//! A bar that shows a person how much is left to do.

use std::time::Duration;

use dunlin_engine::types::{FolderState, Status};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// How often the bar is brought up to date.
pub(crate) const INTERVAL: Duration = Duration::from_millis(500);
/// The bar counts in thousandths of the work.
const WHOLE: u64 = 1_000;

/// What is left to do, over all folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    scanning: bool,
    files: u64,
    bytes: u64,
}

impl Left {
    fn of(status: &Status) -> Self {
        let mut left = Self::default();
        for folder in &status.folders {
            left.scanning |= folder.state == FolderState::Scanning;
            if folder.state == FolderState::Syncing {
                left.files += folder.need_files;
                left.bytes += folder.need_bytes;
            }
        }
        left
    }

    fn is_nothing(self) -> bool {
        self == Self::default()
    }

    fn message(self) -> String {
        let files = output::count(self.files, "file");
        match (self.files > 0 || self.bytes > 0, self.scanning) {
            (true, _) => format!("{files}, {} left", output::bytes(self.bytes)),
            (false, true) => "looking at the disk".to_owned(),
            (false, false) => String::new(),
        }
    }
}

/// The bar: there while something is to be done, gone else.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// The most that has been left since the bar appeared: the whole.
    most: Left,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { bar: None, most: Left::default() }
    }

    /// Shows what is left now.
    pub(crate) fn update(&mut self, status: &Status) {
        let left = Left::of(status);
        if left.is_nothing() {
            self.clear();
            return;
        }
        self.most.files = self.most.files.max(left.files);
        self.most.bytes = self.most.bytes.max(left.bytes);
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_position(done(left, self.most));
        bar.set_message(left.message());
        bar.tick();
    }

    /// The bar, if it is there, for who writes without tearing it.
    pub(crate) fn bar(&self) -> Option<ProgressBar> {
        self.bar.clone()
    }

    /// Takes the bar away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.most = Left::default();
    }
}

/// How much of the whole is done, by bytes if there are any to count by, else by files.
fn done(left: Left, most: Left) -> u64 {
    let (left, most) = match most.bytes {
        0 => (left.files, most.files),
        bytes => (left.bytes, bytes),
    };
    let done = u128::from(most.saturating_sub(left)) * u128::from(WHOLE);
    // A part of the whole, so it fits.
    (done / u128::from(most.max(1))) as u64
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} [{bar:30}] {msg}")
        .expect("the template is a constant that is right")
        .progress_chars("=> ");
    ProgressBar::new(WHOLE).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(files: u64, bytes: u64) -> Left {
        Left { scanning: false, files, bytes }
    }

    #[test]
    fn the_bar_counts_bytes_or_else_files() {
        assert_eq!(done(left(1, 25), left(2, 100)), 750);
        assert_eq!(done(left(1, 0), left(4, 0)), 750);
        assert_eq!(done(left(0, 0), left(0, 0)), 0);
        assert_eq!(done(left(0, 0), left(1, u64::MAX)), 1_000);
        new_bar().finish_and_clear();
    }

    #[test]
    fn what_is_left_is_told_in_words() {
        assert_eq!(left(1, 2_048).message(), "1 file, 2.0 KiB left");
        let scanning = Left { scanning: true, ..Left::default() };
        assert_eq!(scanning.message(), "looking at the disk");
        assert!(!scanning.is_nothing());
    }
}
