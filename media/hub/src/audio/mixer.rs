//! The mixer of one conference: an actor with one tick each 20 ms.
//!
//! It publishes `mix:<conference>` (all, Opus) and, for each member who hears, `mix:<conference>/<member>` (all but that
//! member). Members who were silent for 2 s share the encoder of their codec with `mix:<conference>`; who speaks gets an
//! encoder of its own until then.
//!
//! Cost of a tick, release build, one core of the 2-core build machine (`cargo test --release -p skybridge-media-hub
//! tick_cost -- --ignored --nocapture`):
//!
//! | conference | a tick | of a core |
//! | --- | --- | --- |
//! | silent, 50 listeners | 13 us | 0.07 % |
//! | 1 talker, 10 listeners | 0.19 ms | 1.0 % |
//! | 3 talkers, 20 listeners | 0.68 ms | 3.4 % |
//! | 3 talkers, 20 open microphones, 200 listeners | 2.5 ms | 13 % |
//! | 10 talkers, 40 open microphones, 500 listeners | 7.1 ms | 36 % |
//!
//! The terms are: decoding each voice that comes, one encoding per codec for all silent listeners, one encoding per talker.
//! In silence nothing is encoded.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Decoding, Frame, MediaKind, TrackId, TrackInfo};
use tokio::sync::{mpsc, watch};

use super::active::Active;
use super::encode::OpusSettings;
use super::output::Line;
use super::{BLOCK, Block, Echo, Input, InputStats, Level, MixCore, encodes, usual_mode};
use crate::hub::Hub;
use crate::stream::{Publisher, StreamId};
use crate::subscriber::{Pulled, Start, SubscribeOptions, Subscriber};

/// Length of a tick.
const TICK: Duration = Duration::from_millis(20);
/// Ticks that are made up for after the process was held up; more are left out and the media time jumps.
const CATCH_UP: u32 = 3;
/// Ticks between two attempts to subscribe to a source that is not there yet.
const RETRY: u32 = 10;
/// Blocks of the past that a new encoder is fed with.
const PAST: usize = 3;
/// Orders that may wait for the next tick.
const QUEUE: usize = 4096;
/// Frames that one input may take in one tick: what is beyond comes with the next.
const DRAIN: usize = 256;

/// Time that one tick may take for voices: when it is over, those who were silent of late wait for the next one. A mixer
/// that decoded all that had come while it was late would come later still each time.
const VOICES: Duration = Duration::from_millis(8);
/// So many voices are heard in any case: a tick in which the machine did something else is no overload.
const ALWAYS: usize = 32;

/// How a conference is mixed.
#[derive(Debug, Clone, Copy, Default)]
pub struct MixSettings {
    pub opus: OpusSettings,
    /// Listeners hear faint noise while nobody speaks, instead of digital silence.
    pub comfort_noise: bool,
    /// All voices are brought to this loudness in LUFS; none leaves them as they come.
    pub loudness_lufs: Option<f32>,
}

/// How a member's microphone and loudspeaker go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplex {
    /// It hears and speaks at once.
    Full,
    /// While another talks, and for this long after, it is not heard.
    Half { echo_ms: u32 },
    /// It is not heard, and for this long after the setting changes.
    Closed { echo_ms: u32 },
}

enum Order {
    Add { member: String, source: Option<StreamId>, hears: Option<Codec> },
    SetSource { member: String, source: Option<StreamId> },
    Mode { member: String, mode: u8 },
    Remove { member: String },
    Gain { member: String, db: f32, muted: bool },
    Echo { member: String, echo: Echo },
    Side { member: String, room: u16, whispers: Option<String> },
}

/// The handle of a conference's mixer. When the last clone is dropped, its streams end.
#[derive(Clone)]
pub struct Mixer {
    id: String,
    orders: mpsc::Sender<Order>,
    levels: watch::Receiver<Vec<(String, Level)>>,
    active: watch::Receiver<Option<String>>,
    stats: watch::Receiver<Vec<(String, InputStats)>>,
}

