//! The frames of a member stream.
//!
//! A frame is a length (`u32`, big endian, of what follows), a kind (one byte) and the kind's
//! payload. Control frames carry bincode; message and gossip frames carry the sender's channel
//! number (`u32`, big endian) and raw bytes, so that large messages are not copied by a codec.

use bincode::{Decode, Encode};
use dunlin_identity::{Admission, DeviceId};

use crate::limits::{FOLDERS_MAX, MESSAGE_BYTES_MAX};

/// Bytes before a frame's payload: length and kind.
pub(crate) const HEADER_BYTES: usize = 5;

/// The largest frame (after its length) that a proved member may send.
pub(crate) const MEMBER_FRAME_MAX: usize = MESSAGE_BYTES_MAX + 64;

/// The largest frame (after its length) taken from a peer that has proved nothing.
pub(crate) const STRANGER_FRAME_MAX: usize = FOLDERS_MAX * 32 + 1024;

const CONTROL_BYTES_MAX: usize = STRANGER_FRAME_MAX;

const HELLO: u8 = 1;
const OFFER: u8 = 2;
const ADMIT: u8 = 3;
const LEAVE: u8 = 4;
const READY: u8 = 5;
const MESSAGE: u8 = 6;
const GOSSIP: u8 = 7;
const OUTDATED: u8 = 8;

/// A keyed tag by which both sides know a folder on one stream, and nobody else.
pub(crate) type Tag = [u8; 32];

const SHORT_BYTES: usize = 8;

/// The beginning of a device id: enough to tell the members of a folder apart.
pub(crate) type Short = [u8; SHORT_BYTES];

/// Devices that a gossip frame names at most.
pub(crate) const COVERED_MAX: usize = 64;

const _: () = assert!(COVERED_MAX <= u8::MAX as usize);

/// Returns the beginning of a device id.
pub(crate) fn short(device: &DeviceId) -> Short {
    let mut short = [0; SHORT_BYTES];
    short.copy_from_slice(&device.as_bytes()[..SHORT_BYTES]);
    short
}

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum WireError {
    /// The announced length is above the limit for this peer.
    #[error("a frame of {len} bytes, where {max} are allowed")]
    TooLong { len: usize, max: usize },
    /// The kind byte is unknown.
    #[error("an unknown kind of frame: {0}")]
    Kind(u8),
    /// The payload cannot be decoded, or bytes are left over.
    #[error("a malformed frame")]
    Malformed,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// First of all: the protocol's version and a fresh nonce.
    Hello { version: u8, nonce: [u8; 32] },
    /// Tags of folders, among random ones.
    Offer(Vec<Tag>),
    /// Names a common folder by the sender's tag, gives it a channel, and carries the sealed
    /// [`Credentials`].
    Admit(Admit),
    /// The sender has left the folder of this channel of its own.
    Leave { channel: u32 },
    /// The sender lets nobody in with the keys of the folder and generation that it names by this
    /// tag of its own, or not this device.
    Outdated(Tag),
    /// The sender listens for gossip.
    Ready,
    /// A message in the folder of this channel.
    Message { channel: u32, body: Vec<u8> },
    /// A sealed broadcast in the folder of this channel, and who has got it already.
    Gossip { channel: u32, covered: Vec<Short>, envelope: Vec<u8> },
}

/// See [`Frame::Admit`].
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Admit {
    pub(crate) tag: Tag,
    pub(crate) channel: u32,
    pub(crate) nonce: [u8; 24],
    pub(crate) sealed: Vec<u8>,
}

/// What one member tells another about itself, sealed under the folder's secret.
#[derive(Debug, Clone, Encode, Decode)]
pub(crate) struct Credentials {
    pub(crate) admission: Admission,
    pub(crate) transfer_port: u16,
}

/// Encodes with bincode. Everything encoded here is made of fixed parts and byte strings.
pub(crate) fn encode<T: Encode>(value: &T) -> Vec<u8> {
    bincode::encode_to_vec(value, bincode::config::standard())
        .expect("writing plain data into memory cannot fail")
}

/// Decodes a control payload, bounded, and only if nothing is left over.
pub(crate) fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, WireError> {
    let config = bincode::config::standard().with_limit::<CONTROL_BYTES_MAX>();
    match bincode::decode_from_slice(bytes, config) {
        Ok((value, used)) if used == bytes.len() => Ok(value),
        _ => Err(WireError::Malformed),
    }
}

