//! What is known of one source: what it was asked for, how fast it answers, how far it is trusted.

use std::collections::{HashSet, VecDeque};

use dunlin_identity::Hash;

use super::{Bounds, Micros, WATCHES_MAX};

/// What a source is taken to give before anything was measured, in bytes a second.
const RATE_GUESS: f64 = 4_000_000.0;
/// How long a source is taken to need for a first answer before anything was measured.
const LATENCY_GUESS: Micros = 20_000;
/// Bytes are counted over at least this long for one measurement of the rate.
const SAMPLE: Micros = 40_000;
/// So many right blocks make up for one wrong one.
const FORGIVE_AFTER: u32 = 64;
/// A source that brings nothing is asked again for what it lacked at least this often.
const LOOK_AGAIN_MAX: Micros = 4_000_000;
/// Besides the latency, this much of the measured rate is kept in flight.
const PIPELINE: Micros = 150_000;
/// A source that does not tell what it has for this long is asked without that.
const TELL_TIME: Micros = 1_000_000;
/// A source that lacks so many of the blocks that it said it has is not believed any more.
const BROKEN_PROMISES_MAX: u32 = 256;

/// A block that a source was asked for and has not answered yet.
#[derive(Debug)]
struct Asked {
    hash: Hash,
    len: u32,
    at: Micros,
    /// Nothing else was in flight, so the answer measures the latency.
    alone: bool,
}

#[derive(Debug, Default)]
pub(super) struct SourceState {
    queue: VecDeque<Asked>,
    in_queue: HashSet<Hash>,
    bytes: u64,
    rate: Option<f64>,
    latency: Option<Micros>,
    sample_start: Micros,
    sample_bytes: u64,
    last_progress: Micros,
    pub(super) lies: u32,
    /// Right blocks since the last wrong one was made up for.
    right: u32,
    /// For each priority, the folder's version at which nothing pending was for this source.
    pub(super) exhausted: [u64; 3],
    /// It has lacked something since it was looked at again.
    lacked: bool,
    /// It has brought something since then.
    brought: bool,
    look_again_at: Micros,
    look_again_after: Micros,
    /// The blocks of which it was asked to tell, the latest last.
    watched: VecDeque<Hash>,
    /// Since when it owes word of what it has.
    owes_word_since: Option<Micros>,
    /// It does not tell, or what it tells is wrong.
    silent: bool,
    broken_promises: u32,
}

