//! Join codes: what one person hands to another to share a folder.
//!
//! Goals: pasted with line breaks or in capitals, scanned from a QR code, or typed by hand, a code
//! is either understood or refused with words that help. A write code without hints has 68
//! characters.
//!
//! Non-goals: correcting a code silently. A mistyped secret that is "corrected" wrongly would make
//! a new, empty folder.
//!
//! The text is bech32m (BIP-350) with the prefix `dunlin`. Its checksum finds up to three wrong
//! characters in up to 1023, and all else with a chance of one in 2³⁰ to miss. The payload is the
//! folder's keys as they are stored (see `wire.rs`), and then, unless both are empty: a length
//! byte and the label in UTF-8, a byte for the number of hints, and the hints (see `hint.rs`).

use std::{fmt, str::FromStr};

use bech32::{
    Bech32m, ByteIterExt as _, Fe32, Fe32IterExt as _, Hrp,
    primitives::{
        checksum::{Checksum as _, Engine},
        decode::UncheckedHrpstring,
    },
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    folder::{FolderKeys, KeysError},
    hint::{self, HintError, Hints},
    wire::{self, Reader},
};

/// The most address hints that a code carries.
pub const HINTS_MAX: usize = 8;
/// The most bytes of one hint.
pub const HINT_BYTES_MAX: usize = 200;
/// The most bytes of a folder's label.
pub const LABEL_BYTES_MAX: usize = 64;
/// The most characters of a code: as far as the checksum reaches.
pub const JOIN_CODE_CHARS_MAX: usize = 1023;

const PREFIX: &str = "dunlin1";
const CHECKSUM_CHARS: usize = 6;
/// The most payload bytes whose code is no longer than [`JOIN_CODE_CHARS_MAX`].
const PAYLOAD_BYTES_MAX: usize = (JOIN_CODE_CHARS_MAX - PREFIX.len() - CHECKSUM_CHARS) * 5 / 8;

/// What one person hands to another, or one device to the next, to share a folder.
///
/// `Display` writes the code, secret and all; `Debug` does not show the secret. What does not fit
/// is left out of the text: a label is cut to [`LABEL_BYTES_MAX`] bytes and loses its control
/// characters, and of the hints at most [`HINTS_MAX`] are written, the first ones, as long as
/// the code stays within [`JOIN_CODE_CHARS_MAX`] characters.
#[derive(Clone, Debug)]
pub struct JoinCode {
    /// The tier's secret and what belongs to it.
    pub keys: FolderKeys,
    /// The folder's name as its sharer calls it; may be empty.
    pub label: String,
    /// Multiaddrs, each with its `/p2p/…`, where a member may be found.
    pub hints: Vec<String>,
}

/// Why a text is not a join code.
///
/// Positions count the characters of the code from 1, white space left out.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[non_exhaustive]
pub enum JoinCodeError {
    /// The text does not begin as a join code does.
    #[error("this is not a Dunlin join code: those begin with {PREFIX}")]
    NotDunlin,
    /// A character that no code contains.
    #[error(
        "the join code has a typo: character {position}, '{found}', does not occur in join codes"
    )]
    Character {
        /// Where it stands.
        position: usize,
        /// The character, in lower case.
        found: char,
    },
    /// The checksum does not fit.
    #[error("the join code has a typo{}", typo_hint(*guess))]
    Typo {
        /// The one changed character that would explain it, when there is one.
        guess: Option<Typo>,
    },
    /// The end is missing.
    #[error("the join code is cut off: its end is missing, please copy all of it")]
    Truncated,
    /// More characters than any code has.
    #[error("this is longer than any join code ({JOIN_CODE_CHARS_MAX} characters)")]
    TooLong,
    /// Made by a version of the program that writes other codes.
    #[error("this join code is of version {found}, which this program is too old to understand")]
    Version {
        /// The version's number.
        found: u8,
    },
    /// The checksum fits, but what the code says does not hold together.
    #[error("the join code was not made by Dunlin, or by one with a fault: {0}")]
    Keys(KeysError),
    /// The checksum fits, but the label or a hint is not what a program writes.
    #[error("the join code was not made by Dunlin: its label or addresses cannot be read")]
    Details,
}

/// Which one character would make a code right.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Typo {
    /// Where it stands.
    pub position: usize,
    /// The character that stands there.
    pub found: char,
    /// The character that would fit.
    pub expected: char,
}

