//! Reading a moof strictly: only what this recorder writes is accepted, so that damage shows.

use super::boxes::{Body, Trouble};
use super::fragment::{DEPENDS, SYNC, TFHD_AUDIO, TFHD_VIDEO, TRUN_AUDIO, TRUN_VIDEO};

/// The samples of one track in a fragment, summed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub track: u32,
    pub video: bool,
    /// Decode time of the first sample, in ticks of the track.
    pub time: u64,
    pub duration: u64,
    /// Presentation time of the first sample.
    pub first_pts: i64,
    pub samples: u32,
    pub first_size: u32,
    pub first_sync: bool,
    pub bytes: u64,
}

/// One moof with its mdat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frag {
    /// Of the moof in the file.
    pub offset: u64,
    pub moof: u32,
    /// Of moof and mdat together.
    pub size: u64,
    pub sequence: u32,
    /// Decoding can begin here: its first picture is a key frame; always true for audio alone.
    pub key: bool,
    pub runs: Vec<Run>,
}

impl Frag {
    pub fn run(&self, track: u32) -> Option<&Run> {
        self.runs.iter().find(|r| r.track == track)
    }
}

/// Reads a whole moof that begins at `offset`; `data` begins behind its header.
pub(crate) fn moof(data: &[u8], offset: u64) -> Result<Frag, Trouble> {
    let mut body = Body { data, at: offset + 8 };
    let moof_len = data.len() as u64 + 8;
    let mut mfhd = body.expect(b"mfhd")?;
    plain(&mut mfhd, 0, 0, "mfhd")?;
    let sequence = mfhd.u32()?;
    mfhd.end("mfhd")?;
    let mut runs: Vec<Run> = Vec::with_capacity(2);
    let mut data_at = moof_len + 8;
    while !body.data.is_empty() {
        let mut traf = body.expect(b"traf")?;
        let at = traf.at;
        let run = read_traf(&mut traf, &mut data_at)?;
        if runs.len() >= 2 || runs.iter().any(|r| r.track == run.track) {
            return Err(Trouble::new(at, "too many runs in one fragment"));
        }
        runs.push(run);
    }
    if runs.is_empty() {
        return Err(Trouble::new(offset, "fragment without samples"));
    }
    let video = runs.iter().find(|r| r.video);
    let key = video.is_none_or(|v| v.first_sync);
    Ok(Frag { offset, moof: moof_len as u32, size: data_at, sequence, key, runs })
}

fn plain(b: &mut Body, version: u32, flags: u32, what: &str) -> Result<(), Trouble> {
    let at = b.at;
    if b.u32()? == version << 24 | flags {
        Ok(())
    } else {
        Err(Trouble::new(at, format!("{what}: version or flags are wrong")))
    }
}

fn read_traf(traf: &mut Body, data_at: &mut u64) -> Result<Run, Trouble> {
    let mut tfhd = traf.expect(b"tfhd")?;
    let at = tfhd.at;
    let video = match tfhd.u32()? {
        TFHD_VIDEO => true,
        TFHD_AUDIO => false,
        _ => return Err(Trouble::new(at, "tfhd: version or flags are wrong")),
    };
    let track = tfhd.u32()?;
    if !video && tfhd.u32()? != SYNC {
        return Err(Trouble::new(at, "tfhd: sample flags are wrong"));
    }
    tfhd.end("tfhd")?;
    let mut tfdt = traf.expect(b"tfdt")?;
    plain(&mut tfdt, 1, 0, "tfdt")?;
    let time = tfdt.u64()?;
    tfdt.end("tfdt")?;
    let mut trun = traf.expect(b"trun")?;
    plain(&mut trun, 1, if video { TRUN_VIDEO } else { TRUN_AUDIO }, "trun")?;
    let at = trun.at;
    let samples = trun.u32()?;
    if samples == 0 {
        return Err(Trouble::new(at, "trun without samples"));
    }
    if u64::from(trun.u32()?) != *data_at {
        return Err(Trouble::new(at + 4, "trun: data offset is wrong"));
    }
    let mut run = Run {
        track,
        video,
        time,
        duration: 0,
        first_pts: time as i64,
        samples,
        first_size: 0,
        first_sync: true,
        bytes: 0,
    };
    for n in 0..samples {
        let at = trun.at;
        let (duration, size) = (trun.u32()?, trun.u32()?);
        let (mut sync, mut offset) = (true, 0);
        if video {
            sync = match trun.u32()? {
                SYNC => true,
                DEPENDS => false,
                _ => return Err(Trouble::new(at + 8, "trun: sample flags are wrong")),
            };
            offset = trun.u32()? as i32;
        }
        if n == 0 {
            run.first_size = size;
            run.first_sync = sync;
            run.first_pts += i64::from(offset);
        } else if video && sync {
            return Err(Trouble::new(at + 8, "key frame in the middle of a fragment"));
        }
        run.duration += u64::from(duration);
        run.bytes += u64::from(size);
    }
    trun.end("trun")?;
    traf.end("traf")?;
    *data_at += run.bytes;
    Ok(run)
}
