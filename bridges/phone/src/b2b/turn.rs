//! Sound and keys of a call whose phones do not understand each other as they are: a codec turned into another one, telephone events
//! under another number or clock, keys as SIP INFO or in the sound itself.
//!
//! A machine for one direction, without sockets. It is there only where something may have to be turned; all other calls do not pass
//! through it. Packets are taken as they come: one that overtook another counts as a lost one, so no delay is added.

mod codec;
mod keys;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use media_core::dtmf::{DtmfReceiver, Key, TelephoneEvent, key_of};
use media_core::rtcp::{ReportBlock, Rtcp};
use media_core::rtp::{RtpHeader, RtpPacket};
use media_core::sdp::RtpMap;
use media_hub::audio::{BLOCK, Concealer, RATE};
use prometheus::IntGauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::codec::{Decode, Encode};
use self::keys::{Listener, Presser};
use crate::config::InbandDtmf;

pub(crate) use self::codec::Sort;

/// A longer hole is a pause, not loss.
const CONCEALED_MS: u32 = 120;
/// Beyond this the sender's clock began anew.
const LONGEST_PAUSE_MS: u32 = 60_000;
const REPORT_EVERY: Duration = Duration::from_secs(5);
const FIRST_REPORT: Duration = Duration::from_secs(1);

pub(crate) fn is_event(m: &RtpMap) -> bool {
    m.encoding.eq_ignore_ascii_case("telephone-event")
}

pub(crate) fn is_voice(m: &RtpMap) -> bool {
    !["telephone-event", "CN", "red"].iter().any(|n| m.encoding.eq_ignore_ascii_case(n))
}

/// The same codec, or events of the same clock.
pub(crate) fn same(a: &RtpMap, b: &RtpMap) -> bool {
    a.encoding.eq_ignore_ascii_case(&b.encoding) && a.clock_rate == b.clock_rate && a.channels == b.channels
}

/// What we put behind a phone's own formats when it is described to the other one: codecs that we can turn, and keys. Always the same
/// for the same formats, so that who reads the answer knows what was offered.
pub(crate) fn added(maps: &[RtpMap], transcode: bool) -> Vec<RtpMap> {
    let mut out: Vec<RtpMap> = Vec::new();
    let has = |out: &[RtpMap], m: &RtpMap| maps.iter().chain(out).any(|o| same(o, m));
    let free = |out: &[RtpMap], wanted: u8| {
        let taken = |n: u8| maps.iter().chain(out).any(|m| m.payload_type == n);
        std::iter::once(wanted).chain((96..=127).rev()).find(|n| !taken(*n))
    };
    let mut add = |encoding: &str, wanted: u8, clock_rate: u32, channels: u8| {
        let map = RtpMap { payload_type: wanted, encoding: encoding.to_owned(), clock_rate, channels };
        if has(&out, &map) {
            return;
        }
        // The static numbers belong to nobody else.
        let number = if wanted < 96 { Some(wanted) } else { free(&out, wanted) };
        if let Some(payload_type) = number {
            out.push(RtpMap { payload_type, ..map });
        }
    };
    let law = |m: &RtpMap| matches!(Sort::of(m), Some(Sort::Law { .. })) && m.payload_type < 96;
    let turns = transcode && maps.iter().any(|m| Sort::of(m).is_some());
    if turns || maps.iter().any(law) {
        add("PCMA", 8, 8000, 1);
        add("PCMU", 0, 8000, 1);
    }
    if turns {
        add("G722", 9, 8000, 1);
        add("opus", 111, RATE, 2);
    }
    if !maps.iter().any(is_event) {
        add("telephone-event", 101, 8000, 1);
    }
    out
}

/// How a call's sound is turned, for all calls.
#[derive(Debug, Clone)]
pub(crate) struct Turning {
    pub transcode: bool,
    pub inband: InbandDtmf,
    /// Calls that may be decoded at once.
    pub places: Arc<Semaphore>,
    /// Shows how many are.
    gauge: Option<IntGauge>,
}

