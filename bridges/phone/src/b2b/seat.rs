//! A member's call in a conference on the switchboard: its seat can be handed on, and the conference may take a phone out of a call
//! between phones (RFC 3515, 3891, 5589). Four ways lead to it:
//!
//! - The member names a number (REFER without Replaces): that phone rings, and takes the seat when it answers.
//! - The member asks, in its call with the conference, that the phone of another call of its own takes its seat (REFER with Replaces).
//! - It asks the same the other way round: in its call with a phone, that this one takes its seat.
//! - Another phone of the same account takes the seat by INVITE with Replaces.
//!
//! Only accounts may; a guest or the far end of a trunk has proved nothing that could be compared.

use std::sync::Arc;

use bridge_core::CallParty;
use media_net::PlainPair;
use sip::{CallEvent, CallHandle, Request, Response, TxId};
use tokio::sync::{mpsc, oneshot};

use super::board::{Given, Line, Newcomer, Order, Yielded};
use super::replaces::DialogName;
use super::ring::Ringing;
use super::sdp;
use super::transfer::{self, Going, Gone, Target, Transfer};
use crate::phone::Shared;
use crate::route::{Destination, Dialler};

/// What somebody wants of a member's call.
pub(crate) enum Wanted {
    /// Another call of the member's has a phone for the seat.
    Seat(oneshot::Sender<Result<Given, u16>>),
    /// Another phone of the account takes the seat.
    Newcomer(Box<Newcomer>),
    /// The phone that the member asked for comes.
    Phone(Box<Yielded>),
    /// It does not; a status line.
    Nobody(&'static str),
}

/// The line of a member's call on the switchboard.
pub(crate) struct Desk {
    who: Dialler,
    line: Line,
    listed: bool,
    orders: mpsc::Receiver<Order>,
    going: Option<Going>,
    /// The member's call, to be told how its REFER goes.
    asker: Option<CallHandle>,
    /// What the phone that rings is told to send to, until it has the seat's own port.
    port: Option<PlainPair>,
}

impl Desk {
    /// None for those who may hand nothing on.
    pub fn open(shared: &Shared, call: &str, who: Dialler) -> Option<Desk> {
        if !matches!(who, Dialler::Account(_)) {
            return None;
        }
        // Not by the call's own name: an operator's "come into this call" is for calls between phones.
        let (line, orders) = shared.board.open(&format!("{call}/seat"));
        Some(Desk { who, line, listed: false, orders, going: None, asker: None, port: None })
    }

    /// The dialog with the member, as soon as its tags are known.
    pub fn list(&mut self, dialog: Option<DialogName>) {
        if let Some(dialog) = dialog.filter(|_| !self.listed) {
            self.listed = true;
            self.line.dialog(dialog, 0, &self.who, false);
        }
    }

    /// As [`Desk::list`], from a request of the member.
    pub fn list_by(&mut self, request: &Request) {
        if !self.listed {
            self.list(DialogName::of_request(request));
        }
    }

    /// A REFER of the member, and the conference in which it is seated, if it is already. Its refusal; else it is answered, and NOTIFY tells
    /// how it goes.
    pub fn on_refer(
        &mut self,
        shared: &Arc<Shared>,
        call: &CallHandle,
        tx: &TxId,
        request: &Request,
        seated: Option<&CallParty>,
    ) -> Option<Response> {
        let target = match (transfer::target(shared, &self.who, request), seated) {
            (Ok(target), Some(conference)) => Ok((target, conference)),
            (Ok(_), None) => Err(403),
            (Err(code), _) => Err(code),
        };
        let (target, conference) = match target {
            Ok(target) => target,
            Err(code) => return Some(request.respond(code)),
        };
        if self.going.is_some() {
            return Some(request.respond(500).with("Retry-After", "2"));
        }
        let started = match target {
            Target::Dialog(dialog) => Going::attended(shared, 0, &self.who, &dialog, None).map_err(transfer::line_of),
            Target::Somebody(to) => self.ring(shared, conference, to),
        };
        let said = started.as_ref().err().copied();
        self.going = started.ok();
        self.asker = Some(call.clone());
        call.respond(*tx, request.respond(202));
        tokio::spawn(transfer::notify(call, said.unwrap_or("100 Trying"), said.is_some()));
        None
    }

