//! What can be told to the simulator: command line, field file, and the newcomer's standard set.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::faults::Faults;
use crate::radio::RadioSpec;

#[derive(clap::Parser)]
#[command(version, about = "The simulated field: GB/T 28181 cameras, SIP phones and radio gateways on real sockets.", after_help = EXAMPLES)]
pub struct Cli {
    #[command(flatten)]
    pub field: FieldArgs,
    /// Standard set: `newcomer` is three cameras and, when --phone-password is given, a phone
    #[arg(long)]
    pub profile: Option<String>,
    /// TOML or JSON file with `cameras`, `phones` and `radios` (see README.md)
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Password of the profile's third camera; without it that camera stays out
    #[arg(long, env = "FIELDSIM_CAMERA3_PASSWORD", hide_env_values = true)]
    pub camera3_password: Option<String>,
    #[arg(long, env = "FIELDSIM_PHONE_USER", default_value = "8001")]
    pub phone_user: String,
    #[arg(long, env = "FIELDSIM_PHONE_PASSWORD", hide_env_values = true)]
    pub phone_password: Option<String>,
    /// Number the profile's phone dials
    #[arg(long, env = "FIELDSIM_PHONE_DIAL")]
    pub dial: Option<String>,
    #[arg(long, env = "FIELDSIM_PHONE_PIN", hide_env_values = true)]
    pub pin: Option<String>,
    /// Digest realm and SIP domain of the phone, when it is not --domain
    #[arg(long)]
    pub phone_domain: Option<String>,
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXAMPLES: &str = "Examples:
  fieldsim --server 127.0.0.1:5060 --profile newcomer
  fieldsim camera --id 34020000001320000001 --keepalive 5 --json
  fieldsim camera --id 34020000001180000002 --channels 2 --transport tcp --media tcp --edition 2022 --audio aac
  fieldsim phone --user 8001 --password SECRET --dial 9000 --pin 1234 --text 'This is the north gate' --record heard.wav
  fieldsim radio --group 9001 --carrier mcptt --talk 2+3@700#1234 --record air.wav --json
  ffmpeg -i rec.mp4 -f rawvideo -fps_mode passthrough -pix_fmt gray - | fieldsim read --width 640 --height 360";

/// Where the gateway is.
#[derive(clap::Args, Clone)]
pub struct FieldArgs {
    /// SIP address of the gateway
    #[arg(long, global = true, default_value = "127.0.0.1:5060")]
    pub server: String,
    #[arg(long, global = true, default_value = "34020000002000000001")]
    pub server_id: String,
    #[arg(long, global = true, default_value = "3402000000")]
    pub domain: String,
    /// Own address for signalling and media
    #[arg(long, global = true, default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// Seconds between keepalives
    #[arg(long, global = true, default_value_t = 60.0)]
    pub keepalive: f64,
    /// One JSON event per line on stdout; sentences go to stderr
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(clap::Subcommand)]
pub enum Command {
    /// One camera or recorder
    Camera(Box<CameraSpec>),
    /// One SIP phone
    Phone(Box<PhoneSpec>),
    /// A gateway to radios with one group
    Radio(Box<RadioSpec>),
    /// Reads raw gray pictures on stdin, prints `frame,camera` (or `-`) for each
    Read {
        #[arg(long)]
        width: usize,
        #[arg(long)]
        height: usize,
    },
}

#[derive(clap::Args, Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CameraSpec {
    #[arg(long, default_value = "34020000001320000001")]
    pub id: String,
    #[arg(long, default_value = "北门球机 North gate dome")]
    pub name: String,
    /// 1: the only channel has the device's id (camera); more: a recorder with channels of type 131
    #[arg(long, default_value_t = 1)]
    pub channels: u32,
    /// Channel ids, in place of the derived ones
    #[arg(long = "channel-id")]
    pub channel_ids: Vec<String>,
    /// Channel names, in the order of the channels
    #[arg(long = "channel-name")]
    pub channel_names: Vec<String>,
    /// Signalling: udp or tcp
    #[arg(long, default_value = "udp", value_parser = ["udp", "tcp"])]
    pub transport: String,
    /// Media: auto follows the offer; udp or tcp refuses the other with 488
    #[arg(long, default_value = "auto", value_parser = ["auto", "udp", "tcp"])]
    pub media: String,
    /// 2016 or 2022
    #[arg(long, default_value_t = 2016)]
    pub edition: u16,
    #[arg(long)]
    pub password: Option<String>,
    /// Digest user, when it is not the id
    #[arg(long)]
    pub user: Option<String>,
    #[arg(long, default_value = "640x360")]
    pub size: String,
    #[arg(long, default_value_t = 25)]
    pub fps: u32,
    /// Pictures between key frames
    #[arg(long, default_value_t = 100)]
    pub gop: u32,
    /// Bit rate, with k or M
    #[arg(long, default_value = "2000k")]
    pub bitrate: String,
    /// h264 or h265 (by ffmpeg; a key frame every --gop pictures only)
    #[arg(long, default_value = "h264", value_parser = ["h264", "h265"])]
    pub codec: String,
    /// Size of the sub-stream; without it the camera gives the main stream whatever is asked for
    #[arg(long, default_value = "")]
    pub sub: String,
    /// g711a, aac, g729 or none; g723 and svac are named in the map and hold no real sound
    #[arg(long, default_value = "g711a", value_parser = ["g711a", "aac", "g729", "g723", "svac", "none"])]
    pub audio: String,
    /// Tone of the first channel in Hz; further channels take the next of 440, 554, 659, 880...
    #[arg(long)]
    pub tone: Option<f64>,
    /// Index of the first channel in the code strip, 0-15
    #[arg(long, default_value_t = 1)]
    pub index: u8,
    /// Signalling port, 0: the kernel chooses
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// How ordered pictures are uploaded: put, post or multipart
    #[arg(long, default_value = "post", value_parser = ["put", "post", "multipart"])]
    pub snapshot: String,
    /// Registration expiry in seconds
    #[arg(long, default_value_t = 3600)]
    pub expires: u32,
    /// Its clock is off by so many seconds and stays so, whatever Date says
    #[arg(long, allow_hyphen_values = true)]
    pub clock_offset: Option<f64>,
    /// REGISTER and Keepalive carry Date, the device's own time
    #[arg(long)]
    pub send_date: bool,
    /// Seconds in which a server that it was redirected to must take it; else it goes back to the one that sent it
    #[arg(long, default_value_t = 32.0)]
    pub redirect_patience: f64,
    /// HeartBeatCount that ConfigDownload tells
    #[arg(long, default_value_t = 3)]
    pub heartbeat_count: u32,
    /// Seconds before a failed registration is tried again (a random part up to the same is added; doubles up to 60)
    #[arg(long, default_value_t = 2.0)]
    pub retry: f64,
    /// Seconds from the registration to the first alarm
    #[arg(long)]
    pub alarm_after: Option<f64>,
    /// Seconds between alarms; without it there is one
    #[arg(long)]
    pub alarm_every: Option<f64>,
    /// METHOD/TYPE/PRIORITY of alarms; after method 2 none follows until ResetAlarm
    #[arg(long, default_value = "5/2/2")]
    pub alarm: String,
    /// Id of the part that raises the alarm; else the first channel
    #[arg(long)]
    pub alarm_source: Option<String>,
    /// Send an alarm again every 2 s until its business answer
    #[arg(long)]
    pub alarm_repeats: bool,
    /// Tell the own position every so many seconds, subscribed to or not (2016 flat, 2022 as a list)
    #[arg(long)]
    pub move_every: Option<f64>,
    /// Tell positions when subscribed to, at the interval asked for; the catalog says that it is a body camera
    #[arg(long)]
    pub moves: bool,
    /// Longest subscription granted, in seconds
    #[arg(long)]
    pub subscribe_expires: Option<u32>,
    /// Tell a change of the last channel every so many seconds
    #[arg(long)]
    pub change_every: Option<f64>,
    /// Wish to be seen (VideoUploadNotify) after so many seconds
    #[arg(long)]
    pub wish_after: Option<f64>,
    /// Business groups: makes the catalog a tree with regions, organisations and recorders
    #[arg(long, default_value_t = 0)]
    pub groups: u32,
    /// Items in one message of the catalog
    #[arg(long, default_value_t = 1)]
    pub catalog_piece: usize,
    /// What the device has recorded: START/SECONDS[/KIND], START in RFC 3339 or -SECONDS before now; several allowed
    #[arg(long = "recording", value_parser = recording_arg, allow_hyphen_values = true)]
    pub recordings: Vec<String>,
    /// Items in one message of a list of recordings
    #[arg(long, default_value_t = 2)]
    pub record_pieces: usize,
    /// Pictures between key frames of recordings; 0: one second
    #[arg(long, default_value_t = 0)]
    pub record_gop: u32,
    /// What it does wrong, several allowed (README.md tells each)
    #[arg(long = "fault", value_name = "NAME[=VALUE]", value_parser = crate::faults_arg, long_help = fault_help())]
    #[serde(rename = "faults", deserialize_with = "faults_of_file")]
    pub fault: Vec<String>,
    /// What its loudspeaker does; without any word it has none (see README.md)
    #[arg(long, value_parser = crate::speaker::word)]
    #[serde(deserialize_with = "crate::speaker::words")]
    pub speaker: Vec<String>,
}

