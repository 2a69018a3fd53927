//! The beginning of a file: ftyp, moov and room for the index (sidx) that is filled in when the file is finished.

use media_core::TrackInfo;
use uuid::Uuid;

use super::boxes::BoxBuf;
use super::entry;
use super::params::VideoParams;

/// Ticks per second of mvhd and mehd.
pub(crate) const MOVIE_RATE: u32 = 1000;
/// Bytes kept behind moov for the sidx: about 670 references.
pub(crate) const INDEX_ROOM: usize = 8192;
pub(crate) const VIDEO_TRACK: u32 = 1;
pub(crate) const AUDIO_TRACK: u32 = 2;
/// Type of the box in moov that says what the file holds, so that the index can be rebuilt from files alone.
pub(crate) const META_UUID: [u8; 16] = *b"skybridge-rec-v1";
/// From 1904 to 1970, in seconds.
const MAC_EPOCH: u64 = 2_082_844_800;

/// What the file tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Meta {
    pub id: Uuid,
    pub stream: String,
    pub name: String,
    /// `hand`, `plan` or `device`.
    pub cause: String,
    /// Its plan; of a device's copy the fetch that made it.
    pub plan: String,
    pub keep_days: u32,
    /// Wall clock of time 0, in milliseconds since 1970.
    pub started_ms: i64,
}

impl Meta {
    fn text(&self) -> String {
        let clean = |s: &str| s.replace(['\n', '\r'], " ").chars().take(400).collect::<String>();
        format!(
            "id={}\nstream={}\nname={}\ncause={}\nplan={}\nkeep_days={}\nstarted_ms={}\n",
            self.id.simple(),
            clean(&self.stream),
            clean(&self.name),
            self.cause,
            clean(&self.plan),
            self.keep_days,
            self.started_ms
        )
    }

    pub fn parse(text: &[u8]) -> Option<Meta> {
        let mut meta = Meta::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            let (key, value) = line.split_once('=')?;
            match key {
                "id" => meta.id = Uuid::parse_str(value).ok()?,
                "stream" => value.clone_into(&mut meta.stream),
                "name" => value.clone_into(&mut meta.name),
                "cause" => value.clone_into(&mut meta.cause),
                "plan" => value.clone_into(&mut meta.plan),
                "keep_days" => meta.keep_days = value.parse().ok()?,
                "started_ms" => meta.started_ms = value.parse().ok()?,
                _ => {}
            }
        }
        (!meta.id.is_nil() && !meta.stream.is_empty()).then_some(meta)
    }
}

/// ftyp, moov and the room for the index.
pub(crate) fn init(meta: &Meta, video: Option<&VideoParams>, audio: Option<&TrackInfo>) -> Vec<u8> {
    let mut b = BoxBuf::default();
    let created = (meta.started_ms.max(0) as u64) / 1000 + MAC_EPOCH;
    b.boxed(b"ftyp", |b| {
        b.bytes(b"iso6");
        b.u32(512);
        b.bytes(b"iso6isommp41dash");
    });
    b.boxed(b"moov", |b| {
        b.full(b"mvhd", 1, 0, |b| {
            b.u64(created);
            b.u64(created);
            b.u32(MOVIE_RATE);
            b.u64(0); // duration: filled in at the end
            b.u32(0x0001_0000);
            b.u16(0x0100);
            b.zeros(10);
            matrix(b);
            b.zeros(24);
            b.u32(3);
        });
        if let Some(params) = video {
            let size = (params.width, params.height);
            track(b, VIDEO_TRACK, 90_000, created, Some(size), |b| entry::video(b, params));
        }
        if let Some(info) = audio {
            track(b, AUDIO_TRACK, info.clock_rate, created, None, |b| entry::audio(b, info));
        }
        b.boxed(b"mvex", |b| {
            b.full(b"mehd", 1, 0, |b| b.u64(0)); // duration: filled in at the end
            for id in [video.map(|_| VIDEO_TRACK), audio.map(|_| AUDIO_TRACK)].into_iter().flatten() {
                b.full(b"trex", 0, 0, |b| {
                    b.u32(id);
                    b.u32(1);
                    b.zeros(12);
                });
            }
        });
        b.boxed(b"uuid", |b| {
            b.bytes(&META_UUID);
            b.bytes(meta.text().as_bytes());
        });
    });
    b.boxed(b"free", |b| b.zeros(INDEX_ROOM - 8));
    b.0
}

fn matrix(b: &mut BoxBuf) {
    for v in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
        b.u32(v);
    }
}

fn track(b: &mut BoxBuf, id: u32, rate: u32, created: u64, size: Option<(u32, u32)>, entry: impl FnOnce(&mut BoxBuf)) {
    b.boxed(b"trak", |b| {
        b.full(b"tkhd", 1, 3, |b| {
            b.u64(created);
            b.u64(created);
            b.u32(id);
            b.u32(0);
            b.u64(0);
            b.zeros(12);
            b.u16(if size.is_some() { 0 } else { 0x0100 });
            b.u16(0);
            matrix(b);
            let (w, h) = size.unwrap_or((0, 0));
            b.u32(w << 16);
            b.u32(h << 16);
        });
        b.boxed(b"mdia", |b| {
            b.full(b"mdhd", 1, 0, |b| {
                b.u64(created);
                b.u64(created);
                b.u32(rate);
                b.u64(0);
                b.u16(0x55C4); // und
                b.u16(0);
            });
            b.full(b"hdlr", 0, 0, |b| {
                b.u32(0);
                b.bytes(if size.is_some() { b"vide" } else { b"soun" });
                b.zeros(12);
                b.bytes(b"Skybridge\0");
            });
            b.boxed(b"minf", |b| {
                if size.is_some() {
                    b.full(b"vmhd", 0, 1, |b| b.zeros(8));
                } else {
                    b.full(b"smhd", 0, 0, |b| b.zeros(4));
                }
                b.boxed(b"dinf", |b| {
                    b.full(b"dref", 0, 0, |b| {
                        b.u32(1);
                        b.full(b"url ", 0, 1, |_| {});
                    });
                });
                b.boxed(b"stbl", |b| {
                    b.full(b"stsd", 0, 0, |b| {
                        b.u32(1);
                        entry(b);
                    });
                    b.full(b"stts", 0, 0, |b| b.u32(0));
                    b.full(b"stsc", 0, 0, |b| b.u32(0));
                    b.full(b"stsz", 0, 0, |b| b.zeros(8));
                    b.full(b"stco", 0, 0, |b| b.u32(0));
                });
            });
        });
    });
}
