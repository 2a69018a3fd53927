//! Reading a recording's structure: only box heads and moofs are read, never the samples.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::boxes::{Body, Trouble, crc32};
use super::init::{META_UUID, Meta};
use super::moof::{Frag, Run, moof};

const MAX_MOOV: u64 = 1 << 20;
const MAX_MOOF: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScanTrack {
    pub id: u32,
    pub video: bool,
    pub rate: u32,
    /// Type of the sample entry.
    pub entry: String,
    /// Offset of NAL unit lengths applies: H.264 or H.265.
    pub nal: bool,
}

/// What stands in the head of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of ftyp and moov.
    pub init: u64,
    /// Where the duration stands in mvhd and in mehd.
    pub mvhd_duration: u64,
    pub mehd_duration: u64,
    pub tracks: Vec<ScanTrack>,
    pub meta: Meta,
    /// Room for the index: offset and length.
    pub room: (u64, u64),
}

/// The structure of a file as far as it is good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    pub head: Head,
    pub frags: Vec<Frag>,
    /// Behind the last good fragment.
    pub end: u64,
    /// Of ftyp, moov, all moofs and mdat heads up to `end`.
    pub crc: u32,
    /// Bytes behind the last fragment that are a closing mfra.
    pub tail: u64,
    /// What ended the scan before the end of the file.
    pub trouble: Option<Trouble>,
}

fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut data = vec![0; len];
    let mut got = 0;
    while got < len {
        match file.read_at(&mut data[got..], offset + got as u64) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    data.truncate(got);
    Ok(data)
}

fn box_head(data: &[u8], at: u64, len: u64) -> Result<(u64, [u8; 4]), Trouble> {
    let mut body = Body { data, at };
    let size = u64::from(body.u32()?);
    let kind: [u8; 4] = body.take(4)?.try_into().map_err(|_| Trouble::new(at, "no box"))?;
    if size < 8 {
        return Err(Trouble::new(at, "box size below 8"));
    }
    if at + size > len {
        return Err(Trouble::new(
            at,
            format!("box {} reaches beyond the end of the file", String::from_utf8_lossy(&kind)),
        ));
    }
    Ok((size, kind))
}

impl Scan {
    /// Reads all there is up to `len` bytes of the file. Trouble in the head is an error: nothing can be played.
    pub fn read(file: &File, len: u64) -> io::Result<Result<Scan, Trouble>> {
        let (head, head_bytes) = match Head::read(file, len)? {
            Ok(v) => v,
            Err(t) => return Ok(Err(t)),
        };
        let mut scan = Scan { end: head.room.0 + head.room.1, crc: crc32(0, &head_bytes), head, ..Scan::default() };
        scan.extend(file, len)?;
        Ok(Ok(scan))
    }

    /// Goes on behind the last good fragment, as when a growing file has grown.
    pub fn extend(&mut self, file: &File, len: u64) -> io::Result<()> {
        self.trouble = None;
        self.tail = 0;
        while self.end < len {
            if let Err(trouble) = self.next(file, len)? {
                self.trouble = Some(trouble);
                break;
            }
            if self.tail > 0 {
                break;
            }
        }
        Ok(())
    }

    fn next(&mut self, file: &File, len: u64) -> io::Result<Result<(), Trouble>> {
        let at = self.end;
        let mut data = read_at(file, at, 4096.min((len - at) as usize))?;
        let (size, kind) = match box_head(&data, at, len) {
            Ok(v) => v,
            Err(t) => return Ok(Err(t)),
        };
        if &kind == b"mfra" {
            self.tail = size;
            return Ok(if at + size == len {
                Ok(())
            } else {
                Err(Trouble::new(at + size, "bytes behind the closing mfra"))
            });
        }
        if &kind != b"moof" || size > MAX_MOOF {
            return Ok(Err(Trouble::new(at, "no moof where one belongs")));
        }
        if data.len() < size as usize + 8 {
            data = read_at(file, at, size as usize + 8)?;
        }
        let parts = (data.get(8..size as usize), data.get(size as usize..size as usize + 8));
        let (Some(body), Some(mdat)) = parts else {
            return Ok(Err(Trouble::new(at, "mdat is missing")));
        };
        let frag = match moof(body, at).and_then(|f| self.admit(f)) {
            Ok(f) => f,
            Err(t) => return Ok(Err(t)),
        };
        match box_head(mdat, at + size, len) {
            Ok((m, k)) if &k == b"mdat" && m + size == frag.size => {}
            Ok(_) => return Ok(Err(Trouble::new(at + size, "sample sizes do not add up to mdat"))),
            Err(t) => return Ok(Err(t)),
        }
        self.crc = crc32(self.crc, &data[..size as usize + 8]);
        self.end = at + frag.size;
        self.frags.push(frag);
        Ok(Ok(()))
    }

