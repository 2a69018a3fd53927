//! The section `gb28181` of the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::datum::Datum;
use crate::edition::Edition;
use crate::ids;
use crate::quirks::{MAX_ROWS, Row, attribute};
use crate::redirect;
use crate::subscribe::Topic;
use crate::text::Charset;
use crate::voice::config::{DeviceVoice, Voice};

/// Everything that can be set for GB/T 28181. All keys have defaults; unknown keys are refused.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Our own 20-digit id, type 200.
    pub server_id: String,
    /// SIP domain and digest realm; empty: the first ten digits of `server_id`.
    pub domain: String,
    /// One password for all devices that have none of their own. The hall resolves secret references before we see it.
    #[serde(skip_serializing)]
    pub site_password: Option<String>,
    /// Let devices that have no password of their own register without any. Off: a device without a password of its own and
    /// without a site password is refused.
    pub allow_without_password: bool,
    /// Offer `qop="auth"` in the challenge; a few old devices fail on it. Answers without it are taken in any case.
    pub qop: bool,
    /// Registrations shorter than this are refused with 423. Seconds.
    pub expires_min: u32,
    /// Longer wishes are cut to this. Seconds.
    pub expires_max: u32,
    /// Where a device asks for nothing. Seconds.
    pub expires_default: u32,
    /// Send `Date` with the final answer to a registration, so that devices set their clocks.
    pub send_date: bool,
    /// Failed registrations of one device within a minute, beyond which it is refused unseen.
    pub failures_per_device: u32,
    /// The same for one source address.
    pub failures_per_address: u32,
    /// Devices at once.
    pub max_devices: usize,
    /// A device whose clock is off by more seconds than that is told to the operators. 0: none is.
    pub clock_offset_max: u32,
    pub keepalive: Keepalive,
    pub catalog: Catalog,
    pub media: Media,
    /// Further rows of the table of quirks; one with the name of a built-in row replaces it.
    pub quirks: Vec<Row>,
    /// Devices that are sent on to other platforms at their registration.
    pub redirect: Vec<redirect::Rule>,
    pub voice: Voice,
    pub subscribe: Subscribe,
    pub history: History,
    pub control: Control,
    /// Per device, by its 20-digit id.
    pub devices: BTreeMap<String, DeviceConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            server_id: "34020000002000000001".into(),
            domain: String::new(),
            site_password: None,
            allow_without_password: false,
            qop: true,
            expires_min: 60,
            expires_max: 86_400,
            expires_default: 3_600,
            send_date: true,
            failures_per_device: 10,
            failures_per_address: 100,
            max_devices: 100_000,
            // Recordings are asked for by the second, and people read the clock in the picture.
            clock_offset_max: 10,
            keepalive: Keepalive::default(),
            catalog: Catalog::default(),
            media: Media::default(),
            quirks: Vec::new(),
            redirect: Vec::new(),
            voice: Voice::default(),
            subscribe: Subscribe::default(),
            history: History::default(),
            control: Control::default(),
            devices: BTreeMap::new(),
        }
    }
}

/// Without the password.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("server_id", &self.server_id)
            .field("domain", &self.domain())
            .field("site_password", &self.site_password.as_ref().map(|_| "set"))
            .field("allow_without_password", &self.allow_without_password)
            .field("keepalive", &self.keepalive)
            .field("catalog", &self.catalog)
            .field("media", &self.media)
            .field("quirks", &self.quirks.len())
            .field("redirect", &self.redirect)
            .field("voice", &self.voice)
            .field("control", &self.control)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// How it is noticed that a device is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Keepalive {
    /// Seconds between keepalives; set the same in the devices.
    pub interval: u32,
    /// Missed in a row until a device counts as off line. Any SIP message of it counts as life.
    pub missed: u32,
    /// What a device that is not registered hears.
    pub unknown: Unknown,
    /// Follow a registered device whose messages come from another IP address without a new registration. Off: only another
    /// port of the same address is followed, for a MESSAGE proves nothing of who sent it; the device is answered as an
    /// unknown one, which makes it register again.
    pub follow_any_address: bool,
    /// Ask each device for its own interval and count after it registered (ConfigDownload), and use them.
    pub ask_device: bool,
}

