//! Metrics `skybridge_phone_...`.

use prometheus::{Error, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub registered: IntGauge,
    pub calls: IntGauge,
    /// By direction (in, out) and outcome (a fault's code, or `ended`).
    pub ended: IntCounterVec,
    /// By outcome: ok, challenged, denied, refused.
    pub registers: IntCounterVec,
    pub wrong_pins: IntCounter,
    pub packets_in: IntCounter,
    pub packets_out: IntCounter,
    pub lost: IntCounter,
    /// Packets that are no RTP of the call or come from elsewhere.
    pub bad_packets: IntCounter,
    /// Addresses and accounts that are shut out now; bans, and messages dropped by them, since the start.
    pub banned: IntGauge,
    pub bans: IntCounter,
    pub shut_out: IntCounter,
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
        Ok(Metrics {
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
            banned: gauge("skybridge_phone_banned", "Addresses and accounts that are shut out now.")?,
            bans: counter("skybridge_phone_bans_total", "Bans of scanners, guessers and accounts.")?,
            shut_out: counter("skybridge_phone_shut_out_total", "SIP messages dropped or refused by a ban.")?,
        })
    }
}
