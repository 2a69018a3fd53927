//! DeviceControl, DeviceConfig and the queries of state: a device that does what it is told and remembers it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::catalog::response;
use crate::device::Device;
use crate::memory::{self, Card, Upgrade, lock};
use crate::ptz::{self, Command};
use crate::report;
use crate::session::Channel;
use crate::xml::{element, escape, text_of};

/// Time that a device is away when it starts anew.
const BOOT: Duration = Duration::from_secs(2);

/// The blocks of DeviceConfig.
const BLOCKS: [&str; 9] = [
    "BasicParam",
    "VideoParamAttribute",
    "VideoRecordPlan",
    "VideoAlarmRecord",
    "PictureMask",
    "FrameMirror",
    "AlarmReport",
    "OSDConfig",
    "SnapShotConfig",
];

impl Device {
    fn is_new(&self) -> bool {
        self.spec.edition >= 2022
    }

    /// A device that is its own channel, or an order to the recorder as a whole: the first channel.
    fn target(&self, id: &str) -> Option<Arc<Channel>> {
        self.channel(id).or_else(|| self.channels.first().cloned())
    }

    /// The business answer of an order, unless it is to be kept back.
    async fn result(&mut self, kind: &str, sn: &str, id: &str) {
        if self.faults.no_business_answer {
            return;
        }
        let word = if self.faults.refuse_orders { "ERROR" } else { "OK" };
        self.message(&response(kind, sn, id, &format!("<Result>{word}</Result>\r\n"))).await;
    }

    pub async fn control(&mut self, text: &str, sn: &str, id: &str) {
        let Some(channel) = self.target(id) else { return };
        let memory = memory::of(&self.spec.id);
        if let Some(command) = element(text, "PTZCmd") {
            self.ptz(text, &channel, &command);
        }
        if element(text, "IFrameCmd").or_else(|| element(text, "IFameCmd")).is_some() {
            channel.want_key.store(true, Ordering::Relaxed);
            report::event("iframe", &channel.id, json!({}));
        }
        self.aim(text, &channel);
        if element(text, "TeleBoot").is_some() {
            report::event("reboot", &self.spec.id, json!({}));
            return self.away(BOOT);
        }
        if let Some(card) = element(text, "FormatSDCard").filter(|_| self.is_new()) {
            let number: usize = card.parse().unwrap_or(usize::MAX);
            for (n, slot) in lock(&memory).cards.iter_mut().enumerate() {
                if number == 0 || number == n + 1 {
                    slot.formatting = Some(Instant::now());
                }
            }
            report::event("format", &self.spec.id, json!({"card": number}));
        }
        if let Some(word) = element(text, "TargetTrack").filter(|_| self.is_new()) {
            let area = element(text, "TargetArea").and_then(|a| element(&a, "MidPointX"));
            report::event(
                "track",
                &channel.id,
                json!({"mode": word, "panorama": element(text, "DeviceID2"), "x": area}),
            );
        }
        let refuses = self.faults.refuse_orders;
        let mut owes = false;
        if let Some(word) = element(text, "RecordCmd") {
            let stream = element(text, "StreamNumber").and_then(|s| s.parse().ok()).unwrap_or(0);
            if !refuses {
                let mut m = lock(&memory);
                if word == "Record" {
                    m.recording.insert(channel.id.clone(), stream)
                } else {
                    m.recording.remove(&channel.id)
                };
            }
            report::event("record", &channel.id, json!({"word": word, "stream": stream}));
            owes = true;
        }
        if let Some(word) = element(text, "GuardCmd") {
            if !refuses {
                lock(&memory).guarded = word == "SetGuard";
            }
            report::event("guard", &self.spec.id, json!({"word": word}));
            owes = true;
        }
        if element(text, "AlarmCmd").is_some() {
            lock(&memory).alarm = false;
            let info = element(text, "Info").unwrap_or_default();
            self.alarm_reset(id, element(&info, "AlarmMethod"), element(&info, "AlarmType"));
            owes = true;
        }
        if let Some(home) = element(text, "HomePosition") {
            let number = |name: &str| element(&home, name).and_then(|v| v.parse::<u32>().ok());
            {
                let mut dome = lock(&channel.dome);
                let old = dome.home;
                dome.home = crate::dome::Home {
                    enabled: number("Enabled") == Some(1),
                    reset_s: number("ResetTime").unwrap_or(old.reset_s),
                    preset: number("PresetIndex").map_or(old.preset, |p| p as u8),
                };
            }
            report::event(
                "home",
                &channel.id,
                json!({"enabled": number("Enabled"), "reset_s": number("ResetTime"), "preset": number("PresetIndex")}),
            );
            owes = true;
        }
        if let Some(upgrade) = element(text, "DeviceUpgrade").filter(|_| self.is_new()) {
            let part = |name: &str| text_of(&upgrade, name).unwrap_or_default();
            report::event(
                "upgrade",
                &self.spec.id,
                json!({"firmware": part("Firmware"), "url": part("FileURL"), "session": part("SessionID")}),
            );
            self.result("DeviceControl", sn, id).await;
            lock(&memory).upgrade = Some(Upgrade { session: part("SessionID"), firmware: part("Firmware") });
            return self.away(BOOT);
        }
        if owes {
            self.result("DeviceControl", sn, id).await;
        }
    }

