//! From frames of the hub to fragments of files. Pure: no clock, no I/O.

mod fragment;
mod select;
mod timeline;

use std::time::{Duration, Instant};

use media_core::{Frame, MediaKind, TrackInfo};
use media_hub::Item;

use crate::mp4::params::VideoParams;
pub(crate) use fragment::{Fragment, Opening};
use fragment::{Lane, cut};
pub(crate) use select::{Tracks, select};
use timeline::{TimeLine, nanos};

/// When fragments and files are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cuts {
    /// Media time in a fragment, at most (plus one frame).
    pub fragment: Duration,
    /// Media time in a file, from which on it ends at the next key frame.
    pub file: Duration,
}

/// A file that began without pictures, or whose pictures stopped, takes sound alone after this long.
const SOUND_ALONE_AFTER: Duration = Duration::from_secs(2);
/// A sound that was announced and did not come for this long is left out of the next file.
const MUTE_AFTER: Duration = Duration::from_secs(5);
/// A file whose source sends no key frame ends anyhow after so much more than its time, if there is sound to go on with.
const OVERTIME: Duration = Duration::from_secs(30);
/// Sound that lies in time before the first picture of the next file goes there, up to this much.
const MAX_LEAD_NS: i64 = 500_000_000;
/// Frames larger than this are not media.
const MAX_PAYLOAD: usize = 32 << 20;

struct FileState {
    tracks: Tracks,
    params: Option<VideoParams>,
    line: TimeLine,
    video: Option<Lane>,
    audio: Option<Lane>,
    sequence: u32,
    opening: Option<Opening>,
    /// Pictures before the next key frame cannot be decoded (new epoch, or loss).
    need_key: bool,
}

/// Makes fragments. What it gives is in order; a fragment with an `opening` begins a new file.
pub(crate) struct Segmenter {
    cuts: Cuts,
    tracks: Tracks,
    file: Option<FileState>,
    first_seen: Option<Instant>,
    video_seen: Option<Instant>,
    /// The announced sound was heard at least once.
    heard: bool,
    want_key: bool,
    /// End of the sound of the file before, as (epoch, nanoseconds of the epoch's own clock).
    audio_end: Option<(u32, i64)>,
}

impl Segmenter {
    pub fn new(cuts: Cuts) -> Self {
        Segmenter {
            cuts,
            tracks: Tracks::default(),
            file: None,
            first_seen: None,
            video_seen: None,
            heard: false,
            want_key: false,
            audio_end: None,
        }
    }

    /// The tracks of the stream changed.
    pub fn set_tracks(&mut self, all: &[TrackInfo], out: &mut Vec<Fragment>) {
        let tracks = select(all);
        if tracks == self.tracks {
            return;
        }
        let video_changed = tracks.video.as_ref().map(|t| t.codec) != self.tracks.video.as_ref().map(|t| t.codec);
        if tracks.audio != self.tracks.audio {
            self.heard = false;
        }
        self.tracks = tracks;
        // Without pictures a new file can begin at once; else it begins at the next key frame.
        if video_changed || self.tracks.video.is_none() {
            self.flush(out);
            self.file = None;
        }
        self.want_key = self.tracks.video.is_some();
    }

    /// Takes one frame.
    pub fn item(&mut self, item: &Item, out: &mut Vec<Fragment>) {
        let frame = &item.frame;
        if frame.payload.is_empty() || frame.payload.len() > MAX_PAYLOAD {
            return;
        }
        self.first_seen.get_or_insert(frame.received);
        match frame.kind() {
            MediaKind::Video => self.picture(item, out),
            MediaKind::Audio => self.sound(item, out),
        }
    }

    fn picture(&mut self, item: &Item, out: &mut Vec<Fragment>) {
        let frame = &item.frame;
        let Some(info) = self.tracks.video.clone().filter(|t| t.id == frame.track && t.codec == frame.codec) else {
            return;
        };
        self.video_seen = Some(frame.received);
        if frame.key {
            let params = VideoParams::of_key_frame(frame.codec, &frame.payload, info.width, info.height);
            let fits = self.file.as_ref().is_some_and(|f| {
                f.video.is_some()
                    && f.tracks.same_shape(&self.effective(frame.received))
                    && (params.is_none() || f.params == params)
                    && !self.over(f, item, &info, Duration::ZERO)
            });
            if !fits {
                let lead = self.lead(item, &info);
                self.flush(out);
                let Some(params) = params else {
                    self.file = None;
                    return;
                };
                self.open(item, &info, Some(params), lead);
            }
            self.want_key = false;
        } else if self.file.as_ref().is_none_or(|f| f.video.is_none() || (f.need_key && f.line.epoch == item.epoch)) {
            self.want_key = true;
            return;
        }
        if let Some(file) = &self.file
            && !frame.key
            && self.over(file, item, &info, Duration::ZERO)
        {
            self.want_key = true;
        }
        self.push(item, &info, out);
    }

    fn sound(&mut self, item: &Item, out: &mut Vec<Fragment>) {
        let frame = &item.frame;
        let Some(info) = self.tracks.audio.clone().filter(|t| t.id == frame.track && t.codec == frame.codec) else {
            return;
        };
        self.heard = true;
        let overtime = if self.tracks.video.is_some() { OVERTIME } else { Duration::ZERO };
        let ends = self.file.as_ref().is_some_and(|f| self.over(f, item, &info, overtime));
        if ends {
            self.flush(out);
            self.file = None;
        }
        match &self.file {
            None => {
                let seen = self.video_seen.or(self.first_seen).unwrap_or(frame.received);
                let alone = frame.received.saturating_duration_since(seen) >= SOUND_ALONE_AFTER;
                if self.tracks.video.is_some() && !alone {
                    return;
                }
                self.open(item, &info, None, 0);
            }
            // The sound changed its form: it waits for the next key frame, which begins a new file.
            Some(f) if f.tracks.audio.as_ref() != Some(&info) => {
                self.want_key = true;
                return;
            }
            Some(_) => {}
        }
        self.push(item, &info, out);
    }

