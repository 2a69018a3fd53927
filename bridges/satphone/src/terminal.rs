//! The task of one terminal: connects, asks for its card and its signal, sends what has its turn, and tells the hall what comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{
    AlarmReport, Backoff, Channel, ChannelId, ChannelKind, Device, DeviceId, DeviceKind, Link, Place, PositionReport,
    Text, TextNews, TextProgress, TextReport, TextState, TextThread, Timestamp,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

use crate::NAME;
use crate::bridge::Shared;
use crate::config::{Generation, Terminal as Config};
use crate::content::{self, Told};
use crate::faults::Reason;
use crate::line::{self, Writer};
use crate::queue::{Item, Outcome, Queue};
use crate::sentence::{Lines, Sentence, write};

/// Orders that may wait for the task.
const ORDERS: usize = 64;
/// The channel that stands for the terminal itself. Not the device as a whole: its place is nobody else's.
const OWN: &str = "0";
/// Facts that are kept of one terminal, and users that are shown as its channels.
const MOST_FACTS: usize = 16;
const MOST_USERS: usize = 2_000;
/// A terminal that takes no bytes for so long is gone.
const WRITE: Duration = Duration::from_secs(5);
/// A text is tried again for so long where the hall cannot write it down.
const STORE_TRIES: u32 = 20;
const STORE_AGAIN: Duration = Duration::from_secs(3);

/// A text for a user, and where to say how long it waits.
pub(crate) struct Order {
    pub item: Item,
    pub waits: oneshot::Sender<Result<Duration, Reason>>,
}

/// What others see of a terminal.
pub(crate) struct Terminal {
    pub config: Config,
    pub id: DeviceId,
    orders: mpsc::Sender<Order>,
    queue: Mutex<Option<mpsc::Receiver<Order>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    up: bool,
    facts: BTreeMap<&'static str, String>,
    /// Names of users that were heard, by their ids.
    users: BTreeMap<String, String>,
}

