//! Playbacks of devices' recordings: each has an owner, who steers it, and ends when the owner is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, Playback, PlaybackOrder, PlaybackRequest, PlaybackState, Timestamp};
use dashmap::DashMap;
use media_hub::{Fault, StreamId, Whose};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use utoipa::ToSchema;

use crate::app::App;
use crate::events::Events;

/// An owner that is not heard of for so long has gone.
const LEASE: Duration = Duration::from_secs(30);
/// Playbacks at once of one account.
const OF_ONE: usize = 16;

/// A playback as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PlaybackView {
    pub id: String,
    pub channel: String,
    /// To be watched by WHEP.
    pub stream: String,
    pub owner: String,
    /// Begin and end of the unbroken stretch that plays.
    pub from: String,
    pub to: String,
    #[schema(value_type = Object)]
    #[serde(flatten)]
    pub state: PlaybackState,
}

struct Entry {
    channel: String,
    stream: StreamId,
    owner: String,
    from: i64,
    to: i64,
    orders: mpsc::Sender<PlaybackRequest>,
    state: watch::Receiver<PlaybackState>,
    heard: Instant,
    _stop: tokio_util::sync::DropGuard,
}

impl Entry {
    fn view(&self, id: &str) -> PlaybackView {
        PlaybackView {
            id: id.to_owned(),
            channel: self.channel.clone(),
            stream: self.stream.to_string(),
            owner: self.owner.clone(),
            from: Timestamp(self.from).to_string(),
            to: Timestamp(self.to).to_string(),
            state: self.state.borrow().clone(),
        }
    }
}

/// All playbacks. Cheap to clone.
#[derive(Clone, Default)]
pub struct Playbacks(Arc<DashMap<String, Entry>>);

fn too_many() -> Fault {
    Fault::new(
        "too_many_playbacks",
        Whose::You,
        false,
        format!("同一账号的设备录像回放不能超过 {OF_ONE} 路"),
        format!("One account plays at most {OF_ONE} device recordings at once"),
    )
    .next("先关闭不用的回放", "Close playbacks that are not needed")
}

impl Playbacks {
    /// Begins one.
    pub fn open(
        &self,
        app: &App,
        owner: &str,
        channel: &ChannelId,
        span: (i64, i64),
        at: i64,
    ) -> Result<PlaybackView, Fault> {
        let (from, to) = span;
        if self.0.iter().filter(|e| e.owner == owner).count() >= OF_ONE {
            return Err(too_many());
        }
        let bridge = app.bridges.iter().find(|b| b.name() == channel.device().bridge());
        let history = bridge.and_then(|b| b.history()).ok_or_else(super::fetches::no_history)?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let stream = StreamId::new(format!("playback:{id}"));
        let Playback { stream, orders, state, stop } = history.play(channel.clone(), span, at, stream)?;
        let entry = Entry {
            channel: channel.0.clone(),
            stream,
            owner: owner.to_owned(),
            from,
            to,
            orders,
            state: state.clone(),
            heard: Instant::now(),
            _stop: stop,
        };
        let view = entry.view(&id);
        self.0.insert(id.clone(), entry);
        tokio::spawn(follow(self.clone(), app.events.clone(), id, state));
        Ok(view)
    }

    pub fn all(&self) -> Vec<PlaybackView> {
        let mut all: Vec<PlaybackView> = self.0.iter().map(|e| e.view(e.key())).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    pub fn get(&self, id: &str) -> Option<PlaybackView> {
        self.0.get(id).map(|e| e.view(id))
    }

    /// The owner is still there.
    pub fn keep(&self, id: &str) {
        if let Some(mut entry) = self.0.get_mut(id) {
            entry.heard = Instant::now();
        }
    }

    /// Gives an order; none if it has ended.
    pub async fn order(&self, id: &str, order: PlaybackOrder) -> Option<Result<(), Fault>> {
        let orders = self.0.get(id).map(|e| e.orders.clone())?;
        Playback::order(&orders, order).await.ok()
    }

    /// Ends one.
    pub fn close(&self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    pub fn close_all(&self) {
        self.0.clear();
    }
}

/// Tells the consoles, and ends what has no owner any more.
async fn follow(playbacks: Playbacks, events: Events, id: String, mut state: watch::Receiver<PlaybackState>) {
    let mut look = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    break;
                }
                state.mark_unchanged();
                let Some(view) = playbacks.get(&id) else { break };
                events.tell("device_playback", json!({ "playback": view }));
            }
            _ = look.tick() => {
                let Some(heard) = playbacks.0.get(&id).map(|e| e.heard) else { break };
                if heard.elapsed() >= LEASE {
                    tracing::info!(playback = id, "its owner is gone; the playback ends");
                    break;
                }
            }
        }
    }
    playbacks.close(&id);
    events.tell("device_playback_ended", json!({ "id": id }));
}
