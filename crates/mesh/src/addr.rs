//! Network addresses and device names, between libp2p's forms and Dunlin's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dunlin_identity::DeviceId;
use libp2p::identity::{PublicKey, ed25519};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

use crate::PathKind;

/// Returns the device that a peer id names; `None` when it is no Ed25519 key.
pub(crate) fn device(peer: &PeerId) -> Option<DeviceId> {
    let key = PublicKey::try_decode_protobuf(peer.as_ref().digest()).ok()?;
    Some(DeviceId::from_bytes(key.try_into_ed25519().ok()?.to_bytes()))
}

/// Returns the peer id of a device; `None` when its bytes are no point of the curve.
pub(crate) fn peer_id(device: &DeviceId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(device.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// Returns the address's IP, if it begins with one.
pub(crate) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(ip.into(), IpAddr::from)),
        _ => None,
    }
}

/// Splits the peer at the end off an address.
pub(crate) fn split_peer(mut addr: Multiaddr) -> (Multiaddr, Option<PeerId>) {
    match addr.pop() {
        Some(Protocol::P2p(peer)) => (addr, Some(peer)),
        Some(other) => (addr.with(other), None),
        None => (addr, None),
    }
}

/// Tells whether an address is a QUIC one.
pub(crate) fn is_quic(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::QuicV1))
}

/// Tells whether an address goes through a relay.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| matches!(part, Protocol::P2pCircuit))
}

/// Tells whether an IP is only good within a link or a site.
pub(crate) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Tells whether an address that a peer gave for itself may be dialled, when the peer is seen
/// at `seen`. A peer far away must not make this device knock at its own or its site's doors.
pub(crate) fn is_plausible(addr: &Multiaddr, seen: Option<IpAddr>) -> bool {
    let Some(ip) = ip(addr) else { return false };
    let dialable = match ip {
        IpAddr::V4(ip) => ip != Ipv4Addr::UNSPECIFIED && !ip.is_broadcast() && !ip.is_multicast(),
        IpAddr::V6(ip) => {
            ip != Ipv6Addr::UNSPECIFIED && !ip.is_multicast() && !ip.is_unicast_link_local()
        }
    };
    let near = match seen {
        Some(seen) if ip.is_loopback() => seen.is_loopback(),
        Some(seen) if is_local(ip) => is_local(seen),
        Some(_) => true,
        None => !is_local(ip),
    };
    dialable && near && !is_relayed(addr)
}

/// Tells which way a peer at this address is reached.
pub(crate) fn path(addr: &Multiaddr, found_by_mdns: bool) -> PathKind {
    if is_relayed(addr) {
        PathKind::Relayed
    } else if found_by_mdns || ip(addr).is_some_and(is_local) {
        PathKind::Lan
    } else {
        PathKind::Direct
    }
}

#[cfg(test)]
mod tests {
    use dunlin_identity::DeviceKey;

    use super::*;

    #[test]
    fn a_device_and_its_peer_id_are_one_text() {
        let device_id = DeviceKey::from_seed([7; 32]).device();
        let peer = peer_id(&device_id).unwrap();
        assert_eq!(peer.to_string(), device_id.to_string());
        assert_eq!(device(&peer), Some(device_id));
    }

    #[test]
    fn paths_follow_the_address() {
        for (text, kind) in [
            ("/ip4/192.168.1.2/udp/1/quic-v1", PathKind::Lan),
            ("/ip4/127.0.0.1/tcp/1", PathKind::Lan),
            ("/ip6/fd00::1/tcp/1", PathKind::Lan),
            ("/ip4/8.8.8.8/tcp/1", PathKind::Direct),
            ("/dns4/example.org/tcp/1", PathKind::Direct),
            ("/ip4/192.168.1.2/tcp/1/p2p-circuit", PathKind::Relayed),
        ] {
            assert_eq!(path(&text.parse().unwrap(), false), kind, "{text}");
        }
        assert_eq!(path(&"/ip4/8.8.8.8/tcp/1".parse().unwrap(), true), PathKind::Lan);
    }

    #[test]
    fn a_far_peer_cannot_name_near_addresses() {
        let far = Some("8.8.8.8".parse().unwrap());
        let near = Some("10.0.0.9".parse().unwrap());
        let own = Some("127.0.0.1".parse().unwrap());
        for (text, seen, plausible) in [
            ("/ip4/10.0.0.1/tcp/22", far, false),
            ("/ip4/10.0.0.1/tcp/22", near, true),
            ("/ip4/127.0.0.1/tcp/22", near, false),
            ("/ip4/127.0.0.1/tcp/22", own, true),
            ("/ip4/9.9.9.9/tcp/22", far, true),
            ("/ip4/0.0.0.0/tcp/22", near, false),
            ("/dns4/router.local/tcp/22", near, false),
        ] {
            assert_eq!(is_plausible(&text.parse().unwrap(), seen), plausible, "{text}");
        }
    }
}
