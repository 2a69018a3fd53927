//! What the administrator sets: gateways, their groups, and how each carries the key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bridge_core::Link;
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use sip::{Target, Transport};

/// Most gateways, and groups of one.
const MOST_GATEWAYS: usize = 64;
const MOST_GROUPS: usize = 256;
/// Most names of radios of one gateway.
const MOST_RADIOS: usize = 20_000;

/// The section `[radio]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub gateway: Vec<GatewayConfig>,
}

/// What tells the key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CarrierKind {
    /// SIP INFO inside the call.
    Info,
    /// Telephone events (RFC 4733).
    Dtmf,
    /// Bits of ED-137 in the header extension of each RTP packet.
    Ed137,
    /// RTP itself: who sends, talks.
    #[default]
    Rtp,
    /// MCPTT floor control (TS 24.380) on a port of its own.
    Mcptt,
    /// Loudness.
    Vox,
}

impl CarrierKind {
    /// The word of the configuration.
    pub fn name(self) -> &'static str {
        match self {
            CarrierKind::Info => "info",
            CarrierKind::Dtmf => "dtmf",
            CarrierKind::Ed137 => "ed137",
            CarrierKind::Rtp => "rtp",
            CarrierKind::Mcptt => "mcptt",
            CarrierKind::Vox => "vox",
        }
    }
}

/// What SIP to the gateway runs over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    #[default]
    Udp,
    Tcp,
    Tls,
}

/// A gateway to radios. Times in milliseconds unless the name says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Part of ids: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// To show; empty: the name.
    pub title: String,
    /// IP address and port of its SIP.
    pub address: String,
    pub transport: Wire,
    /// Our user there; empty: `skybridge`.
    pub user: String,
    pub password: String,
    /// In the URIs of requests; empty: the address.
    pub domain: String,
    /// Whether we register there.
    pub register: bool,
    /// Seconds.
    pub expires: u32,
    /// Seconds between OPTIONS; 0: none, and the gateway is there while our registration is.
    pub ping_interval: u32,
    pub link: Link,
    pub carrier: CarrierKind,
    pub group: Vec<Group>,
    /// Radio id to name.
    pub radios: BTreeMap<String, String>,
    /// How long a grant is waited for where the carrier has one.
    pub grant_timeout: u32,
    /// From the grant (or the press, without one) until the radio really sends.
    pub key_up: u32,
    /// Speech kept from the press on.
    pub buffer: u32,
    /// Silence that ends a transmission in a conference without a floor, and that of a radio with `rtp` or `vox`.
    pub hang: u32,
    /// Seconds after which a radio that told no release counts as having let go.
    pub talk_limit: u32,
    /// dB below overload that count as speech.
    pub speech_dbov: f32,
    /// A radio that gets the floor hears a tone.
    pub permit_tone: bool,
    /// A radio that was refused hears a tone when it lets go, where its carrier cannot tell it.
    pub deny_tone: bool,
    pub info: InfoConfig,
    pub dtmf: DtmfConfig,
    pub ed137: Ed137Config,
    pub mcptt: McpttConfig,
    pub text: TextConfig,
}

/// A group of radios.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    pub number: String,
    pub name: String,
    /// Where the gateway's own calls for this group go; empty: they are refused. It must ask for no PIN.
    pub conference: String,
    /// 0 to 255 for its radios in a conference with a floor; 0: what the hall gives the member.
    pub priority: u8,
}

/// The look of the bodies that are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InfoForm {
    /// `application/dtmf-relay` with `Signal=*` and `Signal=#`.
    #[default]
    Signal,
    /// `application/ptt+xml`.
    Xml,
    /// `application/ptt+json`.
    Json,
}

/// What stands for a grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InfoGrant {
    /// 200 to our INFO.
    #[default]
    Ok,
    /// An INFO of the gateway that `granted_is` matches.
    Message,
    None,
}