impl Turning {
    pub fn new(config: &crate::config::Config) -> Turning {
        let places = Arc::new(Semaphore::new(config.max_transcoded));
        Turning { transcode: config.transcode, inband: config.inband_dtmf, places, gauge: None }
    }

    /// The calls that are decoded are shown by this gauge.
    pub fn counted(self, gauge: Option<IntGauge>) -> Turning {
        Turning { gauge, ..self }
    }

    /// Whether a phone may be offered what has to be turned: there is a place for one more such call.
    pub fn offers(&self) -> bool {
        self.transcode && self.places.available_permits() > 0
    }
}

/// One call's place among those that are decoded.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    places: Arc<Semaphore>,
    gauge: Option<IntGauge>,
    held: Arc<Mutex<Option<Held>>>,
}

/// A place that is taken, counted as long as it is there.
#[derive(Debug)]
struct Held {
    _permit: OwnedSemaphorePermit,
    gauge: Option<IntGauge>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.iter().for_each(IntGauge::dec);
    }
}

impl Slot {
    pub fn new(turning: &Turning) -> Slot {
        Slot { places: turning.places.clone(), gauge: turning.gauge.clone(), held: Arc::default() }
    }

    /// Takes the place, if it is not taken yet; false when there is none.
    pub fn hold(&self) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none()
            && let Ok(permit) = self.places.clone().try_acquire_owned()
        {
            self.gauge.iter().for_each(IntGauge::inc);
            *held = Some(Held { _permit: permit, gauge: self.gauge.clone() });
        }
        held.is_some()
    }

    pub fn release(&self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What a phone described, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Sound {
    pub maps: Vec<RtpMap>,
    /// The packet time that it asks for, in ms.
    pub ptime: Option<u32>,
    /// It answered an offer of ours: it may send all that stood there.
    pub answer: bool,
}

/// What becomes of a packet with a certain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unknown,
    /// It goes on under this number; `law`: which table, where the other law is wanted. Sound of a law is listened to.
    Pass {
        number: u8,
        law: Option<usize>,
        heard: Option<Sort>,
        voice: bool,
    },
    Turn(Sort),
    /// A key, by a clock of this rate; the number of the same in the other phone's words.
    Event {
        rate: u32,
        there: Option<u8>,
    },
}

/// What the relay does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    /// It goes on, with this number and sequence number, and its bytes turned by this table of laws.
    Pass {
        number: u8,
        sequence: u16,
        law: Option<usize>,
    },
    /// What [`Turner::made`] gives goes instead.
    Made,
}

/// Where a stream of one sender stands.
#[derive(Debug, Clone, Copy)]
struct Input {
    ssrc: u32,
    number: u8,
    next_sequence: u16,
    next_stamp: u32,
}

/// Our stream to a phone.
#[derive(Debug, Clone)]
struct Output {
    ssrc: u32,
    sequence: u16,
    /// Of the next packet.
    stamp: u32,
    marker: bool,
    last: Option<Instant>,
    packets: u32,
    octets: u32,
    reported: u32,
    next_report: Option<Instant>,
    cname: String,
}

impl Output {
    fn new() -> Output {
        Output {
            ssrc: rand::random(),
            sequence: rand::random::<u16>() >> 1,
            stamp: rand::random(),
            marker: true,
            last: None,
            packets: 0,
            octets: 0,
            reported: 0,
            next_report: None,
            cname: format!("{:016x}@skybridge", rand::random::<u64>()),
        }
    }
}

/// What the phone hears.
#[derive(Debug, Clone, Copy)]
struct Target {
    sort: Sort,
    number: u8,
    /// Milliseconds in a packet.
    ptime: u32,
}

struct Work {
    from: Sort,
    decode: Decode,
    encode: Encode,
    concealer: Concealer,
    /// Sound that does not fill a block yet, and bytes that do not fill a packet yet.
    sound: Vec<f32>,
    fresh: Vec<f32>,
    bytes: Vec<u8>,
}

