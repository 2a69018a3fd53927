//! Who takes part: the field file, the subcommand and the newcomer's standard set put together.

use serde::Deserialize;

use crate::options::{CameraSpec, Cli, Command, PhoneSpec};
use crate::radio::RadioSpec;
use crate::report;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FieldFile {
    pub cameras: Vec<CameraSpec>,
    pub phones: Vec<PhoneSpec>,
    pub radios: Vec<RadioSpec>,
}

impl FieldFile {
    pub fn load(path: &std::path::Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        if path.extension().is_some_and(|e| e == "json") {
            serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
        } else {
            toml::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
        }
    }
}

/// All that was asked for.
pub fn cast(cli: Cli) -> Result<FieldFile, String> {
    let mut all = match &cli.file {
        Some(path) => FieldFile::load(path)?,
        None => FieldFile::default(),
    };
    match cli.command {
        Some(Command::Camera(camera)) => all.cameras.push(*camera),
        Some(Command::Phone(phone)) => all.phones.push(*phone),
        Some(Command::Radio(radio)) => all.radios.push(*radio),
        _ => {}
    }
    match cli.profile.as_deref() {
        None => {}
        Some("newcomer") => {
            if cli.camera3_password.as_deref().unwrap_or("").is_empty() {
                report::say(
                    "camera 34020000001320000003 stays out: no --camera3-password (or FIELDSIM_CAMERA3_PASSWORD)",
                );
            }
            all.cameras.extend(newcomer(cli.camera3_password));
            if let Some(password) = cli.phone_password.filter(|p| !p.is_empty()) {
                all.phones.push(PhoneSpec {
                    user: cli.phone_user,
                    password: Some(password),
                    dial: cli.dial,
                    pin: cli.pin,
                    sip_domain: cli.phone_domain,
                    answer: true,
                    text: Some("Command hall, this is the north gate. The water is rising. We need two boats.".into()),
                    ..PhoneSpec::default()
                });
            } else {
                report::say("the phone stays out: no --phone-password (or FIELDSIM_PHONE_PASSWORD)");
            }
        }
        Some(other) => return Err(format!("unknown profile {other}; known is newcomer")),
    }
    if all.cameras.is_empty() && all.phones.is_empty() && all.radios.is_empty() {
        return Err("nothing to simulate: give --profile newcomer, --file FILE, or a subcommand (see --help)".into());
    }
    Ok(all)
}

/// The three cameras of the standard set; the third needs its password.
pub fn newcomer(camera3_password: Option<String>) -> Vec<CameraSpec> {
    let mut list = vec![
        CameraSpec { speaker: vec!["udp".into()], ..CameraSpec::default() },
        CameraSpec {
            id: "34020000001180000002".into(),
            name: "江堤录像机 Dyke recorder".into(),
            channels: 2,
            channel_names: vec!["江堤一号枪机 Dyke 1".into(), "江堤二号枪机 Dyke 2".into()],
            transport: "tcp".into(),
            media: "tcp".into(),
            edition: 2022,
            audio: "aac".into(),
            index: 2,
            recordings: vec!["-5400/2700".into(), "-2400/600/alarm".into(), "-1800/1740".into()],
            ..CameraSpec::default()
        },
    ];
    if let Some(password) = camera3_password.filter(|p| !p.is_empty()) {
        list.push(CameraSpec {
            id: "34020000001320000003".into(),
            name: "广场枪机 Square camera".into(),
            password: Some(password),
            index: 4,
            alarm_after: Some(20.0),
            ..CameraSpec::default()
        });
    }
    list
}
