//! Blind transfer (REFER, RFC 3515): one phone asks us to connect the other one with somebody else and leaves.
//!
//! What the one who asks may not dial himself, a REFER of his does not reach either. The one who asked hears by NOTIFY with
//! `message/sipfrag` how it goes; when nobody takes the call, the old one simply goes on.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::CallParty;
use media_core::sdp::{Direction, OriginVersion, Sdp};
use sip::{Call, CallEvent, CallHandle, Method, NameAddr, Request, Uri};
use tokio::time::Instant;

use super::ring::{Fork, Ring, Ringing};
use super::sdp::{self, Described, Local};
use crate::call::media_address;
use crate::phone::{Place, Shared};
use crate::route::{self, Destination, Dialler};

/// How long the one who asked may take to hang up once he was told of the success.
const FAREWELL: Duration = Duration::from_secs(3);
/// The subscription that comes with a REFER.
const SUBSCRIPTION_S: u32 = 180;

/// Reads a REFER; the error is the answer's code.
pub(super) fn target(shared: &Shared, asker: &Dialler, request: &Request) -> Result<Destination, u16> {
    let mut given = request.headers.get_all("Refer-To");
    let to: NameAddr = match (given.next(), given.next()) {
        (Some(one), None) => one.parse().map_err(|_| 400u16)?,
        _ => return Err(400),
    };
    // Attended transfer (Replaces) is not known here: the phone is told so, instead of getting a second call.
    if request.headers.get("Refer-To").is_some_and(|v| v.to_ascii_lowercase().contains("replaces=")) {
        return Err(501);
    }
    // What this phone calls us by: the host of the far end of its dialog.
    let ours = request.to().is_some_and(|t| t.uri.host.eq_ignore_ascii_case(&to.uri.host));
    if !ours && !to.uri.host.eq_ignore_ascii_case(&shared.config.realm) {
        return Err(403);
    }
    route::ringable(shared, asker, to.uri.user()).map_err(|reason| reason.sip_code())
}

/// Somebody is being called in place of the one who asked.
pub(super) struct Transfer {
    pub by: usize,
    pub to: Destination,
    pub local: Local,
    pub origin: OriginVersion,
    pub sent: Sdp,
    pub fork: Fork,
    pub deadline: Instant,
    pub rang: bool,
    pub place: Place,
}

impl Transfer {
    /// Rings the one who is to take the call; none when he cannot be called, with the line for the NOTIFY.
    pub fn start(
        shared: &Arc<Shared>,
        by: usize,
        rest: (&CallParty, &Described),
        to: Destination,
        port: u16,
    ) -> Result<Transfer, &'static str> {
        let callee = to.party();
        let reaches = to.reaches(shared);
        let Some(first) = reaches.first() else { return Err("480 Temporarily Unavailable") };
        let place = shared.place(&format!("{}:{}", crate::NAME, callee.number)).ok_or("486 Busy Here")?;
        let local = Local { address: media_address(shared, &first.target), port };
        let mut sent = sdp::offer(rest.1, local, None, Direction::SendRecv);
        let mut origin = OriginVersion::new(u64::from(rand::random::<u32>() >> 1));
        origin.stamp(&mut sent, "skybridge", local.address);
        let ring = Ring { caller: rest.0, callee: &callee, reaches, hops: 70 };
        let fork = Fork::start(shared, &ring, &sent.to_string());
        let deadline = Instant::now() + Duration::from_secs(u64::from(shared.config.ring_timeout));
        Ok(Transfer { by, to, local, origin, sent, fork, deadline, rang: false, place })
    }

    /// The next thing that happens; none when nobody answered in time.
    pub async fn next(&mut self) -> Option<Ringing> {
        tokio::time::timeout_at(self.deadline, self.fork.next()).await.ok()
    }
}

/// The status line of a refusal, for the NOTIFY.
pub(super) fn line(code: &str) -> &'static str {
    match code {
        "busy" | "call_limit" => "486 Busy Here",
        "declined" => "603 Decline",
        "no_codec" => "488 Not Acceptable Here",
        "unknown_number" => "404 Not Found",
        _ => "480 Temporarily Unavailable",
    }
}

/// Tells how it goes; `last` ends the subscription.
pub(super) fn notify(call: &CallHandle, line: &str, last: bool) -> impl Future<Output = ()> + Send + use<> {
    let mut request = Request::new(Method::Notify, Uri::default());
    request.headers.set("Event", "refer");
    let state = match last {
        true => "terminated;reason=noresource".to_owned(),
        false => format!("active;expires={SUBSCRIPTION_S}"),
    };
    request.headers.set("Subscription-State", state);
    request.set_body("message/sipfrag;version=2.0", format!("SIP/2.0 {line}\r\n"));
    let call = call.clone();
    async move {
        let _ = call.send(request).await;
    }
}

/// The one who asked is told of the success; he hangs up, or we do.
pub(super) async fn leave(mut call: Call) {
    notify(&call.handle(), "200 OK", true).await;
    let until = Instant::now() + FAREWELL;
    while let Ok(Some(event)) = tokio::time::timeout_at(until, call.next()).await {
        if let CallEvent::Request { tx, request } = event {
            call.respond(tx, request.respond(481));
        }
    }
    // Dropping the call sends the BYE.
}
