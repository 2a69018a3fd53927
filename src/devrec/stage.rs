//! Where a fetch keeps what it has until it is whole: an append-only file of frames that survives any break. Blocking.
//!
//! Each record carries a checksum; what was torn by a crash is cut off when the file is opened again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use media_core::{Codec, Frame, TrackId, TrackInfo};
use serde::{Deserialize, Serialize};

use super::align::{Known, Tail, hash};

const MAGIC: &[u8; 8] = b"SBFETCH1";
/// Length, tag, stamp, checksum.
const HEAD: usize = 4 + 1 + 8 + 4;
/// Longest record that is taken.
const MOST: u32 = 32 << 20;
/// Bytes older than this are forced to the disk.
const SYNC_EVERY: Duration = Duration::from_millis(900);

const TRACKS: u8 = 1;
const KEY: u8 = 2;
const PICTURE: u8 = 3;
const SOUND: u8 = 4;
const COMPLETE: u8 = 9;

#[derive(Serialize, Deserialize)]
struct StoredTrack {
    id: u8,
    codec: String,
    clock_rate: u32,
    channels: u8,
    width: u32,
    height: u32,
    config: Vec<u8>,
}

fn codec_of(name: &str) -> Option<Codec> {
    [Codec::H264, Codec::H265, Codec::Vp8, Codec::G711A, Codec::G711U, Codec::Aac, Codec::Opus]
        .into_iter()
        .find(|c| c.name() == name)
}

fn crc(parts: [&[u8]; 3]) -> u32 {
    let mut crc = !0u32;
    for byte in parts.iter().flat_map(|p| p.iter()) {
        crc = TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8);
    }
    !crc
}

const TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut c = n as u32;
        let mut k = 0;
        while k < 8 {
            c = if c & 1 == 1 { 0xEDB8_8320 ^ (c >> 1) } else { c >> 1 };
            k += 1;
        }
        table[n] = c;
        n += 1;
    }
    table
};

/// What is there of a stretch.
pub struct Stage {
    file: File,
    len: u64,
    pub tracks: Vec<TrackInfo>,
    pub tail: Tail,
    /// End of the sound that is there, in ticks of 90 kHz.
    pub audio_end: Option<i64>,
    /// The device said that there is no more, or all that was asked for is there.
    pub complete: bool,
    pub frames: u64,
    dirty: Option<Instant>,
}

/// One record read back.
pub enum Stored {
    Tracks(Vec<TrackInfo>),
    /// Track, key, stamp in ticks of the track.
    Frame(Frame),
}

struct Head {
    len: u32,
    tag: u8,
    at: i64,
    crc: u32,
}

fn read_head(input: &mut impl Read) -> io::Result<Head> {
    let mut head = [0u8; HEAD];
    input.read_exact(&mut head)?;
    let four = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut at = [0u8; 8];
    at.copy_from_slice(&head[5..13]);
    Ok(Head { len: four(0), tag: head[4], at: i64::from_le_bytes(at), crc: four(13) })
}

/// Reads one record; none at a torn end.
fn read_record(input: &mut impl Read) -> Option<(u8, i64, Vec<u8>)> {
    let head = read_head(input).ok()?;
    if head.len > MOST {
        return None;
    }
    let mut body = Vec::new();
    input.take(u64::from(head.len)).read_to_end(&mut body).ok()?;
    let whole = body.len() == head.len as usize && crc([&[head.tag], &head.at.to_le_bytes(), &body]) == head.crc;
    whole.then_some((head.tag, head.at, body))
}

fn tracks_of(body: &[u8]) -> Vec<TrackInfo> {
    let stored: Vec<StoredTrack> = serde_json::from_slice(body).unwrap_or_default();
    stored
        .into_iter()
        .filter_map(|t| {
            Some(TrackInfo {
                id: TrackId(t.id),
                codec: codec_of(&t.codec)?,
                clock_rate: t.clock_rate,
                channels: t.channels,
                width: t.width,
                height: t.height,
                config: Bytes::from(t.config),
            })
        })
        .collect()
}