impl Default for Keepalive {
    fn default() -> Self {
        Keepalive { interval: 60, missed: 3, unknown: Unknown::Refuse, follow_any_address: false, ask_device: true }
    }
}

/// The answer to messages of devices that are not registered. Never 200: a device must notice and register again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// 403.
    Refuse,
    /// Silence: for devices that take any answer as a good one.
    Ignore,
}

/// How channels are asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Catalog {
    /// Type codes (digits 11 to 13) of channels that may be invited. Body cams and drones do not always keep to 131 and 132.
    pub invite_types: Vec<u16>,
    /// Seconds from the question to the first piece of the answer.
    pub first: u32,
    /// Seconds from one piece to the next.
    pub idle: u32,
    /// Seconds for all.
    pub total: u32,
    /// Channels of one device.
    pub max_channels: usize,
    /// Seconds after which a refreshed registration asks for the catalog again.
    pub refresh: u32,
    /// Devices asked at the same time.
    pub parallel: usize,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog {
            invite_types: vec![131, 132],
            first: 30,
            idle: 5,
            total: 120,
            max_channels: 20_000,
            refresh: 3_600,
            parallel: 64,
        }
    }
}

/// How devices are told and asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Seconds to the business answer of an order, and to the whole answer of a question. Its lack makes an order's outcome
    /// unknown.
    pub answer: u32,
}

impl Default for Control {
    fn default() -> Self {
        Control { answer: 6 }
    }
}

/// How pictures travel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    /// For devices without a setting of their own. A device that refuses one way (488) is asked for the other, and that is
    /// remembered.
    pub transport: MediaTransport,
    /// Where devices shall send to; none: the hall's media address, else our address towards the device.
    pub address: Option<IpAddr>,
    /// Seconds a session is kept after the last viewer left.
    pub grace: u32,
    /// Seconds to the final answer of an INVITE.
    pub answer: u32,
    /// Seconds from the answer to the first packet.
    pub first_packet: u32,
    /// Seconds without a packet that end a session.
    pub loss: u32,
    /// Seconds to the media connection.
    pub tcp_connect: u32,
    /// Seconds from the first packet to the first key frame.
    pub first_key: u32,
    /// Refuse packets with another SSRC than the agreed one. Off: a single stranger from the device's address is learned and
    /// noted in the trace.
    pub strict_ssrc: bool,
    /// Refuse UDP media from another IP address than the device signals from or names in its answer. Off: the first one
    /// whose packets carry the agreed SSRC is taken.
    pub strict_source: bool,
    /// Milliseconds a missing UDP packet is waited for.
    pub reorder_wait: u32,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Report to devices by RTCP how their packets arrive: over UDP to the port above theirs, over TCP in the connection.
    pub receiver_reports: bool,
    /// Percent of UDP packets lost over `udp_loss_window` from which a device is asked to send over TCP. 0: never. A device
    /// with a `transport` of its own is left alone.
    pub udp_loss_percent: f64,
    /// Seconds over which loss is measured.
    pub udp_loss_window: u32,
    /// Minutes after which a device that was moved to TCP is asked for UDP again (and one that could not, for TCP).
    pub udp_retry: u32,
    /// The `a=` line that asks for the sub-stream of devices before 2022 that have no `sub_stream` of their own, as in
    /// `stream:1`. Empty: they are not asked.
    pub sub_stream: String,
}

