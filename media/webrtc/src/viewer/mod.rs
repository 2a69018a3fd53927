//! One viewer leg (WHEP): transport, what it sees and hears, and its place in the stream.

pub mod feedback;
mod rtcp;
pub mod sdp;
mod send;
pub use media_secure::srtp;
pub mod stamp;
pub mod store;
pub mod transport;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use media_core::{Codec, Frame, MediaKind, TrackId, TrackInfo};
use media_hub::{
    Fault, Item, Outcome, Pulled, Replay, Start, Step, StreamId, SubscribeOptions, Subscriber, VIEWER_LACKS_CODEC,
    Whose,
};

use crate::demux::{Kind, MAX_ADDRESSES, Packet, Route};
use crate::env::Env;
use crate::leg::{CloseReason, LegEvent, LegKind, LegShared};
use crate::outbox::Outbox;
use feedback::{Congestion, Verdict};
use sdp::Plan;
use send::Sending;
use srtp::{SrtcpReceiver, SrtpSender};
use stamp::Stamper;
use store::Store;
use transport::{Transport, TransportEvent};

/// A leg that does not connect within this time is removed.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// Video held for one viewer at most; beyond it the leg goes on at the next key frame.
const MAX_QUEUE_BYTES: usize = 24 << 20;
const MAX_QUEUE_AGE: Duration = Duration::from_secs(5);
/// A key frame older than this on arrival is the begin of a replay.
const REPLAY_AGE: Duration = Duration::from_millis(150);
/// What stands before the id of a stream in the id of the H.264 made of it.
pub const TRANSCODED: &str = "h264:";
/// Audio older than this is not sent.
const AUDIO_AGE: Duration = Duration::from_millis(150);

/// What a worker needs to begin a viewer leg.
pub struct ViewerStart {
    pub shared: Arc<LegShared>,
    pub transport: Transport,
    pub plan: Plan,
    /// Keeps the stream wanted; its frames are taken from the worker's own subscription.
    pub demand: Subscriber,
    pub ufrag: String,
    pub cname: String,
    pub route: Route,
}

/// A picture that waits to be sent.
struct Queued {
    frame: Arc<Frame>,
    epoch: u32,
    at: Instant,
    behind: bool,
}

struct Keys {
    tx: SrtpSender,
    rx: SrtcpReceiver,
}

pub struct Viewer {
    pub shared: Arc<LegShared>,
    env: Arc<Env>,
    transport: Transport,
    plan: Plan,
    demand: Subscriber,
    /// Where its frames come from: its stream, or the H.264 made of it for a browser that has no H.265; and what it goes
    /// over to with that one's first key frame.
    feed: StreamId,
    next_feed: Option<StreamId>,
    /// It went over to another feed since this was last asked.
    turned: bool,
    /// Counts the changes, so that epochs of two streams are never taken for one.
    feeds: u32,
    ufrag: String,
    cname: String,
    route: Route,
    addresses: Vec<SocketAddr>,
    keys: Option<Keys>,
    profile: &'static str,
    remote: Option<SocketAddr>,
    joined: Option<Instant>,
    last_seq: Option<u64>,
    epoch: Option<u32>,
    queue: VecDeque<Queued>,
    queue_bytes: usize,
    sending: Option<Sending>,
    replaying: Option<Instant>,
    burst_ip: Option<IpAddr>,
    await_key: bool,
    /// The last picture could not be sent: the viewer did not offer its codec.
    lacks_codec: bool,
    key_asked: Option<Instant>,
    audio_track: Option<TrackId>,
    video: send::Track,
    audio: send::Track,
    rtx_seq: u64,
    profile_idc: u8,
    pictures: u64,
    anchor: Option<(u32, Instant, i64)>,
    tokens: f64,
    refilled: Instant,
    store: Store,
    congestion: Congestion,
    next_report: Instant,
    next_step: Instant,
    closed: Option<CloseReason>,
}