impl Stage {
    /// Opens what is there, or begins. A torn end is cut.
    pub fn open(path: &Path) -> io::Result<Stage> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut stage = Stage {
            file,
            len: 0,
            tracks: Vec::new(),
            tail: Tail::default(),
            audio_end: None,
            complete: false,
            frames: 0,
            dirty: None,
        };
        let mut input = BufReader::with_capacity(1 << 20, stage.file.try_clone()?);
        let mut magic = [0u8; 8];
        if input.read_exact(&mut magic).is_err() || magic != *MAGIC {
            stage.file.set_len(0)?;
            stage.file.seek(SeekFrom::Start(0))?;
            stage.file.write_all(MAGIC)?;
            stage.len = MAGIC.len() as u64;
            return Ok(stage);
        }
        stage.len = MAGIC.len() as u64;
        while let Some((tag, at, body)) = read_record(&mut input) {
            stage.note(tag, at, &body);
            stage.len += (HEAD + body.len()) as u64;
        }
        stage.file.set_len(stage.len)?;
        stage.file.seek(SeekFrom::Start(stage.len))?;
        Ok(stage)
    }

    fn note(&mut self, tag: u8, at: i64, body: &[u8]) {
        match tag {
            TRACKS => self.tracks = tracks_of(body),
            KEY | PICTURE => {
                self.frames += 1;
                self.tail.push(Known { hash: hash(body), at, key: tag == KEY, place: self.len });
            }
            SOUND => {
                let rate = self.tracks.iter().find(|t| t.id == TrackId::AUDIO).map_or(8000, |t| t.clock_rate);
                // A repeated block may come out some ticks apart.
                self.audio_end = Some(media_core::time::rescale(at, rate, 90_000) + 450);
            }
            COMPLETE => self.complete = true,
            _ => {}
        }
    }

    fn append(&mut self, tag: u8, at: i64, body: &[u8]) -> io::Result<()> {
        let mut record = Vec::with_capacity(HEAD + body.len());
        record.extend_from_slice(&(body.len() as u32).to_le_bytes());
        record.push(tag);
        record.extend_from_slice(&at.to_le_bytes());
        record.extend_from_slice(&crc([&[tag], &at.to_le_bytes(), body]).to_le_bytes());
        record.extend_from_slice(body);
        self.file.write_all(&record)?;
        self.note(tag, at, body);
        self.len += record.len() as u64;
        let since = *self.dirty.get_or_insert_with(Instant::now);
        if since.elapsed() >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.dirty = None;
        self.file.sync_data()
    }

    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Where the last picture lies, in ticks of 90 kHz.
    pub fn last(&self) -> Option<i64> {
        self.tail.last().map(|k| k.at)
    }

    pub fn put_tracks(&mut self, tracks: &[TrackInfo]) -> io::Result<()> {
        if self.tracks == tracks {
            return Ok(());
        }
        let stored: Vec<StoredTrack> = tracks
            .iter()
            .map(|t| StoredTrack {
                id: t.id.0,
                codec: t.codec.name().to_owned(),
                clock_rate: t.clock_rate,
                channels: t.channels,
                width: t.width,
                height: t.height,
                config: t.config.to_vec(),
            })
            .collect();
        self.append(TRACKS, 0, &serde_json::to_vec(&stored).map_err(io::Error::other)?)
    }

    pub fn put_picture(&mut self, at: i64, key: bool, payload: &[u8]) -> io::Result<()> {
        self.append(if key { KEY } else { PICTURE }, at, payload)
    }

    /// `at` in ticks of the sound's own clock.
    pub fn put_sound(&mut self, at: i64, payload: &[u8]) -> io::Result<()> {
        self.append(SOUND, at, payload)
    }

    pub fn put_complete(&mut self) -> io::Result<()> {
        self.append(COMPLETE, 0, &[])?;
        self.sync()
    }

    /// Takes away what lies at or behind a moment: a new session gives it again.
    pub fn cut(&mut self, at: i64) -> io::Result<()> {
        if let Some(place) = self.tail.cut(at) {
            self.file.set_len(place)?;
            self.file.seek(SeekFrom::Start(place))?;
            self.len = place;
            self.audio_end = self.audio_end.map(|end| end.min(at));
        }
        Ok(())
    }
}

