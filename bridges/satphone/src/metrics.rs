//! Metrics `skybridge_satphone_...`.

use prometheus::{Error, IntCounterVec, IntGaugeVec, Opts, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    /// By terminal: 1 while it is connected.
    pub up: IntGaugeVec,
    /// By terminal: messages that wait for their turn.
    pub waiting: IntGaugeVec,
    /// By terminal and kind: text, position, alarm, sent, failed, bad.
    pub messages: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Metrics, Error> {
        let gauges = |name: &str, help: &str| -> Result<IntGaugeVec, Error> {
            let g = IntGaugeVec::new(Opts::new(name, help), &["terminal"])?;
            registry.register(Box::new(g.clone()))?;
            Ok(g)
        };
        let words = Opts::new("skybridge_satphone_messages_total", "Short messages, by what they were.");
        let messages = IntCounterVec::new(words, &["terminal", "kind"])?;
        registry.register(Box::new(messages.clone()))?;
        Ok(Metrics {
            up: gauges("skybridge_satphone_up", "1 while a BeiDou terminal is connected.")?,
            waiting: gauges("skybridge_satphone_waiting", "Short messages that wait for their turn.")?,
            messages,
        })
    }
}
