//! Congestion control: Cubic with a floor.
//!
//! Cubic (RFC 9438) takes every lost packet for a full queue, and halves its window. On a path that
//! loses one packet in a hundred by itself, as radio links do, it uses a few hundredths of it. On
//! fast local links, where nothing is lost and acknowledgements come in lumps, it is hard to beat.
//!
//! So Cubic stays, and its window is never let below what the path was lately measured to carry:
//! the best rate of delivery of the last rounds times the shortest round trip, and a little more to
//! find out whether there is more. That is the model of BBR (Cardwell et al., "BBR:
//! congestion-based congestion control", 2016), without its pacing and without its phases for
//! measuring the round trip: where the floor is too low, Cubic is still there. A share of loss that
//! no radio link has counts as a full queue here, too ([`LOSS_HIGH`]), as in BBR's second version.
//!
//! Goals: most of a long and lossy link; no slower than Cubic anywhere; a queue of at most a quarter
//! of what the path carries when the floor is in force. Non-goals: to take more than a fair share
//! from others; to keep queues shorter than Cubic does where Cubic's window is the larger one.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Rounds whose rates of delivery are remembered; the best of them counts.
const ROUNDS: usize = 10;
/// The floor while the rate still grows: so it doubles with each round.
const GAIN_START: f64 = 2.0;
/// The floor as a rule: the excess finds out whether there is more to have.
const GAIN: f64 = 1.25;
/// The floor after much loss: no more than what was delivered.
const GAIN_CAREFUL: f64 = 1.0;
/// The floor in one round of [`CYCLE`]: the queue that the excess has made goes, and the round trip
/// without it is seen. Otherwise, who comes to a path later takes the others' queue for distance,
/// and crowds them out.
const GAIN_DRAIN: f64 = 0.6;
const CYCLE: u32 = 16;
/// The start is over when the rate has grown by less than this factor...
const GROWTH: f64 = 1.25;
/// ...for so many rounds.
const ROUNDS_WITHOUT_GROWTH: u32 = 3;
/// A round that loses more than this share has met a full queue.
const LOSS_HIGH: f64 = 0.06;
/// A smaller loss than this says nothing about the share, in bytes.
const LOSS_NOTED: u64 = 10_000;
/// For so many rounds after such a loss the floor is careful.
const ROUNDS_CAREFUL: u32 = 32;

/// What a path was measured to carry. Without I/O and clock: each event brings its time.
#[derive(Clone, Debug)]
struct Model {
    /// Rates of delivery of the last rounds, in bytes a second.
    rates: VecDeque<f64>,
    round_trip: Option<Duration>,
    round_begin: Instant,
    /// A packet that was sent in this round has been acknowledged: so the round is over.
    round_over: bool,
    /// The sender had too little to send in this round; its rate says little.
    limited: bool,
    acked: u64,
    lost: u64,
    /// The rate with which growth is compared; `None` once the start is over.
    grown_to: Option<f64>,
    without_growth: u32,
    careful_for: u32,
    /// Rounds since the start was over.
    cycle: u32,
}

impl Model {
    fn new(now: Instant) -> Self {
        Self {
            rates: VecDeque::with_capacity(ROUNDS),
            round_trip: None,
            round_begin: now,
            round_over: false,
            limited: false,
            acked: 0,
            lost: 0,
            grown_to: Some(0.0),
            without_growth: 0,
            careful_for: 0,
            cycle: 0,
        }
    }

    fn acked(&mut self, sent: Instant, now: Instant, bytes: u64) {
        let took = now.saturating_duration_since(sent);
        self.round_trip = Some(self.round_trip.map_or(took, |shortest| shortest.min(took)));
        self.round_over |= sent >= self.round_begin;
        self.acked += bytes;
    }

    fn lost(&mut self, bytes: u64) {
        self.lost += bytes;
    }

    /// Forgets what was measured: nothing of it holds any more.
    fn forget(&mut self, now: Instant) {
        *self = Self { round_trip: self.round_trip, ..Self::new(now) };
    }

    /// Ends a batch of acknowledgements, and the round when it is over.
    fn end_acks(&mut self, now: Instant, limited: bool) {
        self.limited |= limited;
        let elapsed = now.saturating_duration_since(self.round_begin);
        if !self.round_over || elapsed.is_zero() {
            return;
        }
        let rate = self.acked as f64 / elapsed.as_secs_f64();
        let lost = self.lost as f64 / (self.acked + self.lost).max(1) as f64;
        let congested = self.lost >= LOSS_NOTED && lost > LOSS_HIGH;
        self.careful_for =
            if congested { ROUNDS_CAREFUL } else { self.careful_for.saturating_sub(1) };
        // A sender with little to send measures itself, not the path.
        if !self.limited || rate > self.best() {
            if self.rates.len() == ROUNDS {
                self.rates.pop_front();
            }
            self.rates.push_back(rate);
            self.look_for_growth(rate, congested);
        }
        self.cycle = (self.cycle + 1) % CYCLE;
        (self.acked, self.lost, self.limited) = (0, 0, limited);
        (self.round_begin, self.round_over) = (now, false);
    }

