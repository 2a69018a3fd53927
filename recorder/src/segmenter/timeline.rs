//! Time in the file: the media clock, tied anew at each epoch by the receive instant, never going back.

use std::time::Instant;

use media_core::{MediaKind, TrackInfo};
use media_hub::Item;

/// A media clock that departs from the receive clock by this much between two frames was set anew by the source.
const JUMP_NS: i64 = 5_000_000_000;
/// Reordering of pictures stays below this.
const BACK_NS: i64 = 1_000_000_000;

pub(crate) fn nanos(pts: i64, rate: u32) -> i64 {
    let ns = i128::from(pts) * 1_000_000_000 / i128::from(rate.max(1));
    i64::try_from(ns).unwrap_or(if ns > 0 { i64::MAX / 4 } else { i64::MIN / 4 })
}

pub(crate) struct TimeLine {
    pub epoch: u32,
    /// Receive instant of file time 0.
    zero: Instant,
    /// File time minus the epoch's media time.
    offset_ns: i64,
    /// End of what is in the file.
    end_ns: i64,
    /// Last frame of each kind: (file time, receive instant). Pictures, sound.
    last: [Option<(i64, Instant)>; 2],
}

fn slot(info: &TrackInfo) -> usize {
    usize::from(info.kind() == MediaKind::Audio)
}

impl TimeLine {
    /// A file that begins `lead` nanoseconds before this frame.
    pub fn begin(item: &Item, info: &TrackInfo, lead: i64) -> Self {
        let lead = lead.max(0);
        let received = item.frame.received;
        TimeLine {
            epoch: item.epoch,
            zero: received.checked_sub(std::time::Duration::from_nanos(lead as u64)).unwrap_or(received),
            offset_ns: lead - nanos(item.frame.pts, info.clock_rate),
            end_ns: 0,
            last: [None; 2],
        }
    }

    /// Time of the frame in the file; by the receive clock while its epoch is not tied yet.
    pub fn at(&self, item: &Item, info: &TrackInfo) -> i64 {
        if item.epoch == self.epoch {
            nanos(item.frame.pts, info.clock_rate).saturating_add(self.offset_ns)
        } else {
            item.frame.received.saturating_duration_since(self.zero).as_nanos() as i64
        }
    }

    /// The same in ticks of `rate`, rounded once for the epoch and not for each frame.
    pub fn ticks(&self, item: &Item, info: &TrackInfo, rate: u32) -> i64 {
        let n = i128::from(self.offset_ns) * i128::from(rate);
        let half = if n >= 0 { 500_000_000 } else { -500_000_000 };
        let offset = ((n + half) / 1_000_000_000) as i64;
        media_core::time::rescale(item.frame.pts, info.clock_rate, rate).saturating_add(offset)
    }

    /// The file time which this frame must be tied to anew: its epoch is another, or its clock jumped.
    fn tie(&self, item: &Item, info: &TrackInfo) -> Option<i64> {
        let frame = &item.frame;
        let new_epoch = item.epoch != self.epoch;
        let jumped = !new_epoch
            && self.last[slot(info)].is_some_and(|(last, received)| {
                let media = self.at(item, info).saturating_sub(last);
                let real = frame.received.saturating_duration_since(received).as_nanos() as i64;
                media < -BACK_NS || (media > JUMP_NS && media.saturating_sub(real) > JUMP_NS)
            });
        let real = frame.received.saturating_duration_since(self.zero).as_nanos() as i64;
        (new_epoch || jumped).then_some(real.max(self.end_ns))
    }

    /// Time that the frame will have in the file.
    pub fn when(&self, item: &Item, info: &TrackInfo) -> i64 {
        self.tie(item, info).unwrap_or_else(|| self.at(item, info))
    }

    /// Ties a new epoch, or a clock that jumped, by the receive instant. True if it did.
    pub fn rebase(&mut self, item: &Item, info: &TrackInfo) -> bool {
        let Some(at) = self.tie(item, info) else { return false };
        self.offset_ns = at.saturating_sub(nanos(item.frame.pts, info.clock_rate));
        self.epoch = item.epoch;
        self.last = [None; 2];
        true
    }

    /// This frame is in the file and ends at `end_ns`.
    pub fn note(&mut self, item: &Item, info: &TrackInfo, end_ns: i64) {
        let at = self.at(item, info);
        self.last[slot(info)] = Some((at, item.frame.received));
        self.end_ns = self.end_ns.max(end_ns);
    }
}