impl Default for Media {
    fn default() -> Self {
        Media {
            transport: MediaTransport::AsSignalling,
            address: None,
            grace: 10,
            answer: 20,
            first_packet: 10,
            loss: 10,
            tcp_connect: 10,
            first_key: 10,
            strict_ssrc: false,
            strict_source: false,
            reorder_wait: 120,
            max_sessions: 10_000,
            receiver_reports: true,
            udp_loss_percent: 10.0,
            udp_loss_window: 15,
            udp_retry: 720,
            sub_stream: String::new(),
        }
    }
}

/// How a device's own recordings are asked for, played and fetched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Seconds from the question for recordings to the first piece of the answer: recorders search their disks.
    pub first: u32,
    /// Seconds from one piece to the next.
    pub idle: u32,
    /// Seconds for all.
    pub total: u32,
    /// Items of one answer that are kept.
    pub max_items: usize,
    /// Seconds for which an answer is given again without asking.
    pub cache: u32,
    /// `IndistinctQuery` of the question: 0 looks on the device only, 1 in the centre too.
    pub indistinct: Indistinct,
    /// Recordings that lie at most so many seconds apart are played and fetched as one.
    pub join: u32,
    /// Seconds without a packet that end a session that is not paused.
    pub loss: u32,
    /// Seconds that a playback may stand paused; beyond it NAT bindings and devices forget it.
    pub max_pause: u32,
    /// Seconds for the answer to an order inside a playback.
    pub order: u32,
    /// Playbacks and fetches at once.
    pub max_sessions: usize,
    /// Ask for the media of recordings over TCP, whatever is set for live pictures: at more than real time UDP loses packets.
    /// A device whose `transport` is set is asked for that.
    pub prefer_tcp: bool,
}

impl Default for History {
    fn default() -> Self {
        History {
            first: 15,
            idle: 5,
            total: 60,
            max_items: 10_000,
            cache: 20,
            indistinct: Indistinct::LeaveOut,
            join: 2,
            loss: 30,
            max_pause: 300,
            order: 5,
            max_sessions: 200,
            prefer_tcp: true,
        }
    }
}

/// Where recordings are looked for (`IndistinctQuery`, clause A.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Indistinct {
    /// The element is not sent.
    LeaveOut,
    /// 0: on the device.
    Device,
    /// 1: on the device and in the centre.
    Both,
}

/// The way of the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaTransport {
    Udp,
    /// We listen, the device connects: works through its NAT.
    Tcp,
    /// The device listens, we connect.
    TcpActive,
    /// As the device's signalling: a device that registers over TCP, as those behind NAT should, sends pictures over TCP too.
    AsSignalling,
}

/// What is known of one device and overrides the rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceConfig {
    pub transport: Option<MediaTransport>,
    /// In which character set we write; none: as its own messages show.
    pub charset: Option<Charset>,
    /// Edition, whatever its header says: `2.0` for 2016, `3.0` for 2022.
    pub version: Option<Edition>,
    /// Name in its credentials, when it is not the id.
    pub user: Option<String>,
    pub keepalive_interval: Option<u32>,
    /// A satellite is between us: stops are said twice, and answers waited for three times as long.
    pub satellite: bool,
    pub invite_types: Option<Vec<u16>>,
    pub media_address: Option<IpAddr>,
    pub strict_ssrc: Option<bool>,
    /// Further `a=` lines of the offer, such as `streamnumber:1` or a maker's own way to ask for the sub-stream.
    pub attributes: Vec<String>,
    /// Beside those that the table knows for it.
    pub quirks: Vec<Quirk>,
    /// Not these, whatever the table says.
    pub without: Vec<Quirk>,
    /// The `a=` line that asks for its main stream, and for its sub-stream: `streamprofile:1`. `""`: none.
    pub main_stream: Option<String>,
    pub sub_stream: Option<String>,
    /// Seconds to the first piece of its catalog.
    pub catalog_first: Option<u32>,
    /// Its loudspeaker.
    pub voice: DeviceVoice,
    /// What of its events is subscribed to; what is left out is as in `gb28181.subscribe`.
    pub subscribe: DeviceSubscribe,
    /// In which system it writes its positions: `wgs84` as the standard wants, or `gcj02`.
    pub datum: Datum,
}

