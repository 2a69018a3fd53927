//! `h264:STREAM`: the H.264 that is made of an H.265 stream while a browser needs it; `h264fit:FORM:STREAM`: a smaller
//! picture for a meeting terminal (`docs/design/transcode.md`).

use std::sync::Arc;
use std::time::Duration;

use bridge_core::drive_on_demand;
use media_hub::{Fit, Hub, Opener, Stream, StreamId};
use media_transcode::Transcoders;
use tokio_util::sync::CancellationToken;

/// What stands before the source's id.
pub const PREFIX: &str = "h264:";
/// A transcoder that nobody watches ends after this: long enough for a page to be loaded anew.
const GRACE: Duration = Duration::from_secs(3);

/// Starts a transcoder when somebody wants it.
pub struct TranscodeOpener {
    pub hub: Hub,
    pub transcoders: Transcoders,
    pub shutdown: CancellationToken,
    /// Where the work runs: whoever wants the stream may be a thread of the browser legs.
    pub runtime: tokio::runtime::Handle,
}

fn source(id: &StreamId) -> Option<(Option<Fit>, StreamId)> {
    if let Some((fit, source)) = Fit::parse(id) {
        return Some((Some(fit), source));
    }
    let source = id.as_str().strip_prefix(PREFIX)?;
    (!source.starts_with("h264")).then(|| (None, StreamId::new(source)))
}

impl Opener for TranscodeOpener {
    fn name(&self, id: &StreamId) -> Option<String> {
        let name = self.hub.name_of(&source(id)?.1)?;
        Some(format!("{name} (H.264)"))
    }

    fn open(&self, stream: Arc<Stream>) {
        let Some((fit, source)) = source(stream.id()) else { return };
        let transcoders = self.transcoders.clone();
        let work = drive_on_demand(self.hub.clone(), stream, GRACE, self.shutdown.clone(), move |publisher, stop| {
            let (transcoders, source) = (transcoders.clone(), source.clone());
            async move {
                let mut publisher = publisher;
                let result = transcoders.run_once(&source, fit, &mut publisher, stop.cancelled()).await;
                (publisher, result)
            }
        });
        self.runtime.spawn(work);
    }
}