    fn look_for_growth(&mut self, rate: f64, congested: bool) {
        let Some(before) = self.grown_to else { return };
        if rate >= before * GROWTH {
            (self.grown_to, self.without_growth) = (Some(rate), 0);
        } else {
            self.without_growth += 1;
        }
        if congested || self.without_growth >= ROUNDS_WITHOUT_GROWTH {
            self.grown_to = None;
        }
    }

    fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }

    /// Bytes that may be in flight at least.
    fn floor(&self) -> u64 {
        let gain = match self.grown_to {
            None if self.cycle == 0 => GAIN_DRAIN,
            _ if self.careful_for > 0 => GAIN_CAREFUL,
            Some(_) => GAIN_START,
            None => GAIN,
        };
        let round_trip = self.round_trip.unwrap_or_default().as_secs_f64();
        (self.best() * round_trip * gain) as u64
    }
}

/// Makes controllers for connections.
#[derive(Debug, Default)]
pub(crate) struct FloorConfig {
    cubic: Arc<CubicConfig>,
}

impl ControllerFactory for FloorConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::clone(&self.cubic).build(now, current_mtu);
        Box::new(Floor { cubic, model: Model::new(now) })
    }
}

/// See the [module](self).
struct Floor {
    cubic: Box<dyn Controller>,
    model: Model,
}

