//! The sound of a call between two phones: RTP and RTCP passed on as they are, packet by packet, without decoding. Only A-law
//! and mu-law are turned into each other, where the phones have no other codec in common.
//!
//! Where a leg is protected, a packet is opened and protected again, still without decoding (`media-secure`).
//!
//! Both pairs of ports are served by a thread that serves many calls, in rounds ([`media_net::Rounds`]). What a round finds is
//! read with one system call, written with one, and allocates nothing: the buffers belong to the thread. What has its own time,
//! as what we play and the timers of a protection, is done by a task of the call that otherwise sleeps.

mod pass;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::g711;
use media_core::rtp::{RtpHeader, RtpPacket, is_rtcp};
use media_net::udp::BATCH;
use media_net::{Batch, BatchSender, PlainPair, Rounds, RtpPair, Serve, receive_now, rounds};
use media_secure::{Agreed, Channel, Component, Failure, Input, Remote, SrtpError};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use self::pass::{is_law, pass, pass_control, set_number, table_of, turn};
use super::sdp::Described;
use super::turn::{Slot, Sound, Turner, Turning};
use crate::metrics::Metrics;
use crate::phone::Shared;
use crate::reception::Reception;

/// A phone that was replaced, as by a transfer, may go on sending for so long.
const LAST_PACKETS: Duration = Duration::from_secs(2);
/// Silence after which the same host and SSRC may send from another port (a NAT that moved).
const MOVE_AFTER: Duration = Duration::from_secs(1);
/// Batches taken at one wake-up, so that a flood on one leg does not starve the other.
const BATCHES: usize = 4;
const COMFORT_NOISE: u8 = 13;
/// A packet of what we play.
const VOICE_BYTES: usize = 160;
const VOICE_EVERY: Duration = Duration::from_millis(20);

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

/// What one phone described, as far as the relay needs it.
#[derive(Debug, Clone)]
pub(crate) struct End {
    place: Place,
    /// How its leg is protected.
    agreed: Agreed,
    sound: Sound,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    rtp: Option<SocketAddr>,
    rtcp: Option<SocketAddr>,
    numbers: u128,
    clock: u32,
    /// It wants to hear.
    hears: bool,
    /// Reports share the port of the sound.
    mux: bool,
}

impl End {
    pub fn of(described: &Described) -> End {
        let place = Place {
            rtp: described.rtp,
            rtcp: described.rtcp,
            numbers: described.numbers(),
            clock: described.clock(),
            hears: described.direction.receives(),
            mux: described.mux,
        };
        let sound = Sound { maps: described.maps.clone(), ptime: described.ptime, answer: described.answer };
        End { place, agreed: described.agreed.clone(), sound }
    }
}

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

/// Where the sound of one phone goes besides: to a recorder, from a pair of ports of its own.
pub(crate) struct Copied {
    pub pair: Arc<RtpPair>,
    pub rtp: SocketAddr,
    pub rtcp: SocketAddr,
    /// At the number of a packet: the number under which the recorder wants it; none for what it did not take.
    pub numbers: [Option<u8>; 128],
}

impl Copied {
    /// One packet as the phone meant it: opened, and in its own law unless the recorder knows the other one only.
    fn push(&self, packet: &RtpPacket<'_>, data: &[u8], copies: &mut BatchSender) {
        let number = packet.payload_type;
        let Some(wanted) = self.numbers.get(usize::from(number)).copied().flatten() else { return };
        if wanted == number {
            return copies.push_packet(self.rtp, data);
        }
        copies.push_with(self.rtp, data.len(), |out| {
            let at = out.len();
            out.extend_from_slice(data);
            let Some(copy) = out.get_mut(at..) else { return };
            if is_law(number) && is_law(wanted) {
                turn(copy, packet, table_of(number));
            }
            set_number(copy, wanted);
        });
    }
}

