//! The sound of a call between two phones: RTP and RTCP passed on as they are, packet by packet, without decoding. Only A-law
//! and mu-law are turned into each other, where the phones have no other codec in common.
//!
//! Where a leg is protected, a packet is opened and protected again, still without decoding (`media-secure`).
//!
//! Both pairs of ports are served by a thread that serves many calls, in rounds ([`media_net::Rounds`]). What a round finds is
//! read with one system call, written with one, and allocates nothing: the buffers belong to the thread. What has its own time,
//! as what we play and the timers of a protection, is done by a task of the call that otherwise sleeps.

mod copied;
mod leg;
mod pass;
mod play;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use media_core::g711;
use media_core::rtp::is_rtcp;
use media_net::udp::BATCH;
use media_net::{Batch, BatchSender, PlainPair, Rounds, Serve, receive_now, rounds};
use media_secure::{Component, Failure, Input};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

pub(crate) use self::copied::{Copied, Guard};
pub(crate) use self::leg::End;
use self::leg::Leg;
use self::pass::{pass, pass_control};
pub(crate) use self::play::Play;
use self::play::{REPORT_EVERY, VOICE_RATE, Voice};
use super::turn::{Slot, Turner, Turning};
use crate::metrics::Metrics;
use crate::phone::Shared;

/// Batches taken at one wake-up, so that a flood on one leg does not starve the other.
const BATCHES: usize = 4;
const COMFORT_NOISE: u8 = 13;

struct Scratch {
    batch: Batch,
    sender: BatchSender,
    /// Reports that leave by another port than the sound.
    reports: BatchSender,
    /// What goes to a recorder as well, and the reports for it.
    copies: BatchSender,
    copied_reports: BatchSender,
    /// What was opened.
    plain: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        let Scratch { sender, reports, copies, copied_reports, .. } = self;
        [sender, reports, copies, copied_reports].into_iter().for_each(BatchSender::clear);
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        batch: Batch::new(),
        sender: BatchSender::new(),
        reports: BatchSender::new(),
        copies: BatchSender::new(),
        copied_reports: BatchSender::new(),
        plain: Vec::new(),
    });
}

/// [0] turns mu-law into A-law, [1] the other way.
static LAWS: LazyLock<[[u8; 256]; 2]> = LazyLock::new(|| {
    let mut tables = [[0u8; 256]; 2];
    for byte in 0..=255u8 {
        tables[0][usize::from(byte)] = g711::alaw_encode(g711::ulaw_decode(byte));
        tables[1][usize::from(byte)] = g711::ulaw_encode(g711::alaw_decode(byte));
    }
    tables
});

/// What came from one phone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub packets: u64,
    pub lost: u64,
    pub jitter_ms: f32,
    /// The number of the newest voice packet.
    pub payload_type: Option<u8>,
    /// When anything came last.
    pub at: Instant,
    /// Packets written towards this phone.
    pub sent: u64,
    /// Packets of this phone that were written towards a recorder.
    pub copied: u64,
    /// The codec that its sound is turned into for the other phone.
    pub turned: Option<&'static str>,
    /// Why there are no keys and will not be.
    pub failure: Option<Failure>,
}

/// A key that a phone can only be told by INFO: who pressed it, which, and how long.
type Key = (usize, char, Duration);

/// Lets a recorder listen.
#[derive(Clone)]
pub(crate) struct Ear(Weak<Mutex<Work>>);

impl Ear {
    /// Copies what comes from each phone from now on; none ends it.
    pub fn copy(&self, to: [Option<Copied>; 2]) {
        let Some(work) = self.0.upgrade() else { return };
        for (leg, to) in lock(&work).legs.iter_mut().zip(to) {
            leg.copy = to.map(Box::new);
        }
    }
}

