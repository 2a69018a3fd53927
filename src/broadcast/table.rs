//! All broadcasts: begun, followed, ended, written down.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::Timestamp;
use media_hub::{Fault, StreamId};
use media_webrtc::LegId;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::faults;
use super::live::Live;
use super::order::{NewBroadcast, Source};
use super::run::{End, Run, Voice, serve};
use super::sound::Announcement;
use super::speech::{self, Speech};
use super::target::Rules;
use super::view::{BroadcastState, BroadcastView, TargetView, counts};
use crate::api::{ApiError, Shared};
use crate::events::Severity;
use crate::settings::Settings;
use crate::store::{BroadcastRow, BroadcastTargetRow, Store, StoreError};

/// Broadcasts at once.
const MOST: usize = 16;
/// How often the consoles are told, and the database is written.
const TELL: Duration = Duration::from_millis(250);
/// Time for the operator's microphone to come, and the longest live voice.
const MICROPHONE: Duration = Duration::from_secs(30);
const LONGEST_LIVE: Duration = Duration::from_secs(30 * 60);
/// Time for what runs to be written down when the gateway stops.
const FAREWELL: Duration = Duration::from_millis(2_500);

#[derive(Default)]
struct Table {
    runs: BTreeMap<String, Arc<Run>>,
    /// Broadcasts by their operator's browser leg.
    microphones: HashMap<LegId, String>,
}

/// All broadcasts of the hall.
pub struct Broadcasts {
    table: Mutex<Table>,
    slots: Arc<Semaphore>,
    speech: Speech,
}