    /// Checks a fragment against those before it.
    fn admit(&self, mut frag: Frag) -> Result<Frag, Trouble> {
        if self.frags.last().is_some_and(|last| frag.sequence <= last.sequence) {
            return Err(Trouble::new(frag.offset, "fragment numbers do not rise"));
        }
        for run in &frag.runs {
            let known = self.head.tracks.iter().any(|t| t.id == run.track && t.video == run.video);
            if !known {
                return Err(Trouble::new(frag.offset, "fragment of an unknown track"));
            }
            if let Some(last) = self.last_run(run.track)
                && run.time < last.time + last.duration
            {
                return Err(Trouble::new(frag.offset, "decode time goes back"));
            }
            if run.time > 1 << 48 {
                return Err(Trouble::new(frag.offset, "decode time is absurd"));
            }
        }
        // Sound alone in a file with pictures is no place to begin.
        let has_video = self.head.tracks.iter().any(|t| t.video);
        frag.key &= !has_video || frag.runs.iter().any(|r| r.video);
        Ok(frag)
    }

    fn last_run(&self, track: u32) -> Option<&Run> {
        self.frags.iter().rev().find_map(|f| f.run(track))
    }

    /// The track by which the recording is measured: the picture, else the sound.
    pub fn main_track(&self) -> Option<&ScanTrack> {
        self.head.tracks.iter().find(|t| t.video).or_else(|| self.head.tracks.first())
    }

    fn rate(&self, track: u32) -> u64 {
        self.head.tracks.iter().find(|t| t.id == track).map_or(1, |t| u64::from(t.rate.max(1)))
    }

    /// Milliseconds of `ticks` of a track.
    pub fn ms(&self, track: u32, ticks: u64) -> u64 {
        (u128::from(ticks) * 1000 / u128::from(self.rate(track))) as u64
    }

    /// Start of a fragment in milliseconds: of its picture if it has one, else of its sound.
    pub fn start_ms(&self, frag: &Frag) -> u64 {
        let run = frag.runs.iter().find(|r| r.video).or_else(|| frag.runs.first());
        run.map_or(0, |r| self.ms(r.track, r.time))
    }

    /// End of the longest track in milliseconds.
    pub fn duration_ms(&self) -> u64 {
        let ends = self.head.tracks.iter().filter_map(|t| {
            let run = self.last_run(t.id)?;
            Some(self.ms(t.id, run.time + run.duration))
        });
        ends.max().unwrap_or(0)
    }

    /// Samples of the main track.
    pub fn frames(&self) -> u64 {
        let Some(main) = self.main_track() else { return 0 };
        self.frags.iter().filter_map(|f| f.run(main.id)).map(|r| u64::from(r.samples)).sum()
    }
}