impl Terminal {
    pub fn new(config: &Config) -> Terminal {
        let (orders, queue) = mpsc::channel(ORDERS);
        Terminal {
            id: DeviceId::new(NAME, &config.name),
            config: config.clone(),
            orders,
            queue: Mutex::new(Some(queue)),
            state: Mutex::new(State { users: config.users.clone(), ..State::default() }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_up(&self) -> bool {
        self.state().up
    }

    pub fn facts(&self) -> Vec<(&'static str, String)> {
        self.state().facts.iter().map(|(k, v)| (*k, v.clone())).collect()
    }

    /// Queues a text; gives how long it waits, about.
    pub async fn send(&self, item: Item) -> Result<Duration, Reason> {
        if !self.is_up() {
            return Err(Reason::TerminalDown);
        }
        let (waits, answer) = oneshot::channel();
        self.orders.try_send(Order { item, waits }).map_err(|_| Reason::QueueFull)?;
        answer.await.unwrap_or(Err(Reason::Stopping))
    }

    fn name_of(&self, user: &str) -> String {
        self.state().users.get(user).cloned().filter(|n| !n.is_empty()).unwrap_or_else(|| user.to_owned())
    }

    fn device(&self) -> Device {
        let state = self.state();
        let channel = |(user, name): (&str, &str)| Channel {
            id: ChannelId::new(&self.id, user),
            name: if name.is_empty() { user.to_owned() } else { name.to_owned() },
            kind: ChannelKind::Audio,
            online: state.up,
            ptz: false,
            parent: None,
            longitude: None,
            latitude: None,
        };
        Device {
            name: self.config.title().to_owned(),
            online: state.up,
            manufacturer: String::new(),
            model: String::new(),
            version: match self.config.generation {
                Generation::Bds2 => "BeiDou RDSS 2.1".into(),
                Generation::Bds3 => "BDS-3".into(),
            },
            transport: if self.config.device.is_empty() { "tcp".into() } else { "serial".into() },
            address: format!("{}{}", self.config.address, self.config.device),
            last_seen_at: state.up.then(Timestamp::now),
            offline_reason: (!state.up).then(|| Text::new("北斗终端未连接", "the BeiDou terminal is not connected")),
            channels: std::iter::once((OWN, self.config.title()))
                .chain(state.users.iter().map(|(user, name)| (user.as_str(), name.as_str())))
                .map(channel)
                .collect(),
            ..Device::new(self.id.clone(), DeviceKind::Radio)
        }
    }

    /// A user was heard: he is shown as a channel.
    fn heard(&self, shared: &Shared, user: &str) {
        {
            let mut state = self.state();
            if state.users.contains_key(user) || state.users.len() >= MOST_USERS {
                return;
            }
            state.users.insert(user.to_owned(), String::new());
        }
        shared.ctx.registry.put(self.device());
    }

    fn set(&self, shared: &Shared, up: bool) {
        self.state().up = up;
        if let Some(m) = &shared.metrics {
            m.up.with_label_values(&[&self.config.name]).set(i64::from(up));
        }
        shared.ctx.registry.put(self.device());
    }

    fn count(&self, shared: &Shared, kind: &str) {
        if let Some(m) = &shared.metrics {
            m.messages.with_label_values(&[&self.config.name, kind]).inc();
        }
    }

    fn fact(&self, key: &'static str, sentence: &Sentence<'_>) {
        let fields: Vec<&str> = (0..sentence.fields.len()).map(|n| sentence.text(n)).collect();
        let value: String = fields.join(",").chars().filter(|c| !c.is_control()).take(120).collect();
        let mut state = self.state();
        if state.facts.len() < MOST_FACTS || state.facts.contains_key(key) {
            state.facts.insert(key, value);
        }
    }
}

/// Works for one terminal until the hall stops.
pub(crate) async fn run(shared: Arc<Shared>, terminal: Arc<Terminal>) {
    let taken = terminal.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut orders) = taken else { return };
    let config = &terminal.config;
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    let mut queue = Queue::new(Instant::now(), seconds(config.period), seconds(config.feedback), config.queue);
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    terminal.set(&shared, false);
    while !shared.ctx.shutdown.is_cancelled() {
        match run_once(&shared, &terminal, &mut orders, &mut queue, &mut backoff).await {
            Ok(()) => break,
            Err(error) => tracing::info!(terminal = config.name, %error, "a BeiDou terminal is not connected"),
        }
        terminal.set(&shared, false);
        if let Some((item, outcome)) = queue.lost() {
            tell(&shared, &terminal, &item, outcome);
        }
        let wait = backoff.wait();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shared.ctx.shutdown.cancelled() => break,
        }
    }
    terminal.set(&shared, false);
    for item in queue.clear() {
        tell(&shared, &terminal, &item, Outcome::Failed(Reason::Stopping));
    }
}

async fn run_once(
    shared: &Arc<Shared>,
    terminal: &Arc<Terminal>,
    orders: &mut mpsc::Receiver<Order>,
    queue: &mut Queue,
    backoff: &mut Backoff,
) -> std::io::Result<()> {
    let (mut reader, mut writer) = line::open(&terminal.config).await?;
    tracing::info!(terminal = terminal.config.name, "a BeiDou terminal is connected");
    backoff.reset();
    let asks: &[&str] = match terminal.config.generation {
        Generation::Bds2 => &["CCICA,0,00", "CCRMO,BSI,2,5"],
        Generation::Bds3 => &["CCICA,0,00", "CCRMO,PWI,2,5"],
    };
    for ask in asks {
        put(&mut writer, &write(ask)).await?;
    }
    terminal.set(shared, true);
    let (mut lines, mut buffer) = (Lines::default(), vec![0; 2048]);
    loop {
        let now = Instant::now();
        if let Some((item, outcome)) = queue.tick(now) {
            tell(shared, terminal, &item, outcome);
        }
        if let Some((user, piece)) = queue.next(now) {
            let channel = terminal.config.channel;
            put(&mut writer, &write(&content::send(terminal.config.generation, &user, channel, &piece))).await?;
        }
        if let Some(m) = &shared.metrics {
            m.waiting.with_label_values(&[&terminal.config.name]).set(queue.len() as i64);
        }
        let due = queue.due().map_or_else(|| now + Duration::from_secs(3_600), |at| at.max(now));
        tokio::select! {
            got = reader.read(&mut buffer) => {
                let n = got?;
                if n == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                for line in lines.push(buffer.get(..n).unwrap_or_default()) {
                    on_line(shared, terminal, queue, &line);
                }
            }
            Some(Order { item, waits }) = orders.recv() => {
                let _ = waits.send(queue.push(Instant::now(), item));
            }
            () = tokio::time::sleep_until(due.into()) => {}
            () = shared.ctx.shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn put(writer: &mut Writer, bytes: &[u8]) -> std::io::Result<()> {
    let writing = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    tokio::time::timeout(WRITE, writing).await.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}

fn on_line(shared: &Arc<Shared>, terminal: &Arc<Terminal>, queue: &mut Queue, line: &[u8]) {
    let Ok(sentence) = Sentence::parse(line) else {
        return terminal.count(shared, "bad");
    };
    shared.ctx.registry.seen(&terminal.id, Timestamp::now());
    if let Some(said) = content::feedback(&sentence) {
        if let Some((item, outcome)) = queue.feedback(Instant::now(), &said) {
            if !said.good {
                tracing::info!(terminal = terminal.config.name, reason = said.reason, "a short message was refused");
            }
            tell(shared, terminal, &item, outcome);
        }
        return;
    }
    match sentence.kind {
        "BDICI" | "BDICP" => terminal.fact("card", &sentence),
        "BDBSI" | "BDPWI" => terminal.fact("signal", &sentence),
        "BDEPI" | "BDZTI" => terminal.fact("state", &sentence),
        _ => {}
    }
    if let Some((place, altitude)) = content::own_place(&sentence) {
        return position(shared, terminal, OWN, place, altitude);
    }
    if let Some(got) = content::received(terminal.config.generation, &sentence) {
        on_message(shared, terminal, &got.from, &got.text);
    } else if matches!(sentence.kind, "BDTXR" | "BDTCI") {
        terminal.count(shared, "bad");
    }
}

fn on_message(shared: &Arc<Shared>, terminal: &Arc<Terminal>, from: &str, text: &str) {
    terminal.heard(shared, from);
    match content::told(from, text) {
        Told::Position { id, place, altitude } => {
            if id != from {
                terminal.heard(shared, &id);
            }
            terminal.count(shared, "position");
            position(shared, terminal, &id, place, altitude);
        }
        Told::Alarm { id, code } => {
            terminal.count(shared, "alarm");
            let name = terminal.name_of(&id);
            let alarm = AlarmReport {
                device: terminal.id.clone(),
                channel: Some(ChannelId::new(&terminal.id, &id)),
                source: id,
                severity: 1,
                kind: "satphone.alarm".into(),
                words: Text::new(format!("北斗用户报警 {name}"), format!("alarm of a BeiDou user {name}")),
                description: code,
                place: None,
                device_time: None,
                received: Timestamp::now(),
                wants_reset: false,
            };
            if !shared.ctx.reports.alarm(alarm) {
                tracing::error!(terminal = terminal.config.name, "an alarm was lost: the hall's queue is full");
            }
        }
        Told::Words(text) => {
            terminal.count(shared, "text");
            shared.tasks.spawn(keep(shared.clone(), terminal.clone(), from.to_owned(), text));
        }
    }
}

fn position(shared: &Shared, terminal: &Terminal, user: &str, place: Place, altitude: Option<f64>) {
    shared.ctx.reports.position(PositionReport {
        subject: ChannelId::new(&terminal.id, user),
        place,
        speed_kmh: None,
        direction: None,
        altitude,
        height: None,
        device_time: None,
        received: Timestamp::now(),
    });
}

/// Has the hall write a text down. A satellite does not send it again, so it is tried for a minute.
async fn keep(shared: Arc<Shared>, terminal: Arc<Terminal>, from: String, text: String) {
    let received = Timestamp::now();
    let far = ChannelId::new(&terminal.id, &from).0;
    for _ in 0..STORE_TRIES {
        let (stored, answer) = oneshot::channel();
        let report = TextReport {
            thread: TextThread::With(far.clone()),
            from: far.clone(),
            name: terminal.name_of(&from),
            link: Link::Tiantong,
            text: text.clone(),
            device_time: None,
            received,
            relayed: None,
            stored,
        };
        if shared.ctx.reports.text(TextNews::Came(report)) && matches!(answer.await, Ok(Ok(_))) {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(STORE_AGAIN) => {}
            () = shared.ctx.shutdown.cancelled() => break,
        }
    }
    tracing::error!(from = far, text, "a short message could not be stored");
    let words =
        Text::new(format!("北斗短报文未能保存：{text}"), format!("A BeiDou message could not be stored: {text}"));
    shared.ctx.registry.note(&terminal.id, true, words);
}

fn tell(shared: &Shared, terminal: &Terminal, item: &Item, outcome: Outcome) {
    let (state, fault) = match outcome {
        Outcome::Delivered => (TextState::Delivered, None),
        Outcome::Failed(reason) => (TextState::Failed, Some(reason.fault())),
    };
    terminal.count(shared, if fault.is_none() { "sent" } else { "failed" });
    let progress = TextProgress { message: item.message.clone(), to: item.to.clone(), state, waits: None, fault };
    if !shared.ctx.reports.text(TextNews::Progress(progress)) {
        tracing::error!(message = item.message, "what became of a short message was lost: the hall's queue is full");
    }
}
