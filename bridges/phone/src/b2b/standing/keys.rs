//! Keys of a standing call that come or go by INFO.

use std::time::Duration;

use media_core::dtmf;
use sip::{Method, Request, Response, TxId, Uri};

use super::super::relay::Play;
use super::super::voice;
use super::{MOST_INFOS, Standing};

/// A phone that was heard so lately sends sound.
const SPEAKS: Duration = Duration::from_secs(1);

impl Standing<'_> {
    /// A key in RTP for a phone that knows no telephone events: it is told by INFO.
    pub(super) async fn inform(&mut self, side: usize, key: char, held: Duration) {
        let Some(to) = self.sides.get(side).filter(|to| !to.gone) else { return };
        if to.deaf || self.informing.len() >= MOST_INFOS {
            return self.not_informed(side, key, held).await;
        }
        let mut info = Request::new(Method::Info, Uri::default());
        let ms = held.as_millis().clamp(40, 8000);
        info.set_body("application/dtmf-relay", format!("Signal={key}\r\nDuration={ms}\r\n"));
        let handle = to.call.handle();
        self.informing.spawn(async move {
            let taken = handle.send(info).await.is_ok_and(|r| r.is_success());
            (side, key, held, taken)
        });
    }

    /// It takes no INFO either: it hears the tones, if we can speak its codec.
    pub(super) async fn not_informed(&mut self, side: usize, key: char, held: Duration) {
        let Some(to) = self.sides.get_mut(side) else { return };
        to.deaf = true;
        if to.described.laws().is_none() {
            tracing::debug!(phone = to.party.number, "a key cannot be told to a phone");
            return;
        }
        let mu = to.described.prefers_mu();
        let first = voice::key(key, held.as_millis().clamp(80, 2000) as u32);
        self.relay.play(side, Some(Play { first, mu, ..Play::default() }));
    }

    /// Keys by INFO go to the other phone as they are, and its answer comes back; as telephone events where that phone knows them and
    /// this one does not.
    pub(super) async fn on_info(&self, side: usize, tx: TxId, request: &Request) -> Option<Response> {
        if request.body.is_empty() {
            return Some(request.respond(200));
        }
        let content_type = request.content_type().unwrap_or("").to_owned();
        let Some((key, held)) = dtmf::parse_info(&content_type, &request.body) else {
            return Some(request.respond(415).with("Accept", "application/dtmf-relay, application/dtmf"));
        };
        let (Some(from), Some(to)) = (self.sides.get(side), self.sides.get(1 - side)) else { return None };
        // They take the place of its sound, so there must be some.
        let speaks = self.relay.heard().get(side).is_some_and(|heard| heard.packets > 0 && heard.at.elapsed() < SPEAKS);
        if speaks && !from.described.has_events() && to.described.has_events() {
            self.relay.press(side, key, held);
            return Some(request.respond(200));
        }
        let Ok(permit) = self.infos.clone().try_acquire_owned() else {
            return Some(request.respond(503).with("Retry-After", "1"));
        };
        let (from, to) = (from.call.handle(), to.call.handle());
        let mut info = Request::new(Method::Info, Uri::default());
        info.set_body(&content_type, request.body.clone());
        let (ok, not) = (request.respond(200), request.respond(415));
        tokio::spawn(async move {
            let _permit = permit;
            let taken = to.send(info).await.is_ok_and(|r| r.is_success());
            from.respond(tx, if taken { ok } else { not });
        });
        None
    }
}
