//! The sound of a call between two phones: RTP and RTCP passed on as they are, packet by packet, without decoding. Only A-law
//! and mu-law are turned into each other, where the phones have no other codec in common.
//!
//! Where a leg is protected, a packet is opened and protected again, still without decoding (`media-secure`).
//!
//! One task a call owns both pairs of ports. What a wake-up finds is read with one system call, written with one, and
//! allocates nothing: the buffers belong to the thread.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::g711;
use media_core::rtcp::Rtcp;
use media_core::rtp::{RtpHeader, RtpPacket, is_rtcp};
use media_net::{Batch, BatchSender, RtpPair};
use media_secure::{Agreed, Channel, Failure, Input, SrtpError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::sdp::Described;
use super::turn::{Said, Slot, Sound, Turner, Turning};
use crate::metrics::Metrics;
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
const PUBLISH_EVERY: Duration = Duration::from_millis(500);

struct Scratch {
    batch: Batch,
    sender: BatchSender,
    /// Reports that leave by another port than the sound.
    reports: BatchSender,
    control: [u8; 2048],
    /// What was opened.
    plain: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        batch: Batch::new(),
        sender: BatchSender::new(),
        reports: BatchSender::new(),
        control: [0; 2048],
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
    /// Why there are no keys and will not be.
    pub failure: Option<Failure>,
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

enum Order {
    /// None ends it.
    Play(usize, Option<Play>),
    /// Whether a source other than the described one may be learned from now on.
    Describe(usize, Box<End>, bool),
    /// This phone pressed a key, by INFO.
    Press(usize, char, Duration),
}

/// Keys that a phone can only be told by INFO: who pressed it, and how long.
type Keys = mpsc::Sender<(usize, char, Duration)>;

/// The handle to the task. Dropping it ends the relay.
pub(crate) struct Relay {
    orders: mpsc::Sender<Order>,
    heard: watch::Receiver<[Heard; 2]>,
    keys: mpsc::Receiver<(usize, char, Duration)>,
    task: JoinHandle<()>,
    ports: [u16; 2],
    slot: Slot,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Relay {
    pub fn start(pairs: [RtpPair; 2], metrics: Option<Metrics>, turning: Turning) -> Relay {
        let ports = [pairs[0].lease.port(), pairs[1].lease.port()];
        let (orders, queue) = mpsc::channel(16);
        let now = Instant::now();
        let nothing =
            Heard { packets: 0, lost: 0, jitter_ms: 0.0, payload_type: None, at: now, sent: 0, failure: None };
        let (tell, heard) = watch::channel([nothing; 2]);
        let (pressed, keys) = mpsc::channel(16);
        let slot = Slot::new(&turning);
        let turns = Turns { turning, slot: slot.clone(), keys: pressed };
        let work = Work { legs: pairs.map(|pair| Leg::new(pair, now)), voices: [None, None], metrics, turns };
        let task = tokio::spawn(work.run(queue, tell));
        Relay { orders, heard, keys, task, ports, slot }
    }

    /// Our RTP port towards this phone.
    pub fn port(&self, side: usize) -> u16 {
        self.ports.get(side).copied().unwrap_or(0)
    }

    /// This phone described itself, or did so anew, and knows where to send. Behind NAT it sends from elsewhere: the first source is
    /// learned.
    pub async fn describe(&self, side: usize, end: End) {
        let _ = self.orders.send(Order::Describe(side, Box::new(end), true)).await;
    }

    /// This phone described itself, and was told of no address of ours yet: what comes from elsewhere than it said is not from it.
    pub async fn expect(&self, side: usize, end: End) {
        let _ = self.orders.send(Order::Describe(side, Box::new(end), false)).await;
    }

    /// A key that this phone pressed by INFO goes to the other one as telephone event.
    pub async fn press(&self, side: usize, key: char, held: Duration) {
        let _ = self.orders.send(Order::Press(side, key, held)).await;
    }

    /// The next key that a phone can only be told by INFO: who pressed it, which, and how long. Cancel safe.
    pub async fn key(&mut self) -> (usize, char, Duration) {
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
    pub async fn play(&self, side: usize, play: Option<Play>) {
        let _ = self.orders.send(Order::Play(side, play)).await;
    }

    pub fn heard(&self) -> [Heard; 2] {
        *self.heard.borrow()
    }
}

struct Leg {
    pair: RtpPair,
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
}

impl Leg {
    fn new(pair: RtpPair, now: Instant) -> Leg {
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
        }
    }

    fn describe(&mut self, end: End, learns: bool, now: Instant) {
        self.channel.agree(&end.agreed, end.place.rtp, now);
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
        while let Some((to, datagram)) = self.channel.poll_transmit() {
            let _ = self.pair.rtp.socket().try_send_to(&datagram, to);
        }
    }

    fn flush_reports(&self, reports: &mut BatchSender) {
        match self.end.is_some_and(|e| e.mux) {
            true => reports.flush(self.pair.rtp.socket()),
            false => reports.flush(&self.pair.rtcp),
        };
    }
}

struct Work {
    legs: [Leg; 2],
    voices: [Option<Voice>; 2],
    metrics: Option<Metrics>,
    turns: Turns,
}

/// What the call needs where sound or keys are turned.
struct Turns {
    turning: Turning,
    slot: Slot,
    keys: Keys,
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

impl Work {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, tell: watch::Sender<[Heard; 2]>) {
        let mut tick = tokio::time::interval(PUBLISH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let [a, b] = &self.legs;
            let due = a.channel.next_timeout().into_iter().chain(b.channel.next_timeout()).min();
            let done = tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Describe(side, end, learns)) => {
                        if let Some(leg) = self.legs.get_mut(side) {
                            leg.describe(*end, learns, Instant::now());
                            leg.transmit();
                        }
                        self.turns.plan(&mut self.legs);
                        let _ = tell.send(self.heard());
                        Ok(())
                    }
                    Some(Order::Play(side, play)) => {
                        if let Some(voice) = self.voices.get_mut(side) {
                            *voice = play.map(Voice::new);
                        }
                        Ok(())
                    }
                    Some(Order::Press(side, key, held)) => {
                        if let Some(turner) = self.legs.get_mut(side).and_then(|leg| leg.turner.as_mut()) {
                            turner.press(key, held, Instant::now());
                        }
                        Ok(())
                    }
                    None => return,
                },
                side = voice_due(&self.voices) => {
                    self.say(side);
                    Ok(())
                }
                ready = a.pair.rtp.socket().readable() => ready.and_then(|()| self.pump(0)),
                ready = b.pair.rtp.socket().readable() => ready.and_then(|()| self.pump(1)),
                ready = a.pair.rtcp.readable() => ready.map(|()| self.pump_control(0)),
                ready = b.pair.rtcp.readable() => ready.map(|()| self.pump_control(1)),
                _ = tick.tick() => {
                    let _ = tell.send(self.heard());
                    Ok(())
                }
                () = sleep_until(due) => {
                    for leg in &mut self.legs {
                        leg.channel.tick(Instant::now());
                        leg.transmit();
                    }
                    Ok(())
                }
            };
            if let Err(error) = done {
                tracing::debug!(%error, "receiving sound");
                tokio::time::sleep(Duration::from_millis(5)).await;
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
            leg.sent += scratch.sender.flush(leg.pair.rtp.socket()).sent as u64;
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
                failure: leg.channel.failure(),
            }
        })
    }

    /// Passes on what lies at a phone's RTP port.
    fn pump(&mut self, side: usize) -> io::Result<()> {
        let done = self.pump_batches(side);
        if self.legs.iter().any(|leg| leg.turner.is_some()) {
            self.turns.tell(&mut self.legs);
        }
        done
    }

    fn pump_batches(&mut self, side: usize) -> io::Result<()> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { batch, sender, reports, plain, .. } = scratch;
            let [a, b] = &mut self.legs;
            let (from, to) = if side == 0 { (a, b) } else { (b, a) };
            for _ in 0..BATCHES {
                let taken = match from.pair.rtp.try_recv(batch) {
                    Ok(0) => return Ok(()),
                    Ok(n) => n as u64,
                    // The ICMP answer to an earlier packet.
                    Err(e) if is_icmp(&e) => continue,
                    Err(e) => return Err(e),
                };
                let now = Instant::now();
                let mut bad = batch.cut() as u64;
                for (data, source) in batch.iter() {
                    let data = match from.channel.input(data, source, now, plain) {
                        Input::Media(data) => data,
                        Input::Handled => continue,
                        Input::Bad => {
                            bad += 1;
                            continue;
                        }
                    };
                    if is_rtcp(data) {
                        pass_control(from, to, data, source, now, reports);
                    } else if !pass(from, to, data, source, now, sender) {
                        bad += 1;
                    }
                }
                from.transmit();
                let sent = sender.flush(to.pair.rtp.socket()).sent as u64;
                to.sent += sent;
                to.flush_reports(reports);
                if let Some(m) = &self.metrics {
                    m.packets_in.inc_by(taken - bad.min(taken));
                    m.packets_out.inc_by(sent);
                    m.bad_packets.inc_by(bad);
                }
            }
            Ok(())
        })
    }

    fn pump_control(&mut self, side: usize) {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { reports, control, plain, .. } = scratch;
            let [a, b] = &mut self.legs;
            let (from, to) = if side == 0 { (a, b) } else { (b, a) };
            for _ in 0..BATCHES {
                match from.pair.rtcp.try_recv_from(control) {
                    Ok((n, source)) => {
                        let (data, now) = (control.get(..n).unwrap_or_default(), Instant::now());
                        if let Input::Media(data) = from.channel.input(data, source, now, plain)
                            && is_rtcp(data)
                        {
                            pass_control(from, to, data, source, now, reports);
                        }
                    }
                    Err(e) if is_icmp(&e) => {}
                    Err(_) => break,
                }
            }
            to.flush_reports(reports);
        });
    }
}

