//! The talks: who talks to which cameras.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bridge_core::{ChannelId, ChannelKind, MemberId, SeatCommand, Timestamp};
use media_core::Codec;
use media_hub::audio::{Duplex, Mixer};
use media_hub::{Fault, StreamId, Whose};
use media_webrtc::LegId;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::leg::{VoiceLeg, VoiceState, VoiceStatus};
use crate::api::{ApiError, Shared, Who};

/// Talks at once, and cameras in one.
const MOST_TALKS: usize = 64;
const MOST_TARGETS: usize = 32;
/// Time for the browser's microphone to come.
const MICROPHONE: Duration = Duration::from_secs(15);
/// A button that somebody put his cup on.
const LONGEST: Duration = Duration::from_secs(30 * 60);
/// A loudspeaker that is just being let go is asked for so often.
const FREE_TRIES: u32 = 10;
const FREE_EVERY: Duration = Duration::from_millis(100);
/// The operator's place in the mixer of his talk.
const OPERATOR: &str = "operator";

/// A camera that is talked to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TargetView {
    pub channel: String,
    pub name: String,
    pub state: VoiceState,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
    /// Loudness of what was really sent in the last fifth of a second in dB below overload; -127 is silence.
    pub level_dbov: f32,
    pub sent_packets: u64,
    /// How it is reached, for people.
    pub way: String,
    /// Its own sound is kept away while it is talked to.
    pub half_duplex: bool,
    #[schema(value_type = Option<String>)]
    pub on_air_at: Option<Timestamp>,
}

/// One who talks to cameras.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TalkView {
    pub id: String,
    /// The account.
    pub by: String,
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// The microphone's leg stands.
    pub microphone: bool,
    pub targets: Vec<TargetView>,
}

struct Target {
    seat: MemberId,
    channel: ChannelId,
    name: String,
    status: VoiceStatus,
}

struct Talk {
    id: String,
    account: String,
    address: String,
    started_at: Timestamp,
    mixer: Mixer,
    leg: Option<LegId>,
    targets: Vec<Target>,
    stop: CancellationToken,
}

impl Talk {
    fn view(&self) -> TalkView {
        let target = |t: &Target| TargetView {
            channel: t.channel.0.clone(),
            name: t.name.clone(),
            state: t.status.state,
            fault: t.status.fault.clone(),
            level_dbov: t.status.level_dbov,
            sent_packets: t.status.packets,
            way: t.status.way.clone(),
            half_duplex: t.status.echo_ms.is_some(),
            on_air_at: t.status.on_air_at,
        };
        TalkView {
            id: self.id.clone(),
            by: self.account.clone(),
            started_at: self.started_at,
            microphone: self.leg.is_some(),
            targets: self.targets.iter().map(target).collect(),
        }
    }
}

/// A conference's loudspeaker that can be lent.
#[derive(Clone)]
pub(super) struct Lendable {
    pub commands: mpsc::Sender<SeatCommand>,
    pub status: watch::Receiver<VoiceStatus>,
    /// What it sends when it is not lent.
    pub home: StreamId,
    /// Rises with each loan: only the last borrower gives it back.
    pub turn: Arc<AtomicU64>,
}

#[derive(Default)]
struct Table {
    talks: BTreeMap<String, Talk>,
    /// By channel.
    lendable: HashMap<ChannelId, Lendable>,
}

/// All talks of the hall.
#[derive(Default)]
pub struct Talks(Mutex<Table>);

fn in_use(by: &str) -> Fault {
    Fault::new(
        "speaker_taken",
        Whose::You,
        true,
        format!("{by} 正在对该设备喊话"),
        format!("{by} talks to this device now"),
    )
    .next("等其讲完", "Wait until it is free")
}

impl Talks {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn all(&self) -> Vec<TalkView> {
        self.lock().talks.values().map(Talk::view).collect()
    }

    pub fn get(&self, id: &str) -> Option<TalkView> {
        self.lock().talks.get(id).map(Talk::view)
    }