impl Mixer {
    /// Starts mixing for the conference `id`.
    pub fn start(hub: &Hub, id: &str) -> Mixer {
        Mixer::start_with(hub, id, MixSettings::default())
    }

    pub fn start_with(hub: &Hub, id: &str, settings: MixSettings) -> Mixer {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (levels_out, levels) = watch::channel(Vec::new());
        let (active_out, active) = watch::channel(None);
        let (stats_out, stats) = watch::channel(Vec::new());
        let mut core = MixCore::new();
        core.set_loudness(settings.loudness_lufs);
        let actor = Actor {
            hub: hub.clone(),
            id: id.to_owned(),
            settings,
            core,
            members: HashMap::new(),
            all: Output::new(StreamId::new(format!("mix:{id}")), Codec::Opus),
            shared: HashMap::new(),
            past: VecDeque::new(),
            tick: 0,
            levels: levels_out,
            talking: 0,
            follow: Active::default(),
            active: active_out,
            stats: stats_out,
            warned: None,
        };
        tokio::spawn(actor.run(queue));
        Mixer { id: id.to_owned(), orders, levels, active, stats }
    }

    /// The stream of all voices.
    pub fn stream(&self) -> StreamId {
        StreamId::new(format!("mix:{}", self.id))
    }

    /// The stream that `member` hears.
    pub fn listen(&self, member: &str) -> StreamId {
        StreamId::new(format!("mix:{}/{member}", self.id))
    }

    /// Seats a member, or changes one who is there. `source` is the stream whose sound it gives; `hears` is the codec of the
    /// mix that is made for it (one that [`encodes`] knows), or none.
    pub fn add(&self, member: &str, source: Option<StreamId>, hears: Option<Codec>) {
        self.order(Order::Add { member: member.to_owned(), source, hears });
    }

    /// Changes where the member's sound comes from.
    pub fn set_source(&self, member: &str, source: Option<StreamId>) {
        self.order(Order::SetSource { member: member.to_owned(), source });
    }

    /// The mode of the member's codec in which its mix is made from now on (AMR); see [`usual_mode`].
    pub fn set_mode(&self, member: &str, mode: u8) {
        self.order(Order::Mode { member: member.to_owned(), mode });
    }

    /// Takes the member out; its mix ends.
    pub fn remove(&self, member: &str) {
        self.order(Order::Remove { member: member.to_owned() });
    }

    /// How loud all hear the member. The sound of a muted member is not even decoded.
    pub fn set_gain(&self, member: &str, volume_db: f32, muted: bool) {
        self.order(Order::Gain { member: member.to_owned(), db: volume_db, muted });
    }

    /// Puts a member into a side room, or back into the conference (0); or lets a single member hear it. `mix:<conference>` is
    /// the conference itself: what is said aside is not in it, nor in its recording.
    pub fn set_side(&self, member: &str, room: u16, whispers: Option<&str>) {
        self.order(Order::Side { member: member.to_owned(), room, whispers: whispers.map(str::to_owned) });
    }

    /// Keeps a member's sound out of the mix while its loudspeaker says what others say. The times are rounded up to ticks.
    pub fn set_echo(&self, member: &str, echo: Duplex) {
        let blocks = |ms: u32| ms.div_ceil(20);
        let echo = match echo {
            Duplex::Full => Echo::None,
            Duplex::Half { echo_ms } => Echo::Half(blocks(echo_ms)),
            Duplex::Closed { echo_ms } => Echo::Closed(blocks(echo_ms)),
        };
        self.order(Order::Echo { member: member.to_owned(), echo });
    }

    /// The one who is taken to be speaking; told at once when it changes.
    pub fn active(&self) -> watch::Receiver<Option<String>> {
        self.active.clone()
    }

    /// Levels of all members, five times a second, and at once when somebody begins or ends to talk.
    pub fn levels(&self) -> watch::Receiver<Vec<(String, Level)>> {
        self.levels.clone()
    }

    /// Buffers of all members with a source, once a second.
    pub fn stats(&self) -> watch::Receiver<Vec<(String, InputStats)>> {
        self.stats.clone()
    }

    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!(conference = self.id, "the mixer does not take orders: it is overloaded or has ended");
        }
    }
}