    fn ptz(&mut self, text: &str, channel: &Channel, command: &str) {
        match ptz::decode(command) {
            Ok(decoded) => {
                // The companion of 2022; an old device does not know it.
                let params = element(text, "PTZCmdParams").filter(|_| self.is_new()).unwrap_or_default();
                let name = text_of(&params, "PresetName").or_else(|| text_of(&params, "CruiseTrackName"));
                let (pose, lens) = {
                    let mut dome = lock(&channel.dome);
                    dome.apply(&decoded, name.as_deref(), Instant::now());
                    (dome.look(Instant::now()), dome.lens)
                };
                report::event("ptz", &channel.id, ptz_fields(command, &decoded, name, pose, lens));
                report::say(&format!("camera {} turns: {decoded:?}", channel.id));
            }
            Err(why) => {
                report::event("ptz_refused", &channel.id, json!({"hex": command, "reason": why}));
                report::say(&format!("camera {} refused PTZ {command}: {why}", channel.id));
            }
        }
    }

    /// Precise position and drag zoom.
    fn aim(&mut self, text: &str, channel: &Channel) {
        let now = Instant::now();
        if let Some(precise) = element(text, "PTZPreciseCtrl") {
            if !self.is_new() {
                return report::event("ignored", &channel.id, json!({"element": "PTZPreciseCtrl"}));
            }
            let number = |name: &str| element(&precise, name).and_then(|v| v.parse::<f32>().ok());
            lock(&channel.dome).precise(number("Pan"), number("Tilt"), number("Zoom"), now);
            report::event(
                "precise",
                &channel.id,
                json!({"pan": number("Pan"), "tilt": number("Tilt"), "zoom": number("Zoom")}),
            );
        }
        for (name, inwards) in [("DragZoomIn", true), ("DragZoomOut", false)] {
            let Some(drag) = element(text, name) else { continue };
            let n = |name: &str| element(&drag, name).and_then(|v| v.parse::<f32>().ok()).unwrap_or(0.0);
            let pose = {
                let mut dome = lock(&channel.dome);
                let window = [n("Length"), n("Width")];
                dome.drag(inwards, window, [n("MidPointX"), n("MidPointY")], [n("LengthX"), n("LengthY")], now);
                dome.look(now)
            };
            report::event(
                "drag",
                &channel.id,
                json!({"in": inwards, "pan": pose.pan, "tilt": pose.tilt, "zoom": pose.zoom}),
            );
        }
    }

    /// Away as one that starts anew: calls are gone without BYE, and it registers when it is back.
    fn away(&mut self, time: Duration) {
        self.calls.clear();
        self.registered = false;
        self.next_keepalive = None;
        self.register_call = crate::ua::token();
        self.next_register = Some(tokio::time::Instant::now() + time);
    }

