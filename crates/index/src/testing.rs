//! Devices for tests: cheap signatures, virtual time, memory for a disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use dunlin_identity::{Admission, DeviceId, FolderId, Hash, Signature, Tier};

use crate::index::{Committed, Config, Index, Signer, Verifier};
use crate::item::{Content, Item, ItemKey, Kind, NewEntry};
use crate::name::SafeName;
use crate::storage::MemStore;
use crate::{EntryId, Millis};

/// Signs with a keyed hash: whoever knows the device can, which is enough to notice mix-ups.
pub(crate) struct Fake(pub(crate) DeviceId);

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

pub(crate) fn device(number: u8) -> DeviceId {
    DeviceId::from_bytes([number; 32])
}

pub(crate) fn config(number: u8, tier: Tier) -> Config {
    Config {
        folder: FolderId([9; 32]),
        id_key: [5; 32],
        device: device(number),
        tier,
        admission: Admission {
            device: device(number),
            tier,
            generation: 0,
            commitment: [0; 32],
            admission_key: [0; 32],
            certificate: Signature([7; 64]),
            signature: Signature([0; 64]),
        },
        name: format!("device {number}"),
        verifier: Arc::new(FakeVerifier),
        fresh_epoch: u64::from(number),
    }
}

pub(crate) fn name(text: &str) -> SafeName {
    SafeName::parse(text).unwrap()
}

pub(crate) fn text(text: &str) -> Content {
    Content::File {
        root: Hash::of(text.as_bytes()),
        size: text.len() as u64,
        mtime_ns: 0,
        text: None,
    }
}

/// Gives the hash that stands for a file's content; nothing for what is no file.
pub(crate) fn root_of(content: &Content) -> String {
    match content {
        Content::File { root, .. } => root.to_string(),
        _ => String::new(),
    }
}

/// One device of a test.
pub(crate) struct Replica {
    pub(crate) index: Index<MemStore>,
    pub(crate) store: MemStore,
    pub(crate) config: Config,
    pub(crate) now: Millis,
    /// All segments of its own log, each as it was pushed.
    pub(crate) log: Vec<Vec<u8>>,
}

impl Replica {
    pub(crate) fn new(number: u8) -> Self {
        let store = MemStore::default();
        let config = config(number, Tier::Write);
        let index = Index::open(store.clone(), config.clone(), 1000).unwrap();
        let mut replica = Self { index, store, config, now: 1000, log: Vec::new() };
        replica.commit();
        replica
    }

    pub(crate) fn commit(&mut self) -> Committed {
        let committed = self.index.commit(&Fake(self.config.device)).unwrap();
        self.log.extend(committed.segments.iter().cloned());
        committed
    }

    pub(crate) fn reopen(&mut self) {
        self.index.write_back(false).unwrap();
        self.index = Index::open(self.store.clone(), self.config.clone(), self.now).unwrap();
    }

    pub(crate) fn item(&self, path: &str) -> Option<Item> {
        let mut dir = EntryId::ROOT;
        let mut found = None;
        for part in path.split('/') {
            let item = self.index.lookup(dir, &name(part)).unwrap()?;
            dir = item.key.entry;
            found = Some(item);
        }
        found
    }

    pub(crate) fn dir_of(&self, path: &str) -> (EntryId, SafeName) {
        match path.rsplit_once('/') {
            Some((dir, last)) => (self.item(dir).unwrap().key.entry, name(last)),
            None => (EntryId::ROOT, name(path)),
        }
    }

    pub(crate) fn key(&self, path: &str) -> ItemKey {
        self.item(path).unwrap_or_else(|| panic!("{path} is not shown: {:?}", self.tree())).key
    }

    pub(crate) fn create(&mut self, path: &str, content: &str) -> ItemKey {
        let (parent, name) = self.dir_of(path);
        let new = NewEntry { kind: Kind::File, content: text(content), mode: 0o644 };
        self.now += 1;
        let key = self.index.create(self.now, parent, &name, new).unwrap();
        self.commit();
        key
    }

    pub(crate) fn mkdir(&mut self, path: &str) -> ItemKey {
        let (parent, name) = self.dir_of(path);
        let new = NewEntry { kind: Kind::Directory, content: Content::Directory, mode: 0o755 };
        self.now += 1;
        let key = self.index.create(self.now, parent, &name, new).unwrap();
        self.commit();
        key
    }

    pub(crate) fn write(&mut self, path: &str, content: &str) -> ItemKey {
        let key = self.key(path);
        self.now += 1;
        let key = self.index.write(self.now, &key, text(content)).unwrap();
        self.commit();
        key
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let key = self.key(from);
        let (parent, name) = self.dir_of(to);
        self.now += 1;
        self.index.rename(self.now, &key, parent, &name).unwrap();
        self.commit();
    }

    pub(crate) fn delete(&mut self, path: &str) {
        let key = self.key(path);
        self.now += 1;
        self.index.delete(self.now, &key).unwrap();
        self.commit();
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
                break;
            }
        }
    }

    /// Takes only what the other has logged itself.
    pub(crate) fn pull_only(&mut self, other: &Self) {
        for segment in &other.log {
            self.index.merge(segment, self.now).unwrap();
        }
    }

    /// Gives the view: path → content (a directory's ends with a slash).
    pub(crate) fn tree(&self) -> BTreeMap<String, String> {
        let mut tree = BTreeMap::new();
        let mut dirs = vec![(EntryId::ROOT, String::new())];
        while let Some((dir, path)) = dirs.pop() {
            let mut after = None;
            loop {
                let items = self.index.children(dir, after.as_ref(), 3).unwrap();
                let Some(last) = items.last() else { break };
                after = Some(last.name.clone());
                for item in items {
                    let path = format!("{path}{}", item.name);
                    assert_eq!(item.parent, dir, "{path}");
                    let shown = match &item.content {
                        Content::File { root, size, .. } => {
                            let parts: String = item
                                .merged
                                .iter()
                                .map(|(_, part)| format!(" {}", root_of(part)))
                                .collect();
                            format!("{root} {size} {:o}{parts}", item.mode)
                        }
                        Content::Symlink { target } => format!("-> {target}"),
                        Content::Directory => {
                            dirs.push((item.key.entry, format!("{path}/")));
                            "/".to_owned()
                        }
                    };
                    assert!(tree.insert(path.clone(), shown).is_none(), "twice: {path}");
                }
            }
        }
        tree
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.tree().into_keys().collect()
    }

    pub(crate) fn has(&self, content: &str) -> bool {
        let root = Hash::of(content.as_bytes()).to_string();
        self.tree().values().any(|shown| shown.starts_with(&root))
    }

    pub(crate) fn audit(&mut self) {
        let faults = self.index.audit().unwrap();
        assert!(faults.is_empty(), "{faults:#?}\n{:#?}", self.tree());
    }
}

/// Lets two devices exchange everything, and checks that they agree.
pub(crate) fn meet(one: &mut Replica, other: &mut Replica) {
    one.pull(other);
    other.pull(one);
    assert_eq!(one.index.context(), other.index.context());
    assert_eq!(one.tree(), other.tree());
    assert_eq!(one.index.fingerprint(), other.index.fingerprint());
    assert_eq!(one.index.counts(), other.index.counts());
    one.audit();
    other.audit();
}