impl Head {
    fn read(file: &File, len: u64) -> io::Result<Result<(Head, Vec<u8>), Trouble>> {
        let front = read_at(file, 0, 4096.min(len as usize))?;
        let sizes = (|| {
            let (ftyp, kind) = box_head(&front, 0, len)?;
            if &kind != b"ftyp" || ftyp > 256 {
                return Err(Trouble::new(0, "no ftyp at the beginning"));
            }
            let at = ftyp as usize;
            let (moov, kind) = box_head(front.get(at..).unwrap_or_default(), ftyp, len)?;
            if &kind != b"moov" || moov > MAX_MOOV {
                return Err(Trouble::new(ftyp, "no moov behind ftyp"));
            }
            Ok((ftyp, moov))
        })();
        let (ftyp, moov) = match sizes {
            Ok(v) => v,
            Err(t) => return Ok(Err(t)),
        };
        let init = ftyp + moov;
        let data = read_at(file, 0, init as usize)?;
        let mut head = Head { init, ..Head::default() };
        let body = Body { data: data.get(ftyp as usize + 8..).unwrap_or_default(), at: ftyp + 8 };
        if let Err(t) = head.moov(body) {
            return Ok(Err(t));
        }
        // free, or sidx and free.
        let mut at = init;
        while at < len {
            let front = read_at(file, at, 8)?;
            match box_head(&front, at, len) {
                Ok((size, kind)) if &kind == b"free" || &kind == b"sidx" => at += size,
                Ok((_, kind)) if &kind == b"moof" || &kind == b"mfra" => break,
                Ok(_) => return Ok(Err(Trouble::new(at, "unknown box in front of the first fragment"))),
                // A torn first fragment is trouble of the fragments, not of the head.
                Err(_) if front.get(4..8) == Some(b"moof") || (at > init && front.len() < 8) => break,
                Err(t) => return Ok(Err(t)),
            }
            if at - init > MAX_MOOV {
                return Ok(Err(Trouble::new(init, "too much room for the index")));
            }
        }
        head.room = (init, at - init);
        Ok(Ok((head, data)))
    }

    fn moov(&mut self, mut moov: Body) -> Result<(), Trouble> {
        let start = moov.at;
        let mut meta = None;
        while let Some((kind, mut body)) = moov.child()? {
            match kind {
                b"mvhd" => {
                    if body.data.len() != 112 {
                        return Err(Trouble::new(body.at, "mvhd has a wrong size"));
                    }
                    self.mvhd_duration = body.at + 24;
                }
                b"trak" => self.trak(body)?,
                b"mvex" => {
                    let mehd = body.expect(b"mehd")?;
                    if mehd.data.len() != 12 {
                        return Err(Trouble::new(mehd.at, "mehd has a wrong size"));
                    }
                    self.mehd_duration = mehd.at + 4;
                }
                b"uuid" if body.data.starts_with(&META_UUID) => meta = Meta::parse(&body.data[META_UUID.len()..]),
                _ => return Err(Trouble::new(body.at, "unknown box in moov")),
            }
        }
        self.meta = meta.ok_or_else(|| Trouble::new(start, "the file does not say which recording it is"))?;
        if self.tracks.is_empty() || self.tracks.len() > 2 || self.mvhd_duration == 0 || self.mehd_duration == 0 {
            return Err(Trouble::new(start, "moov is incomplete"));
        }
        Ok(())
    }

    fn trak(&mut self, mut trak: Body) -> Result<(), Trouble> {
        let mut tkhd = trak.expect(b"tkhd")?;
        tkhd.take(20)?;
        let id = tkhd.u32()?;
        let mut mdia = trak.expect(b"mdia")?;
        let mut mdhd = mdia.expect(b"mdhd")?;
        mdhd.take(20)?;
        let rate = mdhd.u32()?;
        let mut hdlr = mdia.expect(b"hdlr")?;
        hdlr.take(8)?;
        let video = hdlr.take(4)? == b"vide";
        let mut minf = mdia.expect(b"minf")?;
        let mut entry = None;
        while let Some((kind, mut body)) = minf.child()? {
            if kind == b"stbl" {
                let mut stsd = body.expect(b"stsd")?;
                stsd.take(8)?;
                entry = stsd.child()?.map(|(kind, _)| String::from_utf8_lossy(kind).into_owned());
            }
        }
        let entry = entry.ok_or_else(|| Trouble::new(trak.at, "track without sample entry"))?;
        let nal = entry == "avc1" || entry == "hvc1";
        if rate == 0 {
            return Err(Trouble::new(trak.at, "track without clock"));
        }
        self.tracks.push(ScanTrack { id, video, rate, entry, nal });
        Ok(())
    }
}