    /// Level and packets of each camera on air.
    pub fn levels(&self) -> BTreeMap<String, (f32, u64)> {
        let table = self.lock();
        let targets = table.talks.values().flat_map(|t| &t.targets);
        let on_air = targets.filter(|t| t.status.state == VoiceState::OnAir);
        on_air.map(|t| (t.channel.0.clone(), (t.status.level_dbov, t.status.packets))).collect()
    }

    /// The echo of a camera (inner none: it has none) that somebody talks to now.
    pub(super) fn echo_of(&self, channel: &ChannelId) -> Option<Option<u32>> {
        let table = self.lock();
        let mut targets = table.talks.values().flat_map(|t| &t.targets);
        targets.find(|t| t.channel == *channel && t.status.state == VoiceState::OnAir).map(|t| t.status.echo_ms)
    }

    /// The first conference's loudspeaker is the one that stands.
    pub(super) fn offer_loan(&self, channel: &ChannelId, loan: Lendable) {
        self.lock().lendable.entry(channel.clone()).or_insert(loan);
    }

    pub(super) fn end_loan(&self, channel: &ChannelId, home: &StreamId) {
        let mut table = self.lock();
        if table.lendable.get(channel).is_some_and(|l| l.home == *home) {
            table.lendable.remove(channel);
        }
    }

    fn lendable(&self, channel: &ChannelId) -> Option<Lendable> {
        self.lock().lendable.get(channel).cloned()
    }

    /// Begins a talk: the cameras are called while the microphone comes. Each camera has its own result.
    pub fn begin(&self, app: &Shared, who: &Who, channels: &[String]) -> Result<TalkView, ApiError> {
        let mut wanted: Vec<ChannelId> = Vec::new();
        for channel in channels {
            let id = ChannelId(channel.clone());
            if !wanted.contains(&id) {
                wanted.push(id);
            }
        }
        if wanted.is_empty() || wanted.len() > MOST_TARGETS {
            return Err(ApiError::invalid(&format!("give 1 to {MOST_TARGETS} channels")));
        }
        let id = Uuid::now_v7().simple().to_string();
        let mixer = Mixer::start(&app.hub, &format!("talk-{id}"));
        mixer.add(OPERATOR, None, Some(Codec::Opus));
        let mut targets = Vec::with_capacity(wanted.len());
        for channel in wanted {
            let (_, known) =
                app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {channel}")))?;
            if known.kind == ChannelKind::Other {
                return Err(ApiError::conflict("no_loudspeaker", "该通道没有喇叭", "this channel has no loudspeaker"));
            }
            let seat = MemberId(Uuid::now_v7().simple().to_string());
            targets.push(Target { seat, channel, name: known.name, status: VoiceStatus::new(VoiceState::Calling) });
        }
        // The release of the button may be on its way still, behind this press.
        let mine = |t: &&Talk| {
            t.account == who.identity.account
                && t.targets.iter().any(|o| targets.iter().any(|n| n.channel == o.channel))
        };
        let earlier: Vec<String> = self.lock().talks.values().filter(mine).map(|t| t.id.clone()).collect();
        for id in earlier {
            self.end(app, &id, "talked anew");
        }
        let stop = app.shutdown.child_token();
        let mut starts = Vec::new();
        let view = {
            let mut table = self.lock();
            if table.talks.len() >= MOST_TALKS {
                return Err(ApiError::conflict("too_many_talks", "同时喊话的人太多", "too many talk at once"));
            }
            for target in &mut targets {
                let holder = table
                    .talks
                    .values()
                    .find(|t| t.targets.iter().any(|o| o.channel == target.channel && !o.status.over()));
                if let Some(holder) = holder {
                    target.status = VoiceStatus::failed(in_use(&holder.account));
                    continue;
                }
                mixer.add(&target.seat.0, None, Some(Codec::G711A));
                starts.push((target.seat.clone(), target.channel.clone(), mixer.listen(&target.seat.0)));
            }
            let talk = Talk {
                id: id.clone(),
                account: who.identity.account.clone(),
                address: who.address.to_string(),
                started_at: Timestamp::now(),
                mixer,
                leg: None,
                targets,
                stop: stop.clone(),
            };
            let view = talk.view();
            table.talks.insert(id.clone(), talk);
            view
        };
        for (seat, channel, listen) in starts {
            tokio::spawn(serve(app.clone(), id.clone(), seat, channel, listen, stop.clone()));
        }
        tokio::spawn(watch_talk(app.clone(), id, stop));
        app.events.tell("talk", json!({ "talk": view }));
        Ok(view)
    }