/// Whether something is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    Never,
    /// Where it is of use: catalogs of recorders and platforms, alarms of all, positions of what moves (type 138, a channel with
    /// MobileDeviceType, or a device that has sent a position).
    Auto,
    Always,
}

/// Subscriptions to devices (clause 9.11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Subscribe {
    pub catalog: Want,
    pub alarm: Want,
    pub mobile_position: Want,
    /// Only 2022 devices are asked.
    pub ptz_position: Want,
    /// Seconds asked for; refreshed at 80 % of what is granted.
    pub expires: u32,
    /// Seconds between positions.
    pub position_interval: u32,
    /// Name of the event for the catalog.
    pub event_catalog: String,
    /// Name of the event for everything else. The standard's text gives none; devices in the field know this one.
    pub event_other: String,
}

impl Default for Subscribe {
    fn default() -> Self {
        Subscribe {
            catalog: Want::Auto,
            alarm: Want::Auto,
            mobile_position: Want::Auto,
            ptz_position: Want::Never,
            expires: 3_600,
            position_interval: 5,
            event_catalog: "Catalog".into(),
            event_other: "presence".into(),
        }
    }
}

/// What differs for one device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceSubscribe {
    pub catalog: Option<Want>,
    pub alarm: Option<Want>,
    pub mobile_position: Option<Want>,
    pub ptz_position: Option<Want>,
    pub position_interval: Option<u32>,
    pub event_catalog: Option<String>,
    pub event_other: Option<String>,
}

/// What a device must be spared or needs. Which devices: `quirks.toml`, `gb28181.quirks` and `gb28181.devices`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// No `Date` in the answer to its registration.
    NoDate,
    /// No `qop` in its challenge.
    NoQop,
    /// Offer payload type 96 only: long offers break on its path or confuse it.
    OnlyPs,
    /// `o=` names the channel in place of us.
    OwnerIsChannel,
    /// RecordInfo must hold `Type` with the value `all`.
    RecordTypeAll,
    /// BasicParam must name the device, never a channel.
    BasicParamDeviceId,
    /// A changed BasicParam is not answered; the device registers anew.
    ConfigUnanswered,
    /// Voice to it goes over UDP only.
    TalkUdpOnly,
    /// Voice to it is wrapped in PS (payload type 96).
    TalkPs,
    /// Voice to it by `s=Talk` of 2016 in place of Broadcast.
    TalkByInvite,
    /// Its positions are GCJ-02, not WGS-84.
    Gcj02,
    /// PTZ orders carry `Info/ControlPriority`.
    ControlPriority,
    /// Both spellings of the order for a key frame, whatever its edition.
    BothKeyFrameOrders,
    /// Playback control names its version `MANSRTSP/1.0` in place of `RTSP/1.0`.
    MansrtspVersion,
    /// Do not subscribe: it fails on SUBSCRIBE.
    NoSubscribe,
    /// A TEARDOWN in front of the BYE that ends a playback.
    Teardown,
}

impl Quirk {
    /// All of them.
    pub const ALL: &[Quirk] = &[
        Quirk::NoDate,
        Quirk::NoQop,
        Quirk::OnlyPs,
        Quirk::OwnerIsChannel,
        Quirk::RecordTypeAll,
        Quirk::BasicParamDeviceId,
        Quirk::ConfigUnanswered,
        Quirk::TalkUdpOnly,
        Quirk::TalkPs,
        Quirk::TalkByInvite,
        Quirk::Gcj02,
        Quirk::ControlPriority,
        Quirk::BothKeyFrameOrders,
        Quirk::MansrtspVersion,
        Quirk::NoSubscribe,
        Quirk::Teardown,
    ];
}

