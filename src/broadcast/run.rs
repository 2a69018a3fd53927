//! A broadcast that runs: one task for each target, and one that tells and writes what becomes of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{MemberId, Timestamp};
use media_core::{Codec, Frame, TrackId, TrackInfo};
use media_hub::audio::usual_mode;
use media_hub::{Hub, Publisher, StreamId};
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use super::faults;
use super::leg::{Caller, News, TargetLeg};
use super::live::Live;
use super::sound::Announcement;
use super::target::{Act, Happened, Rules, Target};
use super::view::{BroadcastView, TargetView, counts};
use crate::api::Shared;

const TICK: Duration = Duration::from_millis(20);
/// What is caught up with behind a stall. Longer ones delay the rest: a jitter buffer throws away what comes in one heap, and with it
/// words.
const CATCH_UP: Duration = Duration::from_millis(60);
/// A leg that stands and takes no sound for so long takes none.
const DEAF: Duration = Duration::from_secs(10);
/// What a target may take longer than the sound is: who keeps us on hold beyond that does not listen.
const PATIENCE: Duration = Duration::from_secs(120);
/// Packets between two words of how far a target is.
const TELL: usize = 25;

/// What is said.
pub(super) enum Voice {
    Made(Announcement),
    Live(Live),
}

/// Why a broadcast ends before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The account; none: its microphone went or never came.
    Stopped(Option<String>),
    Gateway,
}

pub(super) struct Run {
    pub id: String,
    pub voice: Voice,
    rules: Rules,
    /// As the targets see the caller.
    number: String,
    name: String,
    /// Without targets and counts.
    view: Mutex<BroadcastView>,
    targets: Mutex<Vec<TargetView>>,
    /// Places of targets that changed since this was read.
    changed: Mutex<BTreeSet<usize>>,
    end: watch::Sender<Option<End>>,
}

impl Run {
    pub fn new(
        view: BroadcastView,
        targets: Vec<TargetView>,
        voice: Voice,
        rules: Rules,
        (number, name): (String, String),
    ) -> Run {
        let changed = Mutex::new((0..targets.len()).collect());
        let (view, targets) = (Mutex::new(view), Mutex::new(targets));
        let id = view.lock().unwrap_or_else(PoisonError::into_inner).id.clone();
        Run { id, voice, rules, number, name, view, targets, changed, end: watch::Sender::new(None) }
    }

    pub fn head(&self) -> MutexGuard<'_, BroadcastView> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn targets(&self) -> MutexGuard<'_, Vec<TargetView>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without its targets.
    pub fn summary(&self) -> BroadcastView {
        let counts = counts(self.targets().iter());
        BroadcastView { counts, ..self.head().clone() }
    }

    pub fn whole(&self) -> BroadcastView {
        let targets = self.targets().clone();
        BroadcastView { targets: Some(targets), ..self.summary() }
    }

    /// The targets that changed since this was asked last.
    pub fn take_changed(&self) -> Vec<TargetView> {
        let places = std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner));
        let targets = self.targets();
        places.into_iter().filter_map(|n| targets.get(n).cloned()).collect()
    }

    /// The first reason counts.
    pub fn end(&self, end: End) {
        self.end.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(end);
            }
            first
        });
    }

    pub fn ended(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    fn began(&self) -> bool {
        matches!(&self.voice, Voice::Live(live) if live.began())
    }

    fn show(&self, n: usize, target: &Target) {
        if let Some(view) = self.targets().get_mut(n) {
            view.take(target);
        }
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(n);
    }

    fn close(&self, target: &mut Target) {
        match self.ended() {
            Some(End::Gateway) => target.interrupt(),
            Some(End::Stopped(_)) => target.stop(self.began()),
            None => {}
        }
    }

    /// Notes how it ended.
    pub fn finish(&self) {
        use super::view::BroadcastState;
        let mut head = self.head();
        head.ended_at = Some(Timestamp::now());
        (head.state, head.stopped_by) = match self.ended() {
            None => (BroadcastState::Done, None),
            Some(End::Stopped(by)) => (BroadcastState::Stopped, by),
            Some(End::Gateway) => (BroadcastState::Interrupted, None),
        };
    }
}

/// Serves one target until it has its result.
pub(super) async fn serve(app: Shared, run: Arc<Run>, n: usize, to: String, slots: Arc<Semaphore>) {
    let mut target = Target::new(run.rules);
    let mut ended = run.end.subscribe();
    while !target.state.over() {
        if ended.borrow_and_update().is_some() {
            run.close(&mut target);
            break;
        }
        if !target.ready(Instant::now()) {
            let due = target.due().unwrap_or_else(Instant::now);
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                _ = ended.changed() => {}
            }
            continue;
        }
        let _slot = tokio::select! {
            slot = slots.acquire() => slot,
            _ = ended.changed() => continue,
        };
        target.call(Instant::now());
        run.show(n, &target);
        attempt(&app, &run, n, &to, &mut target, &mut ended).await;
        run.show(n, &target);
    }
    run.show(n, &target);
}

