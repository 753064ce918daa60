//! Devices for tests of the public interface: cheap signatures, virtual time, memory for a disk.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub(crate) mod model;
pub(crate) mod wire;

use std::sync::Arc;

use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature, Tier};
use dunlin_index::{
    Committed, Config, Content, EntryId, Index, IndexError, Item, ItemKey, Kind, MemStore, Millis,
    NewEntry, SafeName, Signer, Text, Verifier,
};

/// The folder's key of first identities.
pub(crate) const ID_KEY: [u8; 32] = [5; 32];

/// The folder of all tests.
pub(crate) const FOLDER: FolderId = FolderId([9; 32]);

/// Signs with a keyed hash: whoever knows the device can, which is enough to notice mix-ups.
pub(crate) struct Fake(pub DeviceId);

fn fake_signature(device: &DeviceId, message: &[u8]) -> Signature {
    let mut bytes = [0; 64];
    blake3::Hasher::new_keyed(device.as_bytes()).update(message).finalize_xof().fill(&mut bytes);
    Signature(bytes)
}

impl Signer for Fake {
    fn device(&self) -> DeviceId {
        self.0
    }
    fn sign(&self, message: &[u8]) -> Signature {
        fake_signature(&self.0, message)
    }
}

struct FakeVerifier;

impl Verifier for FakeVerifier {
    fn verify(&self, device: &DeviceId, message: &[u8], signature: &Signature) -> bool {
        fake_signature(device, message) == *signature
    }
    fn admits(&self, admission: &Admission) -> bool {
        admission.certificate == Signature([7; 64])
    }
}

pub(crate) fn admission(device: DeviceId) -> Admission {
    Admission {
        device,
        tier: Tier::Write,
        generation: 0,
        commitment: [0; 32],
        admission_key: [0; 32],
        certificate: Signature([7; 64]),
        signature: Signature([0; 64]),
    }
}

pub(crate) fn config(number: u8) -> Config {
    let device = DeviceId::from_bytes([number; 32]);
    Config {
        folder: FOLDER,
        id_key: ID_KEY,
        device,
        tier: Tier::Write,
        admission: admission(device),
        name: format!("device {number}"),
        verifier: Arc::new(FakeVerifier),
        fresh_epoch: u64::from(number),
    }
}

pub(crate) fn name(text: &str) -> SafeName {
    SafeName::parse(text).unwrap()
}

/// Makes the content of a file from a word of at most 32 bytes. The word itself stands for its
/// hash, so that a view can be read.
pub(crate) fn word(word: &str, at: Millis) -> Content {
    let mut root = [0; 32];
    root[..word.len()].copy_from_slice(word.as_bytes());
    Content::File { root: Hash(root), size: word.len() as u64, mtime_ns: at as i64, text: None }
}

/// Makes a version of a text from a word, in one of a few lineages.
pub(crate) fn version(word: &str, at: Millis, lineage: u8) -> Content {
    let mut content = self::word(word, at);
    if let Content::File { root, text, .. } = &mut content {
        let (state, lineage) = (*root, Hash([lineage; 32]));
        *text = Some(Text::Grown { rules: 1, lineage, state, size: 1 });
    }
    content
}

/// Gives what a content says: a file's word, a link's target.
pub(crate) fn said(content: &Content) -> String {
    match content {
        Content::File { root, .. } => {
            let len = root.0.iter().position(|byte| *byte == 0).unwrap_or(root.0.len());
            String::from_utf8_lossy(&root.0[..len]).into_owned()
        }
        Content::Symlink { target } => format!("-> {target}"),
        Content::Directory => String::new(),
    }
}

/// Gives one line of a view: the path, what is there, and the mode when it is unusual. A star says
/// that the item stands beside a winner, a plus that a version of a text merges into it.
pub(crate) fn line(
    path: &str,
    content: &Content,
    merged: &[Content],
    mode: u32,
    conflict: bool,
) -> String {
    let star = if conflict { "*" } else { "" };
    let (shown, usual) = match content {
        Content::Directory => (format!("{path}{star}/"), 0o755),
        Content::Symlink { .. } => (format!("{path}{star} {}", said(content)), 0o777),
        Content::File { .. } => (format!("{path}{star} = {}", said(content)), 0o644),
    };
    let merged = merged.iter().map(|content| format!(" + {}", said(content)));
    let shown: String = std::iter::once(shown).chain(merged).collect();
    if mode == usual { shown } else { format!("{shown} [{mode:o}]") }
}

/// One device.
pub(crate) struct Device {
    pub(crate) index: Index<MemStore>,
    pub(crate) config: Config,
    pub(crate) store: MemStore,
    pub(crate) now: Millis,
    /// All segments of its own log, each as it was pushed.
    pub(crate) log: Vec<Vec<u8>>,
}

impl Device {
    pub(crate) fn new(number: u8) -> Self {
        let (store, config) = (MemStore::default(), config(number));
        let index = Index::open(store.clone(), config.clone(), 1000).unwrap();
        let mut device = Self { index, config, store, now: 1000, log: Vec::new() };
        device.commit();
        device
    }

    pub(crate) fn tick(&mut self) -> Millis {
        self.now += 1;
        self.now
    }

    pub(crate) fn commit(&mut self) -> Committed {
        let committed = self.index.commit(&Fake(self.config.device)).unwrap();
        self.log.extend(committed.segments.iter().cloned());
        committed
    }

