//! The talk key of a phone in a conference where one talks at a time: two keys of its dial pad, and tones for what the hall says.

use bridge_core::{FloorNotice, FloorTerms, Key, SeatReport};

use super::{Stage, Standing};
use crate::prompt::Prompt;

/// What a dial pad can: it hears a tone for its place in the queue, and stops when it is told to.
const TERMS: FloorTerms = FloorTerms { receive_only: false, queues: true, revocable: true };

impl Standing {
    /// What the hall says of the floor. The first word tells that there is one.
    pub(super) async fn on_floor(&mut self, notice: FloorNotice) {
        if !std::mem::replace(&mut self.floored, true)
            && let Stage::Seated { seat, .. } = &self.stage
        {
            seat.report(SeatReport::Floor(TERMS)).await;
        }
        match notice {
            FloorNotice::Granted { .. } => self.play(Prompt::TalkPermit),
            FloorNotice::Denied { .. } | FloorNotice::Revoked { .. } => self.play(Prompt::TalkDenied),
            FloorNotice::Queued { .. } => self.play(Prompt::TalkQueued),
            FloorNotice::Taken { .. } | FloorNotice::Idle { .. } | FloorNotice::Cut => {}
        }
    }

    /// A key of the dial pad while it is seated.
    pub(super) async fn on_talk_key(&mut self, key: char) {
        let config = &self.shared.config;
        let key = match key.to_string() {
            key if key == config.floor_press => Key::Pressed { by: None, priority: None, emergency: false },
            key if key == config.floor_emergency => Key::Pressed { by: None, priority: None, emergency: true },
            key if key == config.floor_release => Key::Released,
            _ => return,
        };
        if let Stage::Seated { seat, .. } = &self.stage {
            seat.report(SeatReport::Key(key)).await;
        }
    }
}
