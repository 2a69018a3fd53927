//! A member's call in a conference on the switchboard: its seat can be handed on, and the conference may take a phone out of a call
//! between phones (RFC 3891, 5589). Three ways lead to it:
//!
//! - The member asks, in its call with the conference, that the phone of another call of its own takes its seat (REFER with Replaces).
//! - It asks the same the other way round: in its call with a phone, that this one takes its seat.
//! - Another phone of the same account takes the seat by INVITE with Replaces.
//!
//! Only accounts may; a guest or the far end of a trunk has proved nothing that could be compared.

use sip::{CallEvent, CallHandle, Request, Response, TxId};
use tokio::sync::{mpsc, oneshot};

use super::board::{Given, Line, Newcomer, Order, Yielded};
use super::replaces::DialogName;
use super::transfer::{self, Going, Gone, Target};
use crate::phone::Shared;
use crate::route::Dialler;

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
}

impl Desk {
    /// None for those who may hand nothing on.
    pub fn open(shared: &Shared, call: &str, who: Dialler) -> Option<Desk> {
        if !matches!(who, Dialler::Account(_)) {
            return None;
        }
        // Not by the call's own name: an operator's "come into this call" is for calls between phones.
        let (line, orders) = shared.board.open(&format!("{call}/seat"));
        Some(Desk { who, line, listed: false, orders, going: None })
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

    /// A REFER of the member, who is `seated` or not yet. Its refusal; else it is answered, and NOTIFY tells how it goes.
    pub fn on_refer(
        &mut self,
        shared: &Shared,
        call: &CallHandle,
        tx: &TxId,
        request: &Request,
        seated: bool,
    ) -> Option<Response> {
        let dialog = match transfer::target(shared, &self.who, request) {
            Ok(Target::Dialog(dialog)) if seated => dialog,
            // A seat is handed to a phone that is there; nobody is rung for it.
            Ok(_) => return Some(request.respond(403)),
            Err(code) => return Some(request.respond(code)),
        };
        if self.going.is_some() {
            return Some(request.respond(500).with("Retry-After", "2"));
        }
        let started = Going::attended(shared, 0, &self.who, &dialog, None).map_err(transfer::line_of);
        let said = started.as_ref().err().copied();
        self.going = started.ok();
        call.respond(*tx, request.respond(202));
        tokio::spawn(transfer::notify(call, said.unwrap_or("100 Trying"), said.is_some()));
        None
    }

    /// The next thing that somebody wants. Cancel safe; never comes for a call without a line.
    pub async fn next(desk: Option<&mut Desk>) -> Wanted {
        let Some(desk) = desk else { return std::future::pending().await };
        loop {
            if let Some(going) = &mut desk.going {
                let gone = going.next().await;
                desk.going = None;
                return match gone {
                    Gone::Joined(Ok(Given::Phone(phone))) => Wanted::Phone(phone),
                    // A seat for a seat, or the ringing that we never begin.
                    Gone::Joined(Ok(Given::Seat(_))) | Gone::Rang(_) => Wanted::Nobody(transfer::line_of(403)),
                    Gone::Joined(Err(code)) => Wanted::Nobody(transfer::line_of(code)),
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
