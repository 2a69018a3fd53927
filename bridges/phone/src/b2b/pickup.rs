//! A phone wants a call of somebody else's: one that rings (by a dial code, or by Replaces with an early dialog), or its own
//! account's at another phone (Replaces with a confirmed dialog, RFC 3891).

use std::sync::Arc;
use std::time::Instant;

use bridge_core::{CallDirection, CallEndedBy, CallParty, Text};
use sip::{Call, Flow, Request, Target};
use tokio::sync::mpsc;

use super::board::{Newcomer, Order};
use super::refuse;
use super::replaces::{DialogName, Replaces};
use super::sdp::Described;
use crate::faults::Reason;
use crate::phone::{Place, Shared};
use crate::route::Dialler;
use crate::security::Security;
use crate::session_timer::SessionTimer;

/// What an INVITE asks for besides an ordinary call.
pub(crate) enum Wish {
    /// The dialog that it shall take the place of.
    Replace(DialogName, bool),
    /// A ringing call: of this phone, or of anybody in the groups.
    PickUp(Option<String>),
    Malformed,
}

/// Reads it; none for an ordinary call.
pub(crate) fn wish(shared: &Shared, request: &Request) -> Option<Wish> {
    match Replaces::of_invite(request) {
        Ok(Some(replaces)) => return Some(Wish::Replace(replaces.dialog, replaces.early_only)),
        Ok(None) => {}
        Err(_) => return Some(Wish::Malformed),
    }
    let code = Some(shared.config.pickup_code.as_str()).filter(|c| !c.is_empty())?;
    let user = request.uri.user().replace("%2A", "*").replace("%2a", "*").replace("%23", "#");
    let rest = user.strip_prefix(code)?;
    Some(Wish::PickUp(Some(rest.to_owned()).filter(|r| !r.is_empty())))
}

impl Wish {
    /// Finds the call and sends the phone there; refuses it when there is none.
    pub fn carry_out(
        self,
        shared: &Arc<Shared>,
        call: Call,
        flow: Flow,
        request: Request,
        who: CallParty,
        place: Place,
    ) {
        let to = match self.call(shared, &who.number) {
            Ok(to) => to,
            Err((reason, code)) => return refused(shared, &call, &request, &who, reason, code, place),
        };
        let timer = match SessionTimer::of_request(&request, Instant::now()) {
            Ok(timer) => timer,
            Err(_) => return refused(shared, &call, &request, &who, Reason::CallFailed, 422, place),
        };
        let offered = match Described::offered(&request.body, &Security::incoming(shared, &Target::Flow(flow.id))) {
            Ok(offered) => offered,
            // Also one without an offer: the ringing caller waits for an answer to his own.
            Err(refusal) => {
                drop(place);
                return refuse(&call, &request, &refusal.reason().fault(), 488, Some(refusal.warning()));
            }
        };
        let newcomer = Box::new(Newcomer { call, flow, request, who, offered, timer, place });
        let (orders, order) = match to {
            To::Ringing(orders) => (orders, Order::PickUp(newcomer)),
            To::Standing(orders, side) => (orders, Order::Replace { side, newcomer }),
        };
        // It ended in this moment (RFC 3891 3: 603), or is flooded.
        if let Err(failed) = orders.try_send(order)
            && let Order::PickUp(newcomer) | Order::Replace { newcomer, .. } = failed.into_inner()
        {
            let Newcomer { call, request, who, place, .. } = *newcomer;
            refused(shared, &call, &request, &who, Reason::NothingRings, 603, place);
        }
    }

    fn call(self, shared: &Shared, who: &str) -> Result<To, (Reason, u16)> {
        let may = |account: &str| account == who || shared.ctx.credentials.pick_up_together(account, who);
        match self {
            Wish::Malformed => Err((Reason::BadOffer, 400)),
            Wish::Replace(dialog, early_only) => {
                let found = shared.board.find(&dialog).ok_or((Reason::NothingRings, 481))?;
                let account = match &found.who {
                    Dialler::Account(account) => account.as_str(),
                    _ => return Err((Reason::PickUpNotAllowed, 403)),
                };
                match found.early {
                    true if may(account) => Ok(To::Ringing(found.orders)),
                    false if early_only => Err((Reason::Busy, 486)),
                    false if account == who => Ok(To::Standing(found.orders, found.side)),
                    _ => Err((Reason::PickUpNotAllowed, 403)),
                }
            }
            Wish::PickUp(Some(number)) if !may(&number) => Err((Reason::PickUpNotAllowed, 403)),
            Wish::PickUp(Some(number)) => {
                shared.board.ringing(|a| a == number).map(To::Ringing).ok_or((Reason::NothingRings, 480))
            }
            Wish::PickUp(None) => {
                let others = |a: &str| a != who && may(a);
                shared.board.ringing(others).map(To::Ringing).ok_or((Reason::NothingRings, 480))
            }
        }
    }
}

/// Where the phone goes.
enum To {
    Ringing(mpsc::Sender<Order>),
    Standing(mpsc::Sender<Order>, usize),
}

/// Refuses with a record.
fn refused(shared: &Shared, call: &Call, request: &Request, who: &CallParty, reason: Reason, code: u16, place: Place) {
    drop(place);
    let fault = reason.fault();
    let id = format!("{:016x}", rand::random::<u64>());
    let number = CallParty::new(request.uri.user().chars().take(64).collect::<String>(), "");
    let entry = shared.log.begin(id, CallDirection::Between, who.clone(), number);
    entry.finish(CallEndedBy::Gateway, fault.code, Text::new(&fault.zh, &fault.en));
    shared.ended("between", fault.code);
    refuse(call, request, &fault, code, None);
}