/// What a viewer cannot play.
fn lacks_codec(codec: Codec) -> Fault {
    Fault::new(
        "viewer_lacks_codec",
        Whose::You,
        false,
        format!("这个浏览器不能播放 {}", codec.name()),
        format!("This browser cannot play {}", codec.name()),
    )
    .next("换用支持的浏览器，或在设备上改用 H.264", "Use a browser that can, or set H.264 in the device")
    .steps(VIEWER_LACKS_CODEC)
}

impl Viewer {
    pub fn new(start: ViewerStart, env: Arc<Env>, now: Instant) -> Self {
        let ViewerStart { shared, transport, plan, demand, ufrag, cname, route } = start;
        let (vssrc, assrc) =
            (plan.video.as_ref().map_or(0, |(_, v)| v.ssrc), plan.audio.as_ref().map_or(0, |(_, a)| a.ssrc));
        Viewer {
            shared,
            env,
            transport,
            plan,
            feed: demand.stream().id().clone(),
            next_feed: None,
            turned: false,
            feeds: 0,
            demand,
            ufrag,
            cname,
            route,
            addresses: Vec::new(),
            keys: None,
            profile: "",
            remote: None,
            joined: None,
            last_seq: None,
            epoch: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            sending: None,
            replaying: None,
            burst_ip: None,
            await_key: true,
            lacks_codec: false,
            key_asked: None,
            audio_track: None,
            video: send::Track::new(vssrc, 90_000, now),
            audio: send::Track::new(assrc, 48_000, now),
            rtx_seq: u64::from(rand::random::<u16>() >> 1),
            profile_idc: 0x42,
            pictures: 0,
            anchor: None,
            tokens: 0.0,
            refilled: now,
            store: Store::default(),
            congestion: Congestion::new(now),
            next_report: now,
            next_step: now,
            closed: None,
        }
    }

    pub fn stream_id(&self) -> &media_hub::StreamId {
        self.demand.stream().id()
    }

    /// Its stream's tracks are these now: where its frames should come from.
    pub fn wanted_feed(&self, tracks: &[TrackInfo]) -> StreamId {
        let own = self.stream_id();
        let video = tracks.iter().find(|t| t.kind() == MediaKind::Video);
        let Some((_, plan)) = &self.plan.video else { return own.clone() };
        if video.is_none_or(|v| v.codec != Codec::H265) || plan.h265.is_some() || plan.h264.is_empty() {
            return own.clone();
        }
        // Of a program: the camera behind it, so that all tiles that show it share one transcoder.
        let mut source = own.clone();
        for _ in 0..4 {
            let Some(origin) = self.env.hub.get(&source).and_then(|s| s.origin()) else { break };
            source = origin;
        }
        let made = StreamId::new(format!("{TRANSCODED}{source}"));
        if self.env.hub.knows(&made) { made } else { own.clone() }
    }

    /// The streams other than its own that it takes frames of.
    pub fn foreign_feeds(&self) -> impl Iterator<Item = &StreamId> {
        let own = self.demand.stream().id();
        std::iter::once(&self.feed).chain(&self.next_feed).filter(move |id| *id != own)
    }

    /// Goes over to another feed: at once if there is no picture to stand for, else with its first key frame.
    pub fn set_feed(&mut self, to: StreamId, has_video: bool, now: Instant) {
        if to == self.feed {
            self.next_feed = None;
            return;
        }
        if self.next_feed.as_ref() == Some(&to) {
            return;
        }
        self.next_feed = Some(to);
        if has_video {
            self.ask_key_frame(now);
        } else {
            self.go_over();
        }
    }

    fn go_over(&mut self) {
        let Some(to) = self.next_feed.take() else { return };
        self.shared.transcoded.store(to != *self.demand.stream().id(), Relaxed);
        self.feed = to;
        self.feeds = self.feeds.wrapping_add(1);
        self.last_seq = None;
        self.epoch = None;
        self.await_key = true;
    }

    /// Whether it went over to another feed since the last call: what it took before may be let go.
    pub fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    fn epoch_of(&self, item: &Item) -> u32 {
        item.epoch.wrapping_add(self.feeds << 20)
    }

    fn can_show(&self, codec: Codec) -> bool {
        let Some((_, plan)) = &self.plan.video else { return false };
        match codec {
            Codec::H264 => !plan.h264.is_empty(),
            Codec::Vp8 => plan.vp8.is_some(),
            Codec::H265 => plan.h265.is_some(),
            _ => false,
        }
    }