/// The handle. Dropping it ends the relay.
pub(crate) struct Relay {
    // The place is given up before the sockets are closed.
    _place: rounds::Place,
    work: Arc<Mutex<Work>>,
    timers: JoinHandle<()>,
    keys: mpsc::Receiver<Key>,
    ports: [u16; 2],
    slot: Slot,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.timers.abort();
    }
}

impl Relay {
    /// With ports of the pool; none when there are no more, or no descriptors.
    pub fn open(shared: &Shared) -> Option<Relay> {
        let ports = &shared.ctx.ports;
        let opened = ports.plain().and_then(|near| Ok([near, ports.plain()?]));
        let pairs = opened.inspect_err(|error| tracing::warn!(%error, "no ports for a call")).ok()?;
        let started = Relay::start(shared.rounds.as_ref()?, pairs, shared.metrics.clone(), shared.turning.clone());
        started.inspect_err(|error| tracing::warn!(%error, "a call is not relayed")).ok()
    }

    fn start(rounds: &Rounds, pairs: [PlainPair; 2], metrics: Option<Metrics>, turning: Turning) -> io::Result<Relay> {
        let ports = [pairs[0].lease.port(), pairs[1].lease.port()];
        let now = Instant::now();
        let legs = pairs.map(|pair| Leg::new(pair, now));
        let (pressed, keys) = mpsc::channel(16);
        let slot = Slot::new(&turning);
        let turns = Turns { turning, slot: slot.clone(), keys: pressed };
        let work = Work { legs, metrics, turns, set: None, changed: Arc::default() };
        let work = Arc::new(Mutex::new(work));
        let place = {
            let work_now = lock(&work);
            let [a, b] = &work_now.legs;
            rounds.add([&a.pair.rtp, &b.pair.rtp, &a.pair.rtcp, &b.pair.rtcp], work.clone())?
        };
        let timers = tokio::spawn(keep_time(work.clone()));
        Ok(Relay { _place: place, work, timers, keys, ports, slot })
    }

    /// The way in for a recorder.
    pub fn ear(&self) -> Ear {
        Ear(Arc::downgrade(&self.work))
    }

    /// Our RTP port towards this phone.
    pub fn port(&self, side: usize) -> u16 {
        self.ports.get(side).copied().unwrap_or(0)
    }

    /// This phone described itself, or did so anew, and knows where to send. Behind NAT it sends from elsewhere: the first source is
    /// learned.
    pub fn describe(&self, side: usize, end: End) {
        lock(&self.work).describe(side, end, true);
    }

    /// This phone described itself, and was told of no address of ours yet: what comes from elsewhere than it said is not from it.
    pub fn expect(&self, side: usize, end: End) {
        lock(&self.work).describe(side, end, false);
    }

    /// A key that this phone pressed by INFO goes to the other one as telephone event.
    pub fn press(&self, side: usize, key: char, held: Duration) {
        lock(&self.work).press(side, key, held);
    }

    /// The next key that a phone can only be told by INFO: who pressed it, which, and how long. Cancel safe.
    pub async fn key(&mut self) -> Key {
        match self.keys.recv().await {
            Some(key) => key,
            None => std::future::pending().await,
        }
    }

    /// A place among the calls whose sound is decoded; false when there is none.
    pub fn decodes(&self) -> bool {
        self.slot.hold()
    }

    /// Lets a phone hear something of ours; none ends it.
    pub fn play(&self, side: usize, play: Option<Play>) {
        lock(&self.work).play(side, play);
    }