fn typo_hint(guess: Option<Typo>) -> String {
    match guess {
        Some(Typo { position, found, expected }) => {
            format!(": character {position}, '{found}', should perhaps be '{expected}'")
        }
        None => ": please compare it with the original, or copy it again".to_owned(),
    }
}

impl JoinCode {
    /// The binary form, within its bounds.
    fn payload(&self) -> Zeroizing<Vec<u8>> {
        // Room for all from the start: growing would leave copies of the secret behind.
        let mut payload = Zeroizing::new(Vec::with_capacity(2 * PAYLOAD_BYTES_MAX));
        payload.extend_from_slice(&self.keys.to_bytes());
        let label = bounded_label(&self.label);
        let hints = self.hints.iter().filter(|hint| hint::is_valid(hint)).take(HINTS_MAX);
        let mut hints = hints.peekable();
        if label.is_empty() && hints.peek().is_none() {
            return payload;
        }
        payload.push(u8::try_from(label.len()).expect("a label was cut to 64 bytes"));
        payload.extend_from_slice(label.as_bytes());
        let count_at = payload.len();
        payload.push(0);
        let mut table = Hints::default();
        for hint in hints {
            let mut table_with = table.clone();
            let mut bytes = Vec::new();
            table_with.encode(hint, &mut bytes);
            if payload.len() + bytes.len() <= PAYLOAD_BYTES_MAX {
                payload.extend_from_slice(&bytes);
                payload[count_at] += 1;
                table = table_with;
            }
        }
        payload
    }

    /// Reads a payload whose checksum fits.
    fn from_payload(payload: &[u8]) -> Result<Self, JoinCodeError> {
        let mut reader = Reader(payload);
        let keys = wire::read_keys(&mut reader).map_err(|error| match error {
            KeysError::Version { found } => JoinCodeError::Version { found },
            KeysError::Truncated => JoinCodeError::Truncated,
            other => JoinCodeError::Keys(other),
        })?;
        let (label, hints) = if reader.0.is_empty() {
            (String::new(), Vec::new())
        } else {
            read_details(&mut reader)?
        };
        if reader.0.is_empty() {
            Ok(Self { keys, label, hints })
        } else {
            Err(JoinCodeError::Details)
        }
    }
}

/// Reads the label and the hints, and leaves what follows.
fn read_details(reader: &mut Reader<'_>) -> Result<(String, Vec<String>), JoinCodeError> {
    let label = hint::text(reader)?;
    let count = usize::from(reader.byte().map_err(HintError::from)?);
    if bounded_label(label) != label || count > HINTS_MAX {
        return Err(JoinCodeError::Details);
    }
    let mut table = Hints::default();
    let hints = (0..count).map(|_| table.decode(reader)).collect::<Result<_, _>>()?;
    Ok((label.to_owned(), hints))
}

impl From<HintError> for JoinCodeError {
    fn from(error: HintError) -> Self {
        match error {
            HintError::Truncated => Self::Truncated,
            HintError::Invalid => Self::Details,
        }
    }
}

/// The label without control characters, cut between two characters to its most bytes.
fn bounded_label(label: &str) -> String {
    let mut bounded = String::new();
    for character in label.chars().filter(|character| !character.is_control()) {
        if bounded.len() + character.len_utf8() > LABEL_BYTES_MAX {
            break;
        }
        bounded.push(character);
    }
    bounded
}

fn hrp() -> Hrp {
    Hrp::parse_unchecked("dunlin")
}

impl fmt::Display for JoinCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let payload = self.payload();
        let hrp = hrp();
        let symbols = payload.iter().copied().bytes_to_fes();
        symbols.with_checksum::<Bech32m>(&hrp).chars().try_for_each(|char| f.write_char(char))
    }
}

impl FromStr for JoinCode {
    type Err = JoinCodeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let code = cleaned(text)?;
        let unchecked =
            UncheckedHrpstring::new(&code).map_err(|_| JoinCodeError::Typo { guess: None })?;
        match unchecked.validate_checksum::<Bech32m>() {
            Ok(()) => {
                let checked = unchecked.remove_checksum::<Bech32m>();
                let mut payload = Zeroizing::new(Vec::with_capacity(JOIN_CODE_CHARS_MAX));
                payload.extend(checked.byte_iter());
                Self::from_payload(&payload)
            }
            Err(_) => Err(explain(&code)),
        }
    }
}