impl Broadcasts {
    pub fn new(settings: &Settings) -> Broadcasts {
        Broadcasts {
            table: Mutex::default(),
            slots: Arc::new(Semaphore::new(settings.broadcast.at_once)),
            speech: Speech::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.lock().runs.get(id).cloned()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.lock().runs.len()
    }

    /// What is to be said, as (chime, rounds, seconds between them); a live voice has nothing before it is said.
    pub(crate) async fn announcement(
        &self,
        app: &Shared,
        source: &Source,
        (chime, rounds, pause): (bool, u32, u32),
    ) -> Result<Announcement, Fault> {
        let settings = &app.settings.broadcast;
        let wav = match source {
            Source::Text { text, language, words_per_minute } => {
                let language = language.as_deref().unwrap_or_else(|| speech::language(text));
                let wpm = words_per_minute.unwrap_or(settings.words_per_minute);
                self.speech.speak(settings, text, language, wpm).await?
            }
            Source::Sound { sound } => app.sounds.wav(sound).await?,
            Source::Live {} => return Err(faults::bad_sound("a live voice is not known before")),
        };
        let made = tokio::task::spawn_blocking(move || Announcement::new(&wav, chime, rounds, pause)).await;
        made.map_err(|e| faults::engine_failed(&e.to_string()))
    }

    /// Begins a broadcast whose order has no problem.
    pub async fn begin(&self, app: &Shared, by: &str, mut order: NewBroadcast) -> Result<BroadcastView, ApiError> {
        order.tidy();
        let id = Uuid::now_v7().simple().to_string();
        let live = order.source == Source::Live {};
        let at_once = app.settings.broadcast.at_once;
        if live && order.targets.len() > at_once {
            // The others would never come to their turn.
            return Err(ApiError::invalid(&format!("a live voice has at most {at_once} targets (broadcast.at_once)")));
        }
        let voice = if live {
            Voice::Live(Live::start(&app.hub, &id))
        } else {
            let made = self.announcement(app, &order.source, (order.chime, order.rounds, order.pause)).await;
            Voice::Made(made.map_err(|f| ApiError::of_fault(&f))?)
        };
        for target in order.targets.iter_mut().filter(|t| t.name.trim().is_empty()) {
            target.name = app.phone_name(&target.to);
        }
        let settings = &app.settings.broadcast;
        let seconds = |s: u32| Duration::from_secs(u64::from(s));
        let rules = Rules {
            answer: seconds(settings.answer),
            retries: order.retries.unwrap_or(settings.retries),
            pause: seconds(order.retry_pause.unwrap_or(settings.retry_pause)),
            rounds: order.rounds,
            live,
        };
        let name = if order.name.trim().is_empty() { settings.name.clone() } else { order.name.trim().to_owned() };
        let view = BroadcastView {
            id: id.clone(),
            name,
            by: by.to_owned(),
            stopped_by: None,
            state: BroadcastState::Running,
            source: order.source.clone(),
            rounds: order.rounds,
            pause: order.pause,
            chime: order.chime,
            seconds: if let Voice::Made(sound) = &voice { sound.seconds() } else { 0.0 },
            started_at: Timestamp::now(),
            ended_at: None,
            microphone: false,
            counts: Default::default(),
            targets: None,
        };
        let targets = order.targets.iter().enumerate().map(|(n, t)| TargetView::new(n, t)).collect();
        let number = match settings.number.as_str() {
            "" => app.settings.hall.conference_number.clone(),
            own => own.to_owned(),
        };
        let run = Arc::new(Run::new(view, targets, voice, rules, (number, settings.name.clone())));
        {
            let mut table = self.lock();
            if table.runs.len() >= MOST {
                return Err(ApiError::conflict(
                    "too_many_broadcasts",
                    "同时进行的广播过多",
                    "too many broadcasts at once",
                ));
            }
            table.runs.insert(id.clone(), run.clone());
        }
        // Before anybody hears it: a restart must know of it.
        if let Err(error) = save(&app.store, &run, &run.take_changed()).await {
            tracing::error!(%error, broadcast = id, "a broadcast could not be written down");
            let fault = faults::not_kept();
            app.events.notice(Severity::Alarm, &fault.zh, &fault.en, &id);
        }
        let view = run.whole();
        tokio::spawn(work(app.clone(), run));
        Ok(view)
    }

    /// Ends a broadcast for all at once. False: it does not run.
    pub fn stop(&self, id: &str, by: Option<&str>) -> bool {
        self.run(id).map(|run| run.end(End::Stopped(by.map(str::to_owned)))).is_some()
    }

    /// Where the microphone of a live broadcast goes, what its leg hears, and whose it is.
    pub fn streams(&self, id: &str) -> Option<(StreamId, StreamId, String)> {
        let run = self.run(id)?;
        let Voice::Live(live) = &run.voice else { return None };
        let (to, hears) = live.streams();
        let by = run.head().by.clone();
        Some((to, hears, by))
    }

    /// The microphone's leg stands. False: the broadcast has ended meanwhile.
    pub fn joined(&self, id: &str, stream: StreamId, leg: LegId) -> bool {
        let mut table = self.lock();
        let Some(run) = table.runs.get(id).cloned() else { return false };
        if let Voice::Live(live) = &run.voice {
            live.set_microphone(stream);
        }
        run.head().microphone = true;
        table.microphones.insert(leg, id.to_owned());
        true
    }

    /// A browser leg ended: with its microphone a live broadcast ends.
    pub fn leg_ended(&self, leg: LegId) {
        let id = self.lock().microphones.remove(&leg);
        if let Some(id) = id {
            self.stop(&id, None);
        }
    }

    /// One broadcast with its targets, whether it runs or not.
    pub async fn get(&self, app: &Shared, id: &str) -> Result<Option<BroadcastView>, StoreError> {
        if let Some(run) = self.run(id) {
            return Ok(Some(run.whole()));
        }
        match app.store.broadcast(id).await? {
            Some(row) => read(&app.store, row, true).await.map(Some),
            None => Ok(None),
        }
    }

    /// The last broadcasts, the newest first, without their targets.
    pub async fn list(&self, app: &Shared, before: i64, limit: i64) -> Result<Vec<BroadcastView>, StoreError> {
        let mut all = Vec::new();
        for row in app.store.broadcasts(before, limit).await? {
            all.push(match self.run(&row.id) {
                Some(run) => run.summary(),
                None => read(&app.store, row, false).await?,
            });
        }
        Ok(all)
    }
}

/// What a row's `body` holds.
fn body(view: &BroadcastView) -> String {
    json!({ "source": view.source, "rounds": view.rounds, "pause": view.pause, "chime": view.chime }).to_string()
}

fn word<T: serde::Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn unword<T: serde::de::DeserializeOwned>(word: &str) -> Result<T, StoreError> {
    serde_json::from_value(json!(word)).map_err(|e| StoreError::Content(format!("of a broadcast: {e}")))
}

async fn save(store: &Store, run: &Run, changed: &[TargetView]) -> Result<(), StoreError> {
    let head = run.head().clone();
    let row = BroadcastRow {
        body: body(&head),
        id: head.id,
        name: head.name,
        by: head.by,
        stopped_by: head.stopped_by,
        state: word(head.state),
        seconds: f64::from(head.seconds),
        started_at: head.started_at.0,
        ended_at: head.ended_at.map(|t| t.0),
    };
    let target = |t: &TargetView| BroadcastTargetRow {
        n: t.n as i64,
        to: t.to.clone(),
        name: t.name.clone(),
        state: word(t.state),
        tries: i64::from(t.tries),
        heard: f64::from(t.heard),
        code: t.code.clone(),
        words: json!([t.zh, t.en, t.next_zh, t.next_en]).to_string(),
        changed_at: t.changed_at.0,
    };
    let rows: Vec<BroadcastTargetRow> = changed.iter().map(target).collect();
    store.put_broadcast(&row, &rows).await
}

async fn read(store: &Store, row: BroadcastRow, with_targets: bool) -> Result<BroadcastView, StoreError> {
    #[derive(serde::Deserialize)]
    struct Body {
        source: Source,
        rounds: u32,
        pause: u32,
        chime: bool,
    }
    let wrong = |e: serde_json::Error| StoreError::Content(format!("of a broadcast: {e}"));
    let Body { source, rounds, pause, chime } = serde_json::from_str(&row.body).map_err(wrong)?;
    let target = |t: BroadcastTargetRow| {
        let [zh, en, next_zh, next_en] = serde_json::from_str(&t.words).map_err(wrong)?;
        Ok(TargetView {
            n: usize::try_from(t.n).unwrap_or_default(),
            to: t.to,
            name: t.name,
            state: unword(&t.state)?,
            tries: u32::try_from(t.tries).unwrap_or_default(),
            heard: t.heard as f32,
            position: 0.0,
            code: t.code,
            zh,
            en,
            next_zh,
            next_en,
            changed_at: Timestamp(t.changed_at),
        })
    };
    let rows = store.broadcast_targets(&row.id).await?;
    let targets = rows.into_iter().map(target).collect::<Result<Vec<_>, StoreError>>()?;
    Ok(BroadcastView {
        id: row.id,
        name: row.name,
        by: row.by,
        stopped_by: row.stopped_by,
        state: unword(&row.state)?,
        source,
        rounds,
        pause,
        chime,
        seconds: row.seconds as f32,
        started_at: Timestamp(row.started_at),
        ended_at: row.ended_at.map(Timestamp),
        microphone: false,
        counts: counts(&targets),
        targets: with_targets.then_some(targets),
    })
}

/// Works through all targets of a broadcast.
async fn work(app: Shared, run: Arc<Run>) {
    let mut tasks = JoinSet::new();
    let names: Vec<String> = run.targets().iter().map(|t| t.to.clone()).collect();
    let all = run.targets().clone();
    tell(&app, &run, &all);
    for (n, to) in names.into_iter().enumerate() {
        tasks.spawn(serve(app.clone(), run.clone(), n, to, app.broadcasts.slots.clone()));
    }
    let began = tokio::time::Instant::now();
    let mut look = tokio::time::interval(TELL);
    let mut unsaved = Unsaved::default();
    let mut had_microphone = false;
    loop {
        tokio::select! {
            done = tasks.join_next() => if done.is_none() { break },
            _ = look.tick() => {
                let changed = run.take_changed();
                let microphone = run.head().microphone;
                if !changed.is_empty() || std::mem::replace(&mut had_microphone, microphone) != microphone {
                    tell(&app, &run, &changed);
                }
                unsaved.write(&app, &run, changed).await;
                if matches!(run.voice, Voice::Live(_))
                    && (began.elapsed() >= LONGEST_LIVE || !microphone && began.elapsed() >= MICROPHONE)
                {
                    run.end(End::Stopped(None));
                }
            }
        }
    }
    run.finish();
    let changed = run.take_changed();
    for target in run.targets().iter() {
        app.metrics.broadcast_targets.with_label_values(&[word(target.state).as_str()]).inc();
    }
    tell(&app, &run, &changed);
    unsaved.write(&app, &run, changed).await;
    let view = run.summary();
    let outcome = word(view.state);
    let by = view.stopped_by.clone().unwrap_or_else(|| view.by.clone());
    let results = serde_json::to_string(&view.counts).unwrap_or_default();
    app.audit.note(&by, "", "broadcast_ended", &run.id, &results, &outcome);
    // Its last rows go on being tried.
    for _ in 0..60 {
        if unsaved.0.is_empty() || app.shutdown.is_cancelled() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        unsaved.write(&app, &run, Vec::new()).await;
    }
    let microphone = {
        let mut table = app.broadcasts.lock();
        table.runs.remove(&run.id);
        let leg = table.microphones.iter().find(|(_, id)| **id == run.id).map(|(leg, _)| *leg);
        leg.inspect(|leg| drop(table.microphones.remove(leg)))
    };
    if let Some(leg) = microphone {
        app.endpoint.close(leg);
    }
}

/// Results that the database has not taken yet, by their place.
#[derive(Default)]
struct Unsaved(BTreeMap<usize, TargetView>, bool);

impl Unsaved {
    async fn write(&mut self, app: &Shared, run: &Run, changed: Vec<TargetView>) {
        let ended = run.head().ended_at.is_some();
        self.0.extend(changed.into_iter().map(|t| (t.n, t)));
        if self.0.is_empty() && !ended {
            return;
        }
        let rows: Vec<TargetView> = self.0.values().cloned().collect();
        match save(&app.store, run, &rows).await {
            Ok(()) => (self.0, self.1) = (BTreeMap::new(), false),
            Err(error) => {
                tracing::error!(%error, broadcast = run.id, "results of a broadcast could not be written; tried again");
                if !std::mem::replace(&mut self.1, true) {
                    let fault = faults::not_kept();
                    app.events.notice(Severity::Alarm, &fault.zh, &fault.en, &run.id);
                }
            }
        }
    }
}

fn tell(app: &Shared, run: &Run, changed: &[TargetView]) {
    if app.events.heard() {
        app.events.tell("broadcast", json!({ "broadcast": run.summary(), "targets": changed }));
    }
}

/// Notes what a stop of the gateway cut off. Nothing is begun anew by itself: whoever ordered it decides.
pub async fn recover(app: &Shared) {
    let fault = faults::interrupted();
    let words = json!([fault.zh, fault.en, fault.next_zh, fault.next_en]).to_string();
    match app.store.interrupt_broadcasts(Timestamp::now().0, fault.code, &words).await {
        Ok(found) => {
            for (id, name) in found {
                let (zh, en) = (format!("广播“{name}”：{}", fault.zh), format!("Broadcast {name}: {}", fault.en));
                app.events.notice(Severity::Alarm, &zh, &en, &id);
            }
        }
        Err(error) => tracing::error!(%error, "broadcasts that a stop cut off could not be noted"),
    }
}

/// Forgets what is old, and ends what runs when the gateway stops.
pub async fn keep(app: Shared) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => break,
            _ = hour.tick() => {}
        }
        let days = i64::from(app.settings.broadcast.keep_days);
        if days > 0
            && let Err(error) = app.store.forget_broadcasts(Timestamp::now().0 - days * 86_400_000).await
        {
            tracing::error!(%error, "old broadcasts could not be deleted");
        }
    }
    let runs: Vec<Arc<Run>> = app.broadcasts.lock().runs.values().cloned().collect();
    runs.iter().for_each(|run| run.end(End::Gateway));
    let until = tokio::time::Instant::now() + FAREWELL;
    while app.broadcasts.running() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