    pub async fn configure(&mut self, text: &str, sn: &str, id: &str) {
        let memory = memory::of(&self.spec.id);
        let mut names = Vec::new();
        for name in BLOCKS {
            let Some(inner) = element(text, name) else { continue };
            if name != "BasicParam" && !self.is_new() {
                report::event("ignored", &self.spec.id, json!({"element": name}));
                continue;
            }
            names.push(name);
            if self.faults.refuse_orders {
                continue;
            }
            let mut m = lock(&memory);
            if name == "BasicParam" {
                let number = |name: &str| element(&inner, name).and_then(|v| v.parse::<u32>().ok());
                m.name = text_of(&inner, "Name").or(m.name.take());
                m.expires = number("Expiration").or(m.expires);
                m.heartbeat_s = number("HeartBeatInterval").map(f64::from).or(m.heartbeat_s);
                m.heartbeat_count = number("HeartBeatCount").or(m.heartbeat_count);
                if let Some(seconds) = m.heartbeat_s {
                    self.field.keepalive = seconds;
                }
            } else {
                m.blocks.insert((id.to_owned(), name.to_ascii_lowercase()), inner);
            }
        }
        if names.is_empty() {
            return;
        }
        report::event("configured", id, json!({"blocks": names}));
        self.result("DeviceConfig", sn, id).await;
    }

    /// Answers to the queries of state; none where the catalog has the answer, empty for one that is not known.
    pub fn state(&mut self, kind: &str, sn: &str, id: &str, query: &str) -> Option<Vec<String>> {
        let channel = self.target(id)?;
        let memory = memory::of(&self.spec.id);
        let new_only = ["homepositionquery", "cruisetracklistquery", "cruisetrackquery", "ptzposition", "sdcardstatus"];
        let lower = kind.to_ascii_lowercase();
        if new_only.contains(&lower.as_str()) && !self.is_new() {
            report::event("ignored", id, json!({"element": kind}));
            return Some(Vec::new());
        }
        let items = |list: &str, item: &str, all: Vec<String>, split: bool| -> Vec<String> {
            let sum = all.len();
            let per = if split { 1 } else { sum.max(1) };
            let mut parts: Vec<Vec<String>> = all.chunks(per).map(<[String]>::to_vec).collect();
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            parts
                .into_iter()
                .map(|part| {
                    let inner: String = part.iter().map(|i| format!("<{item}>\r\n{i}</{item}>\r\n")).collect();
                    format!("<SumNum>{sum}</SumNum>\r\n<{list} Num=\"{}\">\r\n{inner}</{list}>\r\n", part.len())
                })
                .collect()
        };
        let split = self.faults.split_answers;
        let dome = &channel.dome;
        let inners = match lower.as_str() {
            "presetquery" => {
                let dome = lock(dome);
                let all = dome.presets.iter().map(|(n, (name, _))| {
                    format!("<PresetID>{n}</PresetID>\r\n<PresetName>{}</PresetName>\r\n", escape(name))
                });
                items("PresetList", "Item", all.collect(), split)
            }
            "cruisetracklistquery" => {
                let dome = lock(dome);
                let all = dome
                    .cruises
                    .iter()
                    .map(|(n, c)| format!("<Number>{n}</Number>\r\n<Name>{}</Name>\r\n", escape(&c.name)));
                items("CruiseTrackList", "CruiseTrack", all.collect(), split)
            }
            "cruisetrackquery" => {
                let number: u8 = element(query, "Number").and_then(|n| n.parse().ok()).unwrap_or(0);
                let cruise = lock(dome).cruises.get(&number).cloned().unwrap_or_default();
                let all = cruise.presets.iter().map(|p| {
                    format!(
                        "<PresetIndex>{p}</PresetIndex>\r\n<StayTime>{}</StayTime>\r\n<Speed>{}</Speed>\r\n",
                        cruise.dwell,
                        cruise.speed.min(15)
                    )
                });
                let head = format!("<Number>{number}</Number>\r\n<Name>{}</Name>\r\n", escape(&cruise.name));
                items("CruisePointList", "CruisePoint", all.collect(), split)
                    .into_iter()
                    .map(|i| head.clone() + &i)
                    .collect()
            }
            "homepositionquery" => {
                let home = lock(dome).home;
                vec![format!(
                    "<HomePosition>\r\n<Enabled>{}</Enabled>\r\n<ResetTime>{}</ResetTime>\r\n<PresetIndex>{}</PresetIndex>\r\n</HomePosition>\r\n",
                    u8::from(home.enabled),
                    home.reset_s,
                    home.preset
                )]
            }
            "ptzposition" => {
                let pose = lock(dome).look(Instant::now());
                vec![format!(
                    "<Pan>{:.2}</Pan>\r\n<Tilt>{:.2}</Tilt>\r\n<Zoom>{:.2}</Zoom>\r\n<HorizontalFieldAngle>{:.2}</HorizontalFieldAngle>\r\n",
                    pose.pan,
                    -pose.tilt,
                    pose.zoom,
                    90.0 / pose.zoom
                )]
            }
            "sdcardstatus" => {
                let now = Instant::now();
                let mut m = lock(&memory);
                let all = m.cards.iter_mut().enumerate().map(|(n, card)| {
                    let (status, progress, free) = card.state(now);
                    let progress = if status == "formatting" { format!("<FormatProgress>{progress}</FormatProgress>\r\n") } else { String::new() };
                    format!(
                        "<ID>{}</ID>\r\n<HddName>{}</HddName>\r\n<Status>{status}</Status>\r\n{progress}<Capacity>{}</Capacity>\r\n<FreeSpace>{free}</FreeSpace>\r\n",
                        n + 1,
                        card.name,
                        Card::CAPACITY_MB
                    )
                });
                let all = all.collect();
                items("SDCardStatusInfo", "Item", all, split)
            }
            "devicestatus" => {
                let m = lock(&memory);
                let duty = match (m.alarm, m.guarded) {
                    (true, _) => "ALARM",
                    (false, true) => "ONDUTY",
                    (false, false) => "OFFDUTY",
                };
                let recording = if m.recording.contains_key(&channel.id) { "ON" } else { "OFF" };
                vec![format!(
                    "<Result>OK</Result>\r\n<Online>ONLINE</Online>\r\n<Status>OK</Status>\r\n<Encode>ON</Encode>\r\n<Record>{recording}</Record>\r\n\
                     <DeviceTime>{}</DeviceTime>\r\n<Alarmstatus Num=\"1\">\r\n<Item>\r\n<DeviceID>{}</DeviceID>\r\n<DutyStatus>{duty}</DutyStatus>\r\n\
                     </Item>\r\n</Alarmstatus>\r\n",
                    self.clock(),
                    self.spec.id
                )]
            }
            "configdownload" => {
                let wanted = element(query, "ConfigType").unwrap_or_default();
                wanted.split('/').map(|w| self.block(w.trim(), id)).collect()
            }
            _ => return None,
        };
        Some(inners.into_iter().map(|inner| response(kind, sn, id, &inner)).collect())
    }