/// SIP INFO. Bodies may hold `{group}`, `{user}`, `{name}`, `{priority}`, `{seq}`, `{cause}`; an empty one is the form's own, `-` sends none.
/// The `_is` are patterns on the body of what comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InfoConfig {
    pub form: InfoForm,
    pub grant: InfoGrant,
    /// Empty: the form's own.
    pub content_type: String,
    pub press: String,
    pub release: String,
    pub granted: String,
    pub denied: String,
    pub revoked: String,
    pub queued: String,
    pub taken: String,
    pub idle: String,
    pub press_is: String,
    pub release_is: String,
    pub granted_is: String,
    pub denied_is: String,
    pub revoked_is: String,
}

impl Default for InfoConfig {
    fn default() -> Self {
        InfoConfig {
            form: InfoForm::default(),
            grant: InfoGrant::default(),
            content_type: String::new(),
            press: String::new(),
            release: String::new(),
            granted: String::new(),
            denied: String::new(),
            revoked: String::new(),
            queued: String::new(),
            taken: String::new(),
            idle: String::new(),
            press_is: r"(?i)(signal\s*=\s*\*|\bop\W{1,4}(request|press|taken)\b)".into(),
            release_is: r"(?i)(signal\s*=\s*#|\bop\W{1,4}(release|released|idle)\b)".into(),
            granted_is: r"(?i)\bop\W{1,4}(grant|granted)\b".into(),
            denied_is: r"(?i)\bop\W{1,4}(deny|denied|busy)\b".into(),
            revoked_is: r"(?i)\bop\W{1,4}(revoke|revoked)\b".into(),
        }
    }
}

/// The digits of the key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DtmfConfig {
    pub press: String,
    pub release: String,
    /// Of a radio in an emergency; empty: none.
    pub emergency: String,
}

impl Default for DtmfConfig {
    fn default() -> Self {
        DtmfConfig { press: "*".into(), release: "#".into(), emergency: String::new() }
    }
}

/// ED-137.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ed137Config {
    /// The extension of 2009 (0x0067) in place of that of ED-137A to C (0x0167).
    pub old: bool,
    /// Of R2S packets.
    pub keepalive: u32,
    /// Missing R2S packets until the radio counts as silent.
    pub multiplier: u32,
    /// Packets that tell the end of a transmission.
    pub release_repeats: u32,
    /// 0 to 63 (15 with `old`).
    pub ptt_id: u8,
    /// In the header WG67-Version of our INVITE; empty: none.
    pub version: String,
}

impl Default for Ed137Config {
    fn default() -> Self {
        Ed137Config {
            old: false,
            keepalive: 200,
            multiplier: 10,
            release_repeats: 3,
            ptt_id: 1,
            version: "radio.01".into(),
        }
    }
}

/// MCPTT (TS 24.380).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct McpttConfig {
    /// We are the controlling server: the gateway asks us for the floor. Else it is one, and we are a participant.
    pub server: bool,
    /// Highest priority that we ask for, 1 to 255.
    pub priority: u8,
    /// Our MCPTT ID; empty: our SIP URI.
    pub id: String,
    /// Repeats of Floor Release and Floor Request, and how many.
    pub t100: u32,
    pub c100: u32,
    pub t101: u32,
    pub c101: u32,
    /// Of queue position requests.
    pub t104: u32,
    pub c104: u32,
}

impl Default for McpttConfig {
    fn default() -> Self {
        McpttConfig {
            server: false,
            priority: 150,
            id: String::new(),
            t100: 1000,
            c100: 3,
            t101: 1000,
            c101: 3,
            t104: 1000,
            c104: 3,
        }
    }
}

