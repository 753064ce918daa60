//! Names of conflict copies (rule 4): derived from the losing value's dot or the losing entry's
//! identity alone, so that every device gives the same.

use std::collections::BTreeSet;

use super::Index;
use crate::error::IndexError;
use crate::ids::{Dot, EntryId};
use crate::name::{NAME_BYTES_MAX, PRIVATE_NAME, SafeName};
use crate::record::{Place, update_dot};
use crate::storage::Storage;

/// Every derived name has this in it.
const MARK: &str = " (conflict ";

/// An extension longer than this is taken for part of the stem.
const EXTENSION_BYTES_MAX: usize = 16;

/// How many hexadecimal digits are tried, one after the other, until a name is free.
const DIGITS: [usize; 4] = [8, 16, 32, 64];

/// What a losing item's name is derived from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A losing value of an entry.
    Value(Dot),
    /// An entry that lost its name to another.
    Entry(EntryId),
}

impl Origin {
    pub(super) fn digits(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("dunlin index conflict name v1");
        match self {
            Self::Value(dot) => update_dot(&mut hasher, dot),
            Self::Entry(id) => {
                hasher.update(&id.0);
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

/// Tells whether a name could be a derived one.
pub(super) fn is_marked(name: &SafeName) -> bool {
    name.as_str().contains(MARK)
}

/// Tells whether a place is private to Dunlin: what claims it is shown under a derived name.
pub(super) fn is_reserved(place: &Place) -> bool {
    place.parent == EntryId::ROOT && place.name.as_str() == PRIVATE_NAME
}

/// Gives the name with the digits before its extension, cut to [`NAME_BYTES_MAX`] bytes.
fn derived(name: &SafeName, digits: &str) -> SafeName {
    let name = name.as_str();
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= EXTENSION_BYTES_MAX => name.split_at(at),
        _ => (name, ""),
    };
    let added = MARK.len() + digits.len() + 1 + extension.len();
    let mut cut = stem.len().min(NAME_BYTES_MAX.saturating_sub(added));
    while !stem.is_char_boundary(cut) {
        cut -= 1;
    }
    let text = format!("{}{MARK}{digits}){extension}", &stem[..cut]);
    SafeName::parse(&text).expect("a cut name with digits is not empty, not dots, and short enough")
}

impl<S: Storage> Index<S> {
    /// Gives the first derived name that neither an entry claims nor another copy has.
    pub(super) fn free_name(
        &self,
        members: &[EntryId],
        name: &SafeName,
        digits: &str,
        taken: &BTreeSet<SafeName>,
    ) -> Result<SafeName, IndexError> {
        let is_free = |name: &SafeName| -> Result<bool, IndexError> {
            Ok(!taken.contains(name) && self.claimants_in(members, name)?.is_empty())
        };
        for len in DIGITS {
            let candidate = derived(name, &digits[..len]);
            if is_free(&candidate)? {
                return Ok(candidate);
            }
        }
        // Somebody took all of them on purpose; finitely many entries cannot take all numbers.
        for number in 2_u64.. {
            let candidate = derived(name, &format!("{digits} {number}"));
            if is_free(&candidate)? {
                return Ok(candidate);
            }
        }
        unreachable!("the numbers do not end before the entries do")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SafeName {
        SafeName::parse(text).unwrap()
    }

    #[test]
    fn derived_names_keep_the_extension_and_fit() {
        assert_eq!(derived(&name("a.txt"), "1a2b3c4d").as_str(), "a (conflict 1a2b3c4d).txt");
        assert_eq!(derived(&name(".bashrc"), "1a2b3c4d").as_str(), ".bashrc (conflict 1a2b3c4d)");
        let long = name(&"ü".repeat(127));
        let copy = derived(&long, "1a2b3c4d");
        assert!(copy.as_str().len() <= NAME_BYTES_MAX && is_marked(&copy));
        let with_extension = name(&format!("{}.tar", "x".repeat(251)));
        assert!(derived(&with_extension, &"f".repeat(64)).as_str().ends_with(").tar"));
    }
}
