//! A phone that takes the call, but answers our keys with none.
//!
//! baresip 1.0 with nothing but DTLS says 200 to an offer of RTP/SAVP, with a description without `a=crypto` where RFC 4568 5.1.2 wants the
//! stream refused; others set its port to 0. Such a phone is offered DTLS by a re-INVITE before anybody is connected with it.

use std::net::IpAddr;
use std::time::Duration;

use media_core::sdp::{OriginVersion, Sdp};
use sip::{CallHandle, Method, Request, Response, Uri};

use super::super::sdp::{Described, Refusal};
use super::Branch;
use crate::call::sdp_body;
use crate::reach::Reach;
use crate::security::Security;

/// A phone that has just answered answers again at once; who called waits as long.
const PATIENCE: Duration = Duration::from_secs(5);

/// The answer holds no key for the ones that we offered, or refuses the sound.
pub(super) fn missing(response: &Response, security: &Security) -> bool {
    let refused = || {
        matches!(Described::answered(&response.body, security), Err(Refusal::Keys(_) | Refusal::NoAudio { fax: false }))
    };
    security.is_sdes() && !response.body.is_empty() && refused()
}

impl Branch {
    /// Offers DTLS in the dialog that stands (RFC 3264 8). Its answer takes the place of the first one's body.
    pub(super) async fn ask_again(
        &self,
        call: &CallHandle,
        reach: &Reach,
        address: IpAddr,
        response: &mut Response,
    ) -> Option<Security> {
        let mut security = Security::second(&self.shared, &reach.target);
        let mut sdp = Sdp::parse(self.plan.sdp_at(address).as_bytes()).ok()?;
        security.dress_sent(&mut sdp, &mut OriginVersion::new(0));
        let mut again = Request::new(Method::Invite, Uri::default());
        again.set_body("application/sdp", sdp_body(sdp.to_string()));
        let answer = tokio::time::timeout(PATIENCE, call.send(again)).await.ok()?.ok().filter(Response::is_success)?;
        Described::answered(&answer.body, &security).ok()?;
        tracing::info!(phone = self.plan.callee.number, "a phone without keys in its answer takes them by DTLS");
        response.body = answer.body;
        Some(security)
    }
}