/// What a phone hears of us instead of the other one, as A-law at 8 kHz.
#[derive(Debug, Clone, Default)]
pub(crate) struct Play {
    pub first: Bytes,
    /// After it, again and again; empty: no more.
    pub then: Bytes,
    /// The phone wants mu-law.
    pub mu: bool,
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
        let work = Work { legs, voices: [None, None], metrics, turns, set: None, changed: Arc::default() };
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

struct Leg {
    pair: PlainPair,
    end: Option<Place>,
    sound: Option<Sound>,
    /// Turns what comes from this phone, where the other one does not understand it as it is.
    turner: Option<Box<Turner>>,
    channel: Channel,
    /// A sender whose numbers began anew under the same SSRC, and the SSRC that it has on this protected leg since then: no
    /// key stream is used twice.
    renamed: Option<(u32, u32)>,
    /// Packets in a row that [`Channel::protect`] refused for their number.
    stale: u32,
    source: Option<SocketAddr>,
    ssrc: u32,
    rtcp_source: Option<SocketAddr>,
    /// The next source is learned, wherever it is.
    learns: bool,
    /// Where the phone before this one sent from, and when it was replaced: its last packets are not learned from.
    left: Option<(SocketAddr, Instant)>,
    reception: Reception,
    heard: Instant,
    payload_type: Option<u8>,
    sent: u64,
    /// The recorder that listens to this phone.
    copy: Option<Box<Copied>>,
    copied: u64,
    /// Packets made of its sound by a codec and not yet counted.
    turned: u64,
}

impl Leg {
    fn new(pair: PlainPair, now: Instant) -> Leg {
        Leg {
            pair,
            end: None,
            sound: None,
            turner: None,
            channel: Channel::default(),
            renamed: None,
            stale: 0,
            source: None,
            ssrc: 0,
            rtcp_source: None,
            learns: false,
            left: None,
            reception: Reception::default(),
            heard: now,
            payload_type: None,
            sent: 0,
            copy: None,
            copied: 0,
            turned: 0,
        }
    }

    fn describe(&mut self, end: End, learns: bool, now: Instant) {
        let Place { rtp, rtcp, mux, .. } = end.place;
        self.channel.agree(&end.agreed, Remote { rtp, rtcp, mux }, now);
        self.sound = Some(end.sound);
        let end = end.place;
        // A phone that only changes its direction keeps the address that was learned.
        if self.end.is_none_or(|old| old.rtp != end.rtp) {
            self.left = self.source.take().map(|source| (source, now));
            self.rtcp_source = None;
        }
        self.learns = learns;
        self.heard = now;
        self.end = Some(end);
    }

    /// Whether a packet from here belongs to the call. The first source is learned; later only the described address, or the
    /// same host and SSRC after a silence, may take over.
    fn accepts(&mut self, from: SocketAddr, ssrc: u32, now: Instant) -> bool {
        if !self.channel.is_plain() {
            // It was proved by its tag, and no packet counts twice: wherever it comes from, it is from this phone.
            self.source = Some(from);
            self.ssrc = ssrc;
            return true;
        }
        let described = self.end.and_then(|e| e.rtp);
        match self.source {
            Some(source) if source == from => {
                self.ssrc = ssrc;
                return true;
            }
            Some(source) => {
                let moved = source.ip() == from.ip()
                    && ssrc == self.ssrc
                    && now.saturating_duration_since(self.heard) >= MOVE_AFTER;
                if !(moved || described == Some(from)) {
                    return false;
                }
            }
            None if described != Some(from)
                && self.left.is_some_and(|(old, at)| old == from && now < at + LAST_PACKETS) =>
            {
                return false;
            }
            None if self.learns => {}
            None if described.is_some_and(|d| d.ip() == from.ip()) => {}
            None => return false,
        }
        self.source = Some(from);
        self.ssrc = ssrc;
        true
    }

    fn rtp_to(&self) -> Option<SocketAddr> {
        if let Some(found) = self.channel.destination() {
            return found;
        }
        let end = self.end?;
        // No address and no source: held by 0.0.0.0, or nothing said yet.
        end.rtp.and(self.source).or(end.rtp)
    }

    fn rtcp_to(&self) -> Option<SocketAddr> {
        let end = self.end?;
        if end.mux {
            return self.rtp_to();
        }
        let beside = |a: SocketAddr| SocketAddr::new(a.ip(), a.port().saturating_add(1));
        match (self.rtcp_source, self.source) {
            (Some(known), _) => Some(known),
            (None, Some(source)) if Some(source) != end.rtp => Some(beside(source)),
            _ => end.rtcp,
        }
    }
}

/// What is being played to a phone.
struct Voice {
    play: Play,
    at: usize,
    header: RtpHeader,
    due: tokio::time::Instant,
}

impl Voice {
    fn new(play: Play) -> Voice {
        let header = RtpHeader {
            marker: true,
            payload_type: if play.mu { 0 } else { 8 },
            sequence: rand::random::<u16>() >> 1,
            timestamp: rand::random(),
            ssrc: rand::random(),
        };
        Voice { play, at: 0, header, due: tokio::time::Instant::now() }
    }

