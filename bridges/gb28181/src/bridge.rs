//! The bridge: its loop, its orders, its end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{
    Answer, BoxFuture, Bridge, BridgeContext, BridgeHealth, ChannelId, Command, DeviceId, Done, Object, Order, Query,
};
use media_hub::Fault;
use sip::{Flow, Incoming, Method, Request};
use tokio::sync::mpsc;

use crate::config::{Config, Quirk};
use crate::control::{self, stop};
use crate::edition::key_frame_elements;
use crate::facts;
use crate::faults;
use crate::history::GbHistory;
use crate::hold::Motion;
use crate::ids;
use crate::inbound::Inbound;
use crate::listen::News;
use crate::live::GbOpener;
use crate::manscdp;
use crate::metrics::Metrics;
use crate::ptz::PtzCommand;
use crate::refresh;
use crate::shared::{NAME, Shared, lock};
use crate::told;
use crate::voice;

/// Time for the response to an order.
const ORDER: Duration = Duration::from_secs(5);
/// News for the machine of subscriptions that may wait.
const NEWS: usize = 8_192;
/// How often subscriptions are counted for the metrics.
const COUNTING: Duration = Duration::from_secs(5);
/// Time for all sessions to end at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The platform side of GB/T 28181.
pub struct Gb28181 {
    shared: Arc<Shared>,
    history: GbHistory,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
    news: Mutex<Option<mpsc::Receiver<News>>>,
    running: AtomicBool,
    online: AtomicUsize,
}

/// Which requests of the shared SIP endpoint are ours: REGISTER, MESSAGE and NOTIFY of a 20-digit id, and INVITE to our own
/// server id, or to the id that broadcasts name as their source.
pub fn claims(config: &Config) -> impl Fn(&Request, &Flow) -> bool + Send + Sync + 'static {
    let server = config.server_id.clone();
    let source = config.voice.source_id.clone();
    move |req, _| match req.method {
        Method::Register | Method::Message | Method::Notify => {
            req.from().is_some_and(|f| ids::is_id(f.uri.user())) || req.to().is_some_and(|t| ids::is_id(t.uri.user()))
        }
        Method::Invite => {
            let ours = |user: &str| user == server || (!source.is_empty() && user == source);
            ours(req.uri.user()) || req.to().is_some_and(|t| ours(t.uri.user()))
        }
        _ => false,
    }
}

impl Gb28181 {
    /// Makes the bridge and registers it as the hub's opener of `gb28181:`. `incoming` is what [`claims`] claimed.
    pub fn build(
        ctx: BridgeContext,
        incoming: mpsc::Receiver<Incoming>,
        config: Config,
    ) -> Result<Arc<dyn Bridge>, prometheus::Error> {
        let metrics = Metrics::new(&ctx.metrics)?;
        let voice = voice::Table::open(&ctx.metrics)?;
        let (news, news_queue) = mpsc::channel(NEWS);
        let shared = Arc::new(Shared::new(ctx, config, metrics, voice, news));
        shared.ctx.hub.register_opener(&format!("{NAME}:"), Arc::new(GbOpener::new(shared.clone())));
        Ok(Arc::new(Gb28181 {
            history: GbHistory(shared.clone()),
            shared,
            incoming: Mutex::new(Some(incoming)),
            news: Mutex::new(Some(news_queue)),
            running: AtomicBool::new(false),
            online: AtomicUsize::new(0),
        }))
    }

    async fn work(&self) {
        let Some(mut incoming) = lock(&self.incoming).take() else { return };
        let Some(mut news) = lock(&self.news).take() else { return };
        let mut counting = tokio::time::interval(COUNTING);
        let shared = &self.shared;
        let mut inbound = Inbound::new(shared.clone(), Instant::now());
        self.running.store(true, Ordering::Relaxed);
        loop {
            self.online.store(inbound.online(), Ordering::Relaxed);
            let far = Instant::now() + Duration::from_secs(3600);
            let next = [inbound.next(), lock(&shared.holds).next()].into_iter().flatten().min().unwrap_or(far);
            tokio::select! {
                () = shared.ctx.shutdown.cancelled() => break,
                got = incoming.recv() => match got {
                    Some(got) => {
                        inbound.incoming(got);
                        // What else has come, before time is looked at again.
                        for _ in 0..64 {
                            let Ok(got) = incoming.try_recv() else { break };
                            inbound.incoming(got);
                        }
                    }
                    None => break,
                },
                Some(got) = news.recv() => inbound.subscription_news(got, Instant::now()),
                _ = counting.tick() => inbound.count_subscriptions(),
                () = shared.holds_changed.notified() => {}
                () = shared.terms_changed.notified() => inbound.new_terms(),
                () = tokio::time::sleep_until(tokio::time::Instant::from_std(next)) => {}
            }
            let now = Instant::now();
            inbound.tick(now);
            let due = lock(&shared.holds).due(now);
            for (channel, motion) in due {
                self.stop_soon(channel, motion);
            }
        }
        self.running.store(false, Ordering::Relaxed);
        tokio::join!(self.finish(), inbound.end_subscriptions());
    }