/// The text in lower case and without white space, when its form is that of a code.
fn cleaned(text: &str) -> Result<Zeroizing<String>, JoinCodeError> {
    let mut code = Zeroizing::new(String::with_capacity(JOIN_CODE_CHARS_MAX + 4));
    for character in text.chars().filter(|character| !character.is_whitespace()) {
        if code.len() >= JOIN_CODE_CHARS_MAX {
            return Err(JoinCodeError::TooLong);
        }
        code.push(character.to_ascii_lowercase());
    }
    let Some(data) = code.strip_prefix(PREFIX) else {
        let begun = !code.is_empty() && PREFIX.starts_with(code.as_str());
        return Err(if begun { JoinCodeError::Truncated } else { JoinCodeError::NotDunlin });
    };
    for (index, found) in data.chars().enumerate() {
        if Fe32::from_char(found).is_err() {
            return Err(JoinCodeError::Character { position: PREFIX.len() + index + 1, found });
        }
    }
    if data.len() <= CHECKSUM_CHARS {
        return Err(JoinCodeError::Truncated);
    }
    Ok(code)
}

/// Finds the likeliest reason why a checksum does not fit.
fn explain(code: &str) -> JoinCodeError {
    if let Some(guess) = single_typo(code) {
        return JoinCodeError::Typo { guess: Some(guess) };
    }
    if is_cut_off(&code[PREFIX.len()..]) {
        JoinCodeError::Truncated
    } else {
        JoinCodeError::Typo { guess: None }
    }
}

/// The one character whose change makes the checksum fit, if there is one.
///
/// The checksum is linear: a wrong character changes the residue by an amount that follows from
/// its difference and its distance from the end alone. So all 31 differences are carried along
/// from the last character to the first, and whichever explains the residue is the answer. (The
/// corrector that comes with `bech32` panics on some inputs with several errors.)
fn single_typo(code: &str) -> Option<Typo> {
    let residue = residue(code)? ^ Bech32m::TARGET_RESIDUE;
    let mut zero = engine_after(Fe32::Q);
    let mut differences: Vec<(Fe32, Engine<Bech32m>)> = (1_u8..32)
        .filter_map(|value| Fe32::try_from(value).ok())
        .map(|difference| (difference, engine_after(difference)))
        .collect();
    for index in (PREFIX.len()..code.len()).rev() {
        let found = char::from(code.as_bytes()[index]);
        for (difference, engine) in &mut differences {
            if engine.residue() ^ zero.residue() == residue {
                let expected = (Fe32::from_char(found).ok()? + *difference).to_char();
                return Some(Typo { position: index + 1, found, expected });
            }
            engine.input_fe(Fe32::Q);
        }
        zero.input_fe(Fe32::Q);
    }
    None
}

/// What the checksum's polynomial leaves of a whole code.
fn residue(code: &str) -> Option<u32> {
    let mut engine = Engine::<Bech32m>::new();
    engine.input_hrp(hrp());
    for character in code[PREFIX.len()..].chars() {
        engine.input_fe(Fe32::from_char(character).ok()?);
    }
    Some(*engine.residue())
}

fn engine_after(symbol: Fe32) -> Engine<Bech32m> {
    let mut engine = Engine::new();
    engine.input_fe(symbol);
    engine
}

/// Tells whether the data part of a code ends before its payload and checksum do. Of a code that
/// was cut off, what is left reads well up to its end.
fn is_cut_off(data: &str) -> bool {
    let symbols = data.chars().map(|char| Fe32::from_char(char).unwrap_or(Fe32::Q));
    let mut payload = Zeroizing::new(Vec::with_capacity(JOIN_CODE_CHARS_MAX));
    payload.extend(symbols.fes_to_bytes());
    let chars_after = |reader: &Reader<'_>| {
        let read_bits = (payload.len() - reader.0.len()) * 8;
        data.len().saturating_sub(read_bits.div_ceil(5))
    };
    let mut reader = Reader(&payload);
    // Certificates are not checked: where one is missing, the bytes run out.
    match wire::read_parts(&mut reader) {
        Ok(_) => {}
        Err(error) => return error == KeysError::Truncated,
    }
    match chars_after(&reader) {
        CHECKSUM_CHARS => false,
        ..CHECKSUM_CHARS => true,
        _ => match read_details(&mut reader) {
            Ok(_) => chars_after(&reader) < CHECKSUM_CHARS,
            Err(error) => error == JoinCodeError::Truncated,
        },
    }
}

#[cfg(test)]
mod tests;