impl Config {
    /// SIP domain and realm.
    pub fn domain(&self) -> &str {
        if self.domain.is_empty() { ids::domain_of(&self.server_id) } else { &self.domain }
    }

    /// All that is wrong, as `key: why`.
    pub fn problems(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut want = |good: bool, text: &str| {
            if !good {
                out.push(text.to_owned());
            }
        };
        want(ids::is_id(&self.server_id), "server_id: must be 20 digits");
        want(self.expires_min <= self.expires_max, "expires_min: must not exceed expires_max");
        want(
            (self.expires_min..=self.expires_max).contains(&self.expires_default),
            "expires_default: must lie between expires_min and expires_max",
        );
        want(self.site_password.as_deref() != Some(""), "site_password: must not be empty");
        want(
            self.keepalive.interval > 0 && self.keepalive.missed > 0,
            "keepalive: interval and missed must be at least 1",
        );
        want((30..=86_400).contains(&self.subscribe.expires), "subscribe.expires: must lie between 30 and 86400");
        want(
            (1..=3_600).contains(&self.subscribe.position_interval),
            "subscribe.position_interval: must lie between 1 and 3600",
        );
        let token =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        want(
            token(&self.subscribe.event_catalog) && token(&self.subscribe.event_other),
            "subscribe.event_catalog, subscribe.event_other: letters, digits, '-', '.' and '_'",
        );
        for (id, device) in &self.devices {
            let own = &device.subscribe;
            want(
                own.event_catalog.iter().chain(&own.event_other).all(|n| token(n)),
                &format!("devices.{id}.subscribe: an event's name has letters, digits, '-', '.' and '_'"),
            );
        }
        want(self.history.max_sessions > 0, "history.max_sessions: must be at least 1");
        want((1..=60).contains(&self.control.answer), "control.answer: 1 to 60");
        want(self.catalog.parallel > 0, "catalog.parallel: must be at least 1");
        want((0.0..=100.0).contains(&self.media.udp_loss_percent), "media.udp_loss_percent: 0 to 100");
        want((1..=600).contains(&self.media.udp_loss_window), "media.udp_loss_window: 1 to 600 seconds");
        want(
            self.failures_per_device > 0 && self.failures_per_address > 0,
            "failures_per_device, failures_per_address: at least 1",
        );
        for (id, own) in &self.devices {
            want(ids::is_id(id), &format!("devices.{id}: a device's id has 20 digits"));
            let lines = own.attributes.iter().chain(&own.main_stream).chain(&own.sub_stream);
            want(lines.clone().all(|l| attribute(l)), &format!("devices.{id}: an attribute is one line without a="));
        }
        want(self.quirks.len() <= MAX_ROWS, "quirks: at most 500 rows");
        for problem in self.quirks.iter().filter_map(Row::problem) {
            want(false, &format!("quirks: {problem}"));
        }
        out.extend(redirect::problems(&self.redirect, &self.server_id));
        out.extend(self.voice.problems(self.devices.iter().map(|(id, d)| (id.clone(), d.voice.clone()))));
        out
    }

    pub(crate) fn device(&self, id: &str) -> Option<&DeviceConfig> {
        self.devices.get(id)
    }

    pub(crate) fn invite_types(&self, id: &str) -> &[u16] {
        self.device(id).and_then(|d| d.invite_types.as_deref()).unwrap_or(&self.catalog.invite_types)
    }

    /// Whether a subject of a device is wanted.
    pub(crate) fn wants(&self, id: &str, topic: Topic) -> Want {
        let own = self.device(id).map(|d| &d.subscribe);
        match topic {
            Topic::Catalog => own.and_then(|o| o.catalog).unwrap_or(self.subscribe.catalog),
            Topic::Alarm => own.and_then(|o| o.alarm).unwrap_or(self.subscribe.alarm),
            Topic::MobilePosition => own.and_then(|o| o.mobile_position).unwrap_or(self.subscribe.mobile_position),
            Topic::PtzPosition => own.and_then(|o| o.ptz_position).unwrap_or(self.subscribe.ptz_position),
        }
    }