pub(crate) struct Turner {
    kinds: Box<[Kind; 128]>,
    target: Option<Target>,
    /// Number and clock of the phone's telephone events.
    event: Option<(u8, u32)>,
    /// The clock of its sound.
    clock: u32,
    listener: Option<Listener>,
    presser: Presser,
    receiver: Option<DtmfReceiver>,
    /// Keys that the phone can only be told by INFO.
    keys: Vec<(char, Duration)>,
    slot: Slot,
    /// The newest sound was turned.
    active: bool,
    /// There is no codec in common.
    must: bool,
    input: Option<Input>,
    work: Option<Box<Work>>,
    output: Output,
    /// Of the key that comes: its time stamp there and here.
    pressed: Option<(u32, u32)>,
    /// Packets that were taken out of a stream that passes.
    taken: u16,
    made: Vec<Vec<u8>>,
}

impl Turner {
    /// The machine for what goes from the one to the other; none where all passes as it is. `old` is what was there before: our
    /// stream goes on.
    pub fn plan(
        from: &Sound,
        to: &Sound,
        turning: &Turning,
        slot: &Slot,
        old: Option<Box<Turner>>,
    ) -> Option<Box<Turner>> {
        let told = added(&to.maps, turning.transcode);
        let common = |m: &RtpMap| is_voice(m) && from.maps.iter().any(|o| same(o, m));
        let laws = |maps: &[RtpMap]| maps.iter().any(|m| matches!(Sort::of(m), Some(Sort::Law { .. })));
        let understood = to.maps.iter().any(common) || laws(&from.maps) && laws(&to.maps);
        // Of what both know, else of what it wants most.
        let known = to.maps.iter().filter(|m| common(m)).chain(&to.maps);
        let target = known.filter_map(|m| Some((Sort::of(m)?, m.payload_type))).next().map(|(sort, number)| Target {
            sort,
            number,
            ptime: to.ptime.unwrap_or(20).clamp(10, 60) / 10 * 10,
        });
        let clock = match (understood, target) {
            (false, Some(target)) => target.sort.clock(),
            _ => to.maps.iter().find(|m| is_voice(m)).map_or(8000, |m| m.clock_rate),
        };
        let events = |maps: &[RtpMap]| {
            let mut all = maps.iter().filter(|m| is_event(m));
            all.clone().find(|m| m.clock_rate == clock).or_else(|| all.next()).map(|m| (m.payload_type, m.clock_rate))
        };
        let (own_event, event) = (events(&from.maps), events(&to.maps));
        let mut kinds = Box::new([Kind::Unknown; 128]);
        for number in 0..128u8 {
            let at = |maps: &'_ [RtpMap]| maps.iter().find(|m| m.payload_type == number).cloned();
            let shared = at(&to.maps).filter(|m| from.maps.iter().any(|o| same(o, m)));
            let told_of = || at(&told).filter(|m| from.answer && from.maps.iter().any(|o| same(o, m)));
            let Some(map) = shared.or_else(|| at(&from.maps)).or_else(told_of).or_else(|| at(&to.maps)) else {
                continue;
            };
            let turn = turning.transcode && (from.answer || !understood);
            kinds[usize::from(number)] = kind(&map, to, target.filter(|_| turn));
        }
        let listens = event.is_some()
            && match turning.inband {
                InbandDtmf::Off => false,
                InbandDtmf::Auto => own_event.is_none(),
                InbandDtmf::Always => true,
            };
        let must = !understood && target.is_some() && turning.transcode;
        let stated = |n: usize| {
            from.maps.iter().any(|m| usize::from(m.payload_type) == n)
                || from.answer
                    && told.iter().any(|m| usize::from(m.payload_type) == n && from.maps.iter().any(|o| same(o, m)))
        };
        let differs = |(n, kind): (usize, &Kind)| match kind {
            Kind::Turn(_) => stated(n),
            Kind::Event { there, .. } => stated(n) && there.map(usize::from) != Some(n),
            // A law is turned by the relay itself.
            Kind::Pass { number, law: None, .. } => stated(n) && usize::from(*number) != n,
            Kind::Pass { .. } | Kind::Unknown => false,
        };
        // Keys by INFO have to come in somewhere.
        let presses = own_event.is_none() && event.is_some();
        if !listens && !presses && !kinds.iter().enumerate().any(differs) {
            return None;
        }
        let mut output = old.map_or_else(Output::new, |old| old.output);
        output.marker = true;
        Some(Box::new(Turner {
            kinds,
            target,
            event,
            clock,
            listener: listens.then(Listener::default),
            presser: Presser::default(),
            receiver: None,
            keys: Vec::new(),
            slot: slot.clone(),
            active: false,
            must,
            input: None,
            work: None,
            output,
            pressed: None,
            taken: 0,
            made: Vec::new(),
        }))
    }

