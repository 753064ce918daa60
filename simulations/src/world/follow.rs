//! Follows a part of a content through a run, for whoever looks for what became of it.

use super::World;

impl World {
    /// Notes in the trace where what is followed is, if that has changed.
    pub(super) fn follow(&mut self) {
        let Some(part) = self.scenario.follow.clone().filter(|part| !part.is_empty()) else {
            return;
        };
        self.followed.resize(self.devices.len(), Vec::new());
        for device in 0..self.devices.len() {
            let contents = self.devices[device].disk.all_contents();
            let has = |content: &[u8]| content.windows(part.len()).any(|at| at == part.as_bytes());
            let paths: Vec<String> =
                contents.into_iter().filter(|(_, it)| has(it)).map(|(path, _)| path).collect();
            if paths != self.followed[device] {
                self.note(|| format!("{device}: followed: {}", paths.join(", ")));
                self.followed[device] = paths;
            }
        }
    }
}
