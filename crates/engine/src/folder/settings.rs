//! What the folder's members have agreed on takes effect here.

use std::sync::Arc;

use dunlin_index::{Dot, Millis, Storage};
use dunlin_text::settings::Settings;
use dunlin_text::{Client, PATTERNS_MAX, Patterns, RULES, RULES_UNCHECKED};
use dunlin_tree::fs::Fs;
use dunlin_tree::ignore::PathPatterns;

use super::Folder;
use crate::home::VersionSettings;
use crate::settings::{self, SettingChange, SettingError};

/// The shared settings as they are in force here.
#[derive(Debug, Default)]
pub(super) struct InForce {
    /// Of which values of the index they were merged.
    dots: Vec<Dot>,
    merged: Arc<Settings>,
    /// What this device's user has set about old versions.
    own_versions: Option<VersionSettings>,
}

impl<F: Fs, S: Storage> Folder<F, S> {
    /// What the folder's members share.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.in_force.merged
    }

    /// Changes a shared setting, for all members.
    ///
    /// # Errors
    /// When the value is wrong, the settings do not fit into a record, or this device may not
    /// change the folder.
    pub fn change_setting(
        &mut self,
        key: &str,
        change: &SettingChange,
        now: Millis,
    ) -> Result<(), SettingError> {
        let refused = |error: &dyn std::fmt::Display| SettingError::Refused(error.to_string());
        if let Some(fault) = &self.fault {
            return Err(refused(fault));
        }
        let documents: Vec<&[u8]> =
            self.index.settings().iter().map(|(_, value)| value.as_slice()).collect();
        let mut wanted = Settings::read(&documents);
        settings::change_shared(&mut wanted, key, change)?;
        let author = self.index.author();
        let client = Client::of(author.device.as_bytes(), author.epoch);
        let value = wanted.write(&documents, client).map_err(|error| refused(&error))?;
        self.index.set_settings(now, value).map_err(|error| refused(&error))?;
        self.commit_local(Vec::new(), now);
        self.refresh_settings();
        self.tell(now);
        Ok(())
    }

    /// Says what this device's user has set about old versions; it holds before what is shared.
    pub fn set_own_versions(&mut self, own: VersionSettings) {
        self.in_force.own_versions = Some(own);
        self.apply_versions();
    }

    /// Puts in force what the index holds now, if it differs from before.
    pub(super) fn refresh_settings(&mut self) {
        let live = self.index.settings();
        let same = live.iter().map(|(dot, _)| dot).eq(&self.in_force.dots);
        if same {
            return;
        }
        let documents: Vec<&[u8]> = live.iter().map(|(_, value)| value.as_slice()).collect();
        let merged = Arc::new(Settings::read(&documents));
        self.in_force.dots = live.iter().map(|(dot, _)| *dot).collect();
        self.in_force.merged = Arc::clone(&merged);
        if self.ignore.set_shared(&merged.ignore) {
            // What is no longer ignored is found by a look at everything.
            self.scan_wanted = true;
        }
        // What is no pattern, from a newer version or a hostile member, has no effect.
        let valid = merged.text.iter().filter(|pattern| Patterns::new(&[pattern]).is_ok());
        let valid: Vec<&String> = valid.take(PATTERNS_MAX).collect();
        self.patterns = Patterns::new(&valid).unwrap_or_default();
        self.first = PathPatterns::new(&merged.first);
        self.text_rules = if settings::checks_texts(&merged) { RULES } else { RULES_UNCHECKED };
        self.apply_versions();
    }

    fn apply_versions(&mut self) {
        let Some(own) = &self.in_force.own_versions else { return };
        let policy = own.clone().or(settings::shared_versions(&self.in_force.merged)).policy();
        if policy != self.versions() {
            self.set_versions(policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use dunlin_tree::fs::UserOp;

    use super::*;
    use crate::folder::testing::{Rig, path};
    use crate::history::policy::{Keep, Policy};
    use crate::settings::{How, IGNORE, LABEL, TEXT, TEXT_CHECK, VERSIONS};

    fn change(rig: &mut Rig, key: &str, value: &str, how: How) -> Result<(), SettingError> {
        let change = SettingChange { value: value.to_owned(), local: false, how };
        rig.folder.change_setting(key, &change, rig.now)
    }

    #[test]
    fn shared_patterns_hold_at_once_and_after_a_restart() {
        let mut rig = Rig::new();
        change(&mut rig, IGNORE, "*.tmp", How::Add).expect("a pattern");
        rig.user(&UserOp::Write(path("one.tmp"), b"junk".to_vec()));
        rig.write("one.txt", b"wanted");
        assert!(rig.folder.rows().find(&path("one.tmp")).expect("read").is_none());
        rig.restart(false);
        rig.user(&UserOp::Write(path("two.tmp"), b"junk".to_vec()));
        assert!(rig.folder.rows().find(&path("two.tmp")).expect("read").is_none());
        // What is ignored no longer is found without a further word.
        change(&mut rig, IGNORE, "*.tmp", How::Remove).expect("it is there");
        rig.pass(2_000);
        rig.row("one.tmp");
        rig.row("two.tmp");
    }

    #[test]
    fn shared_patterns_say_what_is_a_text() {
        let mut rig = Rig::new();
        let is_text = |rig: &Rig, name| rig.folder.patterns.is_text_name(name);
        assert!(is_text(&rig, "a.md") && !is_text(&rig, "a.log"));
        change(&mut rig, TEXT, "*.log\n!*.md", How::Set).expect("patterns");
        assert!(!is_text(&rig, "a.md") && is_text(&rig, "a.log"));
        rig.restart(false);
        assert!(!is_text(&rig, "a.md") && is_text(&rig, "a.log"));
        change(&mut rig, TEXT, "", How::Set).expect("none");
        assert!(is_text(&rig, "a.md") && !is_text(&rig, "a.log"));
    }

    #[test]
    fn a_text_says_by_which_rules_it_merges() {
        let mut rig = Rig::new();
        let rules = |rig: &mut Rig, name: &str| {
            let row = rig.write(name, b"a text");
            let items = rig.folder.index().items(row.item.entry).expect("read");
            items[0].content.lineage().expect("it is a text").0
        };
        assert_eq!(rules(&mut rig, "a.json"), RULES);
        change(&mut rig, TEXT_CHECK, "off", How::Set).expect("a choice");
        assert_eq!(rules(&mut rig, "b.json"), RULES_UNCHECKED);
        change(&mut rig, TEXT_CHECK, "default", How::Set).expect("taken back");
        assert_eq!(rules(&mut rig, "c.json"), RULES);
        change(&mut rig, TEXT_CHECK, "perhaps", How::Set).expect_err("it is on or off");
    }

    #[test]
    fn what_this_device_has_set_holds_before_what_is_shared() {
        let mut rig = Rig::new();
        rig.folder.set_own_versions(VersionSettings::default());
        assert_eq!(rig.folder.versions(), Policy::default());
        change(&mut rig, VERSIONS, "days:3", How::Set).expect("a policy");
        assert_eq!(rig.folder.versions().keep, Keep::Days(3));
        let own = VersionSettings { keep: Some("none".to_owned()), ..VersionSettings::default() };
        rig.folder.set_own_versions(own);
        assert_eq!(rig.folder.versions().keep, Keep::None);
        rig.folder.set_own_versions(VersionSettings::default());
        assert_eq!(rig.folder.versions().keep, Keep::Days(3));
        change(&mut rig, VERSIONS, "", How::Set).expect("it is taken back");
        assert_eq!(rig.folder.versions(), Policy::default());
    }

    #[test]
    fn a_refused_change_leaves_all_as_it_was() {
        let mut rig = Rig::new();
        change(&mut rig, LABEL, "photos", How::Set).expect("a name");
        let before = Arc::clone(rig.folder.settings());
        assert!(change(&mut rig, VERSIONS, "sometimes", How::Set).is_err());
        let patterns: String = (0..200).map(|n| format!("{n:0>60}\n")).collect();
        let too_large = change(&mut rig, IGNORE, &patterns, How::Set);
        assert!(matches!(too_large, Err(SettingError::Refused(_))), "{too_large:?}");
        assert_eq!(rig.folder.settings(), &before);
        assert_eq!(rig.folder.index().settings().len(), 1);
    }
}
