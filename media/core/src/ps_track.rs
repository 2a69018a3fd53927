//! The two tracks of a program stream: which codec it really is, and its frames.

use std::time::Instant;

use bytes::Bytes;

use crate::aac::{self, AacConfig};
use crate::codec::{Codec, Decoding};
use crate::nal::{AuAssembler, Role, VideoInfo, annexb_nals, find_start_code, role};
use crate::ps::PsAudio;
use crate::time::rescale;
use crate::{h264, h265};

/// Rest of an ADTS frame kept for the next PES.
const MAX_CARRY: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct VideoTrack {
    asm: Option<AuAssembler>,
    pub recovery_keys: bool,
}

impl VideoTrack {
    pub fn codec(&self) -> Option<Codec> {
        self.asm.as_ref().map(AuAssembler::codec)
    }

    pub fn assembler(&mut self) -> Option<&mut AuAssembler> {
        self.asm.as_mut()
    }

    pub fn info(&self) -> VideoInfo {
        self.asm.as_ref().and_then(AuAssembler::info).unwrap_or_default()
    }

    pub fn has_parameter_sets(&self) -> bool {
        self.asm.as_ref().is_some_and(|a| a.parameter_sets().complete(a.codec()))
    }

    /// Whether this PES payload begins a new picture: starts with a start code and a NAL unit that opens an access unit.
    pub fn starts_picture(&self, data: &[u8]) -> bool {
        if !(data.starts_with(&[0, 0, 1]) || data.starts_with(&[0, 0, 0, 1])) {
            return false;
        }
        let Some(codec) = self.codec() else { return true };
        // The PES may end inside the NAL unit: its head is enough, except that H.265 sets are read whole.
        annexb_nals(data).next().is_some_and(|n| {
            matches!(
                role(codec, n),
                Role::Parameter(..) | Role::Prefix | Role::Delimiter | Role::Slice { first: true, .. }
            )
        })
    }

    /// Where in `data` the next picture begins; negative when its start code begins in `tail`, the last bytes before it.
    /// While the codec is unknown every payload begins one.
    pub fn picture_start(&self, tail: &[u8], data: &[u8]) -> Option<isize> {
        let Some(codec) = self.codec() else { return Some(0) };
        let opens = |nal: &[u8]| {
            matches!(
                role(codec, nal),
                Role::Parameter(..) | Role::Prefix | Role::Delimiter | Role::Slice { first: true, .. }
            )
        };
        if self.starts_picture(data) {
            return Some(0);
        }
        let mut joint = tail.to_vec();
        joint.extend_from_slice(&data[..data.len().min(64)]);
        if let Some(i) = find_start_code(&joint, 0)
            && i < tail.len()
            && opens(&joint[i + 3..])
        {
            return Some(i as isize - tail.len() as isize);
        }
        let mut from = 0;
        while let Some(i) = find_start_code(data, from) {
            if opens(&data[i + 3..]) {
                return Some(if i > 0 && data[i - 1] == 0 { i - 1 } else { i } as isize);
            }
            from = i + 3;
        }
        None
    }

    /// Whether collected bytes hold slice data yet.
    pub fn has_slice(&self, data: &[u8]) -> bool {
        let codec = self.codec().unwrap_or(Codec::H264);
        annexb_nals(data).take(64).any(|n| matches!(role(codec, n), Role::Slice { .. }))
    }

    /// Fixes the codec by the stream map or by the data; parameter sets of the other codec overrule the map. True when they did.
    pub fn settle(&mut self, declared: Option<Codec>, data: &[u8]) -> bool {
        let declared = declared.filter(|c| matches!(c, Codec::H264 | Codec::H265));
        let seen = evidence(data);
        let strong = seen.and_then(|(c, strong)| strong.then_some(c));
        let codec = strong.or(self.codec()).or(declared).or(seen.map(|s| s.0));
        let wrong = strong.is_some() && declared.is_some() && strong != declared;
        if let Some(codec) = codec
            && self.codec() != Some(codec)
        {
            self.asm = Some(AuAssembler::new(codec).with_recovery_keys(self.recovery_keys));
            return wrong;
        }
        false
    }
}

/// Codec by NAL unit headers; strong when readable parameter sets prove it.
fn evidence(data: &[u8]) -> Option<(Codec, bool)> {
    let mut weak = None;
    for n in annexb_nals(data).take(32) {
        let [a, b, ..] = *n else { continue };
        if a & 0x81 == 0 && b == 1 {
            match h265::nal_type(a) {
                h265::NAL_VPS => return Some((Codec::H265, true)),
                h265::NAL_SPS if h265::parse_sps(n).is_ok() => return Some((Codec::H265, true)),
                h265::NAL_PPS | 19 | 20 | 1 => weak = weak.or(Some((Codec::H265, false))),
                _ => {}
            }
        }
        match h264::nal_type(a) {
            h264::NAL_SPS if a & 0x80 == 0 && h264::parse_sps(n).is_ok() => return Some((Codec::H264, true)),
            1 | 5 | 8 if a & 0xE0 != 0 && a & 0x80 == 0 => weak = weak.or(Some((Codec::H264, false))),
            _ => {}
        }
    }
    weak
}

