//! MPEG program stream as GB/T 28181 wants it (ISO/IEC 13818-1; reference sections 17.2 and 17.3).

/// Payload bytes of one PES at most.
const PES_MAX: usize = 0xFF80;
/// In units of 50 byte/s.
const MUX_RATE: u32 = 50_000;
pub const STREAM_H264: u8 = 0x1B;
pub const STREAM_SVAC: u8 = 0x80;
pub const STREAM_G711A: u8 = 0x90;
pub const STREAM_AAC: u8 = 0x0F;
pub const STREAM_H265: u8 = 0x24;
pub const STREAM_G7231: u8 = 0x93;
pub const STREAM_G729: u8 = 0x99;
pub const STREAM_SVAC_AUDIO: u8 = 0x9B;

pub fn pack_header(scr: u64, out: &mut Vec<u8>) {
    let s = scr & 0x1_FFFF_FFFF;
    out.extend_from_slice(&[0, 0, 1, 0xBA]);
    out.push(0x44 | ((s >> 27) & 0x38) as u8 | ((s >> 28) & 3) as u8);
    out.push((s >> 20) as u8);
    out.push(((s >> 12) & 0xF8) as u8 | 4 | ((s >> 13) & 3) as u8);
    out.push((s >> 5) as u8);
    out.push(((s << 3) & 0xF8) as u8 | 4);
    out.push(1);
    let rate = MUX_RATE << 2 | 3;
    out.extend_from_slice(&[(rate >> 16) as u8, (rate >> 8) as u8, rate as u8, 0xF8]);
}

pub fn system_header(audio: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0, 1, 0xBB, 0, if audio { 12 } else { 9 }]);
    let rate = 0x80_0001 | MUX_RATE << 1;
    out.extend_from_slice(&[(rate >> 16) as u8, (rate >> 8) as u8, rate as u8]);
    out.extend_from_slice(&[if audio { 4 } else { 0 }, 0xE1, 0x7F]);
    out.extend_from_slice(&[0xE0, 0xE0 | 1, 0x90]);
    if audio {
        out.extend_from_slice(&[0xC0, 0xC0, 32]);
    }
}

pub fn crc32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xFFFF_FFFFu32, |mut crc, b| {
        crc ^= u32::from(*b) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 };
        }
        crc
    })
}

/// Program stream map: this type on 0xE0 and, when given, a sound type on 0xC0.
pub fn program_map(video: u8, audio: Option<u8>, out: &mut Vec<u8>) {
    let start = out.len();
    let map: u16 = if audio.is_some() { 8 } else { 4 };
    out.extend_from_slice(&[0, 0, 1, 0xBC]);
    out.extend_from_slice(&(10 + map).to_be_bytes());
    out.extend_from_slice(&[0xE1, 0xFF, 0, 0]);
    out.extend_from_slice(&map.to_be_bytes());
    out.extend_from_slice(&[video, 0xE0, 0, 0]);
    if let Some(kind) = audio {
        out.extend_from_slice(&[kind, 0xC0, 0, 0]);
    }
    let crc = crc32(out.get(start..).unwrap_or(&[]));
    out.extend_from_slice(&crc.to_be_bytes());
}

/// One elementary unit as PES packets; only the first carries the PTS.
pub fn pes(stream: u8, pts: u64, payload: &[u8], out: &mut Vec<u8>) {
    for (n, part) in payload.chunks(PES_MAX).enumerate() {
        let stamp = if n == 0 { 5 } else { 0 };
        out.extend_from_slice(&[0, 0, 1, stream]);
        out.extend_from_slice(&((part.len() + 3 + stamp) as u16).to_be_bytes());
        out.extend_from_slice(&[0x80, if n == 0 { 0x80 } else { 0 }, stamp as u8]);
        if n == 0 {
            out.push(0x21 | ((pts >> 29) & 0x0E) as u8);
            out.push((pts >> 22) as u8);
            out.push((pts >> 14) as u8 | 1);
            out.push((pts >> 7) as u8);
            out.push((pts << 1) as u8 | 1);
        }
        out.extend_from_slice(part);
    }
}

/// One elementary unit as a single PES of length 0.
pub fn unbounded_pes(stream: u8, pts: u64, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    pes(stream, pts, payload.get(..payload.len().min(1)).unwrap_or_default(), out);
    if let Some(length) = out.get_mut(start + 4..start + 6) {
        length.fill(0);
    }
    out.extend_from_slice(payload.get(1..).unwrap_or_default());
}

/// One video frame with the sound that is due: pack header, on a key frame system header and map, PES.
pub struct Pack<'a> {
    pub pts: u64,
    pub key: bool,
    /// Stream type of the pictures.
    pub video_type: u8,
    pub video: &'a [u8],
    /// Stream type of the sound and its blocks (PTS, bytes).
    pub audio_type: Option<u8>,
    pub audio: &'a [(u64, Vec<u8>)],
    /// False: a device that never sends a program map.
    pub with_map: bool,
    pub shape: &'a crate::shape::Shape,
}

impl Pack<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        pack_header(self.pts, out);
        if self.key {
            system_header(self.audio_type.is_some(), out);
            if self.with_map {
                let audio = if self.shape.aac_as_g711 { Some(STREAM_G711A) } else { self.audio_type };
                program_map(self.video_type, audio, out);
            }
        }
        self.body(out);
    }

    /// What follows the headers.
    pub fn body(&self, out: &mut Vec<u8>) {
        if self.shape.private {
            out.extend_from_slice(&[0, 0, 1, 0xBD, 0, 12, 0x80, 0, 0, 0x40, 0, 0, 1, 0xE0, 5, 6, 7, 8]);
        }
        if self.shape.pes_zero {
            unbounded_pes(0xE0, self.pts, self.video, out);
        } else {
            pes(0xE0, self.pts, self.video, out);
        }
        for (pts, block) in self.audio {
            pes(0xC0, *pts, block, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(f: impl Fn(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        hex::encode_upper(out)
    }

    #[test]
    fn vectors_of_the_reference() {
        assert_eq!(made(|o| pack_header(90_000, o)), "000001BA440016FC8401030D43F8");
        assert_eq!(made(|o| system_header(true, o)), "000001BB000C8186A104E17FE0E190C0C020");
        assert_eq!(
            made(|o| program_map(STREAM_H264, Some(STREAM_G711A), o)),
            "000001BC0012E1FF000000081BE0000090C00000B9287F16"
        );
        assert_eq!(
            made(|o| pes(0xE0, 93_600, &[0, 0, 0, 1, 0x65], o)),
            "000001E0000D8080052100".to_owned() + "05DB410000000165"
        );
        assert_eq!(crc32(b"123456789"), 0x0376_E6E7);
    }

    #[test]
    fn a_large_frame_is_split() {
        let mut out = Vec::new();
        pes(0xE0, 1, &vec![7; PES_MAX + 10], &mut out);
        assert_eq!(out.len(), PES_MAX + 10 + 14 + 9);
        assert_eq!(out.get(PES_MAX + 14..PES_MAX + 18), Some([0, 0, 1, 0xE0].as_slice()));
    }
}
