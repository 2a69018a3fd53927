//! Voice to loudspeakers: the talk button (one camera or many) and the loudspeaker of a conference's camera.
//!
//! A talk is a small room of its own: the operator's microphone goes into a mixer of its own, each camera hears that mixer in
//! G.711 A-law. A conference's loudspeaker hears the conference's mix without its own camera. Both are one leg in the bridge
//! ([`leg::VoiceLeg`]); an operator who talks to a camera whose loudspeaker a conference holds is lent that leg.

mod leg;
mod speakers;
mod table;

pub use leg::{VoiceState, VoiceStatus};
pub use speakers::change as change_speaker;
pub(crate) use table::drive;
pub use table::{TalkView, Talks, TargetView};

use std::time::Duration;

use bridge_core::ChannelId;
use media_hub::audio::Duplex;

use crate::api::Shared;

/// How often levels are told.
const LEVELS: Duration = Duration::from_millis(200);

/// Starts the loudspeakers of stored conferences and the teller of levels.
pub fn start(app: &Shared) {
    for (conference, member, channel) in app.conferences.speakers() {
        speakers::keep(app, conference, member, channel);
    }
    tokio::spawn(tell_levels(app.clone()));
}

async fn tell_levels(app: Shared) {
    let mut tick = tokio::time::interval(LEVELS);
    let mut told = false;
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            _ = tick.tick() => {}
        }
        let mut levels = app.talks.levels();
        for (channel, level) in app.conferences.speaker_levels() {
            levels.entry(channel).or_insert(level);
        }
        // Once more when the last one has gone, so that no meter stands still.
        if !levels.is_empty() || told {
            told = !levels.is_empty();
            app.events.tell("talk_levels", serde_json::json!({ "levels": levels }));
        }
    }
}

/// Sets for each conference in which a channel is, whether its sound may hold an echo now.
fn apply_echo(app: &Shared, channel: &ChannelId) {
    let talked_to = app.talks.echo_of(channel);
    for (conference, member, wish, status) in app.conferences.members_of(channel) {
        let speaks = status.filter(|s| s.state == VoiceState::OnAir);
        let duplex = match (talked_to, speaks) {
            (Some(device), _) => wish.echo(device).map(|echo_ms| Duplex::Closed { echo_ms }),
            (None, Some(status)) => wish.echo(status.echo_ms).map(|echo_ms| Duplex::Half { echo_ms }),
            (None, None) => None,
        };
        app.conferences.set_echo(&conference, &member, duplex.unwrap_or(Duplex::Full));
    }
}
