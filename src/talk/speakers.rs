//! Loudspeakers of conferences: a camera that hears the conference, for as long as the operator wants it.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{Backoff, ChannelId, MemberId};

use super::apply_echo;
use super::leg::{VoiceLeg, VoiceState, VoiceStatus};
use super::table::Lendable;
use crate::api::Shared;
use crate::conference::{ConferenceError, SpeakerWish};

/// How often it is looked whether the device is back, and whether the loudspeaker is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// Switches a member's loudspeaker, or changes how its echo is treated.
pub async fn change(
    app: &Shared,
    conference: &str,
    member: &MemberId,
    on: Option<bool>,
    wish: Option<SpeakerWish>,
) -> Result<(), ConferenceError> {
    let (channel, began) = app.conferences.set_speaker(conference, member, on, wish).await?;
    if began {
        keep(app, conference.to_owned(), member.clone(), channel);
    } else {
        apply_echo(app, &channel);
    }
    Ok(())
}

/// Keeps a loudspeaker on air while it is wanted.
pub(super) fn keep(app: &Shared, conference: String, member: MemberId, channel: ChannelId) {
    let app = app.clone();
    tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
        while wanted(&app, &conference, &member) {
            if !app.registry.get(&channel.device()).is_some_and(|d| d.online) {
                let mut waits = VoiceStatus::new(VoiceState::Waiting);
                waits.fault = app.conferences.speaker_fault(&conference, &member);
                app.conferences.speaker_status(&conference, &member, waits);
                sleep(&app).await;
                continue;
            }
            let began = tokio::time::Instant::now();
            serve(&app, &conference, &member, &channel).await;
            apply_echo(&app, &channel);
            if began.elapsed() > Duration::from_secs(30) {
                backoff.reset();
            }
            let until = tokio::time::Instant::now() + backoff.wait();
            while wanted(&app, &conference, &member) && tokio::time::Instant::now() < until {
                sleep(&app).await;
            }
        }
        apply_echo(&app, &channel);
    });
}

fn wanted(app: &Shared, conference: &str, member: &MemberId) -> bool {
    !app.shutdown.is_cancelled() && app.conferences.wants_speaker(conference, member)
}

async fn sleep(app: &Shared) {
    tokio::select! {
        () = app.shutdown.cancelled() => {}
        () = tokio::time::sleep(LOOK) => {}
    }
}

/// One leg, to its end.
async fn serve(app: &Shared, conference: &str, member: &MemberId, channel: &ChannelId) {
    let Some(listen) = app.conferences.speaker_hears(conference, member) else { return };
    let mut leg = VoiceLeg::start(app, channel, member, listen.clone(), conference);
    let (commands, status) = (leg.commands.clone(), leg.status.clone());
    let loan = Lendable { commands, status, home: listen.clone(), turn: Arc::default() };
    app.talks.offer_loan(channel, loan);
    let mut look = tokio::time::interval(LOOK);
    let mut state = None;
    loop {
        let status = leg.status.borrow_and_update().clone();
        let over = status.over();
        let changed = state.replace(status.state) != Some(status.state);
        app.conferences.speaker_status(conference, member, status);
        if changed {
            apply_echo(app, channel);
        }
        if over {
            break;
        }
        tokio::select! {
            () = app.shutdown.cancelled() => break,
            changed = leg.status.changed() => if changed.is_err() { break },
            _ = look.tick() => if !wanted(app, conference, member) { break },
        }
    }
    app.talks.end_loan(channel, &listen);
}