    /// Whether packets of this number belong to the call.
    pub fn knows(&self, number: u8) -> bool {
        self.kinds.get(usize::from(number)).is_some_and(|kind| *kind != Kind::Unknown)
    }

    /// Whether there is no other way than to decode.
    pub fn must(&self) -> bool {
        self.must
    }

    /// Our reports go to the phone in place of the other one's.
    pub fn active(&self) -> bool {
        self.active
    }

    /// The codec that the phone's sound is turned into; none where it passes as it is.
    pub fn turns_into(&self) -> Option<&'static str> {
        self.target.filter(|_| self.active).map(|t| t.sort.name())
    }

    /// A key that came by INFO goes as telephone event.
    pub fn press(&mut self, key: char, held: Duration, now: Instant) {
        self.presser.queue(key, held, now);
    }

    /// Keys that the phone can only be told by INFO.
    pub fn keys(&mut self) -> std::vec::Drain<'_, (char, Duration)> {
        self.keys.drain(..)
    }

    /// The packets that go in place of the one that was heard.
    pub fn made(&mut self) -> std::vec::Drain<'_, Vec<u8>> {
        self.made.drain(..)
    }

    /// A packet of the phone.
    pub fn hear(&mut self, packet: &RtpPacket<'_>, now: Instant) -> Said {
        self.made.clear();
        if let Some(receiver) = &mut self.receiver {
            receiver.tick(now);
        }
        let said = match self.kinds.get(usize::from(packet.payload_type)).copied().unwrap_or(Kind::Unknown) {
            Kind::Unknown => Said::Nothing,
            Kind::Pass { number, law, heard, voice } => self.pass(packet, number, law, heard, voice, now),
            Kind::Turn(sort) => self.turn(packet, sort, now),
            Kind::Event { rate, there } => self.event(packet, rate, there, now),
        };
        while let Some(key) = self.receiver.as_mut().and_then(DtmfReceiver::poll) {
            if let Key::Released { key, held } = key
                && self.keys.len() < 16
            {
                self.keys.push((key, held));
            }
        }
        said
    }

    fn pass(
        &mut self,
        packet: &RtpPacket<'_>,
        number: u8,
        law: Option<usize>,
        heard: Option<Sort>,
        voice: bool,
        now: Instant,
    ) -> Said {
        let sequence = packet.sequence.wrapping_sub(self.taken);
        if !voice {
            // Comfort noise between what is turned has no place in our stream.
            return if self.active { Said::Nothing } else { Said::Pass { number, sequence, law } };
        }
        if std::mem::take(&mut self.active) {
            self.input = None;
            self.output.marker = true;
        }
        if let (Some(listener), Some(sort @ Sort::Law { .. })) = (&mut self.listener, heard) {
            listener.hear_law(sort, packet.payload, &mut self.presser);
        }
        let ms = (packet.payload.len() as u32 / 8).clamp(1, 120);
        let key = self.event.and_then(|(of, rate)| Some((of, self.presser.slot(packet.timestamp, ms, rate, now)?)));
        match key {
            Some((of, slot)) => {
                let header = RtpHeader {
                    marker: slot.marker,
                    payload_type: of,
                    sequence,
                    timestamp: slot.stamp,
                    ssrc: packet.ssrc,
                };
                let mut out = Vec::with_capacity(16);
                header.write(&mut out, &[&slot.payload]);
                self.made.push(out);
                Said::Made
            }
            None => Said::Pass { number, sequence, law },
        }
    }

    /// A key in RTP.
    fn event(&mut self, packet: &RtpPacket<'_>, rate: u32, there: Option<u8>, now: Instant) -> Said {
        let Ok(mut event) = TelephoneEvent::parse(packet.payload) else { return Said::Nothing };
        self.note_key(event.event);
        let ours = self.active || self.must;
        // In a stream of our own by the clock of its sound, where it knows that one.
        let Some((number, wanted)) = there.filter(|_| !ours).map(|n| (n, rate)).or(self.event) else {
            self.receiver.get_or_insert_with(|| DtmfReceiver::new(rate)).push(packet.payload, packet.timestamp, now);
            self.skip(packet);
            return Said::Nothing;
        };
        event.duration = (u64::from(event.duration) * u64::from(wanted) / u64::from(rate.max(1))).min(0xFFFF) as u16;
        let mut header = RtpHeader {
            marker: packet.marker,
            payload_type: number,
            sequence: packet.sequence.wrapping_sub(self.taken),
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
        };
        if ours {
            let stamp = match self.pressed {
                Some((theirs, ours)) if theirs == packet.timestamp => ours,
                _ => {
                    self.advance(now);
                    self.output.stamp
                }
            };
            self.pressed = Some((packet.timestamp, stamp));
            (header.sequence, header.timestamp, header.ssrc) = (self.output.sequence, stamp, self.output.ssrc);
            self.output.sequence = self.output.sequence.wrapping_add(1);
            self.count(4, now);
            if let Some(input) = self.input.as_mut().filter(|i| i.ssrc == packet.ssrc) {
                input.next_sequence = packet.sequence.wrapping_add(1);
            }
        }
        let mut out = Vec::with_capacity(16);
        header.write(&mut out, &[&event.to_bytes()]);
        self.made.push(out);
        Said::Made
    }

    /// The sound holds the same key, as many phones send it: it is not heard again.
    fn note_key(&mut self, event: u8) {
        if let (Some(listener), Some(key)) = (&mut self.listener, key_of(event)) {
            listener.known(key);
        }
    }

    /// A packet that does not go on.
    fn skip(&mut self, packet: &RtpPacket<'_>) {
        match self.input.as_mut().filter(|i| self.active && i.ssrc == packet.ssrc) {
            Some(input) => input.next_sequence = packet.sequence.wrapping_add(1),
            None => self.taken = self.taken.wrapping_add(1),
        }
    }

    fn turn(&mut self, packet: &RtpPacket<'_>, from: Sort, now: Instant) -> Said {
        let Some(target) = self.target else { return Said::Nothing };
        if !self.active && !self.slot.hold() {
            return Said::Nothing;
        }
        if packet.payload.is_empty() || packet.payload.len() > 1600 {
            return Said::Nothing;
        }
        self.active = true;
        if self.work.as_ref().is_none_or(|w| w.from != from) {
            let Some(work) = Work::new(from, target.sort) else { return Said::Nothing };
            (self.work, self.input) = (Some(Box::new(work)), None);
        }
        let known = self.input.filter(|i| i.ssrc == packet.ssrc && i.number == packet.payload_type);
        let mut restarted = known.is_none();
        if let Some(input) = known {
            let step = packet.sequence.wrapping_sub(input.next_sequence) as i16;
            if (-100..0).contains(&step) {
                // Its place was filled already.
                return Said::Nothing;
            }
            let ticks = i64::from(packet.timestamp.wrapping_sub(input.next_stamp) as i32);
            let ms = ticks * 1000 / i64::from(from.clock());
            match ms {
                0 => {}
                1.. if step > 0 && ms <= i64::from(CONCEALED_MS) => self.conceal(ms as usize * 48, packet.payload),
                1.. if ms <= i64::from(LONGEST_PAUSE_MS) => self.rest(ms as u32),
                _ => restarted = true,
            }
        }
        if restarted {
            self.advance(now);
        }
        let Some(work) = &mut self.work else { return Said::Nothing };
        work.fresh.clear();
        let ticks = work.decode.decode(packet.payload, &mut work.fresh);
        if work.fresh.is_empty() {
            // What cannot be read counts as lost.
            let missing = (ticks * (RATE / from.clock())) as usize;
            work.concealer.fill(missing.min(BLOCK * 6), &mut work.fresh);
            work.sound.append(&mut work.fresh);
        }
        if let Some(listener) = &mut self.listener {
            listener.hear_wide(&work.fresh, &mut self.presser);
        }
        work.concealer.heal(&mut work.fresh);
        work.concealer.note(&work.fresh);
        work.sound.append(&mut work.fresh);
        self.input = Some(Input {
            ssrc: packet.ssrc,
            number: packet.payload_type,
            next_sequence: packet.sequence.wrapping_add(1),
            next_stamp: packet.timestamp.wrapping_add(ticks),
        });
        self.encode(target, now);
        if self.made.is_empty() { Said::Nothing } else { Said::Made }
    }

    /// Packets were lost before this one.
    fn conceal(&mut self, missing: usize, next: &[u8]) {
        let Some(work) = &mut self.work else { return };
        work.fresh.clear();
        let got = work.decode.recover(missing, next, &mut work.fresh);
        if got > 0 {
            work.concealer.heal(&mut work.fresh);
            work.concealer.note(&work.fresh);
        }
        work.concealer.fill(missing.saturating_sub(got), &mut work.fresh);
        work.sound.append(&mut work.fresh);
    }

    /// The sender paused for so long: our clock goes on as well.
    fn rest(&mut self, ms: u32) {
        let clock = self.target.map_or(8000, |t| t.sort.clock());
        let mut pending = 0;
        if let Some(work) = &mut self.work {
            pending = (work.sound.len() / 48) as u32 + (work.bytes.len() / 8) as u32;
            work.sound.clear();
            work.bytes.clear();
            work.concealer.reset();
        }
        let ticks = u64::from(ms + pending) * u64::from(clock) / 1000;
        self.output.stamp = self.output.stamp.wrapping_add(ticks as u32);
        self.output.marker = true;
    }

    /// Another sender, or one that began anew: our clock goes on by the time that has passed.
    fn advance(&mut self, now: Instant) {
        if let Some(last) = self.output.last {
            let since = now.saturating_duration_since(last).as_millis().min(u128::from(u32::MAX)) as u32;
            self.rest(since.saturating_sub(20));
        }
        self.output.marker = true;
    }

    fn encode(&mut self, target: Target, now: Instant) {
        loop {
            let Some(work) = self.work.as_mut().filter(|w| w.sound.len() >= BLOCK) else { return };
            let (block, _) = work.sound.as_chunks::<BLOCK>();
            let Some(block) = block.first() else { return };
            let whole = work.encode.encode(block, &mut work.bytes);
            work.sound.drain(..BLOCK);
            let (length, ticks) = match target.sort {
                Sort::Opus => (work.bytes.len(), BLOCK as u32),
                _ => ((target.ptime * 8) as usize, target.ptime * 8),
            };
            if !whole || length == 0 {
                continue;
            }
            while let Some(work) = self.work.as_mut().filter(|w| w.bytes.len() >= length) {
                let payload: Vec<u8> = work.bytes.drain(..length).collect();
                self.emit(&payload, target, ticks, now);
            }
        }
    }

    fn emit(&mut self, payload: &[u8], target: Target, ticks: u32, now: Instant) {
        let stamp = self.output.stamp;
        let ms = ticks * 1000 / target.sort.clock();
        let key = self.event.and_then(|(number, rate)| Some((number, self.presser.slot(stamp, ms, rate, now)?)));
        let mut header = RtpHeader {
            marker: false,
            payload_type: target.number,
            sequence: self.output.sequence,
            timestamp: stamp,
            ssrc: self.output.ssrc,
        };
        let mut out = Vec::with_capacity(12 + payload.len());
        match &key {
            Some((number, slot)) => {
                (header.payload_type, header.timestamp, header.marker) = (*number, slot.stamp, slot.marker);
                header.write(&mut out, &[&slot.payload]);
            }
            None => {
                header.marker = std::mem::take(&mut self.output.marker);
                header.write(&mut out, &[payload]);
            }
        }
        self.output.sequence = self.output.sequence.wrapping_add(1);
        self.output.stamp = stamp.wrapping_add(ticks);
        self.count(out.len() as u32 - 12, now);
        self.made.push(out);
    }

    fn count(&mut self, octets: u32, now: Instant) {
        let o = &mut self.output;
        o.last = Some(now);
        o.packets = o.packets.wrapping_add(1);
        o.octets = o.octets.wrapping_add(octets);
    }

    /// Whether the phone is to be told how our stream and its own are.
    pub fn report_due(&mut self, now: Instant) -> bool {
        let due = *self.output.next_report.get_or_insert(now + FIRST_REPORT);
        self.active && now >= due
    }

    /// The report to the phone (RFC 3550 6.4). `heard`: what we received of it.
    pub fn report(&mut self, heard: Option<ReportBlock>, now: Instant) -> Vec<Rtcp> {
        let clock = self.clock;
        let o = &mut self.output;
        o.next_report = Some(now + REPORT_EVERY);
        let sent = o.packets != o.reported;
        o.reported = o.packets;
        let reports: Vec<_> = heard.into_iter().collect();
        let first = match o.last {
            Some(last) if sent => {
                let since = now.saturating_duration_since(last).as_millis() as u64;
                let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Rtcp::SenderReport {
                    ssrc: o.ssrc,
                    ntp: media_core::time::ntp_from_unix(wall),
                    rtp: o.stamp.wrapping_add((since * u64::from(clock) / 1000) as u32),
                    packets: o.packets,
                    octets: o.octets,
                    reports,
                }
            }
            _ => Rtcp::ReceiverReport { ssrc: o.ssrc, reports },
        };
        vec![first, Rtcp::Sdes { ssrc: o.ssrc, cname: o.cname.clone() }]
    }
}