impl SourceState {
    /// Bytes asked for and not answered.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_asked(&self, hash: &Hash) -> bool {
        self.in_queue.contains(hash)
    }

    /// How many bytes may be in flight.
    pub(super) fn window(&self, bounds: &Bounds) -> u64 {
        let time = self.latency.unwrap_or(0) + PIPELINE;
        let bytes = self.rate.unwrap_or(0.0) * time as f64 / 1e6;
        (bytes as u64).clamp(bounds.window_min, bounds.window_max)
    }

    /// Returns whether another block of this length may be asked for.
    pub(super) fn has_room(&self, len: u32, bounds: &Bounds) -> bool {
        let fits = self.bytes + u64::from(len) <= self.window(bounds);
        self.queue.is_empty() || (fits && self.queue.len() < bounds.window_blocks)
    }

    /// Returns whether so little is in flight that asking again is worth a message.
    pub(super) fn wants_more(&self, bounds: &Bounds) -> bool {
        self.bytes <= self.window(bounds) / 8 * 7
            && self.queue.len() <= bounds.window_blocks / 8 * 7
    }

    pub(super) fn ask(&mut self, hash: Hash, len: u32, now: Micros) {
        let alone = self.queue.is_empty();
        if alone {
            // An idle time says nothing about the rate.
            (self.sample_start, self.sample_bytes, self.last_progress) = (now, 0, now);
        }
        self.in_queue.insert(hash);
        self.queue.push_back(Asked { hash, len, at: now, alone });
        self.bytes += u64::from(len);
    }

    /// Notes an answer, with the bytes that came. Returns false when it was not asked for.
    pub(super) fn answered(&mut self, hash: &Hash, bytes: u64, now: Micros) -> bool {
        // Answers come in the order of the questions, so this looks at the front alone as a rule.
        let Some(place) = self.queue.iter().position(|asked| asked.hash == *hash) else {
            return false;
        };
        let asked = self.queue.remove(place).expect("the place was just found");
        self.in_queue.remove(hash);
        self.bytes -= u64::from(asked.len);
        self.last_progress = now;
        if asked.alone {
            let took = now.saturating_sub(asked.at);
            self.latency = Some(self.latency.map_or(took, |latency| latency.min(took)));
        }
        if bytes > 0 {
            self.brought = true;
            self.broken_promises = self.broken_promises.saturating_sub(1);
            self.right += 1;
            if self.right >= FORGIVE_AFTER {
                self.right = 0;
                self.lies = self.lies.saturating_sub(1);
            }
        }
        self.sample_bytes += bytes;
        let elapsed = now.saturating_sub(self.sample_start);
        if elapsed >= SAMPLE && self.sample_bytes > 0 {
            let sample = self.sample_bytes as f64 * 1e6 / elapsed as f64;
            self.rate = Some(self.rate.map_or(sample, |rate| 0.6 * rate + 0.4 * sample));
            (self.sample_start, self.sample_bytes) = (now, 0);
        }
        true
    }

    /// Whether what it tells, or does not, counts for nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.silent
    }

    /// Notes that it was asked to tell of these blocks. Returns those of which it no longer will.
    pub(super) fn watch(&mut self, hashes: &[Hash], now: Micros) -> Vec<Hash> {
        self.owes_word_since.get_or_insert(now);
        self.watched.extend(hashes);
        let surplus = self.watched.len().saturating_sub(WATCHES_MAX);
        self.watched.drain(..surplus).collect()
    }

    /// Notes that it tells of what it was asked. Returns whether it is believed.
    pub(super) fn tells(&mut self) -> bool {
        self.owes_word_since = None;
        self.silent = self.broken_promises > BROKEN_PROMISES_MAX;
        !self.silent
    }

    /// Notes that it lacks what it said it has.
    pub(super) fn broke_promise(&mut self) {
        self.broken_promises = self.broken_promises.saturating_add(1);
        self.silent |= self.broken_promises > BROKEN_PROMISES_MAX;
    }

    /// Gives up waiting for word. Returns whether it did just now.
    pub(super) fn fall_silent(&mut self, now: Micros) -> bool {
        let late = |since: Micros| now.saturating_sub(since) > TELL_TIME;
        let falls = !self.silent && self.owes_word_since.is_some_and(late);
        self.silent |= falls;
        falls
    }

    /// Notes that it lacks something that was asked of it.
    pub(super) fn lacked(&mut self, after: Micros, now: Micros) {
        if !self.lacked {
            self.lacked = true;
            self.look_again_after = self.look_again_after.max(after);
            self.look_again_at = now + self.look_again_after;
        }
    }

    /// Whether it may be asked again now for what it lacked.
    pub(super) fn look_again(&mut self, after: Micros, now: Micros) -> bool {
        if !self.lacked || now < self.look_again_at {
            return false;
        }
        let longer = (2 * self.look_again_after).min(LOOK_AGAIN_MAX).max(after);
        self.look_again_after = if self.brought { after } else { longer };
        (self.lacked, self.brought) = (false, false);
        true
    }

    pub(super) fn progress(&mut self, now: Micros) {
        self.last_progress = now;
    }

    /// How long it is expected to take until `more` bytes asked for now would be here.
    pub(super) fn expected(&self, more: u64, now: Micros) -> Micros {
        let latency = self.latency.unwrap_or(LATENCY_GUESS);
        let rate = self.rate.unwrap_or(RATE_GUESS).max(1.0);
        let work = ((self.bytes + more) as f64 * 1e6 / rate) as Micros;
        // A source that has gone silent is slower than it was measured to be.
        let silent = if self.queue.is_empty() { 0 } else { now.saturating_sub(self.last_progress) };
        latency + work + silent.saturating_sub(latency) * 4
    }

    pub(super) fn is_stalled(&self, bounds: &Bounds, now: Micros) -> bool {
        !self.queue.is_empty() && now.saturating_sub(self.last_progress) > bounds.stall
    }

    /// What is asked for, the last question first.
    pub(super) fn asked_last_first(&self) -> impl Iterator<Item = Hash> + '_ {
        self.queue.iter().rev().map(|asked| asked.hash)
    }
}