    /// A frame of one of the streams that it is given.
    pub fn item_of(&mut self, stream: &StreamId, item: &Item, now: Instant, out: &mut Outbox) {
        if *stream != self.feed {
            let begins = self.next_feed.as_ref() == Some(stream)
                && item.frame.kind() == MediaKind::Video
                && item.frame.key
                && self.can_show(item.frame.codec);
            if !begins {
                return;
            }
            self.go_over();
            self.turned = true;
        }
        self.item(item, now, out);
    }

    /// The tracks of one of those streams.
    pub fn tracks_of(&mut self, stream: &StreamId, tracks: &[TrackInfo]) {
        if *stream == self.feed || self.next_feed.as_ref() == Some(stream) {
            self.tracks(tracks);
        }
    }

    /// Frames of one of those streams were lost on the way here.
    pub fn gap_of(&mut self, stream: &StreamId) {
        if *stream == self.feed {
            self.gap();
        }
    }

    pub fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    pub fn connecting(&self) -> bool {
        !self.transport.connected()
    }

    /// Whether pictures wait to be sent.
    pub fn backlogged(&self) -> bool {
        self.sending.is_some() || !self.queue.is_empty()
    }

    /// Whether the transport stands and the leg has not been joined to its stream yet.
    pub fn ready_to_join(&self) -> bool {
        self.joined.is_none() && self.keys.is_some() && self.remote.is_some()
    }

    // ---- transport ----

    pub fn packet(&mut self, mut p: Packet, out: &mut Outbox) {
        if p.kind == Kind::Rtp {
            self.srtcp(p.at, &mut p.data, out);
            return;
        }
        let mut datagrams = Vec::new();
        let transport = &mut self.transport;
        // Foreign machines on foreign bytes: a panic ends this leg only.
        let events = catch_unwind(AssertUnwindSafe(|| match p.kind {
            Kind::Stun => transport.stun(p.at, p.source, p.local, &p.data, &mut datagrams),
            _ => transport.dtls(p.at, p.source, &p.data, &mut datagrams),
        }));
        self.transport_done(events, datagrams, p.at, out);
    }

    fn transport_done(
        &mut self,
        events: std::thread::Result<Vec<TransportEvent>>,
        datagrams: Vec<transport::Datagram>,
        now: Instant,
        out: &mut Outbox,
    ) {
        for (to, data) in datagrams {
            out.push(to, &data);
        }
        let Ok(events) = events else {
            self.env.counters.panics.fetch_add(1, Relaxed);
            self.closed.get_or_insert(CloseReason::Internal);
            return;
        };
        for event in events {
            match event {
                TransportEvent::Learned(a) => self.learn(a),
                TransportEvent::Remote(a) => {
                    self.remote = Some(a);
                    self.shared.moved(a);
                }
                TransportEvent::Keys(keys, profile) => {
                    self.keys = Some(Keys { tx: keys.0, rx: keys.1 });
                    self.profile = profile;
                    self.congestion = Congestion::new(now);
                }
                TransportEvent::Closed(reason) => {
                    self.closed.get_or_insert(reason);
                }
            }
        }
    }

    fn learn(&mut self, address: SocketAddr) {
        if self.addresses.contains(&address) {
            return;
        }
        if self.addresses.len() == MAX_ADDRESSES {
            let old = self.addresses.remove(0);
            self.env.router.forget(self.shared.id, "", &[old]);
        }
        self.addresses.push(address);
        self.env.router.learn(address, self.route.clone());
    }

    // ---- joining ----

