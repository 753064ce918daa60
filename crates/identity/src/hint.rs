//! Address hints: multiaddrs in as few bytes as a QR code asks for.
//!
//! | bytes | form |
//! | --- | --- |
//! | 0, length, text | the multiaddr as it is written |
//! | count, components | each component a byte for its protocol, then its value |
//!
//! The short form is used when it gives the same text again, which it does for what nodes announce
//! of themselves. A `PeerId` stands in full once in a code and as a reference after that.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::{code::HINT_BYTES_MAX, device::DeviceId, folder::KeysError, wire::Reader};

/// More components than any address here has; the count's byte must not be 0.
const COMPONENTS_MAX: usize = 12;
const LITERAL: u8 = 0;

const IP4: u8 = 1;
const IP6: u8 = 2;
const DNS: u8 = 3;
const DNS4: u8 = 4;
const DNS6: u8 = 5;
const DNSADDR: u8 = 6;
const TCP: u8 = 7;
const UDP: u8 = 8;
const QUIC_V1: u8 = 9;
const P2P: u8 = 10;
const P2P_AGAIN: u8 = 11;
const P2P_CIRCUIT: u8 = 12;

/// Tells whether a text may stand in a code: printable ASCII, beginning with a slash, bounded.
/// Whether it is a multiaddr that can be dialled is for the dialler to judge.
pub(crate) fn is_valid(hint: &str) -> bool {
    hint.starts_with('/')
        && hint.len() <= HINT_BYTES_MAX
        && hint.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Writes and reads hints of one code, which share the devices that they name.
#[derive(Clone, Default)]
pub(crate) struct Hints {
    devices: Vec<DeviceId>,
}

impl Hints {
    /// Appends `hint`, which must be valid, to `bytes`.
    pub(crate) fn encode(&mut self, hint: &str, bytes: &mut Vec<u8>) {
        debug_assert!(is_valid(hint));
        let known = self.devices.len();
        if let Some(short) = self.encode_short(hint) {
            let again =
                Self { devices: self.devices[..known].to_vec() }.decode(&mut Reader(&short)).ok();
            if again.as_deref() == Some(hint) {
                bytes.extend_from_slice(&short);
                return;
            }
        }
        self.devices.truncate(known);
        let length = u8::try_from(hint.len()).expect("a valid hint has at most 200 bytes");
        bytes.extend_from_slice(&[LITERAL, length]);
        bytes.extend_from_slice(hint.as_bytes());
    }

    fn encode_short(&mut self, hint: &str) -> Option<Vec<u8>> {
        let mut words = hint.strip_prefix('/')?.split('/');
        let mut bytes = vec![0];
        let mut count: u8 = 0;
        while let Some(protocol) = words.next() {
            count += 1;
            if usize::from(count) > COMPONENTS_MAX {
                return None;
            }
            match protocol {
                "quic-v1" => bytes.push(QUIC_V1),
                "p2p-circuit" => bytes.push(P2P_CIRCUIT),
                _ => self.encode_valued(protocol, words.next()?, &mut bytes)?,
            }
        }
        bytes[0] = count;
        Some(bytes)
    }

    fn encode_valued(&mut self, protocol: &str, value: &str, bytes: &mut Vec<u8>) -> Option<()> {
        let code = match protocol {
            "ip4" => IP4,
            "ip6" => IP6,
            "dns" => DNS,
            "dns4" => DNS4,
            "dns6" => DNS6,
            "dnsaddr" => DNSADDR,
            "tcp" => TCP,
            "udp" => UDP,
            "p2p" => P2P,
            _ => return None,
        };
        if code == P2P {
            let device: DeviceId = value.parse().ok()?;
            if let Some(index) = self.devices.iter().position(|known| *known == device) {
                bytes.extend_from_slice(&[P2P_AGAIN, u8::try_from(index).ok()?]);
            } else {
                self.devices.push(device);
                bytes.push(P2P);
                bytes.extend_from_slice(device.as_bytes());
            }
            return Some(());
        }
        bytes.push(code);
        match code {
            IP4 => bytes.extend_from_slice(&value.parse::<Ipv4Addr>().ok()?.octets()),
            IP6 => bytes.extend_from_slice(&value.parse::<Ipv6Addr>().ok()?.octets()),
            TCP | UDP => bytes.extend_from_slice(&value.parse::<u16>().ok()?.to_be_bytes()),
            _ => {
                bytes.push(u8::try_from(value.len()).ok()?);
                bytes.extend_from_slice(value.as_bytes());
            }
        }
        Some(())
    }

    /// Takes one hint from the front of `reader`. What it gives is valid, and bounded whatever
    /// the input.
    pub(crate) fn decode(&mut self, reader: &mut Reader<'_>) -> Result<String, HintError> {
        let count = reader.byte()?;
        let mut hint = String::new();
        if count == LITERAL {
            hint.push_str(text(reader)?);
        } else if usize::from(count) <= COMPONENTS_MAX {
            for _ in 0..count {
                self.decode_component(reader, &mut hint)?;
            }
        }
        if is_valid(&hint) { Ok(hint) } else { Err(HintError::Invalid) }
    }

    fn decode_component(
        &mut self,
        reader: &mut Reader<'_>,
        hint: &mut String,
    ) -> Result<(), HintError> {
        let code = reader.byte()?;
        let (protocol, value) = match code {
            IP4 => ("ip4", Ipv4Addr::from(reader.array::<4>()?).to_string()),
            IP6 => ("ip6", Ipv6Addr::from(reader.array::<16>()?).to_string()),
            DNS => ("dns", text(reader)?.to_owned()),
            DNS4 => ("dns4", text(reader)?.to_owned()),
            DNS6 => ("dns6", text(reader)?.to_owned()),
            DNSADDR => ("dnsaddr", text(reader)?.to_owned()),
            TCP => ("tcp", u16::from_be_bytes(reader.array()?).to_string()),
            UDP => ("udp", u16::from_be_bytes(reader.array()?).to_string()),
            P2P => {
                let device = DeviceId::from_bytes(reader.array()?);
                self.devices.push(device);
                ("p2p", device.to_string())
            }
            P2P_AGAIN => {
                let index = usize::from(reader.byte()?);
                let device = self.devices.get(index).ok_or(HintError::Invalid)?;
                ("p2p", device.to_string())
            }
            QUIC_V1 => ("quic-v1", String::new()),
            P2P_CIRCUIT => ("p2p-circuit", String::new()),
            _ => return Err(HintError::Invalid),
        };
        let separator = if value.is_empty() { "" } else { "/" };
        write!(hint, "/{protocol}{separator}{value}").expect("writing to a string never fails");
        Ok(())
    }
}

/// Takes a length byte and that many bytes of UTF-8.
pub(crate) fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, HintError> {
    let length = reader.byte()?;
    std::str::from_utf8(reader.slice(usize::from(length))?).map_err(|_| HintError::Invalid)
}

/// Why bytes are no hint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HintError {
    /// The bytes end before the hint does.
    Truncated,
    /// What stands there is no hint.
    Invalid,
}

impl From<KeysError> for HintError {
    fn from(_: KeysError) -> Self {
        // The reader itself has no other error to give.
        Self::Truncated
    }
}
