//! The bridge itself: takes requests of phones and orders of the hall, and starts a task for each call.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{
    BoxFuture, Bridge, BridgeContext, BridgeHealth, CallLog, CallParty, Command, DeviceId, Fault, Text, TextDone,
    TextOrder,
};
use media_net::Rounds;
use sip::{Flow, Incoming, Method, Request, Response, TxId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::config::Config;
use crate::faults::Reason;
use crate::metrics::Metrics;
use crate::route::{self, Dialler};
use crate::trunk::{Line, Trunks};
use crate::watch::{self, Watch};
use crate::{NAME, inbound, outbound, ping, texts};

/// The methods that a phone may use with us.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, REFER, PRACK, REGISTER, MESSAGE";
/// How long calls may take to end at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all tasks of the bridge share.
pub(crate) struct Shared {
    pub ctx: BridgeContext,
    pub config: Config,
    pub accounts: Accounts,
    pub metrics: Option<Metrics>,
    /// All calls: live ones and the records of those that ended.
    pub log: CallLog,
    /// Which call a dialog belongs to, and what rings where.
    pub board: crate::b2b::Board,
    pub queues: crate::b2b::Queues,
    /// Who calls too much.
    pub watch: Watch,
    pub trunks: Trunks,
    pub recorder_told: crate::b2b::RecorderTold,
    /// The threads that pass on the sound of calls between phones; none when they could not be started.
    pub rounds: Option<Rounds>,
    pub turning: crate::b2b::Turning,
    pub dtls_phones: crate::security::DtlsPhones,
    pub texts: crate::texts::Texts,
    tasks: TaskTracker,
    callers: Mutex<HashMap<String, usize>>,
}

impl Shared {
    /// A place for one more call, unless there are too many. Dropping it gives it back.
    pub fn place(self: &Arc<Self>, caller: &str) -> Option<Place> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = callers.values().sum();
        let own = callers.get(caller).copied().unwrap_or(0);
        if all >= self.config.max_calls || own >= self.config.max_calls_per_caller {
            return None;
        }
        callers.insert(caller.to_owned(), own + 1);
        if let Some(m) = &self.metrics {
            m.calls.set(all as i64 + 1);
        }
        Some(Place { shared: self.clone(), caller: caller.to_owned(), line: None })
    }

    /// As [`Self::place`] for a call on a trunk, whose own bounds count instead of those of one caller.
    pub fn place_on_trunk(self: &Arc<Self>) -> Option<Place> {
        self.place(&format!("trunk:{:016x}", rand::random::<u64>()))
    }

    /// Whether somebody calls or talks by this account's phones.
    pub fn busy(&self, account: &str) -> bool {
        let callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.contains_key(&format!("{NAME}:{account}"))
    }

    /// Runs a task of a call; the bridge's stop waits for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Whether anybody is registered at this address.
    fn is_home(&self, ip: std::net::IpAddr) -> bool {
        self.accounts.any_at(ip) || self.ctx.registry.any_at(ip)
    }

    fn calls(&self) -> usize {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Counts a text by the answer that its sender got.
    pub fn counted(&self, code: u16) {
        self.texted("in", if code == 200 { "ok" } else { "refused" });
    }

    fn texted(&self, direction: &str, outcome: &str) {
        if let Some(m) = &self.metrics {
            m.texts.with_label_values(&[direction, outcome]).inc();
        }
    }

    /// Counts a call that ended or was refused.
    pub fn ended(&self, direction: &str, outcome: &str) {
        if let Some(m) = &self.metrics {
            m.ended.with_label_values(&[direction, outcome]).inc();
        }
    }
}

/// One of the calls that may be at once.
pub(crate) struct Place {
    shared: Arc<Shared>,
    caller: String,
    line: Option<Line>,
}

impl Place {
    /// The call goes by this trunk: its place there is given back with this one.
    pub fn hold(&mut self, line: Option<Line>) {
        self.line = line;
    }

    /// The trunk by which the call goes.
    pub fn trunk(&self) -> Option<&str> {
        self.line.as_ref().map(|l| l.trunk.config.name.as_str())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut callers = self.shared.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = callers.get_mut(&self.caller) {
            *n -= 1;
            if *n == 0 {
                callers.remove(&self.caller);
            }
        }
        if let Some(m) = &self.shared.metrics {
            m.calls.set(callers.values().sum::<usize>() as i64);
        }
    }
}

/// The bridge to SIP phones.
pub struct Phone {
    shared: Arc<Shared>,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
    running: AtomicBool,
}

impl Phone {
    /// Makes the bridge. `incoming` is what the test of [`crate::claims`] claimed.
    pub fn build(ctx: BridgeContext, incoming: mpsc::Receiver<Incoming>, config: Config) -> Arc<dyn Bridge> {
        let metrics = Metrics::new(&ctx.metrics)
            .inspect_err(|error| tracing::error!(%error, "the phone bridge works without metrics"))
            .ok();
        let trunks = Trunks::new(&config.trunk, &config.route, &config.toll, &config.groups);
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        let rounds = Rounds::start("relay", threads)
            .inspect_err(|error| tracing::error!(%error, "no calls between phones: nothing can pass on their sound"))
            .ok();
        let shared = Arc::new(Shared {
            texts: Default::default(),
            accounts: Accounts::new(&ctx, &config),
            watch: Watch::new(config.fraud.clone()),
            turning: crate::b2b::Turning::new(&config).counted(metrics.as_ref().map(|m| m.transcoded.clone())),
            ctx,
            config,
            metrics,
            log: CallLog::default(),
            board: Default::default(),
            queues: Default::default(),
            trunks,
            recorder_told: Default::default(),
            rounds,
            dtls_phones: Default::default(),
            tasks: TaskTracker::new(),
            callers: Mutex::default(),
        });
        let home = Arc::downgrade(&shared);
        shared.ctx.sip.guard().set_home(move |ip| home.upgrade().is_some_and(|s| s.is_home(ip)));
        Arc::new(Phone { shared, incoming: Mutex::new(Some(incoming)), running: AtomicBool::new(false) })
    }

    async fn work(&self) {
        let taken = self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut incoming) = taken else { return };
        let shared = &self.shared;
        self.running.store(true, Ordering::Relaxed);
        for trunk in shared.trunks.all() {
            shared.tasks.spawn(crate::trunk::run(shared.clone(), trunk.clone()));
        }
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = shared.ctx.shutdown.cancelled() => break,
                got = incoming.recv() => match got {
                    Some(Incoming::Request { tx, flow, request }) => self.request(tx, &flow, &request),
                    Some(Incoming::Invite { call, flow, request }) => {
                        shared.tasks.spawn(inbound::serve(shared.clone(), call, flow, request));
                    }
                    None => break,
                },
                _ = second.tick() => {
                    shared.accounts.tick(&shared.ctx);
                    watch::tick(shared);
                    ping::tick(shared);
                    if let Some(m) = &shared.metrics {
                        m.registered.set(shared.accounts.count() as i64);
                        shared.trunks.status().iter().for_each(|t| m.trunk_state(t));
                    }
                }
            }
        }
        self.running.store(false, Ordering::Relaxed);
        shared.tasks.close();
        if tokio::time::timeout(LAST_WORDS, shared.tasks.wait()).await.is_err() {
            tracing::warn!(calls = shared.calls(), "calls of phones did not end in time");
        }
    }

    fn request(&self, tx: TxId, flow: &Flow, request: &Request) {
        let shared = &self.shared;
        if request.method == Method::Message {
            let task = texts::serve(shared.clone(), tx, flow.clone(), request.clone());
            shared.tasks.spawn(task);
            return;
        }
        let response = match request.method {
            Method::Register => {
                let done = shared.accounts.register(&shared.ctx, request, flow);
                if let Some(m) = &shared.metrics {
                    m.registers.with_label_values(&[done.outcome]).inc();
                }
                if done.outcome == "denied" {
                    tracing::info!(peer = %flow.peer, to = request.headers.get("To"), "a phone's registration was refused");
                    if let Some(user) = request.to().map(|t| t.uri.user().to_owned()).filter(|u| u.len() <= 64) {
                        let why = Text::new("账号或密码错误", "wrong account or password");
                        shared.ctx.registry.refused(&DeviceId::new(NAME, &user), flow.peer.to_string(), why);
                    }
                }
                done.response
            }
            Method::Options => capabilities(request),
            _ => request.respond(405).with("Allow", ALLOW),
        };
        shared.ctx.sip.respond(tx, response);
    }

    fn insert(&self, call: &str, seats: Box<[bridge_core::Seat; 2]>) -> Result<(), Fault> {
        let orders = self.shared.board.call(call).ok_or_else(|| Reason::NotTalking.fault())?;
        // A call that rings passes the order over and drops the seats.
        let talking = self.shared.log.live().iter().any(|c| c.id == call && c.answered.is_some());
        if !talking || orders.try_send(crate::b2b::CallOrder::Insert(seats)).is_err() {
            return Err(Reason::NotTalking.fault());
        }
        Ok(())
    }

    fn dial(&self, to: &str, seat: &bridge_core::Seat) -> Result<(outbound::Callee, Place), Fault> {
        if self.shared.ctx.shutdown.is_cancelled() {
            return Err(Reason::ShuttingDown.fault());
        }
        let callee = outbound::find(&self.shared, &Dialler::Conference(seat.number.clone()), to)?;
        // Calls out are bounded by the sum only.
        let place = self.shared.place(&format!("out:{}", seat.member));
        Ok((callee, place.ok_or_else(|| Reason::Limit.fault())?))
    }
}

