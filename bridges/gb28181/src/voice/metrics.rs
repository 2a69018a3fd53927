//! Counters of voice to devices.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// As [`crate::metrics::Metrics`], for loudspeakers.
#[derive(Clone)]
pub struct VoiceMetrics {
    pub talks: IntCounterVec,
    pub live: IntGauge,
    pub packets: IntCounter,
    pub device_calls: IntCounter,
}

fn name(short: &str, help: &str) -> Opts {
    Opts::new(format!("skybridge_gb28181_{short}"), help)
}

impl VoiceMetrics {
    pub fn new(registry: &Registry) -> Result<VoiceMetrics, prometheus::Error> {
        let metrics = VoiceMetrics {
            talks: IntCounterVec::new(name("talks_total", "Loudspeaker sessions ended, by outcome"), &["outcome"])?,
            live: IntGauge::with_opts(name("talks_live", "Loudspeakers on air now"))?,
            packets: IntCounter::with_opts(name("talk_packets_total", "RTP packets sent to loudspeakers"))?,
            device_calls: IntCounter::with_opts(name("device_calls_total", "Calls that devices made by themselves"))?,
        };
        let all: [Box<dyn prometheus::core::Collector>; 4] = [
            Box::new(metrics.talks.clone()),
            Box::new(metrics.live.clone()),
            Box::new(metrics.packets.clone()),
            Box::new(metrics.device_calls.clone()),
        ];
        for collector in all {
            if let Err(error) = registry.register(collector) {
                tracing::warn!(%error, "a metric of GB/T 28181 is not shown");
            }
        }
        Ok(metrics)
    }
}
