//! Where a dialled number goes: one place that decides for phones, the hall, trunks, forwards and transfers alike.

use bridge_core::{AccountKind, CallParty};

use crate::faults::Reason;
use crate::phone::Shared;
use crate::reach::Reach;

/// Who dials. What may be dialled depends on it, and on nothing that the caller merely says of himself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Dialler {
    /// An account that proved itself; also the account whose phone forwards or transfers a call.
    Account(String),
    /// Nobody who proved himself: conferences only, so that nobody uses us as a way to our phones.
    Guest,
    /// The hall calls for the conference of this number.
    Conference(String),
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
}

impl Destination {
    /// Who is called, as it is shown and kept in the books.
    pub fn party(&self) -> CallParty {
        match self {
            Destination::Conference(number) => CallParty::new(number, ""),
            Destination::Account(party) | Destination::Queue(party) => party.clone(),
        }
    }

    /// Whether it is in this hall: what is not is watched for patterns of fraud.
    pub fn is_inside(&self) -> bool {
        match self {
            Destination::Conference(_) | Destination::Account(_) | Destination::Queue(_) => true,
        }
    }

    /// By whose rules calls go on from here: forwards and transfers of the one who was called.
    pub fn dialler(&self) -> Dialler {
        match self {
            Destination::Conference(number) => Dialler::Conference(number.clone()),
            Destination::Queue(party) => Dialler::Account(party.number.clone()),
            Destination::Account(party) => Dialler::Account(party.number.clone()),
        }
    }

    /// What to send INVITEs to; all are rung at once. Empty: nobody is there now.
    pub fn reaches(&self, shared: &Shared) -> Vec<Reach> {
        match self {
            Destination::Conference(_) | Destination::Queue(_) => Vec::new(),
            Destination::Account(party) => shared.accounts.reaches(&shared.ctx.sip, &party.number),
        }
    }
}

/// Decides where `number` goes when `from` dials it. A conference comes before an account of the same number.
pub(crate) fn route(shared: &Shared, from: &Dialler, number: &str) -> Result<Destination, Reason> {
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
        Dialler::Account(_) | Dialler::Conference(_) => {
            party(shared, number).map(Destination::Account).ok_or(Reason::UnknownNumber)
        }
    }
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
