//! Transfer (REFER, RFC 3515): one phone asks us to connect the other one with somebody else and leaves. Blind: we ring that one.
//! Attended (Replaces, RFC 3891 and 5589): the one who asks talks with both already, in two calls of ours; one call gives its far
//! phone to the other, and no new call is made.
//!
//! What the one who asks may not dial himself, a REFER of his does not reach either. The one who asked hears by NOTIFY with
//! `message/sipfrag` how it goes; when nobody takes the call, the old one simply goes on.

use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bridge_core::CallParty;
use media_core::sdp::{Direction, OriginVersion, Sdp};
use sip::{Call, CallEvent, CallHandle, Method, NameAddr, Request, Uri};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::board::{Given, Order, Yielded};
use super::replaces::{DialogName, Replaces};
use super::ring::{Fork, Ring, Ringing};
use super::sdp::{self, Described, Local};
use super::standing::Side;
use crate::call::media_address;
use crate::phone::{Place, Shared};
use crate::route::{self, Destination, Dialler};
use crate::session_timer::SessionTimer;

/// How long the one who asked may take to hang up once he was told of the success.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long another call may take to give its phone away: it may be in the middle of an offer.
const GIVEN_WITHIN: Duration = Duration::from_secs(10);
/// The subscription that comes with a REFER.
const SUBSCRIPTION_S: u32 = 180;

/// Whom a REFER means.
pub(super) enum Target {
    Somebody(Destination),
    /// Who is at the far end of this dialog's call.
    Dialog(DialogName),
}

/// Reads a REFER; the error is the answer's code.
pub(super) fn target(shared: &Shared, asker: &Dialler, request: &Request) -> Result<Target, u16> {
    let mut given = request.headers.get_all("Refer-To");
    let to: NameAddr = match (given.next(), given.next()) {
        (Some(one), None) => one.parse().map_err(|_| 400u16)?,
        _ => return Err(400),
    };
    // The dialog alone says who is meant: what stands before it is the address of a phone behind us.
    if let Some(replaces) = Replaces::of_refer_to(&to).map_err(|_| 400u16)? {
        return Ok(Target::Dialog(replaces.dialog));
    }
    // What this phone calls us by: the host of the far end of its dialog.
    let ours = request.to().is_some_and(|t| t.uri.host.eq_ignore_ascii_case(&to.uri.host));
    if !ours && !to.uri.host.eq_ignore_ascii_case(&shared.config.realm) {
        return Err(403);
    }
    route::ringable(shared, asker, to.uri.user()).map(Target::Somebody).map_err(|reason| reason.sip_code())
}

/// A transfer under way.
pub(super) enum Going {
    Blind(Box<Transfer>),
    Attended {
        by: usize,
        /// The other call's word.
        answer: oneshot::Receiver<Result<Given, u16>>,
        deadline: Instant,
    },
}

/// What became of it.
pub(super) enum Gone {
    /// Of a blind one; none when nobody answered in time.
    Rang(Option<Ringing>),
    /// Of an attended one; the error is the SIP code.
    Joined(Result<Given, u16>),
}

impl Going {
    /// Asks the other call for its far phone, or its seat. `with`: who stays; none: a conference.
    pub fn attended(
        shared: &Shared,
        by: usize,
        who: &Dialler,
        dialog: &DialogName,
        with: Option<&Described>,
    ) -> Result<Going, u16> {
        // RFC 3891 3: no such dialog, or one that nobody has answered and that the phone itself began.
        let found = shared.board.find(dialog).filter(|f| !f.early).ok_or(481u16)?;
        if found.who != *who {
            return Err(403);
        }
        let (reply, answer) = oneshot::channel();
        let order = Order::Yield { side: found.side, by: who.clone(), with: with.cloned().map(Box::new), reply };
        found.orders.try_send(order).map_err(|_| 603u16)?;
        Ok(Going::Attended { by, answer, deadline: Instant::now() + GIVEN_WITHIN })
    }

    /// The side that asked.
    pub fn by(&self) -> usize {
        match self {
            Going::Blind(transfer) => transfer.by,
            Going::Attended { by, .. } => *by,
        }
    }

    /// The next thing that happens. Cancel safe.
    pub async fn next(&mut self) -> Gone {
        match self {
            Going::Blind(transfer) => Gone::Rang(transfer.next().await),
            Going::Attended { answer, deadline, .. } => {
                Gone::Joined(match tokio::time::timeout_at(*deadline, answer).await {
                    Ok(Ok(answer)) => answer,
                    // The other call ended meanwhile.
                    Ok(Err(_)) => Err(603),
                    Err(_) => Err(408),
                })
            }
        }
    }
}

/// The status line of a code, for the NOTIFY.
pub(super) fn line_of(code: u16) -> &'static str {
    match code {
        403 => "403 Forbidden",
        408 => "408 Request Timeout",
        481 => "481 Call/Transaction Does Not Exist",
        488 => "488 Not Acceptable Here",
        603 => "603 Decline",
        _ => "500 Server Internal Error",
    }
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
        asker: &str,
    ) -> Result<Transfer, &'static str> {
        let callee = to.party();
        let reaches = to.reaches(shared);
        let Some(first) = reaches.first() else { return Err("480 Temporarily Unavailable") };
        let place = to.place(shared).ok_or("486 Busy Here")?;
        let local = Local { address: media_address(shared, &first.target), port, turns: shared.turning.offers() };
        let hidden = rest.0.number == "anonymous";
        let mut sent = sdp::offer(&rest.1.for_another(), local, None, Direction::SendRecv);
        let mut origin = OriginVersion::new(u64::from(rand::random::<u32>() >> 1));
        origin.stamp(&mut sent, "skybridge", local.address);
        let ring = Ring {
            caller: rest.0,
            callee: &callee,
            reaches,
            hops: 70,
            referred_by: Some(asker),
            hidden,
            announces: false,
        };
        let fork = Fork::start(shared, &ring, &sent.to_string());
        let deadline = Instant::now() + Duration::from_secs(u64::from(shared.config.ring_timeout));
        Ok(Transfer { by, to, local, origin, sent, fork, deadline, rang: false, place })
    }

    /// The phone that took the call, as its [`Ringing::Answered`] tells; none for what is no answer, or one that we cannot read: that phone
    /// gets a BYE.
    pub fn taken(self, answered: Ringing) -> Option<Yielded> {
        let Ringing::Answered { call, response, mut security, line, address, .. } = answered else { return None };
        let described = Described::answered(&response.body, &security).ok()?;
        let Transfer { to, local, mut origin, mut sent, mut place, .. } = self;
        place.hold(line);
        let party = to.party();
        security.dress_sent(&mut sent, &mut origin);
        let mut side = Side::new(*call, to.dialler(), Local { address, ..local }, described);
        side.party.clone_from(&party);
        side.origin = origin;
        side.sent = Some(sent);
        let now = std::time::Instant::now();
        side.timer = SessionTimer::of_response(&response.headers, now).or(Some(SessionTimer::own(now)));
        side.peer_updates = super::allows_update(&response.headers);
        side.dialog = DialogName::of_response(&response);
        Some(Yielded { side, place, party })
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

/// Tells how it goes; `last` ends the subscription. The order to send stands when this returns: the phone hears all in a row,
/// whichever task waits for its answers first.
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
    let mut sending = Box::pin(async move { drop(call.send(request).await) });
    let sent = sending.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    async move {
        if !sent {
            sending.await;
        }
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
