//! Metrics `skybridge_radio_...`.

use prometheus::{Error, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    /// By gateway: 1 while it answers.
    pub up: IntGaugeVec,
    pub groups: IntGauge,
    /// By gateway and side: hall, radio.
    pub keyings: IntCounterVec,
    /// By gateway and outcome: a fault's code or `ended`.
    pub ended: IntCounterVec,
    /// By gateway and reason: milliseconds of speech that one side did not hear.
    pub unheard: IntCounterVec,
    /// From the hall's first word to the first packet of it on the radio.
    pub delay: Histogram,
    /// By gateway and direction: in, out, bad.
    pub packets: IntCounterVec,
    /// By gateway and kind: status, position, emergency.
    pub messages: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Metrics, Error> {
        let vector = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let c = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(c.clone()))?;
            Ok(c)
        };
        let up = IntGaugeVec::new(Opts::new("skybridge_radio_up", "1 while a radio gateway answers."), &["gateway"])?;
        registry.register(Box::new(up.clone()))?;
        let groups = IntGauge::new("skybridge_radio_groups", "Radio groups that are connected now.")?;
        registry.register(Box::new(groups.clone()))?;
        let buckets = vec![0.02, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 2.0];
        let delay = Histogram::with_opts(
            HistogramOpts::new("skybridge_radio_key_delay_seconds", "From the hall's first word to its first packet.")
                .buckets(buckets),
        )?;
        registry.register(Box::new(delay.clone()))?;
        Ok(Metrics {
            up,
            groups,
            delay,
            keyings: vector(
                "skybridge_radio_keyings_total",
                "Times that the key was pressed, by side (hall, radio).",
                &["gateway", "side"],
            )?,
            ended: vector(
                "skybridge_radio_calls_ended_total",
                "Calls with radio groups that ended, by reason.",
                &["gateway", "outcome"],
            )?,
            unheard: vector(
                "skybridge_radio_unheard_ms_total",
                "Milliseconds of speech that the other side did not hear, by reason.",
                &["gateway", "reason"],
            )?,
            packets: vector(
                "skybridge_radio_packets_total",
                "RTP packets of radio groups, by direction (in, out, bad).",
                &["gateway", "direction"],
            )?,
            messages: vector(
                "skybridge_radio_messages_total",
                "Messages of radios, by kind (status, position, emergency).",
                &["gateway", "kind"],
            )?,
        })
    }
}