    /// The next packet of 20 ms; none at the end.
    fn packet(&mut self) -> Option<Vec<u8>> {
        if self.at >= self.play.first.len() {
            if self.play.then.is_empty() {
                return None;
            }
            self.play.first = self.play.then.clone();
            self.at = 0;
        }
        let until = self.play.first.len().min(self.at + VOICE_BYTES);
        let mut payload = self.play.first.get(self.at..until)?.to_vec();
        payload.resize(VOICE_BYTES, g711::silence(true));
        if self.play.mu {
            payload.iter_mut().for_each(|byte| *byte = LAWS[1][usize::from(*byte)]);
        }
        self.at = until;
        let mut out = Vec::with_capacity(12 + VOICE_BYTES);
        self.header.write(&mut out, &[&payload]);
        self.header.marker = false;
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(VOICE_BYTES as u32);
        self.due += VOICE_EVERY;
        Some(out)
    }
}

/// Longest addition of a protection: the tag, and the index of a report.
const PROTECTION: usize = 32;
/// Packets in a row with numbers that were used, after which a sender is taken for restarted.
const RESTARTED: u32 = 5;

impl Leg {
    /// Adds one packet towards this phone, changed by `change` and protected.
    fn emit(&mut self, sender: &mut BatchSender, target: SocketAddr, data: &[u8], change: impl FnOnce(&mut [u8])) {
        let Leg { channel, renamed, stale, .. } = self;
        let rtp = !is_rtcp(data);
        sender.push_with(target, data.len() + PROTECTION, |out| {
            let at = out.len();
            out.extend_from_slice(data);
            let Some(packet) = out.get_mut(at..) else { return };
            change(packet);
            let ssrc = packet.get(8..12).and_then(|b| b.try_into().ok()).map(u32::from_be_bytes);
            if let (true, Some((of, to)), Some(field)) = (rtp, *renamed, packet.get_mut(8..12))
                && Some(of) == ssrc
            {
                field.copy_from_slice(&to.to_be_bytes());
            }
            match channel.protect(out, at) {
                Ok(()) if rtp => *stale = 0,
                Err(SrtpError::Replay) => {
                    *stale += 1;
                    if *stale >= RESTARTED {
                        *renamed = ssrc.map(|ssrc| (ssrc, rand::random()));
                        *stale = 0;
                    }
                }
                _ => {}
            }
        });
    }

    /// Sends what the protection itself has to say: STUN, DTLS.
    fn transmit(&mut self) {
        while let Some((component, to, datagram)) = self.channel.poll_transmit() {
            let socket = if component == Component::Rtp { &self.pair.rtp } else { &self.pair.rtcp };
            let _ = socket.send_to(&datagram, to);
        }
    }

    /// Sends what goes to the recorder; gives how many packets of sound. What finds no room is lost: the recorder never holds the
    /// call up.
    fn flush_copies(&mut self, copies: &mut BatchSender, reports: &mut BatchSender) -> u64 {
        let Some(copy) = &self.copy else { return 0 };
        let sent = copies.flush(copy.pair.rtp.socket()).sent as u64;
        if reports.pending_bytes() > 0 {
            reports.flush(&copy.pair.rtcp);
        }
        self.copied += sent;
        sent
    }

    fn flush_reports(&self, reports: &mut BatchSender) {
        match self.end.is_some_and(|e| e.mux) {
            true => reports.flush(&self.pair.rtp),
            false => reports.flush(&self.pair.rtcp),
        };
    }
}

struct Work {
    legs: [Leg; 2],
    voices: [Option<Voice>; 2],
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
        let Some(voice) = self.voices.get_mut(side) else { return };
        *voice = play.map(Voice::new);
        self.tell_time();
    }

    fn press(&mut self, side: usize, key: char, held: Duration) {
        if let Some(turner) = self.legs.get_mut(side).and_then(|leg| leg.turner.as_mut()) {
            turner.press(key, held, Instant::now());
        }
    }

    /// When something is to be done though nothing came.
    fn due(&self) -> Option<tokio::time::Instant> {
        let voices = self.voices.iter().flatten().map(|v| v.due);
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
            if self.voices[side].as_ref().is_some_and(|v| v.due <= now.into()) {
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
        let (Some(leg), Some(slot)) = (self.legs.get_mut(side), self.voices.get_mut(side)) else { return };
        let Some(data) = slot.as_mut().and_then(Voice::packet) else {
            *slot = None;
            return;
        };
        let Some(target) = leg.rtp_to().filter(|_| leg.end.is_some_and(|e| e.hears)) else { return };
        SCRATCH.with_borrow_mut(|scratch| {
            leg.emit(&mut scratch.sender, target, &data, |_| {});
            leg.sent += scratch.sender.flush(&leg.pair.rtp).sent as u64;
        });
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
