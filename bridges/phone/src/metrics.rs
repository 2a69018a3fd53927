//! Metrics `skybridge_phone_...`.

use bridge_core::{TrunkState, TrunkStatus};
use prometheus::{Error, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub registered: IntGauge,
    pub calls: IntGauge,
    /// By direction (in, out) and outcome (a fault's code, or `ended`).
    pub ended: IntCounterVec,
    /// By outcome: ok, challenged, denied, refused.
    pub registers: IntCounterVec,
    pub wrong_pins: IntCounter,
    /// Texts by direction (in, out) and outcome (ok, refused, a fault's code).
    pub texts: IntCounterVec,
    pub packets_in: IntCounter,
    pub packets_out: IntCounter,
    pub lost: IntCounter,
    /// Packets that are no RTP of the call or come from elsewhere.
    pub bad_packets: IntCounter,
    /// Calls that an outside recorder takes now.
    pub recordings: IntGauge,
    /// By outcome: recorded, no_port, unreachable, refused, lost.
    pub recorder_tries: IntCounterVec,
    pub recorded_packets: IntCounter,
    /// Calls whose sound is decoded and encoded now, and the packets made by it.
    pub transcoded: IntGauge,
    pub transcoded_packets: IntCounter,
    /// Addresses and accounts that are shut out now; bans, and messages dropped by them, since the start.
    pub banned: IntGauge,
    pub bans: IntCounter,
    pub shut_out: IntCounter,
    /// By trunk: 1 while calls can go out.
    trunk_up: IntGaugeVec,
    /// By trunk and direction.
    trunk_calls: IntGaugeVec,
    /// By trunk.
    trunk_rtt: GaugeVec,
    /// By trunk and outcome: ok, too_brief, denied, failed.
    pub trunk_registers: IntCounterVec,
    /// INVITEs of ours, by trunk and outcome: answered, or the code of a fault.
    pub trunk_tries: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> Result<Metrics, Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, Error> {
            let g = IntGauge::new(name, help)?;
            registry.register(Box::new(g.clone()))?;
            Ok(g)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, Error> {
            let c = IntCounter::new(name, help)?;
            registry.register(Box::new(c.clone()))?;
            Ok(c)
        };
        let vector = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, Error> {
            let c = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(c.clone()))?;
            Ok(c)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, Error> {
            let g = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(g.clone()))?;
            Ok(g)
        };
        let trunk_rtt = GaugeVec::new(
            Opts::new("skybridge_phone_trunk_rtt_seconds", "Round trip of the last OPTIONS to a trunk's server."),
            &["trunk"],
        )?;
        registry.register(Box::new(trunk_rtt.clone()))?;
        Ok(Metrics {
            texts: vector("skybridge_phone_texts_total", "Texts (MESSAGE), by outcome.", &["direction", "outcome"])?,
            trunk_up: gauges("skybridge_phone_trunk_up", "1 while calls can go out by a trunk.", &["trunk"])?,
            trunk_calls: gauges("skybridge_phone_trunk_calls", "Calls on a trunk now.", &["trunk", "direction"])?,
            trunk_rtt,
            trunk_registers: vector(
                "skybridge_phone_trunk_registers_total",
                "REGISTER requests of ours to trunks, by outcome.",
                &["trunk", "outcome"],
            )?,
            trunk_tries: vector(
                "skybridge_phone_trunk_tries_total",
                "INVITEs of ours to trunks, by outcome.",
                &["trunk", "outcome"],
            )?,
            registered: gauge("skybridge_phone_registered", "Phones that are registered now.")?,
            calls: gauge("skybridge_phone_calls", "Calls with phones now.")?,
            ended: vector(
                "skybridge_phone_calls_ended_total",
                "Calls that ended, by reason.",
                &["direction", "outcome"],
            )?,
            registers: vector("skybridge_phone_registers_total", "REGISTER requests, by outcome.", &["outcome"])?,
            wrong_pins: counter("skybridge_phone_wrong_pins_total", "Wrong PINs that were entered.")?,
            packets_in: counter("skybridge_phone_rtp_packets_received_total", "RTP packets of phones.")?,
            packets_out: counter("skybridge_phone_rtp_packets_sent_total", "RTP packets to phones.")?,
            lost: counter("skybridge_phone_rtp_packets_lost_total", "RTP packets of phones that did not come.")?,
            bad_packets: counter("skybridge_phone_rtp_packets_bad_total", "Packets that are no RTP of their call.")?,
            recordings: gauge("skybridge_phone_siprec_sessions", "Calls that the outside recorder takes now.")?,
            recorder_tries: vector(
                "skybridge_phone_siprec_tries_total",
                "Calls to the outside recorder, by outcome.",
                &["outcome"],
            )?,
            recorded_packets: counter(
                "skybridge_phone_siprec_packets_total",
                "RTP packets sent to the outside recorder.",
            )?,
            transcoded: gauge(
                "skybridge_phone_transcoded_calls",
                "Calls whose sound is turned from one codec into another now.",
            )?,
            transcoded_packets: counter(
                "skybridge_phone_transcoded_packets_total",
                "RTP packets made by turning sound from one codec into another.",
            )?,
            banned: gauge("skybridge_phone_banned", "Addresses and accounts that are shut out now.")?,
            bans: counter("skybridge_phone_bans_total", "Bans of scanners, guessers and accounts.")?,
            shut_out: counter("skybridge_phone_shut_out_total", "SIP messages dropped or refused by a ban.")?,
        })
    }

    /// Shows how a trunk stands.
    pub fn trunk_state(&self, trunk: &TrunkStatus) {
        let name = trunk.name.as_str();
        self.trunk_up.with_label_values(&[name]).set(i64::from(trunk.state == TrunkState::Up));
        self.trunk_calls.with_label_values(&[name, "in"]).set(i64::try_from(trunk.calls_in).unwrap_or(i64::MAX));
        self.trunk_calls.with_label_values(&[name, "out"]).set(i64::try_from(trunk.calls_out).unwrap_or(i64::MAX));
        self.trunk_rtt.with_label_values(&[name]).set(trunk.rtt_ms.map_or(0.0, |ms| f64::from(ms) / 1000.0));
    }
}