impl Controller for Floor {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.model.acked(sent, now, bytes);
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.model.end_acks(now, app_limited);
        self.cubic.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.model.lost(lost_bytes);
        if is_persistent_congestion {
            self.model.forget(now);
        }
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.cubic.window().max(self.model.floor())
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.cubic.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { cubic: self.cubic.clone_box(), model: self.model.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.cubic.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 1200;
    const TICK: Duration = Duration::from_millis(1);

    /// A link on virtual time: a queue before a wire of some rate, and loss by chance.
    struct Link {
        /// Packets a millisecond.
        rate: f64,
        round_trip: Duration,
        queue_max: f64,
        loss_percent: u64,
        queue: f64,
        random: u64,
        sent: u64,
        dropped: u64,
        delivered: u64,
    }

    /// A sender that always has something to send, with the model and nothing beside it.
    struct Sender {
        model: Model,
        in_flight: u64,
        credit: f64,
        /// When what becomes known of a packet: when, sent when, and whether it came.
        known: VecDeque<(Instant, Instant, bool)>,
    }

    impl Link {
        fn new(rate: f64, round_trip_ms: u64, queue_max: f64, loss_percent: u64) -> Self {
            let round_trip = Duration::from_millis(round_trip_ms);
            let (queue, random) = (0.0, 0x9e37_79b9_7f4a_7c15);
            let (sent, dropped, delivered) = (0, 0, 0);
            Self {
                rate,
                round_trip,
                queue_max,
                loss_percent,
                queue,
                random,
                sent,
                dropped,
                delivered,
            }
        }

        /// Takes a packet; gives when it is acknowledged, or that it is lost.
        fn send(&mut self, now: Instant) -> (Instant, bool) {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.sent += 1;
            let waits = Duration::from_secs_f64(self.queue / self.rate / 1e3);
            let known_at = now + self.round_trip + waits;
            if self.queue >= self.queue_max {
                self.dropped += 1;
                return (known_at, false);
            }
            self.queue += 1.0;
            let came = (self.random >> 11) % 100 >= self.loss_percent;
            self.delivered += u64::from(came);
            (known_at, came)
        }
    }

    impl Sender {
        fn new(now: Instant) -> Self {
            let known = VecDeque::new();
            Self { model: Model::new(now), in_flight: 0, credit: 0.0, known }
        }

        fn window(&self) -> u64 {
            self.model.floor().max(10 * PACKET)
        }

        fn step(&mut self, link: &mut Link, now: Instant) {
            while self.known.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, sent, came) = self.known.pop_front().expect("it was just seen");
                self.in_flight -= PACKET;
                match came {
                    true => self.model.acked(sent, now, PACKET),
                    false => self.model.lost(PACKET),
                }
            }
            self.model.end_acks(now, false);
            // Quinn sends no faster than five quarters of a window in a round trip.
            let round_trip_ms = link.round_trip.as_secs_f64() * 1e3;
            self.credit += 1.25 * self.window() as f64 / PACKET as f64 / round_trip_ms;
            while self.in_flight + PACKET <= self.window() && self.credit >= 1.0 {
                let (at, came) = link.send(now);
                self.known.push_back((at, now, came));
                self.in_flight += PACKET;
                self.credit -= 1.0;
            }
            self.credit = self.credit.min(10.0);
        }
    }

    /// Lets senders share a link for so long; gives the share of the link that was used.
    fn run(link: &mut Link, senders: &mut [Sender], start: Instant, ms: Duration) -> f64 {
        let (mut now, delivered) = (start, link.delivered);
        while now < start + ms {
            now += TICK;
            link.queue = (link.queue - link.rate).max(0.0);
            senders.iter_mut().for_each(|sender| sender.step(link, now));
        }
        (link.delivered - delivered) as f64 / (ms.as_secs_f64() * 1e3 * link.rate)
    }

    #[test]
    fn a_long_and_lossy_link_is_filled() {
        let start = Instant::now();
        // 96 Mbit/s and 80 ms, with room for one round trip.
        let mut link = Link::new(10.0, 80, 800.0, 1);
        let mut sender = [Sender::new(start)];
        let used = run(&mut link, &mut sender, start, Duration::from_secs(10));
        assert!(used > 0.85, "{used}");
        // At three times the loss, too.
        link.loss_percent = 3;
        let later = start + Duration::from_secs(10);
        let used = run(&mut link, &mut sender, later, Duration::from_secs(10));
        assert!(used > 0.85, "{used}");
    }

    #[test]
    fn a_short_queue_is_not_kept_overfull() {
        let start = Instant::now();
        let mut link = Link::new(10.0, 80, 20.0, 0);
        let mut sender = [Sender::new(start)];
        run(&mut link, &mut sender, start, Duration::from_secs(5));
        (link.sent, link.dropped) = (0, 0);
        let later = start + Duration::from_secs(5);
        let used = run(&mut link, &mut sender, later, Duration::from_secs(20));
        let lost = link.dropped as f64 / link.sent as f64;
        assert!(used > 0.8 && lost < 0.06, "used {used}, lost {lost}");
    }

    #[test]
    fn a_link_that_gets_slower_is_followed() {
        let start = Instant::now();
        let mut link = Link::new(10.0, 40, 400.0, 1);
        let mut sender = [Sender::new(start)];
        run(&mut link, &mut sender, start, Duration::from_secs(3));
        let fast = sender[0].window();
        link.rate = 1.0;
        let later = start + Duration::from_secs(3);
        run(&mut link, &mut sender, later, Duration::from_secs(20));
        let slow = sender[0].window();
        assert!(slow * 6 < fast, "from {fast} to {slow}");
        assert!(link.queue < 100.0, "the queue is short again: {}", link.queue);
        link.rate = 10.0;
        let later = later + Duration::from_secs(20);
        let used = run(&mut link, &mut sender, later, Duration::from_secs(10));
        assert!(used > 0.7, "and back: {used}");
    }

    #[test]
    fn two_share_a_link() {
        let start = Instant::now();
        let mut link = Link::new(10.0, 40, 400.0, 1);
        let mut senders = [Sender::new(start), Sender::new(start)];
        let first = run(&mut link, &mut senders[..1], start, Duration::from_secs(3));
        assert!(first > 0.8);
        let later = start + Duration::from_secs(3);
        run(&mut link, &mut senders, later, Duration::from_secs(30));
        let [one, other] = &senders;
        let (one, other) = (one.window() as f64, other.window() as f64);
        assert!(one / other < 4.0 && other / one < 4.0, "{one} and {other}");
    }

    #[test]
    fn who_has_little_to_send_keeps_what_was_measured() {
        let start = Instant::now();
        let mut model = Model::new(start);
        let mut now = start;
        let mut round = |model: &mut Model, bytes, limited| {
            let sent = now;
            now += Duration::from_millis(50);
            model.acked(sent, now, bytes);
            model.end_acks(now, limited);
        };
        for _ in 0..5 {
            round(&mut model, 500_000, false);
        }
        let floor = model.floor();
        assert_eq!(floor, (500_000.0 * GAIN) as u64);
        for _ in 0..50 {
            round(&mut model, 1200, true);
        }
        assert_eq!(model.floor(), floor);
        model.forget(now);
        assert_eq!(model.floor(), 0);
    }
}