    /// Closes the index and opens what is stored.
    pub(crate) fn reopen(&mut self) {
        self.index.write_back(true).unwrap();
        self.index = Index::open(self.store.clone(), self.config.clone(), self.now).unwrap();
    }

    /// Does what a user would: commands separated by semicolons, paths without spaces.
    pub(crate) fn act(&mut self, commands: &str) {
        for command in commands.split(';').map(str::trim).filter(|command| !command.is_empty()) {
            let words: Vec<&str> = command.split_whitespace().collect();
            self.command(&words).unwrap_or_else(|error| {
                panic!("{command}: {error}; shown is {:#?}", self.view());
            });
        }
        self.commit();
    }

    fn command(&mut self, words: &[&str]) -> Result<(), IndexError> {
        let now = self.tick();
        match *words {
            ["create", path, text] => self.make(path, word(text, now), 0o644)?,
            ["link", path, target] => {
                self.make(path, Content::Symlink { target: target.to_owned() }, 0o777)?;
            }
            ["mkdir", path] => self.make(path, Content::Directory, 0o755)?,
            ["edit", path, text] => {
                let key = self.key(path);
                self.index.write(now, &key, word(text, now))?;
            }
            ["retarget", path, target] => {
                let key = self.key(path);
                self.index.write(now, &key, Content::Symlink { target: target.to_owned() })?;
            }
            ["chmod", path, mode] => {
                let mode = u32::from_str_radix(mode, 8).unwrap();
                let key = self.key(path);
                self.index.set_mode(now, &key, mode)?;
            }
            ["rename" | "move", from, to] => {
                let key = self.key(from);
                let (parent, name) = self.place(to);
                self.index.rename(now, &key, parent, &name)?;
            }
            ["delete", path] => {
                let key = self.key(path);
                self.index.delete(now, &key)?;
            }
            _ => panic!("no such command: {words:?}"),
        }
        Ok(())
    }

    fn make(&mut self, path: &str, content: Content, mode: u32) -> Result<(), IndexError> {
        let (parent, name) = self.place(path);
        let new = NewEntry { kind: content.kind(), content, mode };
        self.index.create(self.now, parent, &name, new).map(|_| ())
    }

    /// Gives what is shown at a path; `(conflict)` in it stands for any derived name.
    pub(crate) fn item(&self, path: &str) -> Option<Item> {
        let mut dir = EntryId::ROOT;
        let mut found = None;
        for part in path.split('/') {
            let items = self.index.children(dir, None, usize::MAX).unwrap();
            let item = items.into_iter().find(|item| {
                item.name.as_str() == part || normal(item.name.as_str()).replace(' ', "_") == part
            })?;
            dir = item.key.entry;
            found = Some(item);
        }
        found
    }

    pub(crate) fn key(&self, path: &str) -> ItemKey {
        self.item(path).unwrap_or_else(|| panic!("{path} is not in {:#?}", self.view())).key
    }

    pub(crate) fn place(&self, path: &str) -> (EntryId, SafeName) {
        match path.rsplit_once('/') {
            Some((dir, last)) => (self.key(dir).entry, name(last)),
            None => (EntryId::ROOT, name(path)),
        }
    }

    /// Takes all that the other holds.
    pub(crate) fn pull(&mut self, other: &Self) {
        loop {
            let (segments, more) =
                other.index.segments_beyond(self.index.context(), 1 << 20).unwrap();
            for segment in segments {
                self.index.merge(&segment, self.now).unwrap();
            }
            if !more {
                return;
            }
        }
    }

    /// Gives everything that is shown, with the directory it is in.
    pub(crate) fn items(&self) -> Vec<(String, Item)> {
        let mut found = Vec::new();
        let mut dirs = vec![(EntryId::ROOT, String::new())];
        while let Some((dir, path)) = dirs.pop() {
            for item in self.index.children(dir, None, usize::MAX).unwrap() {
                assert_eq!(item.parent, dir, "{path}{}", item.name);
                if item.kind == Kind::Directory {
                    dirs.push((item.key.entry, format!("{path}{}/", item.name)));
                }
                found.push((format!("{path}{}", item.name), item));
            }
        }
        found
    }

    /// Gives the whole view, one line an item, sorted.
    pub(crate) fn view(&self) -> Vec<String> {
        let lines = self.items().into_iter();
        let mut lines: Vec<String> = lines
            .map(|(path, item)| {
                let merged: Vec<Content> =
                    item.merged.iter().map(|(_, content)| content.clone()).collect();
                line(&path, &item.content, &merged, item.mode, item.conflict)
            })
            .collect();
        lines.sort();
        lines
    }

    pub(crate) fn audit(&mut self) {
        let faults = self.index.audit().unwrap();
        assert!(faults.is_empty(), "{faults:#?}\n{:#?}", self.view());
    }
}

/// Replaces the digits of derived names, which differ from run to run of a changed test.
pub(crate) fn normal(line: &str) -> String {
    let mut rest = line;
    let mut normal = String::new();
    while let Some((before, after)) = rest.split_once(" (conflict ") {
        let (_, after) = after.split_once(')').unwrap_or(("", ""));
        normal.push_str(before);
        normal.push_str(" (conflict)");
        rest = after;
    }
    normal + rest
}
