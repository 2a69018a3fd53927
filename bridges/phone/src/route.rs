//! Where a dialled number goes: one place that decides for phones, the hall, trunks, forwards and transfers alike.

use std::sync::Arc;

use bridge_core::{AccountKind, CallParty, Fault};

use crate::faults::Reason;
use crate::phone::{Place, Shared};
use crate::reach::Reach;
use crate::trunk::Outside;

/// Who dials. What may be dialled depends on it, and on nothing that the caller merely says of himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dialler {
    /// An account that proved itself; also the account whose phone forwards or transfers a call.
    Account(String),
    /// Nobody who proved himself: conferences only, so that nobody uses us as a way to our phones.
    Guest,
    /// The hall calls for the conference of this number.
    Conference(String),
    /// Somebody who came by the trunk of this name.
    Trunk(String),
}

/// Where a number goes.
#[derive(Debug, Clone)]
pub(crate) enum Destination {
    /// The conference of this number.
    Conference(String),
    /// The phones of an account.
    Account(CallParty),
    /// The waiting line of a duty desk.
    Queue(CallParty),
    /// A number of another network, by one of our trunks.
    Outside(Box<Outside>),
}

impl Destination {
    /// Who is called, as it is shown and kept in the books.
    pub fn party(&self) -> CallParty {
        match self {
            Destination::Conference(number) => CallParty::new(number, ""),
            Destination::Account(party) | Destination::Queue(party) => party.clone(),
            Destination::Outside(outside) => outside.party(),
        }
    }

    /// Whether it is in this hall: what is not is watched for patterns of fraud.
    pub fn is_inside(&self) -> bool {
        match self {
            Destination::Conference(_) | Destination::Account(_) | Destination::Queue(_) => true,
            Destination::Outside(_) => false,
        }
    }

    /// By whose rules calls go on from here: forwards and transfers of the one who was called.
    pub fn dialler(&self) -> Dialler {
        match self {
            Destination::Conference(number) => Dialler::Conference(number.clone()),
            Destination::Queue(party) => Dialler::Account(party.number.clone()),
            Destination::Account(party) => Dialler::Account(party.number.clone()),
            Destination::Outside(outside) => outside.dialler(),
        }
    }

    /// What to send INVITEs to; all are rung at once. Empty: nobody is there now.
    pub fn reaches(&self, shared: &Shared) -> Vec<Reach> {
        match self {
            Destination::Conference(_) | Destination::Queue(_) => Vec::new(),
            Destination::Account(party) => shared.accounts.reaches(&shared.ctx.sip, &party.number),
            Destination::Outside(outside) => outside.reaches(shared),
        }
    }

    /// Why there is no way to it now.
    pub fn absent(&self) -> Fault {
        match self {
            Destination::Outside(outside) => Reason::TrunkDown.with(&outside.number),
            other => Reason::NotRegistered.with(other.party().number),
        }
    }

    /// The callee's place among the calls that may be at once. Outside numbers are bounded by their trunks instead: a switchboard
    /// takes more than one call.
    pub fn place(&self, shared: &Arc<Shared>) -> Option<Place> {
        match self {
            Destination::Outside(_) => shared.place_on_trunk(),
            other => shared.place(&format!("{}:{}", crate::NAME, other.party().number)),
        }
    }
}

/// Decides where `number` goes when `from` dials it. A conference comes before an account of the same number.
pub(crate) fn route(shared: &Shared, from: &Dialler, number: &str) -> Result<Destination, Reason> {
    // Who comes by a trunk reaches what its numbers lead to; all else is a relay, for which there must be a rule.
    if let Dialler::Trunk(name) = from
        && !shared.trunks.leads(name, number)
    {
        return outside(shared, from, number);
    }
    // A conference does not call itself or another one.
    if !matches!(from, Dialler::Conference(_)) && shared.ctx.rooms.exists(number) {
        return Ok(Destination::Conference(number.to_owned()));
    }
    if !matches!(from, Dialler::Guest | Dialler::Conference(_))
        && let Some(rule) = shared.ctx.credentials.queue(number)
    {
        return Ok(Destination::Queue(CallParty::new(number, rule.name)));
    }
    match from {
        Dialler::Guest => Err(Reason::UnknownNumber),
        _ => match party(shared, number) {
            Some(party) => Ok(Destination::Account(party)),
            None => outside(shared, from, number),
        },
    }
}

fn outside(shared: &Shared, from: &Dialler, number: &str) -> Result<Destination, Reason> {
    shared.trunks.route(from, number).map(|outside| Destination::Outside(Box::new(outside)))
}

/// As [`route`] for somebody whose phones are to be rung: forwards, transfers, calls of the hall. A conference is none.
pub(crate) fn ringable(shared: &Shared, from: &Dialler, number: &str) -> Result<Destination, Reason> {
    match route(shared, from, number)? {
        Destination::Conference(_) | Destination::Queue(_) => Err(Reason::UnknownNumber),
        destination => Ok(destination),
    }
}

/// How an account is shown; none when there is no such account.
pub(crate) fn party(shared: &Shared, number: &str) -> Option<CallParty> {
    shared.ctx.credentials.secret(AccountKind::Phone, number)?;
    let name = shared.ctx.credentials.display_name(AccountKind::Phone, number).filter(|n| !n.is_empty());
    Some(CallParty::new(number, name.unwrap_or_else(|| number.to_owned())))
}
