//! A live voice: one mixer into which the operator's microphone goes, and which all targets hear.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge_core::MemberId;
use media_core::Codec;
use media_hub::audio::Mixer;
use media_hub::{Hub, StreamId};

/// The operator's place in the mixer.
const OPERATOR: &str = "operator";

pub(crate) struct Live {
    id: String,
    mixer: Mixer,
    /// The first word was said.
    began: Arc<AtomicBool>,
}

impl Live {
    pub fn start(hub: &Hub, id: &str) -> Live {
        let mixer = Mixer::start(hub, &format!("broadcast-{id}"));
        mixer.add(OPERATOR, None, Some(Codec::Opus));
        let began = Arc::new(AtomicBool::new(false));
        let (mut levels, told) = (mixer.levels(), began.clone());
        tokio::spawn(async move {
            while levels.changed().await.is_ok() {
                if levels.borrow_and_update().iter().any(|(member, level)| member == OPERATOR && level.talking) {
                    told.store(true, Ordering::Relaxed);
                    return;
                }
            }
        });
        Live { id: id.to_owned(), mixer, began }
    }

    pub fn began(&self) -> bool {
        self.began.load(Ordering::Relaxed)
    }

    /// Where the microphone goes, and what its leg hears: nothing.
    pub fn streams(&self) -> (StreamId, StreamId) {
        (StreamId::new(format!("browser:broadcast-{}", self.id)), self.mixer.listen(OPERATOR))
    }

    pub fn set_microphone(&self, stream: StreamId) {
        self.mixer.set_source(OPERATOR, Some(stream));
    }

    pub fn listen(&self, seat: &MemberId) -> StreamId {
        self.mixer.listen(&seat.0)
    }

    pub fn add(&self, seat: &MemberId, codec: Codec) {
        self.mixer.add(&seat.0, None, Some(codec));
    }

    pub fn set_mode(&self, seat: &MemberId, mode: u8) {
        self.mixer.set_mode(&seat.0, mode);
    }

    pub fn remove(&self, seat: &MemberId) {
        self.mixer.remove(&seat.0);
    }
}