/// Ends when the next packet of what is played is due; gives for whom.
async fn voice_due(voices: &[Option<Voice>; 2]) -> usize {
    let due = |side: usize| voices.get(side)?.as_ref().map(|v| (v.due, side));
    match due(0).into_iter().chain(due(1)).min() {
        Some((at, side)) => {
            tokio::time::sleep_until(at).await;
            side
        }
        None => std::future::pending().await,
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn is_icmp(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, Interrupted, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable | Interrupted)
}

/// One RTP packet of a phone; false when it is none of the call's.
fn pass(from: &mut Leg, to: &mut Leg, data: &[u8], source: SocketAddr, now: Instant, sender: &mut BatchSender) -> bool {
    let Ok(packet) = RtpPacket::parse(data) else { return false };
    let number = packet.payload_type;
    // Before the answer the caller's sound has no place to go; it teaches us the caller's address all the same.
    let known = to.end.map_or(u128::MAX, |e| e.numbers);
    let own = from.end.map_or(0, |e| e.numbers);
    let is = |set: u128| set >> number & 1 == 1;
    let law = number == 0 || number == 8;
    let turns = || from.turner.as_ref().is_some_and(|t| t.knows(number));
    if !(is(known) || is(own) || law || number == COMFORT_NOISE || turns()) || !from.accepts(source, packet.ssrc, now) {
        return false;
    }
    from.heard = now;
    let clock = from.end.map_or(8000, |e| e.clock);
    // Keys keep one time stamp for many packets: that is no jitter.
    let voice = law || from.payload_type == Some(number) || packet.payload.len() > 4;
    if voice && number != COMFORT_NOISE {
        from.payload_type = Some(number);
    }
    from.reception.packet(packet.ssrc, packet.sequence, packet.timestamp, clock, voice, now);
    let Some(end) = to.end.filter(|e| e.hears) else { return true };
    let Some(target) = to.rtp_to() else { return true };
    if from.turner.is_some() {
        turned(from, to, &packet, data, target, now, sender);
    } else if is(end.numbers) {
        to.emit(sender, target, data, |_| {});
    } else if law && end.numbers >> (8 - number) & 1 == 1 {
        let Some(table) = LAWS.get(usize::from(number == 8)) else { return true };
        let until = data.len() - usize::from(packet.padding);
        let start = until - packet.payload.len();
        to.emit(sender, target, data, |packet| {
            for byte in packet.get_mut(start..until).unwrap_or_default() {
                *byte = table[usize::from(*byte)];
            }
            if let Some(byte) = packet.get_mut(1) {
                *byte = *byte & 0x80 | (8 - number);
            }
        });
    }
    true
}

/// One RTP packet of a phone whose sound or keys the other one may not understand as they are.
fn turned(
    from: &mut Leg,
    to: &mut Leg,
    packet: &RtpPacket<'_>,
    data: &[u8],
    target: SocketAddr,
    now: Instant,
    sender: &mut BatchSender,
) {
    let Some(turner) = &mut from.turner else { return };
    match turner.hear(packet, now) {
        Said::Nothing => {}
        Said::Made => turner.made().for_each(|made| to.emit(sender, target, &made, |_| {})),
        Said::Pass { number, sequence, law } => {
            let until = data.len() - usize::from(packet.padding);
            let start = until - packet.payload.len();
            to.emit(sender, target, data, |out| {
                if let Some(table) = law.and_then(|law| LAWS.get(law)) {
                    for byte in out.get_mut(start..until).unwrap_or_default() {
                        *byte = table[usize::from(*byte)];
                    }
                }
                if let Some([_, kind, high, low]) = out.first_chunk_mut::<4>() {
                    *kind = *kind & 0x80 | number;
                    [*high, *low] = sequence.to_be_bytes();
                }
            });
        }
    }
    if turner.report_due(now) {
        let report = turner.report(to.reception.block(now), now);
        send_report(to, report);
    }
    // Who only sends is told what comes of it, too.
    if let Some(back) = &mut to.turner
        && back.report_due(now)
    {
        let report = back.report(from.reception.block(now), now);
        send_report(from, report);
    }
}

/// Sends a report of our own to a phone.
fn send_report(leg: &mut Leg, mut report: Vec<u8>) {
    let (Some(target), Some(end)) = (leg.rtcp_to(), leg.end) else { return };
    if leg.channel.protect(&mut report, 0).is_ok() {
        let socket = if end.mux { leg.pair.rtp.socket() } else { &leg.pair.rtcp };
        let _ = socket.try_send_to(&report, target);
    }
}

/// What goes on of a report where our sound stands in for a phone's: what the phone says of its own stream if that passes as it is, with
/// what we received of the other one. None: nothing goes on, we report ourselves.
fn own_report(from: &mut Leg, to: &mut Leg, data: &[u8], now: Instant) -> Option<Vec<u8>> {
    let mut packets = Rtcp::parse_compound(data).unwrap_or_default();
    for packet in &packets {
        if let Rtcp::SenderReport { ntp, .. } = packet {
            from.reception.sender_report(*ntp, now);
        }
    }
    if from.turner.as_ref().is_some_and(|t| t.active()) {
        return None;
    }
    packets.retain(|p| !matches!(p, Rtcp::Other { .. }));
    for packet in &mut packets {
        if let Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. } = packet {
            *reports = to.reception.block(now).into_iter().collect();
        }
    }
    Some(Rtcp::write_compound(&packets)).filter(|out| !out.is_empty())
}