    /// The transport stands: takes the current group of pictures if that is worth it. `source_seq` rises from there.
    pub fn join(&mut self, now: Instant, tracks: &[TrackInfo], out: &mut Outbox) {
        let Some(remote) = self.remote else { return };
        self.joined = Some(now);
        self.shared.connected(remote, Some(self.profile));
        self.env.counters.legs_connected.fetch_add(1, Relaxed);
        self.env.tell(LegEvent::Connected { leg: self.shared.id, remote });
        let stream = self.demand.stream().clone();
        stream.note(Step::ViewerConnected, Outcome::Ok, format!("{remote} {}", self.profile));
        self.tracks(tracks);
        self.tokens = send::BUCKET;
        self.refilled = now;
        if self.plan.video.is_none() {
            return;
        }
        let gop = stream.gop();
        let sharing = self.env.burst_count(remote.ip()) + 1;
        match gop.map(|g| (g, g.admit(sharing))) {
            Some((g, Replay::FromKeyFrame)) => {
                if g.pictures > 5 {
                    self.ask_key_frame(now);
                }
                self.replay_group(now, out);
            }
            _ => self.ask_key_frame(now),
        }
    }

    fn replay_group(&mut self, now: Instant, out: &mut Outbox) {
        let options = SubscribeOptions { start: Start::Group, demand: false, notify: None };
        let Ok(mut group) = self.env.hub.subscribe(self.stream_id(), options) else { return };
        while let Some(pulled) = group.try_next() {
            if let Pulled::Item(item) = pulled {
                self.item(&item, now, out);
            }
        }
    }

    fn ask_key_frame(&mut self, now: Instant) {
        self.key_asked = Some(now);
        let feed = self.next_feed.as_ref().unwrap_or(&self.feed);
        if feed == self.demand.stream().id() {
            self.demand.stream().request_key_frame();
        } else if let Some(stream) = self.env.hub.get(feed) {
            stream.request_key_frame();
        }
    }

    /// The stream's tracks changed.
    pub fn tracks(&mut self, tracks: &[TrackInfo]) {
        let audio = |id: TrackId| tracks.iter().find(|t| t.id == id && t.kind() == MediaKind::Audio);
        let own = audio(TrackId::AUDIO).filter(|t| t.codec.browser_can_play() && self.audio_pt(t.codec).is_some());
        self.audio_track = match own {
            Some(t) => Some(t.id),
            None => {
                if audio(TrackId::AUDIO).is_some() && self.plan.audio.is_some() {
                    self.demand.stream().want_opus();
                }
                audio(TrackId::OPUS).map(|t| t.id)
            }
        };
    }

    fn audio_pt(&self, codec: Codec) -> Option<u8> {
        let (_, a) = self.plan.audio.as_ref()?;
        match codec {
            Codec::Opus => a.opus,
            Codec::G711A => a.pcma,
            Codec::G711U => a.pcmu,
            _ => None,
        }
    }

    // ---- frames ----

    /// A frame of the stream. One that was taken with the replayed group comes again from the worker's subscription.
    pub fn item(&mut self, item: &Item, now: Instant, out: &mut Outbox) {
        if self.joined.is_none() || self.last_seq.is_some_and(|last| item.seq <= last) {
            return;
        }
        self.last_seq = Some(item.seq);
        match item.frame.kind() {
            MediaKind::Audio => self.send_audio(item, now, out),
            MediaKind::Video => self.enqueue(item, now),
        }
    }

    /// Frames were lost on the way here: video goes on at a key frame.
    pub fn gap(&mut self) {
        self.await_key = true;
    }

    fn skip(&self, pictures: usize) {
        self.env.counters.frames_skipped.fetch_add(pictures as u64, Relaxed);
    }

