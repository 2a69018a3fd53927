//! The bridge itself: a task for each terminal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bridge_core::{BoxFuture, Bridge, BridgeContext, BridgeHealth, Command, DeviceId, Fault, TextDone, TextOrder};
use tokio_util::task::TaskTracker;

use crate::NAME;
use crate::config::Config;
use crate::content::{is_user, pieces};
use crate::faults::Reason;
use crate::metrics::Metrics;
use crate::queue::Item;
use crate::terminal::{self, Terminal};

/// How long terminals may take to end at shutdown.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Pieces of one text: beyond it a text would hold the card for too long.
const MOST_PIECES: usize = 20;

/// What all tasks of the bridge share.
pub(crate) struct Shared {
    pub ctx: BridgeContext,
    pub metrics: Option<Metrics>,
    pub tasks: TaskTracker,
}

/// The bridge to terminals of short messages.
pub struct Satphone {
    shared: Arc<Shared>,
    terminals: Vec<Arc<Terminal>>,
    running: AtomicBool,
}

impl Satphone {
    /// Makes the bridge.
    pub fn build(ctx: BridgeContext, config: &Config) -> Arc<dyn Bridge> {
        let metrics = Metrics::new(&ctx.metrics)
            .inspect_err(|error| tracing::error!(%error, "the satellite bridge works without metrics"))
            .ok();
        let terminals = config.terminal.iter().map(|t| Arc::new(Terminal::new(t))).collect();
        let shared = Arc::new(Shared { ctx, metrics, tasks: TaskTracker::new() });
        Arc::new(Satphone { shared, terminals, running: AtomicBool::new(false) })
    }

    fn terminal(&self, name: &str) -> Option<&Arc<Terminal>> {
        self.terminals.iter().find(|t| t.config.name == name)
    }

    async fn work(&self) {
        let shared = &self.shared;
        for device in shared.ctx.registry.of_bridge(NAME) {
            if self.terminal(device.id.name()).is_none() {
                shared.ctx.registry.remove(&device.id);
            }
        }
        for terminal in &self.terminals {
            shared.tasks.spawn(terminal::run(shared.clone(), terminal.clone()));
        }
        self.running.store(true, Ordering::Relaxed);
        shared.ctx.shutdown.cancelled().await;
        self.running.store(false, Ordering::Relaxed);
        shared.tasks.close();
        if tokio::time::timeout(LAST_WORDS, shared.tasks.wait()).await.is_err() {
            tracing::warn!("terminals of short messages did not end in time");
        }
    }

    async fn bring(&self, order: &TextOrder) -> Result<TextDone, Fault> {
        let far = order.to.strip_prefix("satphone:").unwrap_or(&order.to);
        let found = far.split_once('/').filter(|(_, user)| is_user(user));
        let (terminal, user) = found
            .and_then(|(name, user)| Some((self.terminal(name)?, user)))
            .ok_or_else(|| Reason::UnknownTerminal.fault())?;
        let pieces = pieces(&order.text, terminal.config.most_bytes);
        if pieces.len() > MOST_PIECES {
            return Err(Reason::QueueFull.fault());
        }
        let item = Item::new(order.message.clone(), order.to.clone(), user.to_owned(), pieces);
        let waits = terminal.send(item).await.map_err(Reason::fault)?;
        Ok(TextDone::Waits(u32::try_from(waits.as_secs()).unwrap_or(u32::MAX)))
    }
}

impl Bridge for Satphone {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.work().await })
    }

    fn command(&self, _command: Command) -> BoxFuture<'_, Result<(), Fault>> {
        Box::pin(async move { Err(Reason::NotSupported.fault()) })
    }

    fn text(&self, order: TextOrder) -> BoxFuture<'_, Result<TextDone, Fault>> {
        Box::pin(async move { self.bring(&order).await })
    }

    fn facts(&self, device: &DeviceId) -> Vec<(&'static str, String)> {
        self.terminals.iter().find(|t| &t.id == device).map(|t| t.facts()).unwrap_or_default()
    }

    fn health(&self) -> BridgeHealth {
        let up = self.terminals.iter().filter(|t| t.is_up()).count();
        BridgeHealth {
            // A terminal that is away is no reason to take the hall out of service.
            ready: self.running.load(Ordering::Relaxed),
            detail: format!("{up} of {} terminals are connected", self.terminals.len()),
        }
    }
}
