//! A slow, long and lossy link between two network namespaces: two TUN devices, and threads that
//! carry packets from one to the other as such a link would.
//!
//! Linux has `tc netem` for this, but not in every kernel; TUN devices are everywhere. What a
//! link does with a packet is decided by [`Direction`], which does no I/O and is tested by itself.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use tun_rs::{DeviceBuilder, SyncDevice};

/// The size of packets, as on an Ethernet.
const MTU: usize = 1500;
/// Packets that are under way in one direction at most; at 1 Gbit/s and 80 ms there and back, with
/// a queue as long again, some 10,000 are.
const UNDER_WAY_MAX: usize = 16_384;
/// Packets that the kernel keeps until they are read. Programs send in bursts.
const DEVICE_QUEUE: &str = "4000";

/// What a link is like. Both directions are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Bits a second, IP headers included.
    pub(crate) rate_bits: u64,
    /// The time there and back, without any queue.
    pub(crate) round_trip: Duration,
    /// How many of a million packets are lost, independently of each other.
    pub(crate) loss_ppm: u32,
}

impl Shape {
    /// Bytes that the router before the link holds at most: what the link carries in a round
    /// trip, and never less than some packets.
    fn queue_bytes(&self) -> u64 {
        let carried = self.rate_bits as f64 / 8.0 * self.round_trip.as_secs_f64();
        (carried as u64).max(32 * MTU as u64)
    }
}

/// One direction of a link: says what becomes of each packet. Time is that since the start.
#[derive(Debug)]
pub(crate) struct Direction {
    shape: Shape,
    /// When all that is queued has been sent.
    free_at: Duration,
    random: u64,
}

impl Direction {
    /// A direction in which nothing is under way; the seed decides which packets are lost.
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        // Xorshift never leaves zero.
        Self { shape, free_at: Duration::ZERO, random: seed.max(1) }
    }

    /// Takes a packet of so many bytes at this time; gives the time at which it arrives, or `None`
    /// when it is lost: by chance, or since the queue is full.
    pub(crate) fn offer(&mut self, bytes: usize, now: Duration) -> Option<Duration> {
        let begin = self.free_at.max(now);
        let queued = (begin - now).as_secs_f64() * self.shape.rate_bits as f64 / 8.0;
        if queued as u64 + bytes as u64 > self.shape.queue_bytes() {
            return None;
        }
        let sending = bytes as f64 * 8.0 / self.shape.rate_bits as f64;
        self.free_at = begin + Duration::from_secs_f64(sending);
        // A packet that is lost on the way has taken its time of the link all the same.
        let lost = self.next_random() % 1_000_000 < u64::from(self.shape.loss_ppm);
        (!lost).then(|| self.free_at + self.shape.round_trip / 2)
    }

    /// Xorshift64 (Marsaglia, 2003).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }
}

/// One end of a link: a network namespace, and the address that it gets there.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The namespace, which must be there.
    pub(crate) namespace: String,
    /// The address; both ends must be in one network of 24 bits.
    pub(crate) address: Ipv4Addr,
}

/// Joins two namespaces: each gets an interface `eth0`. The link lasts as long as the namespaces,
/// and at most as long as this process.
///
/// # Errors
/// In words, when there are no TUN devices or this process may not make them.
pub(crate) fn join(ends: &[End; 2], shape: Shape) -> Result<(), String> {
    let devices = [open(&ends[0])?, open(&ends[1])?];
    let [a, b] = devices.map(Arc::new);
    let start = Instant::now();
    for (seed, from, to) in [(0x5eed_0001, &a, &b), (0x5eed_0002, &b, &a)] {
        let (packets, arriving) = sync_channel(UNDER_WAY_MAX);
        let (from, to) = (Arc::clone(from), Arc::clone(to));
        let direction = Direction::new(shape, seed);
        std::thread::spawn(move || take_in(&from, direction, start, &packets));
        std::thread::spawn(move || give_out(&to, start, &arriving));
    }
    Ok(())
}

/// Makes a TUN device and moves it to its namespace; it stays connected with this process.
fn open(end: &End) -> Result<SyncDevice, String> {
    // The name is in the way of others only until the device is in its namespace.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dl{}x{number}", std::process::id());
    let device = DeviceBuilder::new()
        .name(&name)
        .build_sync()
        .map_err(|error| format!("cannot make a TUN device: {error}"))?;
    let namespace = end.namespace.as_str();
    ip(&["link", "set", &name, "netns", namespace, "name", "eth0"])?;
    let address = format!("{}/24", end.address);
    ip(&["-n", namespace, "addr", "add", &address, "dev", "eth0"])?;
    let mtu = MTU.to_string();
    let up = ["mtu", &mtu, "txqueuelen", DEVICE_QUEUE, "up"];
    ip(&[&["-n", namespace, "link", "set", "eth0"][..], &up].concat())?;
    Ok(device)
}

type Packet = (Duration, Vec<u8>);

/// Takes packets in from a device until it is gone.
fn take_in(
    device: &SyncDevice,
    mut direction: Direction,
    start: Instant,
    packets: &SyncSender<Packet>,
) {
    let mut buffer = [0; 2 * MTU];
    while let Ok(len) = device.recv(&mut buffer) {
        let Some(arrival) = direction.offer(len, start.elapsed()) else { continue };
        if packets.send((arrival, buffer[..len].to_vec())).is_err() {
            return;
        }
    }
}

/// Gives packets out to a device, each at its time, until it is gone.
fn give_out(device: &SyncDevice, start: Instant, packets: &Receiver<Packet>) {
    while let Ok((arrival, packet)) = packets.recv() {
        std::thread::sleep(arrival.saturating_sub(start.elapsed()));
        if device.send(&packet).is_err() {
            return;
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("cannot run `ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let shown = arguments.join(" ");
    Err(format!("`ip {shown}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