/// For `--help`: every fault by its name.
fn fault_help() -> String {
    format!(
        "What it does wrong, several allowed; README.md tells each.\n{}, {}",
        crate::faults::NAMES,
        crate::odd::NAMES
    )
}

fn recording_arg(text: &str) -> Result<String, String> {
    crate::tape::Span::parse(text).map(|_| text.to_string())
}

fn faults_of_file<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::<String>::deserialize(input)?;
    Faults::try_from(list.clone()).map_err(serde::de::Error::custom)?;
    Ok(list)
}

impl Default for CameraSpec {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Wrap {
            #[command(flatten)]
            camera: CameraSpec,
        }
        <Wrap as clap::Parser>::parse_from(["camera"]).camera
    }
}

#[derive(clap::Args, Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhoneSpec {
    #[arg(long, default_value = "8001")]
    pub user: String,
    #[arg(long, env = "FIELDSIM_PHONE_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// Number to call; without it the phone only waits
    #[arg(long)]
    pub dial: Option<String>,
    /// Digits sent by RFC 4733 after the answer, followed by #
    #[arg(long)]
    pub pin: Option<String>,
    /// Seconds between the answer and the first digit
    #[arg(long, default_value_t = 1.5)]
    pub pin_delay: f64,
    /// WAV file to speak, again and again with 2 s between
    #[arg(long)]
    pub speak: Option<PathBuf>,
    /// Text to speak through espeak-ng
    #[arg(long)]
    pub text: Option<String>,
    /// A tone in Hz instead of speech
    #[arg(long)]
    pub tone: Option<f64>,
    /// pcma or pcmu
    #[arg(long, default_value = "pcma", value_parser = ["pcma", "pcmu"])]
    pub codec: String,
    /// WAV file for what is heard
    #[arg(long)]
    pub record: Option<PathBuf>,
    /// Take incoming calls
    #[arg(long)]
    pub answer: bool,
    /// Hang up after this many seconds
    #[arg(long)]
    pub hangup_after: Option<f64>,
    /// End when the first call has ended
    #[arg(long)]
    pub once: bool,
    /// Do not register
    #[arg(long)]
    pub no_register: bool,
    #[arg(long, default_value = "udp", value_parser = ["udp", "tcp"])]
    pub transport: String,
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// SIP domain, when it is not --domain
    #[arg(long = "sip-domain")]
    pub sip_domain: Option<String>,
}