    fn block(&self, name: &str, id: &str) -> String {
        let memory = memory::of(&self.spec.id);
        let m = lock(&memory);
        let (width, height) = self.spec.dimensions().unwrap_or((640, 360));
        let lower = name.to_ascii_lowercase();
        let inner = match lower.as_str() {
            "basicparam" => format!(
                "<Name>{}</Name>\r\n<Expiration>{}</Expiration>\r\n<HeartBeatInterval>{}</HeartBeatInterval>\r\n<HeartBeatCount>{}</HeartBeatCount>\r\n",
                escape(m.name.as_deref().unwrap_or(&self.spec.name)),
                m.expires.unwrap_or(self.spec.expires),
                m.heartbeat_s.unwrap_or(self.field.keepalive).ceil() as u64,
                m.heartbeat_count.unwrap_or(self.spec.heartbeat_count)
            ),
            "videoparamopt" => format!("<DownloadSpeed>1</DownloadSpeed>\r\n<Resolution>{}</Resolution>\r\n", self.spec.size),
            _ if !self.is_new() => return "<Result>ERROR</Result>\r\n".into(),
            other => match (m.blocks.get(&(id.to_owned(), other.to_owned())), other) {
                (Some(inner), _) => inner.clone(),
                (None, "videoparamattribute") => format!(
                    "<Item>\r\n<StreamNumber>0</StreamNumber>\r\n<VideoFormat>2</VideoFormat>\r\n<Resolution>{width}*{height}</Resolution>\r\n\
                     <FrameRate>{}</FrameRate>\r\n<BitRateType>2</BitRateType>\r\n<VideoBitRate>2000</VideoBitRate>\r\n</Item>\r\n",
                    self.spec.fps
                ),
                (None, "videorecordplan") => "<RecordEnable>0</RecordEnable>\r\n<RecordScheduleSumNum>0</RecordScheduleSumNum>\r\n".into(),
                (None, "videoalarmrecord") => "<RecordEnable>0</RecordEnable>\r\n<RecordTime>30</RecordTime>\r\n<PreRecordTime>5</PreRecordTime>\r\n".into(),
                (None, "picturemask") => "<On>0</On>\r\n<SumNum>0</SumNum>\r\n<RegionList Num=\"0\">\r\n</RegionList>\r\n".into(),
                (None, "framemirror") => "0".into(),
                (None, "alarmreport") => "<MotionDetection>0</MotionDetection>\r\n<FieldDetection>0</FieldDetection>\r\n".into(),
                (None, "osdconfig") => format!(
                    "<Length>{width}</Length>\r\n<Width>{height}</Width>\r\n<TimeX>8</TimeX>\r\n<TimeY>80</TimeY>\r\n<TimeEnable>1</TimeEnable>\r\n\
                     <TimeType>0</TimeType>\r\n<TextEnable>1</TextEnable>\r\n<SumNum>0</SumNum>\r\n"
                ),
                (None, "snapshotconfig") => "<SnapNum>1</SnapNum>\r\n<Interval>1</Interval>\r\n<UploadURL></UploadURL>\r\n<SessionID></SessionID>\r\n".into(),
                (None, _) => return "<Result>ERROR</Result>\r\n".into(),
            },
        };
        // In answers the snapshot block has another name.
        let element = if lower == "snapshotconfig" { "SnapShot" } else { name };
        format!("<Result>OK</Result>\r\n<{element}>\r\n{inner}</{element}>\r\n")
    }

