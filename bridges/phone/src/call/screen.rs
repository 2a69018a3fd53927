//! The picture of a standing call: what the terminal shows us, and what it is shown.

use std::time::Instant;

use bridge_core::{Fault, PictureState, SeatReport};
use media_core::MediaKind;
use media_hub::{Pulled, Subscriber};
use sip::{Request, Response, SipError};
use tokio::task::JoinHandle;

use super::{Stage, Standing};
use crate::faults::Reason;
use crate::picture::{Intake, control};
use crate::view::View;

/// The picture's part of a call's state.
#[derive(Default)]
pub(super) struct Screen {
    pub(super) intake: Intake,
    view: Option<View>,
    /// A key-frame request by INFO that is under way.
    info: Option<JoinHandle<Result<Response, SipError>>>,
    /// What the seat was told last.
    told: (PictureState, Option<Fault>),
}

impl Screen {
    /// What is shown, and where datagrams are read into.
    pub fn parts(&mut self) -> (Option<&mut Subscriber>, &mut Intake) {
        (self.view.as_mut().map(|v| &mut v.shown), &mut self.intake)
    }
}

impl Standing {
    /// A picture for the terminal.
    pub(super) fn show(&mut self, pulled: Pulled) {
        if let Pulled::Item(item) = pulled
            && item.frame.kind() == MediaKind::Video
        {
            self.leg.picture.push(item.frame, item.epoch, Instant::now());
        }
    }

    /// Each tick: choice of the picture, key frames both ways, and what the conference is told.
    pub(super) async fn on_screen(&mut self, now: Instant) {
        if !self.leg.picture.agreed()
            && self.leg.picture.refused().is_none()
            && self.screen.told.0 == PictureState::None
        {
            return;
        }
        if self.leg.key_wanted().await {
            self.leg.picture.want_key();
        }
        self.check_info(now).await;
        let Stage::Seated { seat, .. } = &self.stage else { return };
        let picture = &mut self.leg.picture;
        if picture.sends().is_none() {
            // On hold, or no picture any more: the source is let go.
            self.screen.view = None;
        } else if self.screen.view.is_none() {
            let id = seat.member.0.as_str();
            self.screen.view = View::open(&self.shared.ctx.hub, id, picture.overflows(), now);
        }
        if let Some(view) = &mut self.screen.view {
            view.look(seat.look(), picture, now);
            if picture.take_key_request(now) {
                view.request_key_frame();
            }
        }
        let refused = picture.refused().map(|why| Reason::VideoRefused.with(why));
        let fault = refused.or_else(|| self.screen.view.as_ref().and_then(|v| v.fault(picture)));
        let told = (picture.state(now), fault);
        if told != self.screen.told {
            self.screen.told = told.clone();
            seat.report(SeatReport::Picture(told.0, told.1)).await;
        }
    }

    /// Asks the terminal for a key frame when one is needed, by INFO where it knows no other way.
    async fn check_info(&mut self, now: Instant) {
        if let Some(task) = self.screen.info.take_if(|t| t.is_finished())
            && let Ok(Ok(response)) = task.await
            && matches!(response.code, 405 | 415 | 488 | 489 | 501)
        {
            tracing::info!(code = response.code, caller = self.caller.id, "the terminal takes no key-frame request");
            self.leg.picture.info_refused();
        }
        if self.end.is_none() && self.screen.info.is_none() && self.leg.picture.ask_key(now) {
            let handle = self.call.handle();
            self.screen.info = Some(tokio::spawn(async move { handle.send(control::request()).await }));
        }
    }

    /// INFO with a key-frame request (RFC 5168); none: it is something else.
    pub(super) fn on_media_control(&mut self, request: &Request) -> Option<Response> {
        let kind = request.content_type().unwrap_or("");
        control::asks_key_frame(kind, &request.body).then(|| {
            self.leg.picture.key_asked();
            request.respond(200)
        })
    }
}