/// What is read of the bodies of INFO and MESSAGE: patterns with named groups. Empty: not looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextConfig {
    /// Group `id`.
    pub talker: String,
    /// Group `name`.
    pub name: String,
    pub emergency: String,
    /// Group `lon`; east is positive, degrees of WGS-84.
    pub longitude: String,
    /// Group `lat`.
    pub latitude: String,
    /// Group `status`: a status or short message in a MESSAGE; plain text is one as a whole.
    pub status: String,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            talker: r#"(?i)\b(?:user|caller|talker|radio)(?:_?id)?["'>:=\s]{1,4}(?<id>(?:sip:|tel:)?[0-9A-Za-z@._+-]{1,64})"#.into(),
            name: r#"(?i)\bname["'>:=\s]{1,4}(?<name>[^<"'\r\n]{1,64})"#.into(),
            emergency: r"(?i)\bemergency\W{1,4}(1|true|yes)\b".into(),
            longitude: r"(?i)\blon(?:gitude)?\W{1,4}?(?<lon>-?\d{1,3}(?:\.\d{1,9})?)".into(),
            latitude: r"(?i)\blat(?:itude)?\W{1,4}?(?<lat>-?\d{1,2}(?:\.\d{1,9})?)".into(),
            status: r#"(?i)\bstatus["'>:=\s]{1,4}(?<status>[^<"'\r\n]{1,200})"#.into(),
        }
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        GatewayConfig {
            name: String::new(),
            title: String::new(),
            address: String::new(),
            transport: Wire::Udp,
            user: String::new(),
            password: String::new(),
            domain: String::new(),
            register: false,
            expires: 600,
            ping_interval: 10,
            link: Link::Lan,
            carrier: CarrierKind::default(),
            group: Vec::new(),
            radios: BTreeMap::new(),
            grant_timeout: 600,
            key_up: 0,
            buffer: 2000,
            hang: 500,
            talk_limit: 120,
            speech_dbov: -45.0,
            permit_tone: false,
            deny_tone: true,
            info: InfoConfig::default(),
            dtmf: DtmfConfig::default(),
            ed137: Ed137Config::default(),
            mcptt: McpttConfig::default(),
            text: TextConfig::default(),
        }
    }
}

impl GatewayConfig {
    /// Where it is; none: the address is no `IP:PORT`.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.address.parse().ok()
    }

    /// As the SIP service wants it.
    pub fn target(&self) -> Option<Target> {
        let transport = match self.transport {
            Wire::Udp => Transport::Udp,
            Wire::Tcp => Transport::Tcp,
            Wire::Tls => Transport::Tls,
        };
        Some(Target::Address(transport, self.peer()?))
    }

    /// What our URIs bear.
    pub fn user(&self) -> &str {
        if self.user.is_empty() { "skybridge" } else { &self.user }
    }

    /// The name to show.
    pub fn title(&self) -> &str {
        if self.title.is_empty() { &self.name } else { &self.title }
    }

    /// The configured group of this number.
    pub fn group(&self, number: &str) -> Option<&Group> {
        self.group.iter().find(|g| g.number == number)
    }

    /// Times of a signalling exchange are three times as long over a satellite (TS 24.380 leaves them to the operator).
    pub fn patience(&self, milliseconds: u32) -> Duration {
        let far = matches!(self.link, Link::Vsat | Link::Tiantong);
        Duration::from_millis(u64::from(milliseconds) * if far { 3 } else { 1 })
    }
}

fn sound_name(name: &str, most: usize) -> bool {
    (1..=most).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+*#".contains(&b))
}

fn digit(text: &str) -> bool {
    text.len() == 1 && text.chars().all(|c| c.is_ascii_digit() || "*#ABCD".contains(c))
}