    /// Rings somebody for the seat.
    fn ring(&mut self, shared: &Arc<Shared>, conference: &CallParty, to: Destination) -> Result<Going, &'static str> {
        let Dialler::Account(by) = &self.who else { return Err("403 Forbidden") };
        let pair = shared.ctx.ports.plain().map_err(|_| "503 Service Unavailable")?;
        let port = pair.lease.port();
        tracing::info!(by, conference = conference.number, to = to.party().number, "a seat is offered to a phone");
        let transfer = Transfer::start(shared, 0, (conference, &sdp::own()), to, port, by)?;
        self.port = Some(pair);
        Ok(Going::Blind(Box::new(transfer)))
    }

    /// What the phone that rings for the seat has done; none while it rings on.
    fn rang(&mut self, event: Option<Ringing>) -> Option<Wanted> {
        let Some(Going::Blind(mut transfer)) = self.going.take() else { return None };
        let over = match event {
            Some(Ringing::Progress { .. }) => {
                if let Some(asker) = self.asker.as_ref().filter(|_| !std::mem::replace(&mut transfer.rang, true)) {
                    tokio::spawn(transfer::notify(asker, "180 Ringing", false));
                }
                None
            }
            Some(Ringing::Updated(u)) => {
                u.handle.respond(u.tx, u.request.respond(491));
                None
            }
            Some(Ringing::Failed(refused)) => Some(Wanted::Nobody(transfer::line(refused.fault.code))),
            None => Some(Wanted::Nobody("480 Temporarily Unavailable")),
            Some(answered) => {
                self.port = None;
                let taken = transfer.taken(answered).map(Box::new);
                return Some(taken.map_or(Wanted::Nobody("488 Not Acceptable Here"), Wanted::Phone));
            }
        };
        match over.is_some() {
            true => self.port = None,
            false => self.going = Some(Going::Blind(transfer)),
        }
        over
    }

    /// The next thing that somebody wants. Cancel safe; never comes for a call without a line.
    pub async fn next(desk: Option<&mut Desk>) -> Wanted {
        let Some(desk) = desk else { return std::future::pending().await };
        loop {
            if let Some(going) = &mut desk.going {
                let gone = match going.next().await {
                    Gone::Rang(event) => match desk.rang(event) {
                        Some(wanted) => return wanted,
                        None => continue,
                    },
                    Gone::Joined(gone) => gone,
                };
                desk.going = None;
                return match gone {
                    Ok(Given::Phone(phone)) => Wanted::Phone(phone),
                    // A seat for a seat.
                    Ok(Given::Seat(_)) => Wanted::Nobody(transfer::line_of(403)),
                    Err(code) => Wanted::Nobody(transfer::line_of(code)),
                };
            }
            match desk.orders.recv().await {
                Some(Order::Yield { by, with, reply, .. }) => match with.is_some() && by == desk.who {
                    true => return Wanted::Seat(reply),
                    false => drop(reply.send(Err(403))),
                },
                Some(Order::Replace { newcomer, .. }) => return Wanted::Newcomer(newcomer),
                Some(Order::PickUp(newcomer)) => newcomer.call.reject(603, ""),
                Some(Order::Insert(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

/// Tells the member how its REFER went.
pub(crate) fn tell(call: &CallHandle, line: &str) {
    tokio::spawn(transfer::notify(call, line, true));
}

/// The dialog of the phone that confirmed our 200.
pub(crate) fn confirmed(desk: Option<&mut Desk>, event: Option<&CallEvent>) {
    if let (Some(desk), Some(CallEvent::Confirmed(ack))) = (desk, event) {
        desk.list_by(ack);
    }
}
