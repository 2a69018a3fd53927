//! Which tracks of a stream are recorded.

use media_core::{Codec, Decoding, MediaKind, TrackId, TrackInfo};

/// The recorded tracks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tracks {
    pub video: Option<TrackInfo>,
    pub audio: Option<TrackInfo>,
    /// The source's sound cannot be stored: an Opus rendition of it is needed and not there yet.
    pub needs_opus: bool,
}

impl Tracks {
    /// Whether a file made for these tracks can take the others. Sizes are told by the parameter sets.
    pub fn same_shape(&self, other: &Tracks) -> bool {
        self.video.as_ref().map(|v| v.codec) == other.video.as_ref().map(|v| v.codec) && self.audio == other.audio
    }
}

/// The picture, and the source's own sound if a file can hold it, else the Opus rendition.
pub(crate) fn select(all: &[TrackInfo]) -> Tracks {
    let video = all.iter().find(|t| t.kind() == MediaKind::Video).cloned();
    let own = all
        .iter()
        .find(|t| t.kind() == MediaKind::Audio && t.id != TrackId::OPUS && t.codec.decoding() != Decoding::Nowhere);
    let rendition = all.iter().find(|t| t.id == TrackId::OPUS && t.codec == Codec::Opus);
    let storable = own.filter(|t| matches!(t.codec, Codec::Opus | Codec::Aac) && t.clock_rate > 0);
    Tracks {
        video,
        audio: storable.or(rendition).cloned(),
        needs_opus: own.is_some() && storable.is_none() && rendition.is_none(),
    }
}