impl Default for PhoneSpec {
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Wrap {
            #[command(flatten)]
            phone: PhoneSpec,
        }
        <Wrap as clap::Parser>::parse_from(["phone"]).phone
    }
}

impl CameraSpec {
    pub fn dimensions(&self) -> Result<(usize, usize), String> {
        let parts = self.size.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        match parts {
            Some((w, h)) if w >= 96 && h >= 72 && w % 2 == 0 && h % 2 == 0 && w <= 3840 && h <= 2160 => Ok((w, h)),
            _ => Err(format!("size {} is not WIDTHxHEIGHT (even, 96x72 to 3840x2160)", self.size)),
        }
    }

    pub fn bits_per_second(&self) -> Result<u32, String> {
        let text = self.bitrate.trim();
        let (number, factor) = match text.strip_suffix(['k', 'K']) {
            Some(n) => (n, 1000.0),
            None => text.strip_suffix('M').map_or((text, 1.0), |n| (n, 1_000_000.0)),
        };
        number.parse::<f64>().map(|n| (n * factor) as u32).map_err(|_| format!("bit rate {text} is not a number"))
    }

    /// Id and name of each channel.
    pub fn channel_list(&self) -> Vec<(String, String)> {
        let count = (self.channels as usize).max(self.channel_ids.len()).max(1);
        let serial: u32 = self.id.get(14..20).and_then(|s| s.parse().ok()).unwrap_or(0);
        (0..count)
            .map(|n| {
                let derived = if count == 1 {
                    self.id.clone()
                } else {
                    let step = if count < 10 { 10 } else { 1000 };
                    let number = (serial * step + n as u32 + 1) % 1_000_000;
                    format!("{}131{}{number:06}", self.id.get(..10).unwrap_or(""), self.id.get(13..14).unwrap_or("0"))
                };
                let id = self.channel_ids.get(n).cloned().unwrap_or(derived);
                let plain = if count == 1 { self.name.clone() } else { format!("{} {}", self.name, n + 1) };
                (id, self.channel_names.get(n).cloned().unwrap_or(plain))
            })
            .collect()
    }
}