impl Work {
    fn new(from: Sort, to: Sort) -> Option<Work> {
        Some(Work {
            from,
            decode: Decode::new(from)?,
            encode: Encode::new(to)?,
            concealer: Concealer::new(),
            sound: Vec::with_capacity(4 * BLOCK),
            fresh: Vec::with_capacity(4 * BLOCK),
            bytes: Vec::with_capacity(512),
        })
    }
}

fn kind(map: &RtpMap, to: &Sound, target: Option<Target>) -> Kind {
    let there = to.maps.iter().find(|m| same(m, map)).map(|m| m.payload_type);
    if is_event(map) {
        return Kind::Event { rate: map.clock_rate, there };
    }
    let heard = Sort::of(map);
    let voice = is_voice(map);
    match (there, heard) {
        (Some(number), _) => Kind::Pass { number, law: None, heard, voice },
        (None, Some(Sort::Law { a })) if let Some(number) = law_of(to, !a) => {
            Kind::Pass { number, law: Some(usize::from(a)), heard, voice }
        }
        (None, Some(sort)) if target.is_some() => Kind::Turn(sort),
        _ => Kind::Unknown,
    }
}

fn law_of(to: &Sound, a: bool) -> Option<u8> {
    to.maps.iter().find(|m| Sort::of(m) == Some(Sort::Law { a })).map(|m| m.payload_type)
}