    /// Where the microphone of a talk goes, and what its operator hears back; none when there is no such talk.
    pub fn streams(&self, id: &str) -> Option<(StreamId, StreamId, String)> {
        let table = self.lock();
        let talk = table.talks.get(id)?;
        Some((StreamId::new(format!("browser:talk-{id}")), talk.mixer.listen(OPERATOR), talk.account.clone()))
    }

    /// The microphone's leg stands. Gives the leg that it replaces.
    pub fn joined(&self, app: &Shared, id: &str, stream: StreamId, leg: LegId) -> Result<(), ApiError> {
        let view = {
            let mut table = self.lock();
            let talk = table.talks.get_mut(id).ok_or_else(|| ApiError::not_found(&format!("talk {id}")))?;
            talk.mixer.set_source(OPERATOR, Some(stream));
            talk.leg = Some(leg);
            talk.view()
        };
        app.events.tell("talk", json!({ "talk": view }));
        Ok(())
    }

    /// A browser leg ended: with a talk's microphone ends the talk.
    pub fn leg_ended(&self, app: &Shared, leg: LegId) {
        let found = self.lock().talks.values().find(|t| t.leg == Some(leg)).map(|t| t.id.clone());
        if let Some(id) = found {
            self.end(app, &id, "microphone gone");
        }
    }

    /// Ends a talk. False: there is none.
    pub fn end(&self, app: &Shared, id: &str, why: &str) -> bool {
        let Some(talk) = self.lock().talks.remove(id) else { return false };
        talk.stop.cancel();
        if let Some(leg) = talk.leg {
            app.endpoint.close(leg);
        }
        let now = Timestamp::now();
        for target in &talk.targets {
            let detail = match target.status.on_air_at {
                Some(from) => {
                    let seconds = (now.0 - from.0) as f64 / 1000.0;
                    format!("{from} to {now}, {seconds:.1} s, {} packets; {why}", target.status.packets)
                }
                None => why.to_owned(),
            };
            let outcome = match &target.status.fault {
                Some(fault) => fault.code,
                None if target.status.on_air_at.is_none() => "not_reached",
                None => "ok",
            };
            app.audit.note(&talk.account, &talk.address, "talk_ended", &target.channel.0, &detail, outcome);
            super::apply_echo(app, &target.channel);
        }
        app.events.tell("talk_ended", json!({ "id": id, "talk": talk.view() }));
        true
    }

    /// Takes what happened at a camera.
    fn update(&self, app: &Shared, id: &str, seat: &MemberId, status: VoiceStatus) {
        let told = {
            let mut table = self.lock();
            let Some(talk) = table.talks.get_mut(id) else { return };
            let single = talk.targets.len() == 1;
            let Some(target) = talk.targets.iter_mut().find(|t| t.seat == *seat) else { return };
            let changed = target.status.state != status.state;
            if changed && let Some(returns) = status.returns.clone().filter(|_| single) {
                // Only when one is called: cameras must not hear one another.
                talk.mixer.set_source(&seat.0, Some(returns));
                if let Some(echo_ms) = status.echo_ms {
                    talk.mixer.set_echo(&seat.0, Duplex::Half { echo_ms });
                }
            }
            // When it was on air stays known behind its end.
            let on_air_at = status.on_air_at.or(target.status.on_air_at);
            let packets = status.packets.max(target.status.packets);
            target.status = VoiceStatus { on_air_at, packets, ..status };
            changed.then(|| (talk.view(), talk.account.clone(), talk.address.clone(), target_of(talk, seat)))
        };
        let Some((view, account, address, target)) = told else { return };
        app.events.tell("talk", json!({ "talk": view }));
        if let Some((channel, status)) = target {
            if status.state == VoiceState::OnAir {
                app.audit.note(&account, &address, "talk_on_air", &channel.0, &status.way, "ok");
            }
            super::apply_echo(app, &channel);
        }
    }
}

