//! Limits in bytes a second: in all and for single devices, each way, changed at any time.
//!
//! Whoever moves bytes takes them from its device's bucket first and from that of all devices
//! then, so that a slow device holds back none of what the others may have. [`bucket`] counts and
//! knows no clock; this module waits.

pub(crate) mod bucket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dunlin_identity::DeviceId;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use self::bucket::Bucket;
use crate::api::Limits;
use crate::scheduler::Micros;

/// With a limit, bytes go in pieces of what it allows in so many parts of a second, so that many
/// streams get their share in time, and none looks dead.
const PIECES_A_SECOND: u64 = 16;
const PIECE_MIN: u64 = 1024;
const PIECE_MAX: u64 = 64 * 1024;

/// Which way bytes go, as this device sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// A bucket, and those who wait for it.
#[derive(Debug)]
struct Throttle {
    bucket: Mutex<Bucket>,
    start: Instant,
    /// Told when the rate changes.
    changed: Notify,
}

impl Throttle {
    fn new() -> Self {
        let start = Instant::now();
        Self { bucket: Mutex::default(), start, changed: Notify::new() }
    }

    fn bucket(&self) -> (MutexGuard<'_, Bucket>, Micros) {
        let bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        // Read with the lock held, so that time never runs backwards for the bucket.
        let now = Micros::try_from(self.start.elapsed().as_micros()).unwrap_or(Micros::MAX);
        (bucket, now)
    }

    fn set_rate(&self, rate: Option<u64>) {
        let (mut bucket, now) = self.bucket();
        bucket.set_rate(rate, now);
        drop(bucket);
        self.changed.notify_waiters();
    }

    fn rate(&self) -> Option<u64> {
        self.bucket().0.rate()
    }

    /// Takes so many bytes, and returns when they may go.
    async fn take(&self, bytes: u64) {
        let ticket = {
            let (mut bucket, now) = self.bucket();
            bucket.take(bytes, now)
        };
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let wait = {
                let (mut bucket, now) = self.bucket();
                bucket.wait(ticket, now)
            };
            let Some(wait) = wait else { return };
            // Either way it is looked at again: after a change, another wait is right.
            let _ = timeout(Duration::from_micros(wait), changed).await;
        }
    }
}

/// The buckets of both ways.
#[derive(Clone, Debug)]
struct Pair {
    up: Arc<Throttle>,
    down: Arc<Throttle>,
}

impl Pair {
    fn new() -> Self {
        Self { up: Arc::new(Throttle::new()), down: Arc::new(Throttle::new()) }
    }

    fn set(&self, limits: Limits) {
        self.up.set_rate(limits.up);
        self.down.set_rate(limits.down);
    }

