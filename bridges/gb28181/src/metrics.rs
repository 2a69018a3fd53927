//! Counters of this bridge.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// All metrics have the prefix `skybridge_gb28181_`.
#[derive(Clone)]
pub struct Metrics {
    pub devices_online: IntGauge,
    pub devices_known: IntGauge,
    pub registrations: IntCounterVec,
    pub redirects: IntCounterVec,
    pub keepalives: IntCounter,
    pub refused_messages: IntCounterVec,
    pub bad_bodies: IntCounter,
    pub catalog_queries: IntCounterVec,
    pub sessions: IntCounterVec,
    pub sessions_live: IntGauge,
    pub packets: IntCounter,
    pub packets_lost: IntCounter,
    pub packets_refused: IntCounterVec,
    pub ps_errors: IntCounter,
    pub key_frame_requests: IntCounter,
    pub moved_to_tcp: IntCounter,
    pub ptz: IntCounter,
    pub subscriptions: IntGaugeVec,
    pub subscribes: IntCounterVec,
    pub notifications: IntCounterVec,
    pub notifies_out_of_dialog: IntCounter,
    pub alarms_repeated: IntCounter,
    pub alarm_answers_left_out: IntCounter,
    pub positions_unreadable: IntCounter,
    pub history_sessions: IntGauge,
    pub history_total: IntCounterVec,
    pub record_queries: IntCounterVec,
    pub orders: IntCounterVec,
    pub questions: IntCounterVec,
}

fn name(short: &str, help: &str) -> Opts {
    Opts::new(format!("skybridge_gb28181_{short}"), help)
}

impl Metrics {
    /// Makes them and registers them; one that cannot be registered (a second bridge in one process) only counts for itself.
    pub fn new(registry: &Registry) -> Result<Metrics, prometheus::Error> {
        let metrics = Metrics {
            devices_online: IntGauge::with_opts(name("devices_online", "Devices on line"))?,
            devices_known: IntGauge::with_opts(name("devices_known", "Devices ever registered and not removed"))?,
            registrations: IntCounterVec::new(
                name("registrations_total", "REGISTER requests by outcome"),
                &["outcome"],
            )?,
            redirects: IntCounterVec::new(
                name("redirects_total", "Devices sent on at their registration, by server; here: all servers failed"),
                &["server"],
            )?,
            keepalives: IntCounter::with_opts(name("keepalives_total", "Keepalives of registered devices"))?,
            refused_messages: IntCounterVec::new(
                name("refused_messages_total", "Messages not accepted, by reason"),
                &["reason"],
            )?,
            bad_bodies: IntCounter::with_opts(name("bad_bodies_total", "MANSCDP bodies that could not be read"))?,
            catalog_queries: IntCounterVec::new(
                name("catalog_queries_total", "Catalog queries by outcome"),
                &["outcome"],
            )?,
            sessions: IntCounterVec::new(name("sessions_total", "Live sessions ended, by outcome"), &["outcome"])?,
            sessions_live: IntGauge::with_opts(name("sessions_live", "Live sessions now"))?,
            packets: IntCounter::with_opts(name("rtp_packets_total", "RTP packets taken in"))?,
            packets_lost: IntCounter::with_opts(name("rtp_packets_lost_total", "RTP packets that never came"))?,
            packets_refused: IntCounterVec::new(
                name("rtp_packets_refused_total", "Packets not taken, by reason"),
                &["reason"],
            )?,
            moved_to_tcp: IntCounter::with_opts(name(
                "moved_to_tcp_total",
                "Sessions asked for over TCP, for too much was lost over UDP",
            ))?,
            ps_errors: IntCounter::with_opts(name(
                "ps_errors_total",
                "Places at which a program stream could not be read",
            ))?,
            key_frame_requests: IntCounter::with_opts(name("key_frame_requests_total", "Orders for a key frame"))?,
            ptz: IntCounter::with_opts(name("ptz_orders_total", "PTZ orders sent, stops included"))?,
            subscriptions: IntGaugeVec::new(
                name("subscriptions", "Subscriptions that stand, by subject"),
                &["subject"],
            )?,
            subscribes: IntCounterVec::new(name("subscribes_total", "Answers to SUBSCRIBE, by outcome"), &["outcome"])?,
            notifications: IntCounterVec::new(
                name("notifications_total", "Notifications put to use, by kind"),
                &["kind"],
            )?,
            notifies_out_of_dialog: IntCounter::with_opts(name(
                "notifies_out_of_dialog_total",
                "NOTIFYs that belong to no subscription of ours; they are used",
            ))?,
            alarms_repeated: IntCounter::with_opts(name(
                "alarms_repeated_total",
                "Alarms that a device sent again; they are answered, not reported twice",
            ))?,
            alarm_answers_left_out: IntCounter::with_opts(name(
                "alarm_answers_left_out_total",
                "Alarms without a business answer because too many were on their way",
            ))?,
            positions_unreadable: IntCounter::with_opts(name(
                "positions_unreadable_total",
                "Positions without a usable place",
            ))?,
            history_sessions: IntGauge::with_opts(name("history_sessions", "Playbacks and downloads now"))?,
            history_total: IntCounterVec::new(
                name("history_sessions_total", "Playback and download sessions ended, by kind and outcome"),
                &["kind", "outcome"],
            )?,
            record_queries: IntCounterVec::new(
                name("record_queries_total", "Questions for recordings by outcome"),
                &["outcome"],
            )?,
            orders: IntCounterVec::new(
                name("orders_total", "Orders of control and configuration by outcome"),
                &["outcome"],
            )?,
            questions: IntCounterVec::new(name("queries_total", "Questions to devices by outcome"), &["outcome"])?,
        };
        let all: [Box<dyn prometheus::core::Collector>; 29] = [
            Box::new(metrics.devices_online.clone()),
            Box::new(metrics.devices_known.clone()),
            Box::new(metrics.registrations.clone()),
            Box::new(metrics.redirects.clone()),
            Box::new(metrics.keepalives.clone()),
            Box::new(metrics.refused_messages.clone()),
            Box::new(metrics.bad_bodies.clone()),
            Box::new(metrics.catalog_queries.clone()),
            Box::new(metrics.sessions.clone()),
            Box::new(metrics.sessions_live.clone()),
            Box::new(metrics.packets.clone()),
            Box::new(metrics.packets_lost.clone()),
            Box::new(metrics.packets_refused.clone()),
            Box::new(metrics.ps_errors.clone()),
            Box::new(metrics.key_frame_requests.clone()),
            Box::new(metrics.moved_to_tcp.clone()),
            Box::new(metrics.ptz.clone()),
            Box::new(metrics.subscriptions.clone()),
            Box::new(metrics.subscribes.clone()),
            Box::new(metrics.notifications.clone()),
            Box::new(metrics.notifies_out_of_dialog.clone()),
            Box::new(metrics.alarms_repeated.clone()),
            Box::new(metrics.alarm_answers_left_out.clone()),
            Box::new(metrics.positions_unreadable.clone()),
            Box::new(metrics.history_sessions.clone()),
            Box::new(metrics.history_total.clone()),
            Box::new(metrics.record_queries.clone()),
            Box::new(metrics.orders.clone()),
            Box::new(metrics.questions.clone()),
        ];
        for collector in all {
            if let Err(error) = registry.register(collector) {
                tracing::warn!(%error, "a metric of GB/T 28181 is not shown");
            }
        }
        Ok(metrics)
    }
}
