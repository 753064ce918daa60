//! The networks that nodes run in: a network namespace each, or the loopback interface.
//!
//! With namespaces, every node has an interface and byte counters of its own and
//! can reach nothing but its peers. They need root and iproute2; without, the
//! nodes share 127.0.0.1 with a free port each, and what needs counters is skipped.
//! `DUNLIN_E2E_NET=loopback` asks for that.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::link::{self, End, Shape};
use super::wait::wait_until;
use super::{is_root, skipped};

/// The port that every node listens on in a namespace of its own.
const PORT: u16 = 4001;

/// Where one node runs.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its network namespace, if it has one.
    pub(crate) namespace: Option<String>,
    /// Its address.
    pub(crate) ip: Ipv4Addr,
    /// Its UDP port.
    pub(crate) port: u16,
}

impl Place {
    /// The multiaddress that a node here listens on and that others reach it at.
    pub(crate) fn multiaddr(&self) -> String {
        format!("/ip4/{}/udp/{}/quic-v1", self.ip, self.port)
    }

    /// A command that runs `program` here.
    pub(crate) fn command(&self, program: &str) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        // nsenter and not `ip netns exec`: the latter takes the mounts out of reach, too.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/var/run/netns/{namespace}")).arg(program);
        command
    }
}

/// Bytes that a node's interface has received and sent, headers included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) received: u64,
    pub(crate) sent: u64,
}

/// A network of some nodes; it is gone when this value is.
pub(crate) struct Network {
    places: Vec<Place>,
    bridge: Option<String>,
}

impl Network {
    /// Makes a network for `nodes` nodes.
    pub(crate) fn new(nodes: u8) -> Self {
        match Self::namespaces(nodes) {
            Ok(network) => network,
            Err(why) => {
                skipped("network namespaces", &format!("{why}; the nodes share the loopback"));
                Self::loopback(nodes)
            }
        }
    }

    /// Makes a network on the loopback interface, where nothing can be counted.
    pub(crate) fn loopback(nodes: u8) -> Self {
        // All sockets are held until all ports are known, so that no two are the same.
        let sockets: Vec<UdpSocket> = (0..nodes)
            .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free UDP port"))
            .collect();
        let places = sockets
            .iter()
            .map(|socket| socket.local_addr().expect("a bound socket has an address").port())
            .map(|port| Place { namespace: None, ip: Ipv4Addr::LOCALHOST, port })
            .collect();
        Self { places, bridge: None }
    }

    /// Makes a network of two nodes with a slow, long or lossy link between them.
    ///
    /// # Errors
    /// In words, when there can be no such link here.
    pub(crate) fn linked(shape: Shape) -> Result<Self, String> {
        let prefix = prefix()?;
        let mut network = Self { places: Vec::new(), bridge: None };
        for i in 0..2u8 {
            let name = format!("{prefix}n{i}");
            ip(&["netns", "add", &name])?;
            let address = Ipv4Addr::new(10, 78, 0, i + 1);
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            network.places.push(Place { namespace: Some(name), ip: address, port: PORT });
        }
        let end = |place: &Place| End {
            namespace: place.namespace.clone().expect("it was just made"),
            address: place.ip,
        };
        link::join(&[end(&network.places[0]), end(&network.places[1])], shape)?;
        Ok(network)
    }

    fn namespaces(nodes: u8) -> Result<Self, String> {
        let prefix = prefix()?;
        let bridge = format!("{prefix}br");
        ip(&["netns", "add", &bridge])?;
        // From here on, dropping takes away what was made.
        let mut network = Self { places: Vec::new(), bridge: Some(bridge.clone()) };
        ip(&["-n", &bridge, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &bridge, "link", "set", "br0", "up"])?;
        for i in 0..nodes {
            network.add_namespace(&bridge, &format!("{prefix}n{i}"), i)?;
        }
        for i in 0..nodes {
            // A new port of a bridge drops frames for a moment.
            wait_until("the bridge forwards", || {
                let port = ip(&["-n", &bridge, "-d", "-o", "link", "show", &format!("v{i}")]);
                port.is_ok_and(|text| text.contains("state forwarding"))
            });
        }
        Ok(network)
    }

    fn add_namespace(&mut self, bridge: &str, name: &str, i: u8) -> Result<(), String> {
        let address = Ipv4Addr::new(10, 78, 0, i + 1);
        let veth = format!("v{i}");
        ip(&["netns", "add", name])?;
        self.places.push(Place { namespace: Some(name.into()), ip: address, port: PORT });
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        let (kind, peer) = (["type", "veth"], ["peer", "name", "eth0", "netns", name]);
        ip(&[&["-n", bridge, "link", "add", &veth][..], &kind, &peer].concat())?;
        ip(&["-n", bridge, "link", "set", &veth, "master", "br0", "up"])?;
        ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        Ok(())
    }

    /// Where node `i` runs.
    pub(crate) fn place(&self, i: usize) -> Place {
        self.places[i].clone()
    }

    /// Whether every node has a namespace of its own.
    pub(crate) fn is_isolated(&self) -> bool {
        self.places.iter().all(|place| place.namespace.is_some())
    }

    /// What has gone through node `i`'s interface; `None` on loopback.
    pub(crate) fn traffic(&self, i: usize) -> Option<Traffic> {
        self.places[i].namespace.as_ref()?;
        let output = self.places[i].command("cat").arg("/proc/net/dev").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"))?;
        let numbers: Vec<u64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        Some(Traffic { received: *numbers.first()?, sent: *numbers.get(8)? })
    }

    /// Limits what node `i` sends to `rate`, as `tc` writes it; false when that is not possible.
    pub(crate) fn limit(&self, i: usize, rate: &str) -> bool {
        let Some(namespace) = &self.places[i].namespace else { return false };
        let arguments = ["qdisc", "add", "dev", "eth0", "root", "tbf", "rate", rate];
        let mut tc = Command::new("tc");
        tc.args(["-n", namespace]).args(arguments).args(["burst", "256kb", "latency", "50ms"]);
        tc.output().is_ok_and(|output| output.status.success())
    }

    /// Takes the limit of [`Network::limit`] away.
    pub(crate) fn unlimit(&self, i: usize) {
        let Some(namespace) = &self.places[i].namespace else { return };
        let arguments = ["-n", namespace, "qdisc", "del", "dev", "eth0", "root"];
        let _ = Command::new("tc").args(arguments).output();
    }

    /// Takes node `i`'s wire out, or puts it back; false when that is not possible.
    pub(crate) fn plug(&self, i: usize, connected: bool) -> bool {
        let Some(bridge) = &self.bridge else { return false };
        let state = if connected { "up" } else { "down" };
        ip(&["-n", bridge, "link", "set", &format!("v{i}"), state]).is_ok()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let names = self.places.iter().filter_map(|place| place.namespace.clone());
        for name in names.chain(self.bridge.take()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

/// What the names of this network's namespaces begin with, if there can be any.
fn prefix() -> Result<String, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if std::env::var("DUNLIN_E2E_NET").is_ok_and(|value| value == "loopback") {
        return Err("DUNLIN_E2E_NET=loopback".into());
    }
    if !is_root() {
        return Err("they need root".into());
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    Ok(format!("dunlin{}x{number}", std::process::id()))
}

fn ip(arguments: &[&str]) -> Result<String, String> {
    let shown = arguments.join(" ");
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .map_err(|error| format!("cannot run `ip {shown}`: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("`ip {shown}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