/// A stream that the mixer publishes, as soon as its name is free.
struct Output {
    id: StreamId,
    codec: Codec,
    mode: u8,
    publisher: Option<Publisher>,
}

impl Output {
    fn new(id: StreamId, codec: Codec) -> Self {
        Output { id, codec, mode: usual_mode(codec), publisher: None }
    }

    fn write(&mut self, hub: &Hub, name: &str, frame: &Arc<Frame>) {
        if self.publisher.is_none() {
            // The last mixer of this conference may not have let go yet.
            let Ok(publisher) = hub.publish(&self.id, name) else { return };
            publisher.set_tracks(&[TrackInfo::audio(self.codec, self.codec.clock(), 1)]);
            self.publisher = Some(publisher);
        }
        if let Some(publisher) = &self.publisher {
            publisher.write_shared(frame.clone());
        }
    }

    fn end(&mut self, hub: &Hub) {
        if self.publisher.take().is_some() {
            hub.tidy(&self.id);
        }
    }
}

struct Member {
    source: Option<StreamId>,
    subscriber: Option<Subscriber>,
    retry: u32,
    input: Input,
    /// In which round of a tick it is heard, and that the last tick had no time for it.
    turn: u8,
    left_out: bool,
    output: Option<Output>,
    /// The encoder of one who spoke during the last 2 s.
    own: Option<Line>,
}

struct Actor {
    hub: Hub,
    id: String,
    settings: MixSettings,
    core: MixCore,
    members: HashMap<String, Member>,
    all: Output,
    /// The lines of all silent listeners, by codec and mode. That of Opus is the line of `all`.
    shared: HashMap<(Codec, u8), Line>,
    past: VecDeque<Box<Block>>,
    /// Number of this tick; media time is 20 ms times it.
    tick: i64,
    levels: watch::Sender<Vec<(String, Level)>>,
    /// Who talked at the last tick, as a sum of the hashes of their names: a change is told at once.
    talking: u64,
    follow: Active,
    active: watch::Sender<Option<String>>,
    stats: watch::Sender<Vec<(String, InputStats)>>,
    warned: Option<Instant>,
}