impl Config {
    /// All that is wrong, as (key, why).
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut out = Vec::new();
        if self.gateway.len() > MOST_GATEWAYS {
            out.push(("gateway", format!("at most {MOST_GATEWAYS} gateways")));
        }
        let (mut names, mut peers) = (BTreeSet::new(), BTreeSet::new());
        for g in &self.gateway {
            let mut want = |good: bool, why: &str| {
                if !good {
                    out.push(("gateway", format!("{}: {why}", if g.name.is_empty() { "(no name)" } else { &g.name })));
                }
            };
            want(sound_name(&g.name, 32), "name needs 1 to 32 letters, digits, '-', '_', '.'");
            want(names.insert(g.name.clone()), "another gateway has the same name");
            want(g.peer().is_some_and(|p| p.port() != 0), "address must be IP:PORT");
            want(g.peer().is_none_or(|p| peers.insert(p)), "another gateway has the same address");
            want(!g.register || !g.user.is_empty(), "register needs a user");
            want((60..=86_400).contains(&g.expires), "expires must lie between 60 and 86400");
            want(g.ping_interval == 0 || (2..=300).contains(&g.ping_interval), "ping_interval must be 0 or 2 to 300");
            want(g.ping_interval != 0 || g.register, "ping_interval 0 needs register: else nobody sees a dead gateway");
            want(!g.group.is_empty() && g.group.len() <= MOST_GROUPS, "needs 1 to 256 groups");
            want(g.group.iter().all(|r| sound_name(&r.number, 32)), "a group's number has 1 to 32 letters and digits");
            let numbers: BTreeSet<_> = g.group.iter().map(|r| &r.number).collect();
            want(numbers.len() == g.group.len(), "two groups have one number");
            want(g.radios.len() <= MOST_RADIOS, "at most 20000 names of radios");
            want((100..=2000).contains(&g.grant_timeout), "grant_timeout must lie between 100 and 2000");
            want(g.key_up <= 1000, "key_up must be at most 1000");
            want((200..=2000).contains(&g.buffer), "buffer must lie between 200 and 2000");
            want((100..=3000).contains(&g.hang), "hang must lie between 100 and 3000");
            want((10..=600).contains(&g.talk_limit), "talk_limit must lie between 10 and 600");
            want((-80.0..=-10.0).contains(&g.speech_dbov), "speech_dbov must lie between -80 and -10");
            let digits = [&g.dtmf.press, &g.dtmf.release];
            want(digits.into_iter().all(|d| digit(d)), "dtmf.press and dtmf.release are one key each");
            want(g.dtmf.press != g.dtmf.release, "dtmf.press and dtmf.release must differ");
            want(g.dtmf.emergency.is_empty() || digit(&g.dtmf.emergency), "dtmf.emergency is one key or empty");
            want((50..=5000).contains(&g.ed137.keepalive), "ed137.keepalive must lie between 50 and 5000");
            want((2..=50).contains(&g.ed137.multiplier), "ed137.multiplier must lie between 2 and 50");
            want((1..=20).contains(&g.ed137.release_repeats), "ed137.release_repeats must lie between 1 and 20");
            want(g.ed137.ptt_id <= if g.ed137.old { 15 } else { 63 }, "ed137.ptt_id is too large");
            want(g.mcptt.priority > 0, "mcptt.priority must be above 0");
            let times = [g.mcptt.t100, g.mcptt.t101, g.mcptt.t104];
            want(times.into_iter().all(|t| (100..=10_000).contains(&t)), "mcptt timers must lie between 100 and 10000");
            let counts = [g.mcptt.c100, g.mcptt.c101, g.mcptt.c104];
            want(counts.into_iter().all(|c| (1..=20).contains(&c)), "mcptt counts must lie between 1 and 20");
            let i = &g.info;
            let patterns = [&i.press_is, &i.release_is, &i.granted_is, &i.denied_is, &i.revoked_is];
            let t = &g.text;
            let texts = [&t.talker, &t.name, &t.emergency, &t.longitude, &t.latitude, &t.status];
            for pattern in patterns.into_iter().chain(texts) {
                want(
                    pattern.len() <= 1024 && Regex::new(pattern).is_ok(),
                    &format!("the pattern {pattern:?} is wrong"),
                );
            }
            want(!i.press_is.is_empty() && !i.release_is.is_empty(), "info.press_is and info.release_is are needed");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    pub(crate) fn gateway() -> GatewayConfig {
        GatewayConfig {
            name: "pdt".into(),
            address: "10.0.0.9:5060".into(),
            group: vec![Group { number: "9001".into(), ..Group::default() }],
            ..GatewayConfig::default()
        }
    }

    #[test]
    fn the_default_is_sound_and_mistakes_are_named() {
        assert_eq!(Config::default().problems(), []);
        assert_eq!(Config { gateway: vec![gateway()] }.problems(), []);
        let mut bad = gateway();
        bad.address = "gw.example".into();
        bad.info.press_is = "(".into();
        bad.hang = 5;
        let problems = Config { gateway: vec![bad, gateway()] }.problems();
        let all: Vec<_> = problems.iter().map(|p| p.1.as_str()).collect();
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[0].contains("IP:PORT") && all.iter().any(|p| p.contains("same name")), "{all:?}");
    }
}