    fn enqueue(&mut self, item: &Item, now: Instant) {
        let frame = &item.frame;
        if !self.can_show(frame.codec) {
            // Unless what is made of it for such browsers is on its way, or will be with the next look at the tracks.
            let made = frame.codec == Codec::H265
                && self.can_show(Codec::H264)
                && self.env.hub.knows(&StreamId::new(format!("{TRANSCODED}{}", self.stream_id())));
            if !made && self.next_feed.is_none() && !std::mem::replace(&mut self.lacks_codec, true) {
                self.demand.stream().viewer_failed(Step::ViewerDecoded, lacks_codec(frame.codec));
            }
            return;
        }
        self.lacks_codec = false;
        let epoch = self.epoch_of(item);
        if self.epoch != Some(epoch) {
            self.await_key = true;
        }
        if !frame.key && (self.await_key || self.congestion.reduced()) {
            self.skip(1);
            return;
        }
        if frame.key {
            self.epoch = Some(epoch);
            self.await_key = false;
            // A newer key frame ends the burst: nothing before it is worth sending.
            self.skip(self.queue.len());
            self.queue.clear();
            self.queue_bytes = 0;
            if now.saturating_duration_since(frame.received) > REPLAY_AGE {
                self.begin_replay(now);
            }
        }
        let oldest = self.queue.front().map_or(Duration::ZERO, |q| now.saturating_duration_since(q.at));
        if self.queue_bytes + frame.payload.len() > MAX_QUEUE_BYTES || oldest > MAX_QUEUE_AGE {
            self.skip(self.queue.len() + 1);
            self.queue.clear();
            self.queue_bytes = 0;
            self.await_key = true;
            self.ask_key_frame(now);
            return;
        }
        let behind = self.backlogged();
        self.queue_bytes += frame.payload.len();
        self.queue.push_back(Queued { frame: frame.clone(), epoch, at: now, behind });
    }

    fn begin_replay(&mut self, now: Instant) {
        self.replaying = Some(now);
        if let (None, Some(remote)) = (self.burst_ip, self.remote) {
            self.env.burst_begins(remote.ip());
            self.burst_ip = Some(remote.ip());
        }
    }

    fn end_replay(&mut self) {
        self.replaying = None;
        if let Some(ip) = self.burst_ip.take() {
            self.env.burst_ends(ip);
        }
    }

    // ---- time ----

    /// Timers; every 20 ms while connecting, else every 100 ms.
    pub fn tick(&mut self, now: Instant, out: &mut Outbox) {
        let mut datagrams = Vec::new();
        let transport = &mut self.transport;
        let events = catch_unwind(AssertUnwindSafe(|| transport.tick(now, &mut datagrams)));
        self.transport_done(events, datagrams, now, out);
        let Some(joined) = self.joined else {
            if now.saturating_duration_since(self.shared.created_at()) > CONNECT_LIMIT {
                self.closed.get_or_insert(CloseReason::NeverConnected);
            }
            return;
        };
        if self
            .replaying
            .is_some_and(|since| !self.backlogged() && now.saturating_duration_since(since) > Duration::from_secs(2))
        {
            self.end_replay();
        }
        let asked_long_ago = self.key_asked.is_none_or(|at| now.saturating_duration_since(at) > Duration::from_secs(2));
        if self.await_key
            && asked_long_ago
            && self.plan.video.is_some()
            && now.saturating_duration_since(joined) < Duration::from_secs(60)
        {
            self.ask_key_frame(now);
        }
        if now >= self.next_step {
            self.next_step = now + Duration::from_millis(250);
            let age = self.queue.front().map_or(Duration::ZERO, |q| now.saturating_duration_since(q.at));
            self.congestion.on_queue(age);
            match self.congestion.step(now) {
                Verdict::Keep => {}
                Verdict::Reduce => {
                    self.env.counters.reductions.fetch_add(1, Relaxed);
                    self.set_reduced(true);
                }
                Verdict::Restore => {
                    self.await_key = true;
                    self.ask_key_frame(now);
                    self.set_reduced(false);
                }
            }
        }
        if now >= self.next_report {
            self.next_report = now + Duration::from_secs(1);
            self.sender_reports(now, out);
        }
    }

    fn set_reduced(&self, reduced: bool) {
        self.shared.reduced.store(reduced, Relaxed);
        self.env.tell(LegEvent::Reduced { leg: self.shared.id, reduced });
    }

    /// Says good-bye and leaves the tables.
    pub fn close(&mut self, reason: CloseReason, out: &mut Outbox) {
        self.bye(out);
        let mut datagrams = Vec::new();
        let transport = &mut self.transport;
        let _ = catch_unwind(AssertUnwindSafe(|| transport.close(&mut datagrams)));
        for (to, data) in datagrams {
            out.push(to, &data);
        }
        self.end_replay();
        self.env.router.forget(self.shared.id, &self.ufrag, &self.addresses);
        self.env.leg_closed(&self.shared, LegKind::Viewer, reason);
    }
}