impl Actor {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut next = tokio::time::Instant::now();
        loop {
            tokio::time::sleep_until(next).await;
            let now = tokio::time::Instant::now();
            let behind = now.saturating_duration_since(next).as_millis() / TICK.as_millis();
            let behind = u32::try_from(behind).unwrap_or(u32::MAX);
            if behind > CATCH_UP {
                let left_out = behind - CATCH_UP;
                self.tick += i64::from(left_out);
                next += TICK * left_out;
            }
            loop {
                match orders.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return self.end(),
                }
            }
            let started = Instant::now();
            self.mix(started);
            self.watch_cost(started);
            self.tick += 1;
            next += TICK;
            // One that is late must not keep the calls from the sound that it made.
            tokio::task::yield_now().await;
        }
    }

    fn watch_cost(&mut self, started: Instant) {
        let took = started.elapsed();
        if took > TICK / 2 && self.warned.is_none_or(|at| at.elapsed() > Duration::from_secs(10)) {
            self.warned = Some(started);
            tracing::warn!(
                conference = self.id,
                members = self.members.len(),
                ?took,
                "mixing takes more than half its time"
            );
        }
    }

    fn end(mut self) {
        for member in self.members.values_mut() {
            member.subscriber = None;
            if let Some(output) = &mut member.output {
                output.end(&self.hub);
            }
        }
        self.all.end(&self.hub);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Add { member, source, hears } => {
                self.core.add(&member);
                let id = StreamId::new(format!("mix:{}/{member}", self.id));
                let seat = self.members.entry(member).or_insert_with(|| Member {
                    source: None,
                    subscriber: None,
                    retry: 0,
                    input: Input::new(),
                    turn: 0,
                    left_out: false,
                    output: None,
                    own: None,
                });
                seat.set_source(source);
                let hears = hears.filter(|c| encodes(*c));
                if seat.output.as_ref().map(|o| o.codec) != hears {
                    if let Some(mut old) = seat.output.take() {
                        old.end(&self.hub);
                    }
                    seat.own = None;
                    seat.output = hears.map(|codec| Output::new(id, codec));
                }
            }
            Order::SetSource { member, source } => {
                if let Some(seat) = self.members.get_mut(&member) {
                    seat.set_source(source);
                }
            }
            Order::Mode { member, mode } => {
                let seat = self.members.get_mut(&member);
                if let Some((seat, output)) = seat.and_then(|s| Some((&mut s.own, s.output.as_mut()?)))
                    && media_core::amr::bits(output.codec == Codec::AmrWb, mode).is_some()
                    && std::mem::replace(&mut output.mode, mode) != mode
                {
                    // One of its own in the new mode goes on from what was heard.
                    *seat = None;
                }
            }
            Order::Remove { member } => {
                self.core.remove(&member);
                if let Some(mut seat) = self.members.remove(&member) {
                    seat.subscriber = None;
                    if let Some(output) = &mut seat.output {
                        output.end(&self.hub);
                    }
                }
            }
            Order::Gain { member, db, muted } => self.core.set_gain(&member, db, muted),
            Order::Echo { member, echo } => self.core.set_echo(&member, echo),
            Order::Side { member, room, whispers } => self.core.set_side(&member, room, whispers.as_deref()),
        }
    }

    fn mix(&mut self, now: Instant) {
        let mut block: Block = [0.0; BLOCK];
        self.core.begin();
        for (name, member) in &mut self.members {
            member.turn = match (self.core.open(name), member.left_out) {
                (true, _) => 0,
                (false, true) => 1,
                (false, false) => 2,
            };
        }
        let mut heard = 0;
        for turn in 0..3 {
            for (name, member) in self.members.iter_mut().filter(|(_, m)| m.turn == turn) {
                member.left_out = turn > 0 && heard >= ALWAYS && now.elapsed() > VOICES;
                heard += usize::from(!member.left_out);
                let wanted = self.core.wants(name) && !member.left_out;
                member.take_frames(&self.hub, wanted);
                let sounds = wanted && member.input.pull(&mut block);
                self.core.offer(name, sounds.then_some(&block));
            }
        }
        self.encode(now, &mut block);
        let talking = self.members.keys().filter(|m| self.core.level(m).talking).fold(0u64, |sum, m| {
            let mut hash = std::hash::DefaultHasher::new();
            std::hash::Hash::hash(m, &mut hash);
            sum.wrapping_add(std::hash::Hasher::finish(&hash))
        });
        let changed = std::mem::replace(&mut self.talking, talking) != talking;
        let now = {
            // What is said aside makes nobody the speaker.
            let here = self.members.keys().filter(|m| !self.core.aside(m));
            self.follow.tick(here.map(|m| (m.as_str(), self.core.level(m))))
        };
        self.active.send_if_modified(|told| {
            let new = told.as_deref() != now;
            if new {
                *told = now.map(str::to_owned);
            }
            new
        });
        if changed || self.tick % 10 == 0 {
            let levels = self.members.keys().map(|m| (m.clone(), self.core.level(m))).collect();
            self.levels.send_replace(levels);
        }
        if self.tick % 50 == 0 {
            let with_source = self.members.iter().filter(|(_, m)| m.source.is_some());
            self.stats.send_replace(with_source.map(|(n, m)| (n.clone(), m.input.stats())).collect());
        }
    }

    fn encode(&mut self, now: Instant, block: &mut Block) {
        let tick = self.tick;
        let frame = |codec: Codec, payload: Bytes, silent: bool| {
            let ticks = codec.clock() / 50;
            let frame = Frame::new(TrackId::AUDIO, codec, tick * i64::from(ticks), true, now, payload);
            Arc::new(frame.with_duration(ticks).with_silence(silent))
        };
        let settings = self.settings;
        let mut all: Box<Block> = Box::new([0.0; BLOCK]);
        let sounds = self.core.all(&mut all);

        // Who changes between the shared line and one of its own, and which shared lines are wanted.
        let mut wanted = vec![(Codec::Opus, 0)];
        for (name, member) in &mut self.members {
            let Some(output) = &member.output else { continue };
            let codec = (output.codec, output.mode);
            if self.core.contributed(name) {
                if member.own.is_none() {
                    member.own = line(codec, &settings, &self.past);
                }
            } else {
                if member.own.take().is_some()
                    && let Some(shared) = self.shared.get_mut(&codec)
                {
                    shared.joined();
                }
                if !wanted.contains(&codec) {
                    wanted.push(codec);
                }
            }
        }
        self.shared.retain(|codec, _| wanted.contains(codec));
        let mut packets: Vec<((Codec, u8), Arc<Frame>)> = Vec::with_capacity(wanted.len());
        for codec in wanted {
            if !self.shared.contains_key(&codec)
                && let Some(line) = line(codec, &settings, &self.past)
            {
                self.shared.insert(codec, line);
            }
            if let Some(line) = self.shared.get_mut(&codec) {
                let packet = line.packet(&all, sounds);
                packets.push((codec, frame(codec.0, packet, line.is_silent())));
            }
        }
        for (codec, packet) in &packets {
            if codec.0 == Codec::Opus {
                self.all.write(&self.hub, &self.id, packet);
            }
        }
        for (name, member) in &mut self.members {
            let Some(output) = &mut member.output else { continue };
            match &mut member.own {
                Some(own) => {
                    let sounds = self.core.without(name, block);
                    let packet = own.packet(block, sounds);
                    let packet = frame(output.codec, packet, own.is_silent());
                    output.write(&self.hub, name, &packet);
                }
                None => {
                    if let Some((_, packet)) = packets.iter().find(|(c, _)| *c == (output.codec, output.mode)) {
                        output.write(&self.hub, name, packet);
                    }
                }
            }
        }
        self.past.push_back(all);
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

/// A line that goes on from what was heard last.
fn line((codec, mode): (Codec, u8), settings: &MixSettings, past: &VecDeque<Box<Block>>) -> Option<Line> {
    match Line::new(codec, mode, &settings.opus, settings.comfort_noise) {
        Ok(mut line) => {
            line.take_over(past.iter().map(|b| &**b));
            Some(line)
        }
        Err(error) => {
            tracing::error!(%codec, %error, "no encoder");
            None
        }
    }
}

impl Member {
    fn set_source(&mut self, source: Option<StreamId>) {
        if self.source != source {
            self.source = source;
            self.subscriber = None;
            self.retry = 0;
            self.input = Input::new();
        }
    }

    /// Takes over what came since the last tick.
    fn take_frames(&mut self, hub: &Hub, wanted: bool) {
        let Some(source) = &self.source else { return };
        if self.subscriber.is_none() {
            if self.retry > 0 {
                self.retry -= 1;
                return;
            }
            self.retry = RETRY;
            let options = SubscribeOptions { start: Start::NextKey, demand: true, notify: None };
            self.subscriber = hub.subscribe(source, options).ok();
        }
        let Some(subscriber) = &mut self.subscriber else { return };
        if !wanted {
            self.input.clear();
        }
        for _ in 0..DRAIN {
            match subscriber.try_next() {
                Some(Pulled::Item(item)) => {
                    if wanted && item.frame.kind() == MediaKind::Audio {
                        self.input.push(item.epoch, &item.frame);
                    }
                }
                Some(Pulled::Tracks(tracks)) => {
                    // The source's own sound, not a rendition of it.
                    let here = |t: &&TrackInfo| t.codec.decoding() == Decoding::Here;
                    let own = tracks.iter().find(|t| t.id == TrackId::AUDIO).filter(here);
                    let any = tracks.iter().filter(here).find(|t| t.kind() == MediaKind::Audio);
                    self.input.set_track(own.or(any));
                }
                Some(Pulled::State(..) | Pulled::Lagged(_)) => {}
                None => break,
            }
        }
    }
}

#[cfg(test)]
#[path = "mixer_tests.rs"]
mod tests;
