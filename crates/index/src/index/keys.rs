//! The layout of one folder's key space.
//!
//! | key | value |
//! | --- | --- |
//! | `m` | [`Meta`](super::Meta) |
//! | `h` author | how far an author's log is held |
//! | `l` author, first number | a segment |
//! | `p` | own records that are not signed yet |
//! | `e` entry | an entry |
//! | `s` parent, name, NUL, entry | an entry that is wanted there (nothing) |
//! | `x` parent, name, NUL, entry | an entry that is placed there but not wanted (nothing) |
//! | `v` parent, name | a slot where more than one plain item may have to be shown (nothing) |
//! | `d` | entries that are not shown where they were moved, because of circles |
//! | `t` entry, dot | a tree deletion that waits for its context (nothing) |
//! | `o` entry | a directory that is not known yet and has entries in it (nothing) |
//! | `M` device | a member |
//! | `S` | the settings |
//! | `K` | the keys of the highest generation |

use dunlin_identity::DeviceId;

use crate::ids::{Author, EntryId};
use crate::record::Place;

pub(super) const META: &[u8] = b"m";
pub(super) const PENDING: &[u8] = b"p";
pub(super) const BESIDE: &[u8] = b"b";
pub(super) const DISPLACED: &[u8] = b"d";
pub(super) const HEADS: &[u8] = b"h";
pub(super) const LOG: &[u8] = b"l";
pub(super) const ENTRIES: &[u8] = b"e";
pub(super) const MEMBERS: &[u8] = b"M";
pub(super) const SETTINGS: &[u8] = b"S";
pub(super) const GRANTS: &[u8] = b"K";
pub(super) const WAITING: &[u8] = b"t";
pub(super) const UNKNOWN: &[u8] = b"o";
pub(super) const WANTED: u8 = b's';
pub(super) const UNWANTED: u8 = b'x';
pub(super) const COMPLICATED: u8 = b'v';

/// The prefixes of everything that follows from the logs and can be rebuilt from them.
pub(super) const REBUILT: &[&[u8]] = &[b"e", b"s", b"x", b"v", b"d", b"t", b"o", b"M", b"S", b"K"];

pub(super) fn entry(id: &EntryId) -> Vec<u8> {
    [ENTRIES, &id.0].concat()
}

fn author_key(prefix: &[u8], author: &Author) -> Vec<u8> {
    [prefix, author.device.as_bytes().as_slice(), &author.epoch.to_be_bytes()].concat()
}

pub(super) fn head(author: &Author) -> Vec<u8> {
    author_key(HEADS, author)
}

pub(super) fn log(author: &Author) -> Vec<u8> {
    author_key(LOG, author)
}

pub(super) fn segment(author: &Author, first: u64) -> Vec<u8> {
    let mut key = log(author);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// Gives the prefix of all slots in a directory.
pub(super) fn directory(family: u8, parent: &EntryId) -> Vec<u8> {
    [&[family], parent.0.as_slice()].concat()
}

/// Gives the prefix of one slot's claimants; the NUL keeps longer names apart.
pub(super) fn slot(family: u8, place: &Place) -> Vec<u8> {
    [&[family], place.parent.0.as_slice(), place.name.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn claim(family: u8, place: &Place, id: &EntryId) -> Vec<u8> {
    let mut key = slot(family, place);
    key.extend_from_slice(&id.0);
    key
}

/// Reads name and entry from the key of a claim.
pub(super) fn parse_claim(key: &[u8]) -> Option<(&str, EntryId)> {
    let rest = key.get(17..)?;
    let at = rest.len().checked_sub(17)?;
    let (name, tail) = rest.split_at(at);
    let id = tail.get(1..)?.try_into().ok()?;
    Some((std::str::from_utf8(name).ok()?, EntryId(id)))
}

/// Reads directory and name from the note of a complicated slot.
pub(super) fn parse_complicated(key: &[u8]) -> Option<(EntryId, &str)> {
    let (dir, name) = key.get(1..)?.split_at_checked(16)?;
    Some((EntryId(dir.try_into().ok()?), std::str::from_utf8(name).ok()?))
}

/// Reads the author from the key of a head.
pub(super) fn parse_head(key: &[u8]) -> Option<Author> {
    let (device, epoch) = key.get(1..)?.split_at_checked(32)?;
    let device = DeviceId::from_bytes(device.try_into().ok()?);
    Some(Author { device, epoch: u64::from_be_bytes(epoch.try_into().ok()?) })
}
