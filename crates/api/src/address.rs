//! Where the API listens on TCP, as a person writes it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// A TCP address for the API.
///
/// Written as `PORT` or `localhost:PORT`, which mean this machine only, or as `IP:PORT`. Another
/// machine can reach the API only if an address says so itself: there is no short form for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiAddress(SocketAddr);

impl ApiAddress {
    /// The address to listen at; port 0 lets the system choose.
    pub fn socket_addr(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can reach it.
    pub fn is_local(self) -> bool {
        self.0.ip().is_loopback()
    }
}

impl fmt::Display for ApiAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no [`ApiAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected PORT, localhost:PORT or IP:PORT, such as 127.0.0.1:8384")]
pub struct ApiAddressError;

impl FromStr for ApiAddress {
    type Err = ApiAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let port = text.strip_prefix("localhost:").unwrap_or(text);
        if let Ok(port) = port.parse::<u16>() {
            return Ok(Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)));
        }
        text.parse().map(Self).map_err(|_| ApiAddressError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_stay_on_this_machine() {
        for text in ["8384", "localhost:8384", "127.0.0.1:8384"] {
            let address: ApiAddress = text.parse().unwrap();
            assert!(address.is_local());
            assert_eq!(address.to_string(), "127.0.0.1:8384");
        }
        assert!("[::1]:1".parse::<ApiAddress>().unwrap().is_local());
        assert!(!"0.0.0.0:1".parse::<ApiAddress>().unwrap().is_local());
    }

    #[test]
    fn names_and_missing_ports_are_refused() {
        for text in ["", ":8384", "127.0.0.1", "nas.example:8384", "65536", "localhost:"] {
            assert_eq!(text.parse::<ApiAddress>(), Err(ApiAddressError), "{text}");
        }
    }
}
