//! Every context string of the key schedule, in one table.
//!
//! BLAKE3's `derive_key` asks for a context that is hard-coded, globally unique and specific to
//! the application. Changing one changes every folder that exists: a new version gets a new
//! string, and the old one stays.

macro_rules! contexts {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $text;)*
        /// All of the above, for the test that no two are equal.
        #[cfg(test)]
        pub(crate) const ALL: &[&str] = &[$($name),*];
    };
}

contexts! {
    /// Write secret to read secret.
    READ_SECRET = "dunlin v1 read secret from write secret";
    /// Read secret to store secret.
    STORE_SECRET = "dunlin v1 store secret from read secret";
    /// Write secret to the seed of the folder's write signing key.
    WRITE_SIGNING = "dunlin v1 write signing key from write secret";
    /// Store secret and write public key to the folder's id.
    FOLDER_ID = "dunlin v1 folder id";
    /// Read secret to the key of first identities.
    ID_KEY = "dunlin v1 entry id key";
    /// Read secret to the key of block addresses.
    BLOCK_KEY = "dunlin v1 block address key";
    /// Store secret to the secret of generation 0.
    GENERATION_ZERO = "dunlin v1 generation 0 secret from store secret";
    /// Generation secret to its commitment, which certificates sign.
    GENERATION_COMMITMENT = "dunlin v1 generation commitment";
    /// What two devices agree upon to the key that wraps a generation for one of them.
    GENERATION_WRAP = "dunlin v1 generation wrap key";
    /// Generation secret to the gossip topic.
    TOPIC = "dunlin v1 gossip topic";
    /// Generation secret to the key that seals gossip.
    GOSSIP_KEY = "dunlin v1 gossip seal key";
    /// Generation secret to the key of the mutual membership proof.
    PROOF_KEY = "dunlin v1 membership proof key";
    /// Store secret and a day to that day's key in the DHT.
    RENDEZVOUS = "dunlin v1 rendezvous of a day";
    /// Read secret and generation secret to the key that seals records.
    RECORD_KEY = "dunlin v1 record seal key";
    /// A tier's secret and generation secret to the seed of that tier's admission key.
    ADMISSION_KEY = "dunlin v1 admission key";
    /// What a certificate's signature begins with.
    CERTIFICATE = "dunlin v1 admission certificate";
    /// What an admission's signature begins with.
    ADMISSION = "dunlin v1 admission of a device";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_contexts_are_equal_and_each_names_its_version() {
        let distinct: BTreeSet<_> = ALL.iter().collect();
        assert_eq!(distinct.len(), ALL.len());
        assert!(ALL.iter().all(|context| context.starts_with("dunlin v1 ")));
    }

    /// The document is what other implementations are written from.
    #[test]
    fn every_context_stands_in_the_protocol_document() {
        let document = include_str!("../../../docs/protocol.md");
        for context in ALL {
            assert!(document.contains(context), "docs/protocol.md lacks \"{context}\"");
        }
    }
}
