//! Many states become one.

use crate::client::Lineage;
use crate::state::Layout;
use crate::{Doc, STATES_MAX, TextError};

/// Merges versions of one text, given as their states: every operation of each counts.
///
/// The result's text is the same whatever the order and repetition of the states, and whatever
/// some of them were merged to before. A single state is decoded.
///
/// # Errors
/// When a state is refused by [`Doc::decode`], when they are of several lineages or use one number
/// for different operations (a device whose memory was set back does), when the merged text or
/// state is above the limits, or when there are too many. The error, too, is the same in any order
/// of the states, but which one of several is reported may differ.
pub fn merge(states: &[&[u8]]) -> Result<Doc, TextError> {
    let mut states = states.to_vec();
    // The order makes no difference to honest states, and fixes that of any others.
    states.sort_unstable();
    states.dedup();
    if states.is_empty() || states.len() > STATES_MAX {
        return Err(TextError::Count(states.len()));
    }
    let layouts: Vec<Layout<'_>> =
        states.iter().map(|state| Layout::parse(state)).collect::<Result<_, _>>()?;
    let lineage: Lineage = layouts[0].lineage;
    if layouts.iter().any(|layout| layout.lineage != lineage) {
        return Err(TextError::Lineage);
    }
    for (at, one) in layouts.iter().enumerate() {
        if layouts[at + 1..].iter().any(|other| !one.agrees(other)) {
            return Err(TextError::Clash);
        }
    }
    Doc::unite(&states, lineage)
}
