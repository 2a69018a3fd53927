//! The name of a picture that is made smaller for one kind of receiver: a meeting terminal, a thin link.

use crate::stream::StreamId;

/// What stands before the parameters.
const PREFIX: &str = "h264fit:";

/// H.264 constrained baseline in a given size and rate, made of any H.264 or H.265 stream. All who need the same of one
/// source share one stream of this name: `h264fit:360/512/m1:SOURCE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fit {
    /// Pictures are scaled down to this height, in pixels, never up.
    pub height: u32,
    /// kbit/s.
    pub kbps: u32,
    /// Each slice fits a packet: for packetization mode 0 (RFC 6184 6.2).
    pub small_slices: bool,
}

/// Heights that are made, with the macroblocks of a 16:9 picture and the rate from which it looks well, kbit/s.
const HEIGHTS: [(u32, u32, u32); 6] =
    [(1080, 8160, 3000), (720, 3600, 1200), (576, 2304, 800), (360, 920, 300), (216, 336, 96), (96, 66, 0)];

impl Fit {
    /// The largest picture for a receiver that takes so many macroblocks and so many kbit/s.
    pub fn of(macroblocks: u32, kbps: u32, small_slices: bool) -> Fit {
        // A step below the agreed rate: the encoder's rate is a mean, and headers come on top.
        let kbps = (kbps.saturating_mul(85) / 100).clamp(64, 20_000);
        let fits = HEIGHTS.iter().find(|(_, blocks, least)| *blocks <= macroblocks && *least <= kbps);
        Fit { height: fits.map_or(96, |h| h.0), kbps, small_slices }
    }

    /// The stream of this form of `source`.
    pub fn id(&self, source: &StreamId) -> StreamId {
        let mode = u8::from(!self.small_slices);
        StreamId::new(format!("{PREFIX}{}/{}/m{mode}:{source}", self.height, self.kbps))
    }

    /// Reads such a name; none: it is another, or asks for what is not made.
    pub fn parse(id: &StreamId) -> Option<(Fit, StreamId)> {
        let (words, source) = id.as_str().strip_prefix(PREFIX)?.split_once(':')?;
        let mut words = words.split('/');
        let height = words.next()?.parse().ok().filter(|h| HEIGHTS.iter().any(|k| k.0 == *h))?;
        let kbps = words.next()?.parse().ok().filter(|k| (64..=20_000).contains(k))?;
        let small_slices = match words.next()? {
            "m0" => true,
            "m1" => false,
            _ => return None,
        };
        let made = source.starts_with("h264") || source.is_empty() || words.next().is_some();
        (!made).then(|| (Fit { height, kbps, small_slices }, StreamId::new(source)))
    }

    /// What all such names begin with.
    pub fn prefix() -> &'static str {
        PREFIX
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_size_follows_level_and_link() {
        assert_eq!(Fit::of(3600, 4000, false), Fit { height: 720, kbps: 3400, small_slices: false });
        assert_eq!(Fit::of(8160, 1000, false).height, 576);
        assert_eq!(Fit::of(396, 4000, false).height, 216, "a wide picture in the area of CIF");
        assert_eq!(Fit::of(99, 64, true), Fit { height: 96, kbps: 64, small_slices: true });
        let source = StreamId::new("gb28181:3402/3403");
        let fit = Fit::of(1620, 512, true);
        assert_eq!(fit.id(&source).as_str(), "h264fit:360/435/m0:gb28181:3402/3403");
        assert_eq!(Fit::parse(&fit.id(&source)), Some((fit, source)));
        for bad in
            ["h264fit:1/512/m1:a", "h264fit:360/1/m1:a", "h264fit:360/512/m2:a", "h264fit:360/512/m1:h264:a", "h264:a"]
        {
            assert_eq!(Fit::parse(&StreamId::new(bad)), None, "{bad}");
        }
    }
}