/// Reads a stage from its beginning, record by record.
pub struct Reader {
    input: BufReader<File>,
    tracks: Vec<TrackInfo>,
}

impl Reader {
    pub fn open(path: &Path) -> io::Result<Reader> {
        let mut input = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut magic = [0u8; 8];
        input.read_exact(&mut magic)?;
        Ok(Reader { input, tracks: Vec::new() })
    }
}

impl Iterator for Reader {
    type Item = Stored;

    fn next(&mut self) -> Option<Stored> {
        loop {
            let (tag, at, body) = read_record(&mut self.input)?;
            match tag {
                TRACKS => {
                    self.tracks = tracks_of(&body);
                    return Some(Stored::Tracks(self.tracks.clone()));
                }
                KEY | PICTURE | SOUND => {
                    let id = if tag == SOUND { TrackId::AUDIO } else { TrackId::VIDEO };
                    let Some(track) = self.tracks.iter().find(|t| t.id == id) else { continue };
                    let (codec, ticks) = (track.codec, body.len() as u32);
                    let frame = Frame::new(id, codec, at, tag != PICTURE, Instant::now(), Bytes::from(body));
                    let ticks = match codec {
                        Codec::Aac => 1024,
                        Codec::G711A | Codec::G711U => ticks,
                        _ => 0,
                    };
                    return Some(Stored::Frame(frame.with_duration(ticks)));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("skybridge-stage-{}-{name}", std::process::id()))
    }

    #[test]
    fn a_torn_end_is_cut_and_the_rest_goes_on() {
        let path = path("torn");
        let _ = std::fs::remove_file(&path);
        let mut stage = Stage::open(&path).expect("stage");
        let audio = TrackInfo::audio(Codec::G711A, 8000, 1);
        stage.put_tracks(&[TrackInfo::video(Codec::H264), audio]).expect("tracks");
        for n in 0..50i64 {
            stage.put_picture(n * 3600, n % 25 == 0, &[n as u8; 100]).expect("picture");
            stage.put_sound(n * 320, &[n as u8; 320]).expect("sound");
        }
        drop(stage);
        let whole = std::fs::metadata(&path).expect("file").len();
        let file = OpenOptions::new().write(true).open(&path).expect("file");
        file.set_len(whole - 5).expect("cut");
        let mut stage = Stage::open(&path).expect("stage");
        assert_eq!((stage.frames, stage.last(), stage.tracks.len()), (50, Some(49 * 3600), 2));
        assert_eq!(stage.audio_end, Some(48 * 3600 + 450), "the torn sound is gone");
        // A byte in the middle of a record: all from there on is gone.
        stage.cut(25 * 3600).expect("cut");
        assert_eq!(stage.last(), Some(24 * 3600));
        stage.put_picture(25 * 3600, true, b"new").expect("picture");
        stage.put_complete().expect("complete");
        drop(stage);
        let stage = Stage::open(&path).expect("stage");
        assert!(stage.complete && stage.last() == Some(25 * 3600));
        let read: Vec<Stored> = Reader::open(&path).expect("reader").collect();
        let pictures = read.iter().filter(|r| matches!(r, Stored::Frame(f) if f.track == TrackId::VIDEO)).count();
        assert_eq!(pictures, 26);
        assert!(matches!(&read[0], Stored::Tracks(t) if t.len() == 2));
        let _ = std::fs::remove_file(&path);
    }

    #[test]
    fn a_strange_file_is_begun_anew() {
        let path = path("strange");
        std::fs::write(&path, b"something else entirely").expect("write");
        let stage = Stage::open(&path).expect("stage");
        assert_eq!((stage.frames, stage.bytes()), (0, 8));
        let _ = std::fs::remove_file(&path);
    }
}