    /// The tracks without a sound that was announced and never came: players wait for ever for such a track.
    fn effective(&self, now: Instant) -> Tracks {
        let mut tracks = self.tracks.clone();
        let mute = self.first_seen.is_some_and(|first| now.saturating_duration_since(first) >= MUTE_AFTER);
        if !self.heard && mute && tracks.video.is_some() {
            tracks.audio = None;
        }
        tracks
    }

    /// Whether the file is older than its time plus `more` at this frame.
    fn over(&self, file: &FileState, item: &Item, info: &TrackInfo, more: Duration) -> bool {
        file.line.when(item, info) >= (self.cuts.file + more).as_nanos() as i64
    }

    /// How much earlier than the picture the new file begins, so that no sound between the files is lost.
    fn lead(&self, item: &Item, info: &TrackInfo) -> i64 {
        let Some((epoch, end)) = self.audio_end else { return 0 };
        let lead = nanos(item.frame.pts, info.clock_rate) - end;
        if epoch == item.epoch && (0..=MAX_LEAD_NS).contains(&lead) { lead } else { 0 }
    }

    fn open(&mut self, item: &Item, info: &TrackInfo, params: Option<VideoParams>, lead: i64) {
        let line = TimeLine::begin(item, info, lead);
        let mut tracks = self.effective(item.frame.received);
        if params.is_none() {
            tracks.video = None;
        }
        let opening = Opening {
            params: params.clone(),
            audio: tracks.audio.clone(),
            received: item.frame.received,
            lead: Duration::from_nanos(lead.max(0) as u64),
        };
        self.file = Some(FileState {
            video: tracks.video.as_ref().map(|_| Lane::video()),
            audio: tracks.audio.as_ref().map(Lane::audio),
            // A file with sound alone that waits for pictures is of another shape than the tracks.
            tracks,
            params,
            line,
            sequence: 0,
            opening: Some(opening),
            need_key: false,
        });
    }

    fn push(&mut self, item: &Item, info: &TrackInfo, out: &mut Vec<Fragment>) {
        let Some(file) = &mut self.file else { return };
        let frame: &Frame = &item.frame;
        let video = frame.kind() == MediaKind::Video;
        if file.line.rebase(item, info) {
            file.need_key = file.video.is_some();
        }
        if video {
            if file.need_key && !frame.key {
                self.want_key = true;
                return;
            }
            file.need_key = false;
        }
        let ns = file.line.at(item, info);
        let limit = self.cuts.fragment.as_nanos() as i64;
        let primary = video || file.video.is_none();
        let limit = if primary { limit } else { limit + limit / 4 };
        let first = [&file.video, &file.audio].into_iter().flatten().filter_map(|l| l.first_ns()).min();
        let full = first.is_some_and(|first| ns - first >= limit);
        let rate = if video { 90_000 } else { info.clock_rate };
        let ticks = file.line.ticks(item, info, rate);
        let splits = file.video.as_ref().is_some_and(|l| video && !l.may_cut_before(ticks));
        let late = first.is_some_and(|first| ns - first >= 2 * limit);
        if (full && (!splits || late)) || (video && frame.key) {
            Self::cut(file, Some((video, ticks)), out);
        }
        let lane = if video { &mut file.video } else { &mut file.audio };
        let Some(lane) = lane else { return };
        if ticks < 0 {
            return;
        }
        lane.push(ticks, ns, item.frame.clone());
        let end = ns + lane.step_ns();
        file.line.note(item, info, end);
        if !video {
            self.audio_end = Some((item.epoch, nanos(frame.pts, info.clock_rate) + lane.step_ns()));
        }
    }

    fn cut(file: &mut FileState, next: Option<(bool, i64)>, out: &mut Vec<Fragment>) {
        if let Some(fragment) = cut(&mut file.sequence, &mut file.video, &mut file.audio, next, &mut file.opening) {
            out.push(fragment);
        }
    }

    /// Makes a fragment of what waits, as when time has passed without frames.
    pub fn flush(&mut self, out: &mut Vec<Fragment>) {
        if let Some(file) = &mut self.file {
            Self::cut(file, None, out);
        }
    }

    /// Whether frames wait that are in no fragment yet.
    pub fn holds(&self) -> bool {
        self.file.as_ref().is_some_and(|f| [&f.video, &f.audio].into_iter().flatten().any(|l| l.first_ns().is_some()))
    }

    /// Frames were lost: pictures go on at the next key frame.
    pub fn lost(&mut self) {
        if let Some(file) = &mut self.file {
            file.need_key = file.video.is_some();
        }
    }

    /// The file ends here (job stopped, disk full, writer failed); the next key frame begins another.
    pub fn abandon(&mut self) {
        self.file = None;
        self.audio_end = None;
        self.first_seen = None;
        self.video_seen = None;
    }

    /// A key frame should be asked for; asking twice is harmless, the stream merges.
    pub fn take_want_key(&mut self) -> bool {
        std::mem::take(&mut self.want_key)
    }
}

#[cfg(test)]
mod tests;