    pub fn heard(&self) -> [Heard; 2] {
        lock(&self.work).heard()
    }
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what is due though nothing came.
async fn keep_time(work: Arc<Mutex<Work>>) {
    let changed = lock(&work).changed.clone();
    loop {
        let due = lock(&work).next();
        tokio::select! {
            () = changed.notified() => {}
            () = sleep_until(due) => lock(&work).on_time(),
        }
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

struct Work {
    legs: [Leg; 2],
    metrics: Option<Metrics>,
    turns: Turns,
    /// When [`keep_time`] wakes.
    set: Option<tokio::time::Instant>,
    /// It is to wake at another time.
    changed: Arc<Notify>,
}

/// What the call needs where sound or keys are turned.
struct Turns {
    turning: Turning,
    slot: Slot,
    keys: mpsc::Sender<Key>,
}

impl Turns {
    /// Both phones are described: what has to be turned between them.
    fn plan(&self, legs: &mut [Leg; 2]) {
        let [a, b] = legs;
        let (Some(of_a), Some(of_b)) = (&a.sound, &b.sound) else { return };
        a.turner = Turner::plan(of_a, of_b, &self.turning, &self.slot, a.turner.take());
        b.turner = Turner::plan(of_b, of_a, &self.turning, &self.slot, b.turner.take());
        if ![&a.turner, &b.turner].into_iter().flatten().any(|t| t.must()) {
            self.slot.release();
        }
    }

    /// Tells the keys that can only go by INFO.
    fn tell(&self, legs: &mut [Leg; 2]) {
        for (side, leg) in legs.iter_mut().enumerate() {
            for (key, held) in leg.turner.iter_mut().flat_map(|t| t.keys()) {
                let _ = self.keys.try_send((side, key, held));
            }
        }
    }
}

impl Serve for Work {
    fn ready(&mut self, socket: usize) -> bool {
        // What a call left behind that failed in the middle is of no other call.
        SCRATCH.with_borrow_mut(Scratch::clear);
        let side = socket % 2;
        let more = match socket < 2 {
            true => self.pump(side),
            false => self.pump_control(side),
        };
        if !self.legs[side].channel.is_plain() {
            self.tell_time();
        }
        if self.legs.iter().any(|leg| leg.turner.is_some()) {
            self.turns.tell(&mut self.legs);
        }
        more
    }
}

impl Work {
    fn describe(&mut self, side: usize, end: End, learns: bool) {
        let Some(leg) = self.legs.get_mut(side) else { return };
        leg.describe(end, learns, Instant::now());
        leg.transmit();
        self.turns.plan(&mut self.legs);
        self.tell_time();
    }

    fn play(&mut self, side: usize, play: Option<Play>) {
        let Some(leg) = self.legs.get_mut(side) else { return };
        leg.voice = play.map(Voice::new);
        self.tell_time();
    }

    fn press(&mut self, side: usize, key: char, held: Duration) {
        if let Some(turner) = self.legs.get_mut(side).and_then(|leg| leg.turner.as_mut()) {
            turner.press(key, held, Instant::now());
        }
    }

    /// When something is to be done though nothing came.
    fn due(&self) -> Option<tokio::time::Instant> {
        let voices = self.legs.iter().filter_map(|leg| Some(leg.voice.as_ref()?.due));
        voices.chain(self.legs.iter().filter_map(|leg| leg.channel.next_timeout()).map(Into::into)).min()
    }

    fn next(&mut self) -> Option<tokio::time::Instant> {
        self.set = self.due();
        self.set
    }

    fn tell_time(&self) {
        if self.due() != self.set {
            self.changed.notify_one();
        }
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        for side in 0..2 {
            if self.legs[side].voice.as_ref().is_some_and(|v| v.due <= now.into()) {
                self.say(side);
            }
            let leg = &mut self.legs[side];
            if leg.channel.next_timeout().is_some_and(|due| due <= now) {
                leg.channel.tick(now);
                leg.transmit();
            }
        }
    }

    /// Sends the next packet of what is played to a phone.
    fn say(&mut self, side: usize) {
        let Some(leg) = self.legs.get_mut(side) else { return };
        let Some(voice) = &mut leg.voice else { return };
        let (Some(data), at) = (voice.packet(), voice.due) else {
            leg.voice = None;
            return;
        };
        let reports = at >= voice.report;
        if reports {
            voice.report = at + REPORT_EVERY;
        }
        let Some(target) = leg.rtp_to().filter(|_| leg.end.is_some_and(|e| e.hears)) else { return };
        let now = Instant::now();
        SCRATCH.with_borrow_mut(|scratch| {
            leg.emit(&mut scratch.sender, target, &data, now, |_| {});
            leg.sent += scratch.sender.flush(&leg.pair.rtp).sent as u64;
        });
        if reports {
            let heard = leg.reception.block(now);
            let report = leg.stream.report(heard, VOICE_RATE, now);
            leg.send_report(&report);
        }
    }

    fn heard(&self) -> [Heard; 2] {
        [&self.legs[0], &self.legs[1]].map(|leg| {
            let (packets, lost) = leg.reception.totals();
            Heard {
                packets,
                lost,
                jitter_ms: leg.reception.jitter_ms(leg.end.map_or(8000, |e| e.clock)),
                payload_type: leg.payload_type,
                at: leg.heard,
                sent: leg.sent,
                copied: leg.copied,
                turned: leg.turner.as_ref().and_then(|t| t.turns_into()),
                failure: leg.channel.failure(),
            }
        })
    }

    /// Passes on what lies at a phone's RTP port; true when there may be more.
    fn pump(&mut self, side: usize) -> bool {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { batch, sender, reports, copies, copied_reports, plain } = scratch;
            let [a, b] = &mut self.legs;
            let (from, to) = if side == 0 { (a, b) } else { (b, a) };
            for _ in 0..BATCHES {
                let taken = match receive_now(&from.pair.rtp, batch) {
                    Ok(0) => return false,
                    Ok(n) => n,
                    // The ICMP answer to an earlier packet.
                    Err(e) if is_icmp(&e) => continue,
                    Err(error) => {
                        tracing::debug!(%error, "receiving sound");
                        return false;
                    }
                };
                let now = Instant::now();
                let mut bad = batch.cut() as u64;
                for (data, source) in batch.iter() {
                    let data = match from.channel.input(Component::Rtp, data, source, now, plain) {
                        Input::Media(data) => data,
                        Input::Handled => continue,
                        Input::Bad => {
                            bad += 1;
                            continue;
                        }
                    };
                    if is_rtcp(data) {
                        pass_control(from, to, data, source, now, [reports, copied_reports]);
                    } else if !pass(from, to, data, source, now, [sender, copies]) {
                        bad += 1;
                    }
                }
                from.transmit();
                let sent = sender.flush(&to.pair.rtp).sent as u64;
                to.sent += sent;
                to.flush_reports(reports);
                let copied = from.flush_copies(copies, copied_reports);
                if let Some(m) = &self.metrics {
                    if copied > 0 {
                        m.recorded_packets.inc_by(copied);
                    }
                    if from.turned > 0 {
                        m.transcoded_packets.inc_by(std::mem::take(&mut from.turned));
                    }
                    m.packets_in.inc_by(taken as u64 - bad.min(taken as u64));
                    m.packets_out.inc_by(sent);
                    m.bad_packets.inc_by(bad);
                }
                if taken < BATCH {
                    return false;
                }
            }
            true
        })
    }

    /// As [`Self::pump`] for the port of the reports.
    fn pump_control(&mut self, side: usize) -> bool {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { batch, reports, copies, copied_reports, plain, .. } = scratch;
            let [a, b] = &mut self.legs;
            let (from, to) = if side == 0 { (a, b) } else { (b, a) };
            let taken = match receive_now(&from.pair.rtcp, batch) {
                Ok(n) => n,
                Err(e) => return is_icmp(&e),
            };
            let now = Instant::now();
            for (data, source) in batch.iter() {
                if let Input::Media(data) = from.channel.input(Component::Rtcp, data, source, now, plain)
                    && is_rtcp(data)
                {
                    pass_control(from, to, data, source, now, [reports, copied_reports]);
                }
            }
            from.transmit();
            to.flush_reports(reports);
            from.flush_copies(copies, copied_reports);
            taken == BATCH
        })
    }
}

fn is_icmp(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | Interrupted)
}