#[derive(Debug, Default)]
pub(crate) struct AudioTrack {
    codec: Option<Codec>,
    pub hint: Option<Codec>,
    /// Consecutive payloads that look like ADTS, and that do not.
    adts: u32,
    plain: u32,
    pub carry: Vec<u8>,
    config: Option<AacConfig>,
    /// 90 kHz ticks of the last payload.
    pub last_duration: i64,
}

impl AudioTrack {
    pub fn codec(&self) -> Option<Codec> {
        self.codec
    }

    /// Fixes the codec: the map, but ADTS in the data overrules it (Dahua), then SDP, then A-law. True when the map was wrong.
    pub fn settle(&mut self, declared: Option<Codec>, data: &[u8]) -> bool {
        if aac::looks_like_adts(data) {
            (self.adts, self.plain) = (self.adts + 1, 0);
        } else if self.carry.is_empty() {
            (self.adts, self.plain) = (0, self.plain + 1);
        }
        let wrong = declared.is_some_and(|d| d != Codec::Aac);
        let proven = self.adts >= 1 && (!wrong || self.adts >= 2);
        let stays = self.codec == Some(Codec::Aac) && self.plain < 8;
        let codec = if proven || stays { Codec::Aac } else { declared.or(self.hint).unwrap_or(Codec::G711A) };
        let changed = self.codec != Some(codec);
        self.codec = Some(codec);
        changed && codec == Codec::Aac && wrong
    }

    /// Frames of one PES payload whose first one has this 90 kHz stamp.
    pub fn frames(&mut self, data: &[u8], pts: i64, received: Instant) -> (Vec<PsAudio>, Option<&'static str>) {
        match self.codec {
            Some(Codec::Aac) => self.adts_frames(data, pts, received),
            Some(codec) if codec.decoding() == Decoding::Nowhere => (Vec::new(), None),
            Some(codec) => {
                self.last_duration = i64::from(codec.samples(data.len())) * 90_000 / 8000;
                let frame = PsAudio {
                    codec,
                    clock_rate: 8000,
                    channels: 1,
                    config: Bytes::new(),
                    payload: Bytes::copy_from_slice(data),
                    pts: rescale(pts, 90_000, 8000),
                    received,
                };
                (vec![frame], None)
            }
            None => (Vec::new(), None),
        }
    }

    fn adts_frames(&mut self, data: &[u8], pts: i64, received: Instant) -> (Vec<PsAudio>, Option<&'static str>) {
        let mut out = Vec::new();
        let mut problem = None;
        // The stamp belongs to the first frame that begins in this PES; one carried over came before it.
        let carried = !self.carry.is_empty();
        self.carry.extend_from_slice(data);
        let buf = std::mem::take(&mut self.carry);
        let mut at = 0;
        let mut index: i64 = if carried { -1 } else { 0 };
        while at < buf.len() {
            match aac::adts_frame(&buf[at..]) {
                Ok(Some(f)) => {
                    let rate = f.config.sample_rate;
                    self.config = Some(f.config);
                    if !f.data.is_empty() {
                        out.push(PsAudio {
                            codec: Codec::Aac,
                            clock_rate: rate,
                            channels: if f.config.channels == 7 { 8 } else { f.config.channels.max(1) },
                            config: f.config.to_bytes(),
                            payload: Bytes::copy_from_slice(f.data),
                            pts: rescale(pts, 90_000, rate) + i64::from(aac::SAMPLES_PER_UNIT) * index,
                            received,
                        });
                        index += 1;
                    }
                    at += f.total_len;
                }
                Ok(None) => {
                    if buf.len() - at <= MAX_CARRY {
                        self.carry = buf[at..].to_vec();
                    }
                    break;
                }
                Err(e) => {
                    problem = Some(e.what);
                    // To the next sync word.
                    match buf[at + 1..].windows(2).position(|w| w[0] == 0xFF && w[1] & 0xF6 == 0xF0) {
                        Some(i) => at += 1 + i,
                        None => break,
                    }
                }
            }
        }
        if let Some(c) = self.config {
            self.last_duration =
                index.max(0) * i64::from(aac::SAMPLES_PER_UNIT) * 90_000 / i64::from(c.sample_rate.max(1));
        }
        (out, problem)
    }
}