/// One call, to its end.
async fn attempt(
    app: &Shared,
    run: &Arc<Run>,
    n: usize,
    to: &str,
    target: &mut Target,
    ended: &mut watch::Receiver<Option<End>>,
) {
    let seat = MemberId(Uuid::now_v7().simple().to_string());
    let listen = match &run.voice {
        Voice::Made(_) => StreamId::new(format!("broadcast:{}/{n}/{}", run.id, target.tries)),
        Voice::Live(live) => live.listen(&seat),
    };
    let caller = Caller { room: &run.id, number: &run.number, name: &run.name };
    let mut leg = TargetLeg::start(app, to, &seat, listen.clone(), &caller);
    let mut player: Option<Player> = None;
    let mut next = tokio::time::Instant::now();
    loop {
        let due = target.due();
        let happened = tokio::select! {
            _ = ended.changed() => {
                run.close(target);
                None
            }
            news = leg.next() => match news {
                News::Ringing => Some(Happened::Ringing),
                News::OnAir(codec) => match &run.voice {
                    Voice::Live(live) => {
                        live.add(&seat, codec);
                        Some(Happened::OnAir)
                    }
                    Voice::Made(_) => match &mut player {
                        Some(player) => {
                            player.set_codec(codec);
                            None
                        }
                        None => match Player::open(&app.hub, &listen, &run.name, codec) {
                            Some(opened) => {
                                player = Some(opened);
                                next = tokio::time::Instant::now();
                                Some(Happened::OnAir)
                            }
                            None => Some(Happened::Failed(faults::nobody_listens())),
                        },
                    },
                },
                News::Mode(mode) => {
                    if let Voice::Live(live) = &run.voice {
                        live.set_mode(&seat, mode);
                    }
                    if let Some(player) = &mut player {
                        player.mode = mode;
                    }
                    None
                }
                News::Held(held) => {
                    if let Some(player) = &mut player {
                        player.held = held;
                    }
                    None
                }
                News::Failed(fault) => Some(Happened::Failed(fault)),
                News::Left => Some(Happened::Left),
            },
            () = tokio::time::sleep_until(next), if player.is_some() => {
                let now = tokio::time::Instant::now();
                next = if now > next + CATCH_UP { now } else { next } + TICK;
                match (&mut player, &run.voice) {
                    (Some(player), Voice::Made(sound)) => player.tick(sound),
                    _ => None,
                }
            }
            () = sleep_until(due) => None,
        };
        if app.shutdown.is_cancelled() {
            // What the legs say now is that they are being ended.
            run.end(End::Gateway);
            run.close(target);
        }
        let now = Instant::now();
        let mut act = target.tick(now);
        if let Some(happened) = happened {
            let before = target.state;
            act = target.on(happened, run.began(), now);
            if target.state != before || player.is_some() {
                run.show(n, target);
            }
        }
        let calls = !target.state.over() && target.state != super::TargetState::Waiting;
        if act == Act::HangUp || !calls {
            break;
        }
    }
    if let Voice::Live(live) = &run.voice {
        live.remove(&seat);
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Plays an announcement to one target, from its first packet on.
struct Player {
    publisher: Publisher,
    codec: Codec,
    mode: u8,
    /// It put us on hold: nobody hears.
    held: bool,
    next: usize,
    /// 20 ms since it was opened.
    at: i64,
    opened: Instant,
    demand: watch::Receiver<usize>,
}

impl Player {
    fn open(hub: &Hub, id: &StreamId, name: &str, codec: Codec) -> Option<Player> {
        let publisher = hub.publish(id, name).ok()?;
        publisher.set_tracks(&[TrackInfo::audio(codec, codec.clock(), 1)]);
        let demand = publisher.stream().demand();
        let mode = usual_mode(codec);
        Some(Player { publisher, codec, mode, held: false, next: 0, at: 0, opened: Instant::now(), demand })
    }

    fn set_codec(&mut self, codec: Codec) {
        if codec != self.codec {
            (self.codec, self.mode) = (codec, usual_mode(codec));
            self.publisher.new_epoch();
            self.publisher.set_tracks(&[TrackInfo::audio(codec, codec.clock(), 1)]);
        }
    }

    fn tick(&mut self, sound: &Announcement) -> Option<Happened> {
        let now = Instant::now();
        self.at += 1;
        let open = now.saturating_duration_since(self.opened);
        let length = TICK.saturating_mul(u32::try_from(sound.packets()).unwrap_or(u32::MAX));
        let nobody = || Happened::Failed(faults::nobody_listens());
        if open >= length.saturating_add(PATIENCE) {
            return Some(nobody());
        }
        let listens = *self.demand.borrow() > 0 && !self.held;
        let packet = if listens { sound.packet(self.codec, self.mode, self.next) } else { None };
        let Some(packet) = packet else {
            let deaf = self.next == 0 && !self.held && open >= DEAF;
            return deaf.then(nobody);
        };
        let ticks = self.codec.clock() / 50;
        let frame = Frame::new(TrackId::AUDIO, self.codec, self.at * i64::from(ticks), true, now, packet);
        self.publisher.write(frame.with_duration(ticks));
        self.next += 1;
        if self.next >= sound.packets() {
            return Some(Happened::AllPlayed);
        }
        self.next.is_multiple_of(TELL).then(|| Happened::Played(sound.position(self.next)))
    }
}
