//! MPEG transport stream (ISO/IEC 13818-1), as some cameras send it under the label of a program stream.

use crate::ps;

const PMT: u16 = 0x100;
const VIDEO: u16 = 0x101;
const AUDIO: u16 = 0x102;

#[derive(Default)]
pub struct TsMux {
    counters: [u8; 4],
}

impl TsMux {
    fn counter(&mut self, pid: u16) -> u8 {
        let slot = &mut self.counters[match pid {
            PMT => 1,
            VIDEO => 2,
            AUDIO => 3,
            _ => 0,
        }];
        let now = *slot;
        *slot = (now + 1) & 15;
        now
    }

    fn section(&mut self, pid: u16, body: &[u8], out: &mut Vec<u8>) {
        let mut s = vec![0u8];
        s.extend_from_slice(body);
        s.extend_from_slice(&ps::crc32(body).to_be_bytes());
        s.resize(184, 0xFF);
        let head = pid | 0x4000;
        out.extend_from_slice(&[0x47, (head >> 8) as u8, head as u8, 0x10 | self.counter(pid)]);
        out.extend_from_slice(&s);
    }

    /// One picture with its sound; the maps come with each key frame.
    pub fn picture(&mut self, pack: &ps::Pack, out: &mut Vec<u8>) {
        if pack.key {
            self.section(0, &[0, 0xB0, 13, 0, 1, 0xC1, 0, 0, 0, 1, 0xE0 | (PMT >> 8) as u8, PMT as u8], out);
            let streams = if pack.audio_type.is_some() { 2 } else { 1 };
            let mut map = vec![2, 0xB0, 13 + 5 * streams, 0, 1, 0xC1, 0, 0, 0xE1, 1, 0xF0, 0];
            map.extend_from_slice(&[pack.video_type, 0xE1, VIDEO as u8, 0xF0, 0]);
            if let Some(kind) = pack.audio_type {
                map.extend_from_slice(&[kind, 0xE1, AUDIO as u8, 0xF0, 0]);
            }
            self.section(PMT, &map, out);
        }
        let mut pes = Vec::new();
        ps::unbounded_pes(0xE0, pack.pts, pack.video, &mut pes);
        self.pes(VIDEO, &pes, out);
        for (pts, block) in pack.audio {
            pes.clear();
            ps::pes(0xC0, *pts, block, &mut pes);
            self.pes(AUDIO, &pes, out);
        }
    }

    fn pes(&mut self, pid: u16, pes: &[u8], out: &mut Vec<u8>) {
        let (mut rest, mut start) = (pes, true);
        while !rest.is_empty() {
            let head = pid | if start { 0x4000 } else { 0 };
            start = false;
            let counter = self.counter(pid);
            out.extend_from_slice(&[0x47, (head >> 8) as u8, head as u8]);
            if rest.len() >= 184 {
                out.push(0x10 | counter);
                out.extend_from_slice(rest.get(..184).unwrap_or_default());
                rest = rest.get(184..).unwrap_or_default();
            } else {
                let fill = 183 - rest.len();
                out.extend_from_slice(&[0x30 | counter, fill as u8]);
                if fill > 0 {
                    out.push(0);
                    out.extend(std::iter::repeat_n(0xFF, fill - 1));
                }
                out.extend_from_slice(rest);
                rest = &[];
            }
        }
    }
}