    /// What is told after a registration: the result of an upgrade.
    pub async fn after_registration(&mut self) {
        let memory = memory::of(&self.spec.id);
        let Some(upgrade) = lock(&memory).upgrade.take() else { return };
        lock(&memory).firmware.clone_from(&upgrade.firmware);
        self.sn += 1;
        let inner = format!(
            "<SessionID>{}</SessionID>\r\n<UpgradeResult>OK</UpgradeResult>\r\n<Firmware>{}</Firmware>\r\n",
            escape(&upgrade.session),
            escape(&upgrade.firmware)
        );
        let text = crate::catalog::notify("DeviceUpgradeResult", self.sn, &self.spec.id, &inner);
        self.message(&text).await;
    }
}

fn ptz_fields(
    hex: &str,
    command: &Command,
    name: Option<String>,
    pose: crate::dome::Pose,
    lens: [f32; 2],
) -> serde_json::Value {
    let mut fields = match command {
        Command::Move { pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed } => json!({
            "action": if *pan == 0 && *tilt == 0 && *zoom == 0 { "stop" } else { "move" },
            "pan": pan, "tilt": tilt, "zoom": zoom, "pan_speed": pan_speed, "tilt_speed": tilt_speed, "zoom_speed": zoom_speed}),
        Command::Lens { iris, focus, iris_speed, focus_speed } => json!({
            "action": if *iris == 0 && *focus == 0 { "lens-stop" } else { "lens" },
            "iris": iris, "focus": focus, "iris_speed": iris_speed, "focus_speed": focus_speed}),
        Command::Preset { action, number } => {
            json!({"action": format!("preset-{action}"), "number": number, "name": name})
        }
        Command::Cruise { action, group, value } => {
            json!({"action": format!("cruise-{action}"), "group": group, "value": value, "name": name})
        }
        Command::Scan { action, group, value } => {
            json!({"action": format!("scan-{action}"), "group": group, "value": value})
        }
        Command::Switch { on, number } => json!({"action": "switch", "on": on, "number": number}),
    };
    fields["hex"] = hex.into();
    fields["pose"] = json!({"pan": pose.pan, "tilt": pose.tilt, "zoom": pose.zoom});
    fields["lens"] = json!({"focus": lens[0], "iris": lens[1]});
    fields
}
