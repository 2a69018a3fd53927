//! The shape of the configuration. Each key is explained in `config/skybridge.toml`, which a test holds against these defaults.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use config::{Loaded, Problem};
use serde::{Deserialize, Serialize};

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub site: Site,
    pub http: Http,
    pub access: Access,
    pub sip: Sip,
    pub media: Media,
    pub recorder: Recorder,
    pub pictures: Pictures,
    pub messages: Messages,
    pub broadcast: crate::broadcast::Settings,
    pub hall: Hall,
    pub alarms: Alarms,
    pub calls: Calls,
    pub tracks: Tracks,
    pub capture: Capture,
    pub gb28181: bridge_gb28181::Config,
    pub phone: bridge_phone::Config,
    pub radio: bridge_radio::Config,
    pub satphone: bridge_satphone::Config,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Site {
    pub name_zh: String,
    pub name_en: String,
    pub data: PathBuf,
    pub log: String,
}

impl Default for Site {
    fn default() -> Self {
        Site {
            name_zh: "应急指挥大厅".into(),
            name_en: "Emergency Command Hall".into(),
            data: PathBuf::from("/var/lib/skybridge"),
            log: "info".into(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    pub listen: Vec<SocketAddr>,
    pub local: Vec<SocketAddr>,
    pub certificate: String,
    pub private_key: String,
    pub names: Vec<String>,
    /// How guests reach this gateway, as in `https://hall.example`; empty: as the console was opened.
    pub public_url: String,
}

impl Default for Http {
    fn default() -> Self {
        Http {
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 8443))],
            local: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            certificate: String::new(),
            private_key: String::new(),
            names: Vec::new(),
            public_url: String::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    pub token_hours: u32,
    pub attempts_per_minute: u32,
    pub lock_seconds: u32,
    pub audit_days: u32,
}

impl Default for Access {
    fn default() -> Self {
        Access { token_hours: 12, attempts_per_minute: 5, lock_seconds: 60, audit_days: 400 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sip {
    pub udp: Vec<SocketAddr>,
    pub tcp: Vec<SocketAddr>,
    pub tls: Vec<SocketAddr>,
    pub announced: String,
    /// SIP over WebSocket at `/sip` of the console's listeners.
    pub websocket: bool,
    /// Origins of pages besides the console's own that may open it.
    pub websocket_origins: Vec<String>,
    /// Requests above the link's MTU go over TCP where the peer takes it.
    pub large_over_tcp: bool,
    /// Messages a second of one address; more are dropped.
    pub messages_per_second: u32,
    /// Name servers that are asked for SIP servers; empty: the system's.
    pub name_servers: Vec<SocketAddr>,
    /// PEM file of the certificates that vouch for TLS peers whom we call; empty: the system's.
    pub tls_roots: String,
    pub satellite: Satellite,
    pub guard: Guard,
}

/// Who is shut out for a time. Times in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Guard {
    pub enabled: bool,
    pub offences: u32,
    pub window: u32,
    pub ban: u32,
    pub max_ban: u32,
    pub allow: Vec<String>,
    pub agents: Vec<String>,
}

impl Default for Guard {
    fn default() -> Self {
        let own = sip::GuardConfig::default();
        let seconds = |d: std::time::Duration| u32::try_from(d.as_secs()).unwrap_or(u32::MAX);
        Guard {
            enabled: own.enabled,
            offences: own.offences,
            window: seconds(own.window),
            ban: seconds(own.ban),
            max_ban: seconds(own.max_ban),
            allow: vec!["127.0.0.1".into(), "::1".into()],
            agents: own.agents,
        }
    }
}

impl Guard {
    /// As the SIP room takes it.
    pub fn config(&self) -> sip::GuardConfig {
        let seconds = |s: u32| std::time::Duration::from_secs(u64::from(s));
        sip::GuardConfig {
            enabled: self.enabled,
            offences: self.offences,
            window: seconds(self.window),
            ban: seconds(self.ban),
            max_ban: seconds(self.max_ban),
            allow: self.allow.iter().filter_map(|n| n.parse().ok()).collect(),
            agents: self.agents.iter().map(|a| a.to_ascii_lowercase()).collect(),
        }
    }
}

/// The link profile of peers behind a satellite, and who they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Satellite {
    pub networks: Vec<String>,
    pub accounts: Vec<String>,
    pub t1_ms: u32,
    pub t2_ms: u32,
    pub t4_ms: u32,
    pub mtu: usize,
}

impl Default for Satellite {
    fn default() -> Self {
        Satellite { networks: Vec::new(), accounts: Vec::new(), t1_ms: 1_500, t2_ms: 8_000, t4_ms: 10_000, mtu: 1_200 }
    }
}

impl Satellite {
    /// The timers as the SIP room takes them.
    pub fn profile(&self) -> sip::LinkProfile {
        let ms = |ms: u32| std::time::Duration::from_millis(u64::from(ms));
        sip::LinkProfile { t1: ms(self.t1_ms), t2: ms(self.t2_ms), t4: ms(self.t4_ms), mtu: self.mtu }
    }
}

impl Default for Sip {
    fn default() -> Self {
        Sip {
            udp: vec![SocketAddr::from(([0, 0, 0, 0], 5060))],
            tcp: vec![SocketAddr::from(([0, 0, 0, 0], 5060))],
            tls: vec![SocketAddr::from(([0, 0, 0, 0], 5061))],
            announced: String::new(),
            websocket: true,
            websocket_origins: Vec::new(),
            large_over_tcp: true,
            messages_per_second: sip::Limits::default().messages_per_second,
            name_servers: Vec::new(),
            tls_roots: String::new(),
            satellite: Satellite::default(),
            guard: Guard::default(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Media {
    pub rtp_ports: String,
    pub rtp_announced: String,
    pub browser: Vec<SocketAddr>,
    pub browser_announced: Vec<IpAddr>,
    pub workers: usize,
    pub ring_megabytes: usize,
    /// H.265 to H.264 for browsers without H.265: so many streams at once. 0: none.
    pub transcoders: usize,
    /// `auto`, `x264` or `openh264`.
    pub transcode_encoder: String,
    /// Larger pictures are scaled down to this height.
    pub transcode_height: u32,
    /// kbit/s of what is made.
    pub transcode_kbps: u32,
}

impl Default for Media {
    fn default() -> Self {
        Media {
            rtp_ports: "30000-39999".into(),
            rtp_announced: String::new(),
            browser: vec![SocketAddr::from(([0, 0, 0, 0], 8189))],
            browser_announced: Vec::new(),
            workers: 0,
            ring_megabytes: 16,
            transcoders: 2,
            transcode_encoder: "auto".into(),
            transcode_height: 720,
            transcode_kbps: 2500,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recorder {
    pub directory: PathBuf,
    pub segment_minutes: u32,
    pub keep_days: u32,
    pub max_gigabytes: u64,
    pub min_free_gigabytes: u64,
    /// Fetches of devices' recordings at once.
    pub fetch_parallel: usize,
    /// Times real time at which devices are asked to send them.
    pub fetch_speed: u32,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder {
            directory: PathBuf::new(),
            segment_minutes: 10,
            keep_days: 90,
            max_gigabytes: 0,
            min_free_gigabytes: 2,
            fetch_parallel: 2,
            fetch_speed: 4,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pictures {
    pub listen: Vec<SocketAddr>,
    pub upload_address: String,
    pub upload_seconds: u32,
    pub max_upload_megabytes: u32,
    pub keep_days: u32,
    pub max_megabytes: u64,
}

impl Default for Pictures {
    fn default() -> Self {
        Pictures {
            listen: Vec::new(),
            upload_address: String::new(),
            upload_seconds: 30,
            max_upload_megabytes: 8,
            keep_days: 90,
            max_megabytes: 10_240,
        }
    }
}

/// Texts and files of conferences and of far ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messages {
    /// 0: for ever.
    pub keep_days: u32,
    /// Of all files together; the oldest messages with files go first. 0: no bound.
    pub max_megabytes: u64,
    /// Of one file.
    pub max_file_megabytes: u32,
}

impl Default for Messages {
    fn default() -> Self {
        Messages { keep_days: 90, max_megabytes: 10_240, max_file_megabytes: 20 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hall {
    pub walls: u8,
    pub conference_number: String,
    pub conference_pin: String,
    pub conference_name_zh: String,
    pub conference_name_en: String,
    pub max_members: u32,
    pub loudness: bool,
    pub camera_hold_s: u32,
    pub lobby_members: u32,
    pub lobby_minutes: u32,
}

impl Default for Hall {
    fn default() -> Self {
        Hall {
            walls: 2,
            conference_number: "9000".into(),
            conference_pin: String::new(),
            conference_name_zh: "大厅会商".into(),
            conference_name_en: "Hall conference".into(),
            max_members: 64,
            loudness: true,
            camera_hold_s: 10,
            lobby_members: 32,
            lobby_minutes: 30,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alarms {
    pub keep_days: u32,
    pub merge_seconds: u32,
}

impl Default for Alarms {
    fn default() -> Self {
        Alarms { keep_days: 400, merge_seconds: 10 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Calls {
    pub keep_days: u32,
    pub max_rows: u32,
    /// Times that a conference's phone which the network dropped is called again; 0: never.
    pub call_back_tries: u32,
    /// Seconds before each time.
    pub call_back_pause: u32,
}

impl Default for Calls {
    fn default() -> Self {
        Calls { keep_days: 400, max_rows: 1_000_000, call_back_tries: 3, call_back_pause: 5 }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tracks {
    pub keep_days: u32,
    pub interval: u32,
    pub metres: u32,
    pub rows_per_second: u32,
}

impl Default for Tracks {
    fn default() -> Self {
        Tracks { keep_days: 30, interval: 5, metres: 5, rows_per_second: 2_000 }
    }
}

/// Captures of signalling and media for diagnosis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    pub seconds: u32,
    pub max_seconds: u32,
    pub megabytes: u64,
    pub total_megabytes: u64,
    pub keep_days: u32,
    pub at_once: usize,
}

impl Default for Capture {
    fn default() -> Self {
        Capture { seconds: 60, max_seconds: 600, megabytes: 64, total_megabytes: 1024, keep_days: 14, at_once: 4 }
    }
}

impl Capture {
    pub fn limits(&self) -> bridge_core::CaptureLimits {
        bridge_core::CaptureLimits {
            seconds: self.seconds,
            most_seconds: self.max_seconds,
            bytes: self.megabytes << 20,
            total_bytes: self.total_megabytes << 20,
            keep_days: self.keep_days,
            at_once: self.at_once,
        }
    }
}

impl Settings {
    /// The recordings' place: as configured, else beneath the data directory.
    pub fn recordings(&self) -> PathBuf {
        if self.recorder.directory.as_os_str().is_empty() {
            self.site.data.join("recordings")
        } else {
            self.recorder.directory.clone()
        }
    }
}

/// Low and high end of a port range as `LOW-HIGH`.
pub fn port_range(text: &str) -> Result<(u16, u16), String> {
    let parsed = text
        .split_once('-')
        .and_then(|(low, high)| Some((low.trim().parse::<u16>().ok()?, high.trim().parse::<u16>().ok()?)));
    match parsed {
        Some((low, high)) if low >= 1024 && high > low + 8 => Ok((low, high)),
        Some(_) => Err(format!("{text:?}: the range must begin at 1024 or above and hold ten ports or more")),
        None => Err(format!("{text:?} is not a port range; write it as \"30000-39999\"")),
    }
}

/// An address that may be left empty.
pub fn optional_address(text: &str) -> Result<Option<IpAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| format!("{text:?} is not an IP address"))
}

/// Loads the configuration and checks what single keys cannot show. Tells every mistake at once.
pub fn load(text: &str, file: &str, environment: &[(String, String)]) -> Result<Settings, Vec<Problem>> {
    config::load(text, file, environment, |loaded| check(loaded, environment))
}

fn check(loaded: &Loaded<Settings>, environment: &[(String, String)]) -> Vec<Problem> {
    let s = &loaded.value;
    let mut found = Vec::new();
    let mut wrong = |key: &str, what: String| found.push(loaded.problem(key, what));

    if let Err(what) = port_range(&s.media.rtp_ports) {
        wrong("media.rtp_ports", what);
    }
    for (key, text) in [("media.rtp_announced", &s.media.rtp_announced), ("sip.announced", &s.sip.announced)] {
        if let Err(what) = optional_address(text) {
            wrong(key, what);
        }
    }
    if s.http.listen.is_empty() && s.http.local.is_empty() {
        wrong("http.listen", "no address to listen on: the console could not be reached".into());
    }
    for address in &s.http.local {
        if !address.ip().is_loopback() {
            wrong("http.local", format!("{address} is not a loopback address; plain http is for this machine only"));
        }
    }
    if s.http.certificate.is_empty() != s.http.private_key.is_empty() {
        wrong("http.certificate", "give both http.certificate and http.private_key, or neither".into());
    }
    let public = &s.http.public_url;
    let whole = public.starts_with("https://") && (9..=200).contains(&public.len());
    let strange = |c: char| c.is_whitespace() || "?#".contains(c);
    if !public.is_empty() && (!whole || public.ends_with('/') || public.contains(strange)) {
        wrong("http.public_url", format!("{public:?} is not an address as https://hall.example, without a last slash"));
    }
    if !(1..=500).contains(&s.hall.lobby_members) {
        wrong("hall.lobby_members", format!("{} is not between 1 and 500", s.hall.lobby_members));
    }
    if !(1..=1440).contains(&s.hall.lobby_minutes) {
        wrong("hall.lobby_minutes", format!("{} is not between 1 and 1440", s.hall.lobby_minutes));
    }
    if s.sip.udp.is_empty() && s.sip.tcp.is_empty() {
        wrong("sip.udp", "no SIP address to listen on: no camera or phone could register".into());
    }
    check_sip(&s.sip, &mut wrong);
    if !(100..=1_000_000).contains(&s.sip.messages_per_second) {
        wrong("sip.messages_per_second", format!("{} is not between 100 and 1000000", s.sip.messages_per_second));
    }
    check_guard(&s.sip.guard, &mut wrong);
    if s.media.browser.is_empty() {
        wrong("media.browser", "no address for browser media: no picture could be shown".into());
    }
    if s.capture.seconds == 0 || s.capture.seconds > s.capture.max_seconds || s.capture.max_seconds > 3600 {
        wrong("capture.seconds", "1 to capture.max_seconds, which is at most 3600".into());
    }
    if s.capture.megabytes == 0 || s.capture.megabytes > s.capture.total_megabytes {
        wrong("capture.megabytes", "at least 1, and at most capture.total_megabytes".into());
    }
    if !(1..=8760).contains(&s.access.token_hours) {
        wrong("access.token_hours", format!("{} is not between 1 and 8760", s.access.token_hours));
    }
    if s.access.attempts_per_minute == 0 {
        wrong("access.attempts_per_minute", "0 would lock everybody out".into());
    }
    if !(1..=120).contains(&s.recorder.segment_minutes) {
        wrong("recorder.segment_minutes", format!("{} is not between 1 and 120", s.recorder.segment_minutes));
    }
    for (key, gigabytes) in [
        ("recorder.max_gigabytes", s.recorder.max_gigabytes),
        ("recorder.min_free_gigabytes", s.recorder.min_free_gigabytes),
    ] {
        if gigabytes > 1_000_000 {
            wrong(key, format!("{gigabytes} GiB is more than any disk: at most 1000000"));
        }
    }
    let address = &s.pictures.upload_address;
    let scheme = address.starts_with("http://") || address.starts_with("https://");
    if !address.is_empty() && (!scheme || address.len() > 200 || address.chars().any(|c| c.is_whitespace() || c == '?'))
    {
        wrong("pictures.upload_address", format!("{address:?} is not an address as http://10.1.1.5:8088"));
    }
    if !(1..=600).contains(&s.pictures.upload_seconds) {
        wrong("pictures.upload_seconds", format!("{} is not between 1 and 600", s.pictures.upload_seconds));
    }
    if !(1..=64).contains(&s.pictures.max_upload_megabytes) {
        wrong("pictures.max_upload_megabytes", format!("{} is not between 1 and 64", s.pictures.max_upload_megabytes));
    }
    if !(1..=20).contains(&s.messages.max_file_megabytes) {
        wrong("messages.max_file_megabytes", format!("{} is not between 1 and 20", s.messages.max_file_megabytes));
    }
    if !(1..=32).contains(&s.recorder.fetch_parallel) {
        wrong("recorder.fetch_parallel", format!("{} is not between 1 and 32", s.recorder.fetch_parallel));
    }
    if !(1..=16).contains(&s.recorder.fetch_speed) {
        wrong("recorder.fetch_speed", format!("{} is not between 1 and 16", s.recorder.fetch_speed));
    }
    if !(1..=16).contains(&s.hall.walls) {
        wrong("hall.walls", format!("{} is not between 1 and 16", s.hall.walls));
    }
    if !(3..=3600).contains(&s.hall.camera_hold_s) {
        wrong("hall.camera_hold_s", format!("{} is not between 3 and 3600", s.hall.camera_hold_s));
    }
    if !(1..=4096).contains(&s.media.ring_megabytes) {
        wrong("media.ring_megabytes", format!("{} is not between 1 and 4096", s.media.ring_megabytes));
    }
    if s.calls.call_back_tries > 20 || !(1..=600).contains(&s.calls.call_back_pause) {
        wrong("calls.call_back_tries", "at most 20 tries, 1 to 600 s apart".to_owned());
    }
    if s.calls.max_rows == 0 {
        wrong("calls.max_rows", "0 would keep no record of any call".to_owned());
    }
    if s.alarms.merge_seconds > 3_600 {
        wrong("alarms.merge_seconds", format!("{} is more than 3600", s.alarms.merge_seconds));
    }
    if !(1..=20_000).contains(&s.tracks.rows_per_second) {
        wrong("tracks.rows_per_second", format!("{} is not between 1 and 20000", s.tracks.rows_per_second));
    }
    if s.media.transcoders > 64 {
        wrong("media.transcoders", format!("{} is more than 64", s.media.transcoders));
    }
    if !["auto", "x264", "openh264"].contains(&s.media.transcode_encoder.as_str()) {
        wrong("media.transcode_encoder", format!("{:?} is not auto, x264 or openh264", s.media.transcode_encoder));
    }
    if !(96..=2160).contains(&s.media.transcode_height) {
        wrong("media.transcode_height", format!("{} is not between 96 and 2160", s.media.transcode_height));
    }
    if !(100..=20_000).contains(&s.media.transcode_kbps) {
        wrong("media.transcode_kbps", format!("{} is not between 100 and 20000", s.media.transcode_kbps));
    }
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    if !digits(&s.hall.conference_number) || !(2..=12).contains(&s.hall.conference_number.len()) {
        wrong("hall.conference_number", format!("{:?} is not 2 to 12 digits", s.hall.conference_number));
    }
    for (key, name) in [
        ("hall.conference_name_zh", &s.hall.conference_name_zh),
        ("hall.conference_name_en", &s.hall.conference_name_en),
    ] {
        if name.trim().chars().count() > 64 || name.chars().any(char::is_control) {
            wrong(key, "a name has at most 64 characters, on one line".into());
        }
    }
    if s.hall.conference_name_zh.trim().is_empty() && s.hall.conference_name_en.trim().is_empty() {
        wrong("hall.conference_name_zh", "give hall.conference_name_zh or hall.conference_name_en".into());
    }
    let lookup = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    for (key, reference) in secret_references(s) {
        match config::resolve_secret(reference, &lookup) {
            Err(error) => wrong(key, error.to_string()),
            Ok(Some(pin)) if key == "hall.conference_pin" && (!digits(&pin) || !(4..=12).contains(&pin.len())) => {
                wrong(key, "the PIN must be 4 to 12 digits".into());
            }
            Ok(_) => {}
        }
    }
    for problem in s.gb28181.problems() {
        let (key, what) = problem.split_once(": ").unwrap_or(("", &problem));
        wrong(&format!("gb28181.{key}"), what.to_owned());
    }
    for (key, what) in s.broadcast.problems() {
        wrong(&format!("broadcast.{key}"), what);
    }
    for (key, what) in s.phone.problems() {
        wrong(&format!("phone.{key}"), what);
    }
    for (key, what) in s.radio.problems() {
        wrong(&format!("radio.{key}"), what);
    }
    for (key, what) in s.satphone.problems() {
        wrong(&format!("satphone.{key}"), what);
    }
    found
}

fn check_sip(s: &Sip, wrong: &mut dyn FnMut(&str, String)) {
    if s.name_servers.len() > 8 {
        wrong("sip.name_servers", format!("{} name servers are more than 8", s.name_servers.len()));
    }
    for origin in &s.websocket_origins {
        let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            wrong("sip.websocket_origins", format!("{origin:?} is not an origin such as https://desk.example:8443"));
        }
    }
    let satellite = &s.satellite;
    for network in &satellite.networks {
        if let Err(what) = network.parse::<sip::Network>() {
            wrong("sip.satellite.networks", format!("{network:?}: {what}"));
        }
    }
    if satellite.networks.len() > 256 {
        wrong("sip.satellite.networks", format!("{} networks are more than 256", satellite.networks.len()));
    }
    if let Some(account) = satellite.accounts.iter().find(|a| a.is_empty() || a.len() > 64) {
        wrong("sip.satellite.accounts", format!("{account:?} is not an account of 1 to 64 bytes"));
    }
    if satellite.accounts.len() > 10_000 {
        wrong("sip.satellite.accounts", format!("{} accounts are more than 10000", satellite.accounts.len()));
    }
    let (t1, t2, t4) = (satellite.t1_ms, satellite.t2_ms, satellite.t4_ms);
    // Below RFC 3261's own 500 ms a link is no satellite; above 4 s a request would be given up after more than 256 s.
    if !(500..=4_000).contains(&t1) {
        wrong("sip.satellite.t1_ms", format!("{t1} is not between 500 and 4000"));
    }
    if t2 < t1 || t2 > 32_000 {
        wrong("sip.satellite.t2_ms", format!("{t2} is not between sip.satellite.t1_ms and 32000"));
    }
    if t4 < t1 || t4 > 60_000 {
        wrong("sip.satellite.t4_ms", format!("{t4} is not between sip.satellite.t1_ms and 60000"));
    }
    if !(576..=65_000).contains(&satellite.mtu) {
        wrong("sip.satellite.mtu", format!("{} is not between 576 and 65000", satellite.mtu));
    }
}

fn check_guard(guard: &Guard, wrong: &mut dyn FnMut(&str, String)) {
    if !(2..=10_000).contains(&guard.offences) {
        wrong("sip.guard.offences", format!("{} is not between 2 and 10000", guard.offences));
    }
    if !(10..=86_400).contains(&guard.window) {
        wrong("sip.guard.window", format!("{} is not between 10 and 86400", guard.window));
    }
    if guard.ban == 0 || guard.ban > guard.max_ban {
        wrong("sip.guard.ban", format!("{} is not between 1 and sip.guard.max_ban", guard.ban));
    }
    if guard.max_ban > 30 * 86_400 {
        wrong("sip.guard.max_ban", format!("{} is more than 30 days", guard.max_ban));
    }
    for network in &guard.allow {
        if let Err(what) = network.parse::<sip::Network>() {
            wrong("sip.guard.allow", format!("{network:?}: {what}"));
        }
    }
    if guard.allow.len() > 256 {
        wrong("sip.guard.allow", format!("{} networks are more than 256", guard.allow.len()));
    }
    // A short word would be in the name of many a phone.
    if guard.agents.len() > 100 || guard.agents.iter().any(|a| !(4..=64).contains(&a.len())) {
        wrong("sip.guard.agents", "up to 100 words of 4 to 64 letters".to_owned());
    }
}

/// Keys that refer to a secret.
fn secret_references(s: &Settings) -> Vec<(&'static str, &str)> {
    let site = s.gb28181.site_password.as_deref().unwrap_or_default();
    let mut found = vec![("hall.conference_pin", s.hall.conference_pin.as_str()), ("gb28181.site_password", site)];
    found.extend(s.phone.trunk.iter().map(|t| ("phone.trunk", t.password.as_str())));
    found.extend(s.radio.gateway.iter().map(|g| ("radio.gateway", g.password.as_str())));
    found
}

/// The secret behind a reference that `load` has checked.
pub fn secret(reference: &str) -> Option<String> {
    config::resolve_secret(reference, &|name| std::env::var(name).ok()).ok().flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_annotated_file_is_the_defaults() {
        let text = include_str!("../config/skybridge.toml");
        assert_eq!(load(text, "skybridge.toml", &[]).unwrap(), Settings::default());
    }

    #[test]
    fn the_annotated_file_shows_every_key() {
        let text = include_str!("../config/skybridge.toml");
        let written = config::leaves(&toml::from_str(text).unwrap());
        let known = config::leaves(&toml::Table::try_from(Settings::default()).unwrap());
        let missing: Vec<_> = known.iter().filter(|k| !written.contains(k)).collect();
        assert!(missing.is_empty(), "config/skybridge.toml does not show {missing:?}");
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        let text = "[http]\nlocal = [\"10.0.0.1:80\"]\n[media]\nrtp_ports = \"5-1\"\n[hall]\nwalls = 0\nconference_pin = \"1234\"\n";
        let problems = load(text, "c.toml", &[]).unwrap_err();
        let keys: Vec<&str> = problems.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["media.rtp_ports", "http.local", "hall.walls", "hall.conference_pin"]);
        assert_eq!(problems[0].place, "c.toml:4");
    }

    #[test]
    fn mistakes_of_the_sip_section() {
        let text = "[sip]\nwebsocket_origins = [\"desk.example\", \"https://a/b\"]\n[sip.satellite]\n\
                    networks = [\"10.8.0.0/33\", \"10.8.0.0/16\", \"fd00::/8\", \"x\", \"10.8.0.1/16\"]\naccounts = [\"\"]\n\
                    t1_ms = 100\nt2_ms = 50\nt4_ms = 99999\nmtu = 100\n";
        let keys: Vec<String> = load(text, "c.toml", &[]).unwrap_err().into_iter().map(|p| p.key).collect();
        let count = |key: &str| keys.iter().filter(|k| *k == key).count();
        assert_eq!(count("sip.websocket_origins"), 2);
        assert_eq!(count("sip.satellite.networks"), 3, "{keys:?}");
        for key in ["accounts", "t1_ms", "t2_ms", "t4_ms", "mtu"] {
            assert_eq!(count(&format!("sip.satellite.{key}")), 1, "{key}");
        }
        let good = "[sip]\nwebsocket_origins = [\"https://desk.example:8443\"]\n[sip.satellite]\n\
                    networks = [\"10.8.0.0/16\", \"2001:db8::/32\", \"10.9.0.7\"]\naccounts = [\"8001\"]\nt1_ms = 2000\n";
        let profile = load(good, "c.toml", &[]).unwrap().sip.satellite.profile();
        assert_eq!((profile.t1.as_millis(), profile.mtu), (2_000, 1_200));
        assert_eq!(Satellite::default().profile(), sip::LinkProfile::SATELLITE);
    }

    #[test]
    fn mistakes_of_the_guard() {
        let text = "[sip.guard]\noffences = 1\nwindow = 1\nban = 900\nmax_ban = 600\nallow = [\"10.0.0.0/8\", \"x\"]\nagents = [\"a\"]\n";
        let keys: Vec<String> = load(text, "c.toml", &[]).unwrap_err().into_iter().map(|p| p.key).collect();
        let wanted = ["offences", "window", "ban", "allow", "agents"].map(|k| format!("sip.guard.{k}"));
        assert_eq!(keys, wanted);
        assert_eq!(Guard::default().config(), sip::GuardConfig::default());
    }

    #[test]
    fn a_conference_without_any_name_is_a_mistake_of_the_configuration() {
        let text = "[hall]\nconference_name_zh = \" \"\n";
        assert!(load(text, "c.toml", &[]).is_ok());
        let problems = load(&format!("{text}conference_name_en = \"\"\n"), "c.toml", &[]).unwrap_err();
        assert_eq!(problems[0].key, "hall.conference_name_zh");
    }

    #[test]
    fn a_secret_never_shows_in_a_problem() {
        let text = "[hall]\nconference_pin = \"8642\"\n";
        let problems = load(text, "c.toml", &[]).unwrap_err();
        assert!(!format!("{problems:?}").contains("8642"));
    }
}
