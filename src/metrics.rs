//! The hall's own metrics. Bridges and media add theirs to the same registry. `docs/ref/metrics.md` lists all.

use prometheus::{Counter, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::app::App;
use media_hub::StreamState;

/// Metrics that are read when they are asked for.
pub struct Metrics {
    pub registry: Registry,
    build: IntGaugeVec,
    cpu: Counter,
    memory: IntGauge,
    disk_free: IntGauge,
    streams: IntGaugeVec,
    devices: IntGaugeVec,
    members: IntGauge,
    jobs: IntGaugeVec,
    legs: IntGaugeVec,
    sent_packets: IntCounter,
    sent_bytes: IntCounter,
    retransmitted: IntCounter,
    reports: IntCounterVec,
    reports_waiting: IntGaugeVec,
    call_records: IntCounterVec,
    pub positions_written: IntCounter,
    pub positions_unwritten: IntCounter,
    sip: IntCounterVec,
    sip_tables: IntGaugeVec,
    ports: IntGaugeVec,
    browser: IntCounterVec,
    /// Uploads of devices by outcome.
    pub uploads: IntCounterVec,
    /// Messages by what became of them.
    pub messages: IntCounterVec,
    /// Targets of broadcasts by what became of them.
    pub broadcast_targets: IntCounterVec,
    broadcasts: IntGauge,
    transcoders: IntGauge,
    transcoded: IntCounterVec,
    transcode_seconds: Counter,
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(name, help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, prometheus::Error> {
    let gauges = IntGaugeVec::new(Opts::new(name, help), &[label])?;
    registry.register(Box::new(gauges.clone()))?;
    Ok(gauges)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(name, help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

impl Metrics {
    pub fn new(registry: Registry) -> Result<Self, prometheus::Error> {
        let r = &registry;
        let cpu = Counter::new("skybridge_cpu_seconds_total", "User and system time of the process")?;
        r.register(Box::new(cpu.clone()))?;
        let words = Opts::new("skybridge_sip_events_total", "SIP messages and faults since start");
        let sip = IntCounterVec::new(words, &["kind", "direction", "label"])?;
        r.register(Box::new(sip.clone()))?;
        let words = Opts::new("skybridge_reports_total", "Alarms and positions of devices, by what became of them");
        let reports = IntCounterVec::new(words, &["kind"])?;
        r.register(Box::new(reports.clone()))?;
        let words = Opts::new("skybridge_call_records_total", "Records of calls, by what became of them");
        let call_records = IntCounterVec::new(words, &["kind"])?;
        r.register(Box::new(call_records.clone()))?;
        let words = Opts::new("skybridge_browser_events_total", "What happened to browser legs, by kind, since start");
        let browser = IntCounterVec::new(words, &["kind"])?;
        r.register(Box::new(browser.clone()))?;
        let words = Opts::new("skybridge_picture_uploads_total", "Pictures that devices brought, by outcome");
        let uploads = IntCounterVec::new(words, &["outcome"])?;
        r.register(Box::new(uploads.clone()))?;
        let words = Opts::new("skybridge_messages_total", "Messages, by what became of them");
        let messages = IntCounterVec::new(words, &["kind"])?;
        r.register(Box::new(messages.clone()))?;
        let words = Opts::new("skybridge_broadcast_targets_total", "Targets of emergency broadcasts, by result");
        let broadcast_targets = IntCounterVec::new(words, &["result"])?;
        r.register(Box::new(broadcast_targets.clone()))?;
        let words =
            Opts::new("skybridge_transcode_events_total", "What happened in H.265 transcoders, by kind, since start");
        let transcoded = IntCounterVec::new(words, &["kind"])?;
        r.register(Box::new(transcoded.clone()))?;
        let transcode_seconds =
            Counter::new("skybridge_transcode_delay_seconds_total", "Time that pictures spent in transcoders")?;
        r.register(Box::new(transcode_seconds.clone()))?;
        Ok(Metrics {
            uploads,
            messages,
            broadcast_targets,
            broadcasts: gauge(r, "skybridge_broadcasts", "Emergency broadcasts that run")?,
            transcoders: gauge(r, "skybridge_transcoders", "H.265 transcoders that run")?,
            transcoded,
            transcode_seconds,
            build: gauges(r, "skybridge_build_info", "1, labelled with the version", "version")?,
            cpu,
            memory: gauge(r, "skybridge_memory_bytes", "Resident memory of the process")?,
            disk_free: gauge(r, "skybridge_disk_free_bytes", "Free space where recordings are kept")?,
            streams: gauges(r, "skybridge_streams", "Streams by state", "state")?,
            devices: gauges(r, "skybridge_devices", "Devices by state", "state")?,
            members: gauge(r, "skybridge_conference_members", "Members with a standing leg")?,
            jobs: gauges(r, "skybridge_recording_jobs", "Recording jobs by state", "state")?,
            legs: gauges(r, "skybridge_browser_legs", "Browser legs by kind", "kind")?,
            sent_packets: counter(r, "skybridge_browser_sent_packets_total", "Datagrams sent to browsers")?,
            sent_bytes: counter(r, "skybridge_browser_sent_bytes_total", "RTP payload bytes sent to browsers")?,
            retransmitted: counter(r, "skybridge_browser_retransmitted_packets_total", "RTP packets sent again")?,
            call_records,
            reports,
            reports_waiting: gauges(
                r,
                "skybridge_reports_waiting",
                "Alarms and positions that wait to be written",
                "kind",
            )?,
            positions_written: counter(r, "skybridge_positions_written_total", "Points of tracks written")?,
            positions_unwritten: counter(r, "skybridge_positions_unwritten_total", "Points that the database refused")?,
            sip,
            sip_tables: gauges(r, "skybridge_sip_tables", "What is in the tables of the SIP room now", "kind")?,
            ports: gauges(r, "skybridge_media_ports", "RTP ports by state", "state")?,
            browser,
            registry,
        })
    }

    /// Reads everything that is not counted where it happens.
    pub fn refresh(&self, app: &App) {
        let view = app.system.latest(app);
        self.build.with_label_values(&[view.version]).set(1);
        self.cpu.inc_by((crate::system::cpu_seconds() - self.cpu.get()).max(0.0));
        self.memory.set(view.memory_bytes as i64);
        self.disk_free.set(view.disk_free_bytes as i64);
        self.devices.with_label_values(&["online"]).set(view.devices_online as i64);
        self.devices.with_label_values(&["offline"]).set((view.devices_total - view.devices_online) as i64);
        self.members.set(view.calls as i64);
        self.broadcasts.set(app.broadcasts.running() as i64);
        let statuses = app.hub.statuses();
        for (word, state) in [
            ("idle", StreamState::Idle),
            ("starting", StreamState::Starting),
            ("live", StreamState::Live),
            ("stalled", StreamState::Stalled),
            ("failed", StreamState::Failed),
        ] {
            let count = statuses.iter().filter(|s| s.state == state).count();
            self.streams.with_label_values(&[word]).set(count as i64);
        }
        let jobs = app.recorder.jobs();
        for (word, state) in [
            ("waiting", recorder::JobState::Waiting),
            ("recording", recorder::JobState::Recording),
            ("failed", recorder::JobState::Failed),
        ] {
            self.jobs.with_label_values(&[word]).set(jobs.iter().filter(|j| j.state == state).count() as i64);
        }
        let browser = app.endpoint.stats();
        self.legs.with_label_values(&["viewer"]).set(browser.viewers as i64);
        self.legs.with_label_values(&["two_way"]).set(browser.two_way as i64);
        raise(&self.sent_packets, browser.sent_packets);
        raise(&self.sent_bytes, browser.sent_bytes);
        raise(&self.retransmitted, browser.rtx_packets);
        // Every counter of the endpoint under its own name; the two numbers of legs are gauges above.
        if let Ok(serde_json::Value::Object(counts)) = serde_json::to_value(browser) {
            for (kind, count) in counts.iter().filter(|(k, _)| !matches!(k.as_str(), "viewers" | "two_way")) {
                raise(&self.browser.with_label_values(&[kind]), count.as_u64().unwrap_or(0));
            }
        }
        let counts = app.reports.counts();
        for (kind, total) in [
            ("alarm", counts.alarms),
            ("alarm_lost", counts.alarms_lost),
            ("alarm_unwritten", app.alarms.unwritten()),
            ("position", counts.positions),
            ("position_replaced", counts.positions_replaced),
            ("position_lost", counts.positions_lost),
            ("glimpse_lost", counts.glimpses_lost),
            ("text", counts.texts),
            ("text_lost", counts.texts_lost),
        ] {
            raise(&self.reports.with_label_values(&[kind]), total);
        }
        raise(&self.call_records.with_label_values(&["written"]), app.books.written());
        raise(&self.call_records.with_label_values(&["lost"]), crate::calls::lost(app) + app.books.unwritten());
        self.reports_waiting.with_label_values(&["alarm"]).set(app.alarms.waiting() as i64);
        self.reports_waiting.with_label_values(&["position"]).set(app.reports.waiting() as i64);
        let made = &app.transcoders.counters;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(std::sync::atomic::Ordering::Relaxed);
        self.transcoders.set(made.running.load(std::sync::atomic::Ordering::Relaxed) as i64);
        for (kind, count) in [
            ("frames", &made.frames),
            ("dropped", &made.dropped),
            ("refused", &made.refused),
            ("failures", &made.failures),
        ] {
            raise(&self.transcoded.with_label_values(&[kind]), read(count));
        }
        self.transcode_seconds.inc_by((read(&made.micros) as f64 / 1e6 - self.transcode_seconds.get()).max(0.0));
        let tables = ["client_transactions", "server_transactions", "calls", "flows"];
        for (kind, value) in tables.into_iter().zip(app.sip_tables()) {
            self.sip_tables.with_label_values(&[kind]).set(value as i64);
        }
        let ports = app.ports.stats();
        for (state, count) in [("used", ports.used), ("resting", ports.resting), ("total", ports.total)] {
            self.ports.with_label_values(&[state]).set(count as i64);
        }
        for sample in app.sip_counts() {
            let labels = [sample.name, sample.direction, sample.label.as_str()];
            raise(&self.sip.with_label_values(&labels), sample.value);
        }
    }
}

/// Brings a counter up to a total that is counted elsewhere.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