/// One RTCP packet of a phone: passed on as it is, since SSRCs, sequence numbers and counts are the same on both legs.
fn pass_control(
    from: &mut Leg,
    to: &mut Leg,
    data: &[u8],
    source: SocketAddr,
    now: Instant,
    sender: &mut BatchSender,
) -> bool {
    let host = from.source.or(from.end.and_then(|e| e.rtp)).map(|a| a.ip());
    if host != Some(source.ip()) {
        return false;
    }
    from.rtcp_source = Some(source);
    from.heard = now;
    let Some(target) = to.rtcp_to() else { return false };
    if [&from.turner, &to.turner].into_iter().flatten().any(|t| t.active()) {
        if let Some(own) = own_report(from, to, data, now) {
            to.emit(sender, target, &own, |_| {});
        }
        return true;
    }
    to.emit(sender, target, data, |_| {});
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use media_core::rtp::RtpHeader;
    use media_net::PortPool;
    use tokio::net::UdpSocket;

    use super::*;

    fn turning() -> Turning {
        Turning::new(&crate::Config::default())
    }

    fn packet(number: u8, sequence: u16, payload: &[u8]) -> Vec<u8> {
        let header =
            RtpHeader { marker: false, payload_type: number, sequence, timestamp: u32::from(sequence) * 160, ssrc: 7 };
        let mut out = Vec::new();
        header.write(&mut out, &[payload]);
        out
    }

    fn described(port: u16, formats: &str, direction: &str) -> End {
        let text = format!("v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP {formats}\r\na={direction}\r\n");
        End::of(&Described::read(text.as_bytes()).unwrap())
    }

    async fn next(socket: &UdpSocket) -> Option<Vec<u8>> {
        let mut buffer = [0; 2000];
        let got = tokio::time::timeout(Duration::from_millis(400), socket.recv_from(&mut buffer)).await.ok()?;
        Some(buffer[..got.unwrap().0].to_vec())
    }

    #[tokio::test]
    async fn passes_turns_laws_learns_and_refuses_strangers() {
        let pool = PortPool::new("127.0.0.1".parse().unwrap(), 42_301..=42_320, Duration::from_millis(10));
        let relay = Relay::start([pool.udp().unwrap(), pool.udp().unwrap()], None, turning());
        let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
        let (a, b, stranger) = (socket().await, socket().await, socket().await);
        let to_a = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(0));
        let to_b = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(1));
        // A says another place than it sends from (behind NAT); B has mu-law only.
        let behind_nat = |direction: &str| {
            let text = format!("v=0\r\nc=IN IP4 10.1.1.1\r\nm=audio 9 RTP/AVP 8 101\r\na={direction}\r\n");
            End::of(&Described::read(text.as_bytes()).unwrap())
        };
        // While it rings nobody knows where to send: who sends is a stranger.
        relay.expect(0, behind_nat("sendrecv")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stranger.send_to(&packet(8, 1, &[1; 160]), to_a).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        relay.describe(0, behind_nat("sendrecv")).await;
        relay.describe(1, described(b.local_addr().unwrap().port(), "0 101", "sendrecv")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        a.send_to(&packet(8, 1, &[0xD5; 160]), to_a).await.unwrap();
        let heard = next(&b).await.unwrap();
        assert_eq!((heard[1], heard[12], heard.len()), (0, g711::ulaw_encode(g711::alaw_decode(0xD5)), 172));
        // A's address was learned: mu-law comes back as A-law; a stranger and an unknown number do not pass.
        b.send_to(&packet(0, 5, &[0xFF; 160]), to_b).await.unwrap();
        let heard = next(&a).await.unwrap();
        assert_eq!((heard[1], heard[12]), (8, g711::alaw_encode(g711::ulaw_decode(0xFF))));
        stranger.send_to(&packet(8, 2, &[1; 160]), to_a).await.unwrap();
        a.send_to(&packet(77, 2, &[1; 160]), to_a).await.unwrap();
        assert!(next(&b).await.is_none());
        // A codec of both passes as it is.
        relay.describe(1, described(b.local_addr().unwrap().port(), "8 101", "sendrecv")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let sent = packet(8, 4, &[0x2A; 160]);
        a.send_to(&sent, to_a).await.unwrap();
        assert_eq!(next(&b).await.unwrap(), sent);
        // On hold nothing is sent to it.
        relay.describe(1, described(b.local_addr().unwrap().port(), "8 101", "sendonly")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        a.send_to(&packet(8, 5, &[0x2A; 160]), to_a).await.unwrap();
        assert!(next(&b).await.is_none());
        tokio::time::sleep(PUBLISH_EVERY).await;
        let [from_a, from_b] = relay.heard();
        assert_eq!((from_a.packets, from_a.lost, from_a.payload_type), (3, 2, Some(8)));
        assert_eq!((from_b.packets, from_b.sent), (1, 2));
        drop(relay);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(pool.stats().used, 0);
    }

    #[tokio::test]
    async fn the_last_packets_of_a_phone_that_was_replaced_are_not_learned_from() {
        let pool = PortPool::new("127.0.0.1".parse().unwrap(), 42_341..=42_360, Duration::from_millis(10));
        let relay = Relay::start([pool.udp().unwrap(), pool.udp().unwrap()], None, turning());
        let socket = || async { UdpSocket::bind("127.0.0.1:0").await.unwrap() };
        let (a, old, new) = (socket().await, socket().await, socket().await);
        let to = |side| SocketAddr::new("127.0.0.1".parse().unwrap(), relay.port(side));
        let behind_nat = |port: u16| {
            let text = format!("v=0\r\nc=IN IP4 10.1.1.1\r\nm=audio {port} RTP/AVP 8\r\na=sendrecv\r\n");
            End::of(&Described::read(text.as_bytes()).unwrap())
        };
        let settle = || tokio::time::sleep(Duration::from_millis(60));
        relay.describe(0, described(a.local_addr().unwrap().port(), "8", "sendrecv")).await;
        relay.describe(1, behind_nat(9)).await;
        settle().await;
        old.send_to(&packet(8, 1, &[1; 160]), to(1)).await.unwrap();
        assert!(next(&a).await.is_some(), "the first phone is learned");
        // Another phone sits there now; the one before has not heard of it yet.
        relay.describe(1, behind_nat(11)).await;
        settle().await;
        old.send_to(&packet(8, 2, &[2; 160]), to(1)).await.unwrap();
        assert!(next(&a).await.is_none(), "its last packets do not pass");
        new.send_to(&packet(8, 3, &[3; 160]), to(1)).await.unwrap();
        assert!(next(&a).await.is_some(), "the new phone is learned");
        a.send_to(&packet(8, 1, &[4; 160]), to(0)).await.unwrap();
        assert!(next(&new).await.is_some() && next(&old).await.is_none(), "what comes back goes to the new one");
    }
}
