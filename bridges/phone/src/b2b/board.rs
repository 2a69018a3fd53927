//! The switchboard: which call a dialog belongs to (for Replaces, RFC 3891), and which calls ring at whose phone (for pick-up).
//!
//! A call is a task that owns its legs; who wants something of another call sends it an order. The table holds no leg, only where
//! orders go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bridge_core::{CallParty, Seat};
use sip::{Call, Flow, Request};
use tokio::sync::{mpsc, oneshot};

use super::replaces::DialogName;
use super::sdp::Described;
use super::standing::Side;
use crate::phone::Place;
use crate::route::Dialler;
use crate::session_timer::SessionTimer;

/// Orders that may wait for a call.
const ORDERS: usize = 4;
/// Early dialogs of a call that are known; as many contacts as may ring, twice.
const MOST_EARLY: usize = 16;

/// A phone that calls in to take a place in somebody else's call.
pub(crate) struct Newcomer {
    pub call: Call,
    pub flow: Flow,
    pub request: Request,
    pub who: CallParty,
    pub offered: Described,
    pub timer: Option<SessionTimer>,
    pub place: Place,
}

/// A leg that its call gave away.
pub(crate) struct Yielded {
    pub side: Side,
    pub place: Place,
    pub party: CallParty,
}

/// What a call gives to another one.
pub(crate) enum Given {
    /// Its far phone.
    Phone(Box<Yielded>),
    /// A member's seat in a conference.
    Seat(Box<Seat>),
}

/// What one call wants of another.
pub(crate) enum Order {
    /// Give away the phone that talks with the one in `side`, or the seat that it has, and end. The error is the SIP code.
    Yield {
        side: usize,
        /// Who asks: only who is in the call may.
        by: Dialler,
        /// What the phone will talk with; none: a conference.
        with: Option<Box<Described>>,
        reply: oneshot::Sender<Result<Given, u16>>,
    },
    /// The newcomer takes the place of the phone in `side`.
    Replace { side: usize, newcomer: Box<Newcomer> },
    /// Both phones become members of a conference.
    Insert(Box<[Seat; 2]>),
    /// The newcomer answers the call that rings.
    PickUp(Box<Newcomer>),
}

/// Where a dialog was found.
#[derive(Clone)]
pub(crate) struct Found {
    pub orders: mpsc::Sender<Order>,
    pub side: usize,
    /// The phone at the far end of the dialog.
    pub who: Dialler,
    /// Nobody has answered in it.
    pub early: bool,
}

struct Row {
    orders: mpsc::Sender<Order>,
    since: Instant,
    /// The accounts whose phones ring.
    ringing: Vec<String>,
    dialogs: Vec<DialogName>,
}

#[derive(Default)]
struct Tables {
    calls: HashMap<String, Row>,
    dialogs: HashMap<DialogName, (String, usize, Dialler, bool)>,
}

/// All calls between phones. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Tables>>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call; its line leaves with what this gives.
    pub fn open(&self, call: &str) -> (Line, mpsc::Receiver<Order>) {
        let (orders, queue) = mpsc::channel(ORDERS);
        let row = Row { orders, since: Instant::now(), ringing: Vec::new(), dialogs: Vec::new() };
        self.lock().calls.insert(call.to_owned(), row);
        (Line { board: self.clone(), call: call.to_owned() }, queue)
    }

    pub fn find(&self, dialog: &DialogName) -> Option<Found> {
        let tables = self.lock();
        let (call, side, who, early) = tables.dialogs.get(dialog)?.clone();
        let orders = tables.calls.get(&call)?.orders.clone();
        Some(Found { orders, side, who, early })
    }

    /// Where orders to a call go.
    pub fn call(&self, id: &str) -> Option<mpsc::Sender<Order>> {
        self.lock().calls.get(id).map(|row| row.orders.clone())
    }

    /// The call that rings longest at a phone of which `may` says that it may be picked up.
    pub fn ringing(&self, may: impl Fn(&str) -> bool) -> Option<mpsc::Sender<Order>> {
        let tables = self.lock();
        let rings = tables.calls.values().filter(|row| row.ringing.iter().any(|account| may(account)));
        rings.min_by_key(|row| row.since).map(|row| row.orders.clone())
    }
}

/// A call's own line of the switchboard.
pub(crate) struct Line {
    board: Board,
    call: String,
}

impl Line {
    /// The accounts whose phones ring now; none: nobody may pick it up.
    pub fn ringing(&self, accounts: Vec<String>) {
        let mut tables = self.board.lock();
        let Tables { calls, dialogs } = &mut *tables;
        let Some(row) = calls.get_mut(&self.call) else { return };
        if accounts.is_empty() {
            row.dialogs.retain(|name| {
                let early = dialogs.get(name).is_some_and(|d| d.3);
                if early {
                    dialogs.remove(name);
                }
                !early
            });
        }
        row.ringing = accounts;
    }

    /// A dialog of this call with the phone in `side`.
    pub fn dialog(&self, name: DialogName, side: usize, who: &Dialler, early: bool) {
        let mut tables = self.board.lock();
        let Tables { calls, dialogs } = &mut *tables;
        let Some(row) = calls.get_mut(&self.call) else { return };
        if !row.dialogs.contains(&name) {
            if early && row.dialogs.len() >= MOST_EARLY {
                return;
            }
            row.dialogs.push(name.clone());
        }
        dialogs.insert(name, (self.call.clone(), side, who.clone(), early));
    }

    /// Another phone is in `side` from now on.
    pub fn left(&self, side: usize) {
        let mut tables = self.board.lock();
        let Tables { calls, dialogs } = &mut *tables;
        let Some(row) = calls.get_mut(&self.call) else { return };
        row.dialogs.retain(|name| {
            let gone = dialogs.get(name).is_some_and(|d| d.1 == side);
            if gone {
                dialogs.remove(name);
            }
            !gone
        });
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut tables = self.board.lock();
        let Some(row) = tables.calls.remove(&self.call) else { return };
        for name in row.dialogs {
            // A leg that was given away belongs to another call by now.
            if tables.dialogs.get(&name).is_some_and(|d| d.0 == self.call) {
                tables.dialogs.remove(&name);
            }
        }
    }
}