    /// The name of the event of a subject.
    pub(crate) fn event(&self, id: &str, topic: Topic) -> &str {
        let own = self.device(id).map(|d| &d.subscribe);
        match topic {
            Topic::Catalog => own.and_then(|o| o.event_catalog.as_deref()).unwrap_or(&self.subscribe.event_catalog),
            _ => own.and_then(|o| o.event_other.as_deref()).unwrap_or(&self.subscribe.event_other),
        }
    }

    /// In which system a device writes its positions.
    pub(crate) fn datum(&self, id: &str) -> Datum {
        self.device(id).map(|d| d.datum).unwrap_or_default()
    }

    /// Seconds between positions.
    pub(crate) fn position_interval(&self, id: &str) -> u32 {
        let own = self.device(id).and_then(|d| d.subscribe.position_interval);
        own.unwrap_or(self.subscribe.position_interval).max(1)
    }

    /// Silence after which a device is off line. `own`: the device's interval and count.
    pub(crate) fn patience(&self, id: &str, own: Option<(u32, u32)>) -> Duration {
        let own = own.filter(|_| self.keepalive.ask_device);
        let (interval, count) = match (self.device(id).and_then(|d| d.keepalive_interval), own) {
            (Some(interval), _) => (interval, self.keepalive.missed),
            (None, Some((interval, count))) => (interval.clamp(MIN_INTERVAL, MAX_INTERVAL), count.clamp(1, MAX_COUNT)),
            (None, None) => (self.keepalive.interval, self.keepalive.missed),
        };
        // A keepalive on its way when the last one is due is not missed: one more second.
        seconds(interval.max(1).saturating_mul(count.max(1))) + Duration::from_secs(1)
    }

    pub(crate) fn satellite(&self, id: &str) -> bool {
        self.device(id).is_some_and(|d| d.satellite)
    }
}

/// Seconds between keepalives that a device may claim for itself: a nonsense number must not hide its loss for
/// hours.
const MIN_INTERVAL: u32 = 1;
const MAX_INTERVAL: u32 = 600;
/// Missed keepalives that it may claim.
const MAX_COUNT: u32 = 10;

pub(crate) fn seconds(n: u32) -> Duration {
    Duration::from_secs(u64::from(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::quirks::Profile;

    #[test]
    fn defaults_are_sound_and_secrets_stay_in() {
        let mut config: Config = toml::from_str("site_password = 'Gate#2026'\n[devices.34020000001320000001]\ntransport = 'tcp_active'\nversion = '2.0'\ncharset = 'utf8'\nquirks = ['no_qop']").unwrap();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert_eq!(config.domain(), "3402000000");
        assert!(!format!("{config:?}").contains("Gate"));
        assert!(!toml::to_string(&config).unwrap().contains("Gate"));
        assert!(Profile::of_config(&config, "34020000001320000001").has(Quirk::NoQop));
        assert_eq!(config.patience("x", None), Duration::from_secs(181));
        assert_eq!(config.patience("x", Some((20, 2))), Duration::from_secs(41), "the device's own numbers");
        assert_eq!(config.patience("x", Some((0, 65_535))), Duration::from_secs(11), "within bounds");
        config.devices.entry("x".into()).or_default().keepalive_interval = Some(10);
        assert_eq!(config.patience("x", Some((20, 2))), Duration::from_secs(31), "the operator's word first");
        config.devices.remove("x");
        config.keepalive.ask_device = false;
        assert_eq!(config.patience("x", Some((20, 2))), Duration::from_secs(181));
        config.server_id = "1".into();
        assert_eq!(config.problems().len(), 1);
        assert!(toml::from_str::<Config>("sever_id = '1'").is_err());
    }
}