    fn stop_soon(&self, channel: ChannelId, motion: Motion) {
        let task = self.shared.clone();
        self.shared.tasks.spawn(async move {
            if let Err(fault) = stop(&task, &channel, motion).await {
                tracing::warn!(channel = %channel, fault = %fault, "a camera could not be told to stop");
            }
        });
    }

    /// Stops turning cameras and waits for the sessions, which say BYE by themselves. Devices are not logged out: they must
    /// find us again as they left us.
    async fn finish(&self) {
        let shared = &self.shared;
        let turning = lock(&shared.holds).all();
        for (channel, motion) in turning {
            self.stop_soon(channel, motion);
        }
        shared.tasks.close();
        if tokio::time::timeout(LAST_WORDS, shared.tasks.wait()).await.is_err() {
            tracing::warn!(left = shared.tasks.len(), "sessions of GB/T 28181 did not end in time");
        }
    }
}

/// Asks a channel for a key frame, in the spelling of its edition.
pub(crate) async fn ask_key_frame(shared: &Shared, channel: &ChannelId) -> Result<(), Fault> {
    let device = channel.device();
    let id = device.name();
    let Some(peer) = shared.peer(id) else { return Err(faults::unknown_channel(&channel.0)) };
    shared.metrics.key_frame_requests.inc();
    let mut result = Ok(());
    let edition = if shared.quirk(id, Quirk::BothKeyFrameOrders) { None } else { shared.edition(id, &peer) };
    for element in key_frame_elements(edition) {
        let sn = shared.next_sn();
        result =
            shared.message(id, |charset| manscdp::control(charset, sn, channel.name(), element, "Send"), ORDER).await;
    }
    result
}

impl Bridge for Gb28181 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.work().await })
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let shared = &self.shared;
            let known = |channel: &ChannelId| match shared.ctx.registry.channel(channel) {
                Some((_, found)) => Ok(found),
                None => Err(faults::unknown_channel(&channel.0)),
            };
            match command {
                Command::Ptz { channel, pan, tilt, zoom } => {
                    if !known(&channel)?.ptz {
                        return Err(faults::not_supported("云台 / pan and tilt of this channel"));
                    }
                    let order = PtzCommand::from_speeds(pan, tilt, zoom);
                    if order.is_stop() {
                        lock(&shared.holds).stopped(&channel, Motion::Turn);
                        return stop(shared, &channel, Motion::Turn).await;
                    }
                    lock(&shared.holds).moving(&channel, Motion::Turn, Instant::now());
                    shared.holds_changed.notify_one();
                    control::ptz(shared, &channel, order).await
                }
                Command::KeyFrame { channel } => {
                    known(&channel)?;
                    ask_key_frame(shared, &channel).await
                }
                Command::Refresh { device } => {
                    shared.reach(device.name())?;
                    refresh::spawn(shared, device.name());
                    Ok(())
                }
                Command::Talk { channel, seat } => voice::begin(shared, channel, seat),
                Command::ResetAlarm { device, source } => told::reset_alarm(shared, &device, &source).await,
                Command::Snapshot { channel, order } => {
                    known(&channel)?;
                    crate::snapshot::order(shared, &channel, order).await
                }
                Command::Dial { .. } | Command::Insert { .. } => Err(faults::not_supported("呼叫 / dialling")),
            }
        })
    }

    fn history(&self) -> Option<&dyn bridge_core::History> {
        Some(&self.history)
    }

    fn order(&self, object: Object, order: Order) -> BoxFuture<'_, Result<Done, Fault>> {
        Box::pin(async move { control::order(&self.shared, &object, &order).await })
    }

    fn ask(&self, object: Object, query: Query) -> BoxFuture<'_, Result<Answer, Fault>> {
        Box::pin(async move { control::ask(&self.shared, &object, &query).await })
    }

    fn facts(&self, device: &DeviceId) -> Vec<(&'static str, String)> {
        facts::of(&self.shared, device.name())
    }

    fn health(&self) -> BridgeHealth {
        let ready = self.running.load(Ordering::Relaxed);
        let (online, known) = (self.online.load(Ordering::Relaxed), self.shared.peers.len());
        let live = self.shared.metrics.sessions_live.get();
        BridgeHealth { ready, detail: format!("{online} of {known} devices on line, {live} live sessions") }
    }
}