    fn way(&self, way: Way) -> &Arc<Throttle> {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

/// All limits of a transfer.
#[derive(Debug)]
pub(crate) struct Throttles {
    all: Pair,
    devices: Mutex<HashMap<DeviceId, Pair>>,
}

impl Throttles {
    /// Without any limit.
    pub(crate) fn new() -> Self {
        Self { all: Pair::new(), devices: Mutex::default() }
    }

    /// Sets the limits of all devices together.
    pub(crate) fn set_all(&self, limits: Limits) {
        self.all.set(limits);
    }

    /// Sets the limits of single devices; those that are not named have none any more.
    pub(crate) fn set_devices(&self, limits: &HashMap<DeviceId, Limits>) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.retain(|device, pair| {
            let named = limits.contains_key(device);
            if !named {
                // Who waits for it now may go.
                pair.set(Limits::default());
            }
            named
        });
        for (device, limits) in limits {
            devices.entry(*device).or_insert_with(Pair::new).set(*limits);
        }
    }

    fn device(&self, device: &DeviceId, way: Way) -> Option<Arc<Throttle>> {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.get(device).map(|pair| Arc::clone(pair.way(way)))
    }

    /// Returns how many bytes to move between two takes; `usize::MAX` without a limit.
    pub(crate) fn piece(&self, device: &DeviceId, way: Way) -> usize {
        self.lower(device, way).map_or(usize::MAX, |rate| {
            (rate / PIECES_A_SECOND).clamp(PIECE_MIN, PIECE_MAX) as usize
        })
    }

    /// Returns what the limits allow at most, in bytes a second; infinite without any.
    pub(crate) fn rate(&self, device: &DeviceId, way: Way) -> f64 {
        self.lower(device, way).map_or(f64::INFINITY, |rate| rate as f64)
    }

    /// The lower one of the device's limit and that of all.
    fn lower(&self, device: &DeviceId, way: Way) -> Option<u64> {
        let own = self.device(device, way).and_then(|throttle| throttle.rate());
        own.into_iter().chain(self.all.way(way).rate()).min()
    }

    /// Takes so many bytes to or from the device, and returns when they may go.
    pub(crate) async fn take(&self, device: &DeviceId, way: Way, bytes: usize) {
        if let Some(own) = self.device(device, way) {
            own.take(bytes as u64).await;
        }
        self.all.way(way).take(bytes as u64).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: DeviceId = DeviceId::from_bytes([1; 32]);
    const OTHER: DeviceId = DeviceId::from_bytes([2; 32]);

    /// What takes a year and a half at the lowest rate: whoever is done with it has not waited.
    const ENDLESS: usize = 1 << 40;

    fn up(rate: u64) -> Limits {
        Limits { up: Some(rate), down: None }
    }

    fn take(throttles: &Arc<Throttles>, device: DeviceId) -> tokio::task::JoinHandle<()> {
        let throttles = Arc::clone(throttles);
        tokio::spawn(async move { throttles.take(&device, Way::Up, ENDLESS).await })
    }

    #[tokio::test]
    async fn a_device_with_a_limit_holds_no_other_back() {
        let throttles = Arc::new(Throttles::new());
        throttles.set_devices(&HashMap::from([(ONE, up(100_000))]));
        let waits = take(&throttles, ONE);
        tokio::task::yield_now().await;
        take(&throttles, OTHER).await.expect("it has no limit");
        throttles.take(&ONE, Way::Down, ENDLESS).await;
        assert!(!waits.is_finished());
        waits.abort();
    }

    #[tokio::test]
    async fn a_limit_of_all_holds_for_each_and_its_end_reaches_who_waits() {
        let throttles = Arc::new(Throttles::new());
        throttles.set_all(up(1));
        let takers = [take(&throttles, ONE), take(&throttles, OTHER)];
        tokio::task::yield_now().await;
        assert!(takers.iter().all(|taker| !taker.is_finished()));
        throttles.set_all(Limits::default());
        for taker in takers {
            taker.await.expect("it ends");
        }
    }

    #[tokio::test]
    async fn without_its_own_limit_a_device_goes_at_once() {
        let throttles = Arc::new(Throttles::new());
        throttles.set_devices(&HashMap::from([(ONE, up(20_000))]));
        let taker = take(&throttles, ONE);
        tokio::task::yield_now().await;
        throttles.set_devices(&HashMap::new());
        taker.await.expect("it ends");
    }

    #[test]
    fn pieces_follow_the_lower_limit() {
        let throttles = Throttles::new();
        assert_eq!(throttles.piece(&ONE, Way::Up), usize::MAX);
        throttles.set_all(up(10_000_000));
        assert_eq!(throttles.piece(&ONE, Way::Up), 64 * 1024);
        throttles.set_devices(&HashMap::from([(ONE, up(32 * 1024))]));
        assert_eq!(throttles.piece(&ONE, Way::Up), 2048);
        assert_eq!(throttles.piece(&OTHER, Way::Up), 64 * 1024);
        assert_eq!(throttles.piece(&ONE, Way::Down), usize::MAX);
        assert!(throttles.rate(&ONE, Way::Up) <= 32.0 * 1024.0);
        assert!(throttles.rate(&ONE, Way::Down).is_infinite());
    }
}