/// The answer to OPTIONS (RFC 3261 11.2).
pub(crate) fn capabilities(request: &Request) -> Response {
    request
        .respond(200)
        .with("Allow", ALLOW)
        .with("Accept", "application/sdp, application/dtmf-relay, application/dtmf, text/plain")
        .with("Supported", "timer, replaces, 100rel")
}

impl Bridge for Phone {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.work().await })
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let command = match command {
                Command::Insert { call, seats } => return self.insert(&call, seats),
                other => other,
            };
            let Command::Dial { to, seat } = command else { return Err(Reason::NotSupported.fault()) };
            match self.dial(&to, &seat) {
                Ok((callee, place)) => {
                    self.shared.tasks.spawn(outbound::serve(self.shared.clone(), callee, seat, place));
                    Ok(())
                }
                Err(fault) => {
                    // Not told to the seat as well: who ordered the call hears it, once.
                    self.shared.ended("out", fault.code);
                    Err(fault)
                }
            }
        })
    }

    fn text(&self, order: TextOrder) -> BoxFuture<'_, Result<TextDone, Fault>> {
        Box::pin(async move {
            let shared = &self.shared;
            let dialler = Dialler::Conference(order.from.clone());
            let (outside, number) = match order.to.split_once(':') {
                Some(("trunk", far)) => (true, far.rsplit('/').next().unwrap_or(far)),
                _ => (false, order.to.strip_prefix("phone:").unwrap_or(&order.to)),
            };
            let to = route::ringable(shared, &dialler, number).map_err(|reason| reason.with(number))?;
            if outside && to.is_inside() {
                // Whoever writes from outside says what number he has: it must not become one of ours.
                return Err(Reason::UnknownNumber.with(number));
            }
            let from = CallParty::new(&order.from, &order.name);
            let done = texts::send(shared, &from, &to, &order.text, 70).await;
            shared.texted("out", done.as_ref().map_or_else(|f| f.code, |()| "ok"));
            done.map(|()| TextDone::Delivered)
        })
    }

    fn calls(&self) -> Option<&CallLog> {
        Some(&self.shared.log)
    }

    fn queues(&self) -> Vec<bridge_core::QueueView> {
        let (shared, now) = (&self.shared, std::time::Instant::now());
        let online = |phone: &str| {
            let there = !shared.accounts.reaches(&shared.ctx.sip, phone).is_empty();
            (there, shared.busy(phone))
        };
        let rules = shared.ctx.credentials.queues();
        rules.into_iter().map(|rule| shared.queues.view(rule, now, online)).collect()
    }

    fn trunks(&self) -> Vec<bridge_core::TrunkStatus> {
        self.shared.trunks.status()
    }

    fn health(&self) -> BridgeHealth {
        let ready = self.running.load(Ordering::Relaxed);
        let detail = format!("{} phones registered, {} calls", self.shared.accounts.count(), self.shared.calls());
        BridgeHealth { ready, detail }
    }
}
