//! A fragment: moof and the head of its mdat.

use super::boxes::BoxBuf;

/// Flags of a sample that a decoder can start at, and of one that depends on others (ISO/IEC 14496-12 8.8.3.1).
pub(crate) const SYNC: u32 = 0x0200_0000;
pub(crate) const DEPENDS: u32 = 0x0101_0000;
/// tfhd: default-base-is-moof; for audio also default-sample-flags.
pub(crate) const TFHD_VIDEO: u32 = 0x02_0000;
pub(crate) const TFHD_AUDIO: u32 = 0x02_0020;
/// trun: data offset, then duration and size of each sample; for video also flags and composition offset.
pub(crate) const TRUN_VIDEO: u32 = 0xF01;
pub(crate) const TRUN_AUDIO: u32 = 0x301;

#[derive(Debug, Clone, Copy)]
pub(crate) struct SampleHead {
    pub duration: u32,
    pub size: u32,
    pub sync: bool,
    /// Presentation minus decode time.
    pub offset: i32,
}

/// The samples of one track in a fragment.
#[derive(Debug)]
pub(crate) struct RunHead {
    pub track: u32,
    pub video: bool,
    /// Decode time of the first sample.
    pub time: u64,
    pub samples: Vec<SampleHead>,
}

/// moof and mdat header; the samples of the runs follow in the order of the runs.
pub(crate) fn fragment_head(sequence: u32, runs: &[RunHead]) -> Vec<u8> {
    let mut b = BoxBuf(Vec::with_capacity(256));
    let mut offset_places = Vec::new();
    b.boxed(b"moof", |b| {
        b.full(b"mfhd", 0, 0, |b| b.u32(sequence));
        for run in runs {
            b.boxed(b"traf", |b| {
                b.full(b"tfhd", 0, if run.video { TFHD_VIDEO } else { TFHD_AUDIO }, |b| {
                    b.u32(run.track);
                    if !run.video {
                        b.u32(SYNC);
                    }
                });
                b.full(b"tfdt", 1, 0, |b| b.u64(run.time));
                b.full(b"trun", 1, if run.video { TRUN_VIDEO } else { TRUN_AUDIO }, |b| {
                    b.u32(run.samples.len() as u32);
                    offset_places.push(b.0.len());
                    b.u32(0);
                    for s in &run.samples {
                        b.u32(s.duration);
                        b.u32(s.size);
                        if run.video {
                            b.u32(if s.sync { SYNC } else { DEPENDS });
                            b.u32(s.offset as u32);
                        }
                    }
                });
            });
        }
    });
    let mut data_at = b.0.len() as u32 + 8;
    for (run, place) in runs.iter().zip(offset_places) {
        b.0[place..place + 4].copy_from_slice(&data_at.to_be_bytes());
        data_at += run.samples.iter().map(|s| s.size).sum::<u32>();
    }
    b.u32(data_at - (b.0.len() as u32));
    b.bytes(b"mdat");
    b.0
}