fn target_of(talk: &Talk, seat: &MemberId) -> Option<(ChannelId, VoiceStatus)> {
    talk.targets.iter().find(|t| t.seat == *seat).map(|t| (t.channel.clone(), t.status.clone()))
}

/// Ends a talk whose microphone never came, or that nobody ends.
async fn watch_talk(app: Shared, id: String, stop: CancellationToken) {
    for (time, why) in [(MICROPHONE, "no microphone"), (LONGEST, "longest time")] {
        tokio::select! {
            () = stop.cancelled() => {
                app.talks.end(&app, &id, "the gateway stops");
                return;
            }
            () = tokio::time::sleep(time) => {}
        }
        let talking = app.talks.get(&id).is_some_and(|t| t.microphone);
        if !talking || why == "longest time" {
            app.talks.end(&app, &id, why);
            return;
        }
    }
}

/// Serves one camera of a talk.
async fn serve(app: Shared, id: String, seat: MemberId, channel: ChannelId, listen: StreamId, stop: CancellationToken) {
    let give = |status: VoiceStatus| app.talks.update(&app, &id, &seat, status);
    drive(&app, &id, &seat, &channel, listen, stop, give).await;
}

/// Sends `listen` to the loudspeaker of a channel, on a leg of its own or on the one that a conference holds, until it ends or
/// `stop` is cancelled; `give` hears how far it is.
pub(crate) async fn drive(
    app: &Shared,
    room: &str,
    seat: &MemberId,
    channel: &ChannelId,
    listen: StreamId,
    stop: CancellationToken,
    give: impl Fn(VoiceStatus) + Send,
) {
    // A conference that is just calling is waited for: two calls to one loudspeaker would refuse each other.
    let mut loan = app.talks.lendable(channel);
    for _ in 0..100 {
        match &loan {
            Some(l) if l.status.borrow().state == VoiceState::Calling => {}
            _ => break,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        loan = app.talks.lendable(channel);
    }
    if let Some(mut loan) = loan.filter(|l| l.status.borrow().state == VoiceState::OnAir) {
        let before = loan.status.borrow().packets;
        let turn = loan.turn.fetch_add(1, Ordering::AcqRel) + 1;
        if loan.commands.send(SeatCommand::Hear(listen.clone())).await.is_ok() {
            let began = Timestamp::now();
            loop {
                let mut status = loan.status.borrow_and_update().clone();
                // Time and packets of this talk, not of the conference.
                status.on_air_at = Some(began);
                status.packets = status.packets.saturating_sub(before);
                let over = status.over();
                give(status);
                if over {
                    return;
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    changed = loan.status.changed() => if changed.is_err() { break },
                }
            }
            if loan.turn.load(Ordering::Acquire) == turn {
                let _ = loan.commands.send(SeatCommand::Hear(loan.home)).await;
            }
            return;
        }
    }
    let mut leg = VoiceLeg::start(app, channel, seat, listen.clone(), room);
    let mut tries = 0;
    loop {
        let status = leg.status.borrow_and_update().clone();
        // The talk before is just ending: its BYE is on its way.
        if tries < FREE_TRIES && status.fault.as_ref().is_some_and(|f| f.code == "speaker_in_use") {
            tries += 1;
            tokio::time::sleep(FREE_EVERY).await;
            leg = VoiceLeg::start(app, channel, seat, listen.clone(), room);
            continue;
        }
        let over = status.over();
        give(status);
        if over {
            return;
        }
        tokio::select! {
            // Dropping the leg hangs up.
            () = stop.cancelled() => return,
            changed = leg.status.changed() => if changed.is_err() {
                give(VoiceStatus::new(VoiceState::Ended));
                return;
            },
        }
    }
}
