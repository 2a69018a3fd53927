//! Shapes of a camera's media that no gateway may stumble over (`--fault NAME`; reference sections 13, 17.4 and 19).

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shape {
    /// No packet carries the RTP marker.
    pub no_marker: bool,
    /// Video PES packets have length 0.
    pub pes_zero: bool,
    /// Pack header, system header and map leave in an RTP packet of their own.
    pub split_headers: bool,
    /// A private PES (0xBD) in each pack.
    pub private: bool,
    /// Two pictures in one pack.
    pub two_in_pack: bool,
    /// Sound in RTP payload type 8 beside the program stream: with an SSRC of its own, or with that of the pictures.
    pub side_audio: bool,
    pub side_audio_same: bool,
    /// The map says G.711 and the sound is AAC.
    pub aac_as_g711: bool,
    /// PTS and RTP stamps never change.
    pub stamp_constant: bool,
    /// RTP stamps count milliseconds.
    pub stamp_ms: bool,
    /// PTS and RTP stamps jump back by 100 s every 5 s.
    pub stamp_jump: bool,
    /// The sound's PTS begin 1000 s after the picture's.
    pub audio_base: bool,
    /// A sequence number begun anew after so many seconds.
    pub sequence_restart: Option<f64>,
    /// Payload type in place of 96.
    pub payload_type: Option<u8>,
    /// TCP in the `$` form of RTSP; 256 bytes of a maker's own before the first packet; a stray byte every 50 packets.
    pub dollar: bool,
    pub preamble: bool,
    pub stray: bool,
    /// Not a program stream, whatever the label says.
    pub transport_stream: bool,
    pub elementary: bool,
}

pub const NAMES: &str = "no-marker, pes-zero, split-headers, private, two-in-pack, side-audio, side-audio-same, aac-as-g711, \
stamp-constant, stamp-ms, stamp-jump, audio-base, sequence-restart=S, payload-type=N, dollar, preamble, stray, \
ts, es";

impl Shape {
    /// False when the name is not one of these.
    pub fn add(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let number =
            || value.parse::<f64>().ok().filter(|n| *n >= 0.0).ok_or(format!("fault {name} wants a number: {name}=N"));
        match name {
            "no-marker" => self.no_marker = true,
            "pes-zero" => self.pes_zero = true,
            "split-headers" => self.split_headers = true,
            "private" => self.private = true,
            "two-in-pack" => self.two_in_pack = true,
            "side-audio" => self.side_audio = true,
            "side-audio-same" => (self.side_audio, self.side_audio_same) = (true, true),
            "aac-as-g711" => self.aac_as_g711 = true,
            "stamp-constant" => self.stamp_constant = true,
            "stamp-ms" => self.stamp_ms = true,
            "stamp-jump" => self.stamp_jump = true,
            "audio-base" => self.audio_base = true,
            "sequence-restart" => self.sequence_restart = Some(number()?),
            "payload-type" => self.payload_type = Some(number()? as u8 & 0x7F),
            "dollar" => self.dollar = true,
            "preamble" => self.preamble = true,
            "stray" => self.stray = true,
            "ts" => self.transport_stream = true,
            "es" => self.elementary = true,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// PTS of a picture or of sound as this camera writes it.
    pub fn pts(&self, pts: u64, audio: bool) -> u64 {
        let mut pts = pts;
        if self.stamp_constant {
            pts = 90_000;
        }
        if self.stamp_jump {
            pts += 200 * 90_000 - pts / 450_000 % 2 * 100 * 90_000;
        }
        if audio && self.audio_base {
            pts += 1000 * 90_000;
        }
        pts
    }

    pub fn rtp_stamp(&self, pts: u64) -> u32 {
        if self.stamp_ms { (pts / 90) as u32 } else { self.pts(pts, false) as u32 }
    }
}
