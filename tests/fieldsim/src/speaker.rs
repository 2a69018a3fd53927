//! What a camera's loudspeaker does (`--speaker WORD`, several allowed). Without any word the camera has none.

use std::path::PathBuf;

use crate::sdp::Setup;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum From {
    Device,
    Channel,
    Speaker,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format {
    /// Payload types 8 and 96, in this order.
    Both,
    Pcma,
    Ps,
    /// Nothing that a platform can send.
    Aac,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Speaker {
    /// Any word was given.
    pub there: bool,
    /// A channel of type 137 is in the catalog.
    pub listed: bool,
    /// Way of the sound in the camera's INVITE: none is UDP.
    pub tcp: Option<Setup>,
    /// Connects before its ACK, as Dahua does.
    pub early: bool,
    pub format: Format,
    pub from: From,
    /// Answers only broadcasts to this.
    pub target: Option<From>,
    /// Takes broadcasts.
    pub broadcast: bool,
    /// Takes `s=Talk` (2016).
    pub talk: bool,
    /// `Result` ERROR.
    pub busy: bool,
    pub no_invite: bool,
    /// Calls without a business answer.
    pub no_response: bool,
    /// Neither answers nor calls.
    pub silent: bool,
    pub no_ack: bool,
    /// Hangs up so many seconds after its ACK.
    pub bye_after: Option<f64>,
    /// How much of the loudspeaker its microphone hears, 0 to 1.
    pub echo: f64,
    /// WAV file for what the loudspeaker said.
    pub heard: Option<PathBuf>,
    /// Calls the platform by itself so many seconds after its registration.
    pub sos_after: Option<f64>,
    /// Registers anew with a new Call-ID, without logout, so many seconds after its first registration.
    pub restart_after: Option<f64>,
}

pub const WORDS: &str = "listed, unlisted, udp, tcp-active, tcp-passive, early, pcma, ps, aac, from=device|channel|speaker, \
target=device|channel|speaker, mode=broadcast|talk|both, busy, no-invite, no-response, silent, no-ack, bye-after=S, \
echo=GAIN, heard=FILE, sos-after=S, restart-after=S";

impl Default for Speaker {
    fn default() -> Self {
        Speaker {
            there: false,
            listed: false,
            tcp: None,
            early: false,
            format: Format::Both,
            from: From::Device,
            target: None,
            broadcast: true,
            talk: false,
            busy: false,
            no_invite: false,
            no_response: false,
            silent: false,
            no_ack: false,
            bye_after: None,
            echo: 0.0,
            heard: None,
            sos_after: None,
            restart_after: None,
        }
    }
}

fn part(text: &str) -> Result<From, String> {
    match text {
        "device" => Ok(From::Device),
        "channel" => Ok(From::Channel),
        "speaker" => Ok(From::Speaker),
        other => Err(format!("{other} is none of device, channel, speaker")),
    }
}

impl TryFrom<Vec<String>> for Speaker {
    type Error = String;

    fn try_from(list: Vec<String>) -> Result<Self, String> {
        let mut out = Speaker::default();
        for text in &list {
            out.there = true;
            out.add(text)?;
        }
        Ok(out)
    }
}

impl Speaker {
    fn add(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = || {
            value.parse::<f64>().ok().filter(|n| *n >= 0.0).ok_or(format!("speaker {name} wants a number: {name}=N"))
        };
        match name {
            "listed" => self.listed = true,
            "unlisted" => self.listed = false,
            "udp" => self.tcp = None,
            "tcp-active" => self.tcp = Some(Setup::Active),
            "tcp-passive" => self.tcp = Some(Setup::Passive),
            "early" => self.early = true,
            "pcma" => self.format = Format::Pcma,
            "ps" => self.format = Format::Ps,
            "aac" => self.format = Format::Aac,
            "from" => self.from = part(value)?,
            "target" => self.target = Some(part(value)?),
            "mode" => {
                (self.broadcast, self.talk) = match value {
                    "broadcast" => (true, false),
                    "talk" => (false, true),
                    "both" => (true, true),
                    other => return Err(format!("speaker mode {other} is none of broadcast, talk, both")),
                }
            }
            "busy" => self.busy = true,
            "no-invite" => self.no_invite = true,
            "no-response" => self.no_response = true,
            "silent" => self.silent = true,
            "no-ack" => self.no_ack = true,
            "bye-after" => self.bye_after = Some(number()?),
            "echo" => self.echo = number()?,
            "heard" => self.heard = Some(PathBuf::from(value)),
            "sos-after" => self.sos_after = Some(number()?),
            "restart-after" => self.restart_after = Some(number()?),
            other => return Err(format!("unknown speaker word {other}; known are {WORDS}")),
        }
        Ok(())
    }
}

/// For clap: keeps the text, refuses an unknown word at once.
pub fn word(text: &str) -> Result<String, String> {
    Speaker::try_from(vec![text.to_string()]).map(|_| text.to_string())
}

/// For field files.
pub fn words<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let list = <Vec<String> as serde::Deserialize>::deserialize(input)?;
    Speaker::try_from(list.clone()).map_err(serde::de::Error::custom)?;
    Ok(list)
}

/// The loudspeaker of a channel: its id with type 137.
pub fn id_of(channel: &str) -> String {
    format!("{}137{}", channel.get(..10).unwrap_or(""), channel.get(13..).unwrap_or(""))
}

/// Its catalog item.
pub fn item(channel: &str, name: &str) -> String {
    format!(
        "<Item>\r\n<DeviceID>{}</DeviceID>\r\n<Name>{} 喇叭 speaker</Name>\r\n<Manufacturer>Fieldsim</Manufacturer>\r\n\
         <Model>FS-SPK</Model>\r\n<Parental>0</Parental>\r\n<ParentID>{channel}</ParentID>\r\n<Status>ON</Status>\r\n</Item>\r\n",
        id_of(channel),
        crate::xml::escape(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_ids() {
        let list = ["listed", "tcp-active", "ps", "from=channel", "echo=0.5"].map(String::from).to_vec();
        let s = Speaker::try_from(list).unwrap();
        assert!(s.there && s.listed && s.broadcast && !s.talk);
        assert_eq!((s.tcp, s.format, s.from, s.echo), (Some(Setup::Active), Format::Ps, From::Channel, 0.5));
        assert!(Speaker::try_from(vec!["lowd".into()]).unwrap_err().contains("tcp-passive"));
        assert!(!Speaker::default().there);
        assert_eq!(id_of("34020000001320000001"), "34020000001370000001");
        assert!(item("34020000001320000001", "a").contains("<ParentID>34020000001320000001</ParentID>"));
    }
}