impl Frame {
    /// Encodes the frame with its length.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello { version, nonce } => framed(HELLO, &[&[*version], nonce]),
            Self::Offer(tags) => framed(OFFER, &[tags.as_flattened()]),
            Self::Admit(admit) => framed(ADMIT, &[&encode(admit)]),
            Self::Leave { channel } => framed(LEAVE, &[&channel.to_be_bytes()]),
            Self::Outdated(tag) => framed(OUTDATED, &[tag]),
            Self::Ready => framed(READY, &[]),
            Self::Message { channel, body } => message(*channel, body),
            Self::Gossip { channel, covered, envelope } => gossip(*channel, covered, envelope),
        }
    }

    /// Decodes a frame without its length.
    ///
    /// # Errors
    ///
    /// The kind is unknown or the payload is not of that kind.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, payload) = bytes.split_first().ok_or(WireError::Malformed)?;
        match *kind {
            HELLO => {
                let (version, nonce) = payload.split_first().ok_or(WireError::Malformed)?;
                let nonce = nonce.try_into().map_err(|_| WireError::Malformed)?;
                Ok(Self::Hello { version: *version, nonce })
            }
            OFFER => match payload.as_chunks::<32>() {
                (tags, []) if tags.len() <= FOLDERS_MAX => Ok(Self::Offer(tags.to_vec())),
                _ => Err(WireError::Malformed),
            },
            ADMIT => Ok(Self::Admit(decode(payload)?)),
            LEAVE => match channel(payload)? {
                (channel, []) => Ok(Self::Leave { channel }),
                _ => Err(WireError::Malformed),
            },
            OUTDATED => Ok(Self::Outdated(payload.try_into().map_err(|_| WireError::Malformed)?)),
            READY if payload.is_empty() => Ok(Self::Ready),
            READY => Err(WireError::Malformed),
            MESSAGE => {
                let (channel, body) = channel(payload)?;
                Ok(Self::Message { channel, body: body.to_vec() })
            }
            GOSSIP => {
                let (channel, rest) = channel(payload)?;
                let (count, rest) = rest.split_first().ok_or(WireError::Malformed)?;
                let (covered, envelope) = rest
                    .split_at_checked(usize::from(*count) * SHORT_BYTES)
                    .ok_or(WireError::Malformed)?;
                let covered = covered.as_chunks().0.to_vec();
                Ok(Self::Gossip { channel, covered, envelope: envelope.to_vec() })
            }
            other => Err(WireError::Kind(other)),
        }
    }
}

/// Encodes a message frame with its length.
pub(crate) fn message(channel: u32, body: &[u8]) -> Vec<u8> {
    framed(MESSAGE, &[&channel.to_be_bytes(), body])
}

/// Encodes a gossip frame with its length. Of those who have got the broadcast only the last
/// [`COVERED_MAX`] are told; what the others get twice, they drop.
pub(crate) fn gossip(channel: u32, covered: &[Short], envelope: &[u8]) -> Vec<u8> {
    let covered = &covered[covered.len().saturating_sub(COVERED_MAX)..];
    let count = u8::try_from(covered.len()).expect("the limit fits a byte");
    framed(GOSSIP, &[&channel.to_be_bytes(), &[count], covered.as_flattened(), envelope])
}

fn channel(payload: &[u8]) -> Result<(u32, &[u8]), WireError> {
    let (number, rest) = payload.split_first_chunk::<4>().ok_or(WireError::Malformed)?;
    Ok((u32::from_be_bytes(*number), rest))
}

fn framed(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let payload: usize = parts.iter().map(|part| part.len()).sum();
    let length = u32::try_from(payload + 1).expect("every frame is bounded far below 4 GiB");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.push(kind);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames() -> impl Strategy<Value = Frame> {
        prop_oneof![
            (any::<u8>(), any::<[u8; 32]>())
                .prop_map(|(version, nonce)| Frame::Hello { version, nonce }),
            prop::collection::vec(any::<Tag>(), 0..20).prop_map(Frame::Offer),
            (any::<Tag>(), any::<u32>(), any::<[u8; 24]>(), any::<Vec<u8>>()).prop_map(
                |(tag, channel, nonce, sealed)| {
                    Frame::Admit(Admit { tag, channel, nonce, sealed })
                }
            ),
            any::<u32>().prop_map(|channel| Frame::Leave { channel }),
            any::<Tag>().prop_map(Frame::Outdated),
            Just(Frame::Ready),
            (any::<u32>(), any::<Vec<u8>>())
                .prop_map(|(channel, body)| Frame::Message { channel, body }),
            (any::<u32>(), prop::collection::vec(any::<Short>(), 0..9), any::<Vec<u8>>()).prop_map(
                |(channel, covered, envelope)| Frame::Gossip { channel, covered, envelope }
            ),
        ]
    }

    proptest! {
        #[test]
        fn a_frame_survives_the_wire(frame in frames()) {
            let bytes = frame.encode();
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            prop_assert_eq!(length, bytes.len() - 4);
            prop_assert_eq!(Frame::decode(&bytes[4..]), Ok(frame));
        }

        #[test]
        fn hostile_bytes_never_panic_and_decode_canonically(bytes: Vec<u8>) {
            if let Ok(frame) = Frame::decode(&bytes) {
                prop_assert_eq!(Frame::decode(&frame.encode()[4..]), Ok(frame));
            }
        }
    }

    #[test]
    fn a_hostile_length_is_refused_without_allocating() {
        let mut bytes = vec![ADMIT];
        bytes.extend_from_slice(&[0; 32 + 1 + 24]);
        bytes.extend_from_slice(&[253, 255, 255, 255, 255, 255, 255, 255, 127]);
        assert_eq!(Frame::decode(&bytes), Err(WireError::Malformed));
    }

    #[test]
    fn left_over_bytes_are_refused() {
        for frame in [Frame::Ready, Frame::Leave { channel: 1 }, Frame::Offer(vec![[0; 32]])] {
            let mut bytes = frame.encode();
            bytes.push(0);
            assert_eq!(Frame::decode(&bytes[4..]), Err(WireError::Malformed));
        }
    }
}
