//! The bridge itself: takes requests of gateways and orders of the hall, and starts a task for each gateway and each group's call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bridge_core::{BoxFuture, Bridge, BridgeContext, BridgeHealth, Command, DeviceId, Fault, TextDone, TextOrder};
use sip::{Flow, Incoming, Method, Request, TxId};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::carrier::Who;
use crate::claims::sender;
use crate::config::{Config, Group};
use crate::faults::Reason;
use crate::gateway::{Gateway, Taken};
use crate::metrics::Metrics;
use crate::{NAME, gateway, inbound, outbound, texts};

/// The methods that a gateway may use with us.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE, MESSAGE";
/// Longest body of a MESSAGE or INFO that is read.
pub(crate) const MOST_BODY: usize = 8192;
/// How long calls may take to end at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What all tasks of the bridge share.
pub(crate) struct Shared {
    pub ctx: BridgeContext,
    pub metrics: Option<Metrics>,
    pub gateways: Vec<Arc<Gateway>>,
}

impl Shared {
    fn gateway(&self, name: &str) -> Option<&Arc<Gateway>> {
        self.gateways.iter().find(|g| g.config.name == name)
    }

    /// The gateway that sent this.
    pub fn sender(&self, flow: &Flow, request: &Request) -> Option<Arc<Gateway>> {
        let found = sender(self.gateways.iter().map(|g| &g.config), flow.peer, request)?;
        self.gateway(&found.name).cloned()
    }

    pub fn ended(&self, gateway: &Gateway, outcome: &str) {
        if let Some(m) = &self.metrics {
            m.ended.with_label_values(&[gateway.config.name.as_str(), outcome]).inc();
        }
    }
}

/// The bridge to radio gateways.
pub struct Radio {
    shared: Arc<Shared>,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
    running: AtomicBool,
    tasks: TaskTracker,
}

impl Radio {
    /// Makes the bridge. `incoming` is what the test of [`crate::claims`] claimed.
    pub fn build(ctx: BridgeContext, incoming: mpsc::Receiver<Incoming>, config: &Config) -> Arc<dyn Bridge> {
        let metrics = Metrics::new(&ctx.metrics)
            .inspect_err(|error| tracing::error!(%error, "the radio bridge works without metrics"))
            .ok();
        let gateways = config.gateway.iter().filter_map(Gateway::new).map(Arc::new).collect();
        let shared = Arc::new(Shared { ctx, metrics, gateways });
        Arc::new(Radio {
            shared,
            incoming: Mutex::new(Some(incoming)),
            running: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        })
    }

    async fn work(&self) {
        let taken = self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut incoming) = taken else { return };
        let shared = &self.shared;
        self.running.store(true, Ordering::Relaxed);
        self.forget();
        for gateway in &shared.gateways {
            self.tasks.spawn(gateway::run(shared.clone(), gateway.clone()));
        }
        loop {
            tokio::select! {
                () = shared.ctx.shutdown.cancelled() => break,
                got = incoming.recv() => match got {
                    Some(Incoming::Request { tx, flow, request }) => self.request(tx, &flow, &request),
                    Some(Incoming::Invite { call, flow, request }) => {
                        self.tasks.spawn(inbound::serve(shared.clone(), call, flow, request));
                    }
                    None => break,
                },
            }
        }
        self.running.store(false, Ordering::Relaxed);
        self.tasks.close();
        if tokio::time::timeout(LAST_WORDS, self.tasks.wait()).await.is_err() {
            tracing::warn!("calls of radio groups did not end in time");
        }
    }

    /// Gateways that are configured no more leave the hall's table.
    fn forget(&self) {
        for device in self.shared.ctx.registry.of_bridge(NAME) {
            if self.shared.gateway(device.id.name()).is_none() {
                self.shared.ctx.registry.remove(&device.id);
            }
        }
    }

    fn request(&self, tx: TxId, flow: &Flow, request: &Request) {
        let shared = &self.shared;
        let response = match (shared.sender(flow, request), &request.method) {
            (Some(_), Method::Options) => request
                .respond(200)
                .with("Allow", ALLOW)
                .with("Accept", "application/sdp, application/dtmf-relay, text/plain"),
            (Some(gateway), Method::Message) => {
                let sender = request
                    .from()
                    .map(|from| Who { id: from.uri.user().to_owned(), name: from.display.unwrap_or_default() });
                let body = request.body.get(..request.body.len().min(MOST_BODY)).unwrap_or_default();
                let (plain, text) = (request.is_type("text/plain"), String::from_utf8_lossy(body).into_owned());
                let words =
                    (plain && !gateway.is_place(&text)).then(|| texts::report(&gateway, sender.as_ref(), &text));
                gateway.tell(shared, None, sender, plain, &text);
                if let Some((report, answer)) = words.flatten() {
                    let task = texts::take(shared.clone(), tx, request.clone(), report, answer);
                    self.tasks.spawn(task);
                    return;
                }
                request.respond(200)
            }
            _ => request.respond(405).with("Allow", ALLOW),
        };
        shared.ctx.sip.respond(tx, response);
    }

    /// Reads `GATEWAY/GROUP`, with or without `radio:` before it.
    fn find(&self, to: &str) -> Result<(Arc<Gateway>, Group, Taken), Fault> {
        if self.shared.ctx.shutdown.is_cancelled() {
            return Err(Reason::RadioStopping.fault());
        }
        let to = to.strip_prefix("radio:").unwrap_or(to);
        let found = to.split_once('/').and_then(|(name, number)| {
            let gateway = self.shared.gateway(name)?;
            Some((gateway.clone(), gateway.config.group(number)?.clone()))
        });
        let (gateway, group) = found.ok_or_else(|| Reason::UnknownGroup.with(to))?;
        if !gateway.is_up() {
            return Err(Reason::GatewayDown.with(gateway.config.title()));
        }
        let taken = gateway.take(&group.number).ok_or_else(|| Reason::GroupTaken.fault())?;
        Ok((gateway, group, taken))
    }
}

impl Bridge for Radio {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.work().await })
    }

    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move {
            let Command::Dial { to, seat } = command else { return Err(Reason::RadioNotSupported.fault()) };
            let (gateway, group, taken) = self.find(&to)?;
            self.tasks.spawn(outbound::serve(self.shared.clone(), gateway, group, seat, taken));
            Ok(())
        })
    }

    fn text(&self, order: TextOrder) -> BoxFuture<'_, Result<TextDone, Fault>> {
        Box::pin(async move { texts::send(&self.shared, &order).await })
    }

    fn facts(&self, device: &DeviceId) -> Vec<(&'static str, String)> {
        let Some(gateway) = self.shared.gateways.iter().find(|g| &g.id == device) else { return Vec::new() };
        let groups: Vec<_> = gateway.config.group.iter().map(|g| g.number.as_str()).collect();
        vec![("carrier", gateway.config.carrier.name().to_owned()), ("groups", groups.join(", "))]
    }

    fn health(&self) -> BridgeHealth {
        let up = self.shared.gateways.iter().filter(|g| g.is_up()).count();
        BridgeHealth {
            // A gateway that is away is no reason to take the hall out of service.
            ready: self.running.load(Ordering::Relaxed),
            detail: format!("{up} of {} gateways answer", self.shared.gateways.len()),
        }
    }
}
