//! Who makes operations, and where a text began.

/// The width of an id that `yrs` takes. The highest of these bits marks a lineage.
const ID_BITS: u32 = 53;
const LINEAGE_BIT: u64 = 1 << (ID_BITS - 1);

/// The context of the ids of clients; changing it changes every state.
const CLIENT_CONTEXT: &str = "dunlin v1 text client id";
/// The context of the ids of lineages.
const LINEAGE_CONTEXT: &str = "dunlin v1 text lineage id";

/// The author of operations: one device in one of its epochs.
///
/// A device has one client id an epoch, since every further client in a state costs some 20 bytes
/// for good; and a new one in a new epoch, since it may have lost what it numbered before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(u64);

impl Client {
    /// Returns the client of `device` (its public key) in `epoch`: 52 bits of BLAKE3's
    /// `derive_key` of both.
    #[must_use]
    pub fn of(device: &[u8; 32], epoch: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(CLIENT_CONTEXT);
        hasher.update(device);
        hasher.update(&epoch.to_le_bytes());
        Self(low_bits(&hasher) & !LINEAGE_BIT)
    }

    /// Returns the client that this one is in documents that were begun anew as `lineage`: what it
    /// wrote before has numbers that those do not know.
    pub(crate) fn after(self, lineage: Option<Lineage>) -> Self {
        let Some(lineage) = lineage else { return self };
        let mut hasher = blake3::Hasher::new_derive_key(CLIENT_CONTEXT);
        hasher.update(&self.0.to_le_bytes());
        hasher.update(&lineage.0.to_le_bytes());
        Self(low_bits(&hasher) & !LINEAGE_BIT)
    }

    /// Returns the number under which `yrs` knows it.
    pub(crate) fn id(self) -> u64 {
        self.0
    }
}

/// Names the beginning of a text. Only versions of one lineage can be merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lineage(u64);

impl Lineage {
    /// Returns the lineage of a text that begins with `text` and has left `parent`, a state,
    /// behind (empty when there was none).
    pub(crate) fn of(text: &str, parent: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(LINEAGE_CONTEXT);
        hasher.update(blake3::hash(text.as_bytes()).as_bytes());
        hasher.update(blake3::hash(parent).as_bytes());
        Self(low_bits(&hasher) | LINEAGE_BIT)
    }

    /// Returns the lineage that is the author `id` of operations, unless a device is.
    pub(crate) fn from_id(id: u64) -> Option<Self> {
        (id & LINEAGE_BIT != 0).then_some(Self(id))
    }

    /// Returns the number under which `yrs` knows it.
    pub(crate) fn id(self) -> u64 {
        self.0
    }
}

/// Whether `yrs` can hold this id.
pub(crate) fn is_id(id: u64) -> bool {
    id >> ID_BITS == 0
}

fn low_bits(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes) & ((1 << ID_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_lineages_never_meet() {
        for epoch in 0..1000 {
            let client = Client::of(&[7; 32], epoch);
            let lineage = Lineage::of(&epoch.to_string(), b"");
            assert!(is_id(client.id()) && is_id(lineage.id()));
            assert_eq!(Lineage::from_id(client.id()), None);
            assert_eq!(Lineage::from_id(lineage.id()), Some(lineage));
        }
        assert_ne!(Client::of(&[7; 32], 1), Client::of(&[7; 32], 2));
        assert_ne!(Client::of(&[7; 32], 1), Client::of(&[8; 32], 1));
        assert_ne!(Lineage::of("a", b""), Lineage::of("a", b"b"));
    }
}
