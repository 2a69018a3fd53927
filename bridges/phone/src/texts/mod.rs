//! Texts of phones: MESSAGE in pager mode (RFC 3428), both ways.
//!
//! A text to the number of a conference is the conference's, one to `phone.message_number` is the hall's, one to another account or to
//! an outside number is carried there; each is in the hall's books before it is answered. `body`: what a MESSAGE says. `send`: to
//! somebody's contacts.

pub(crate) mod body;
mod send;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{
    AccountKind, CallParty, Fault, Link, TextProgress, TextRelayed, TextReport, TextState, TextStored, TextThread,
    Timestamp,
};
use sip::{CallHandle, Flow, Request, Response, TxId};
use tokio::sync::{Semaphore, oneshot};

use crate::accounts::Who;
use crate::faults::Reason;
use crate::phone::Shared;
use crate::route::{self, Destination, Dialler};
use crate::trunk::identity::user_of;

pub(crate) use send::send;

/// Texts of phones that are looked at at once; more get 503.
const UNDERWAY: usize = 256;
/// The hall has a text on disk within this, else the phone is told to try again.
const STORED_WITHIN: Duration = Duration::from_secs(5);
/// Senders whose rate is looked at, and phones that are known to take no texts.
const REMEMBERED: usize = 10_000;
/// A phone that took no text is not tried again for so long.
const DEAF: Duration = Duration::from_secs(600);

/// What is known of writers and readers.
pub(crate) struct Texts {
    underway: Semaphore,
    /// Of each sender: when his minute began, and what he wrote in it.
    rate: Mutex<HashMap<String, (Instant, u32)>>,
    /// Contacts that take no texts, and since when.
    deaf: Mutex<HashMap<String, Instant>>,
}

impl Default for Texts {
    fn default() -> Self {
        Texts { underway: Semaphore::new(UNDERWAY), rate: Mutex::default(), deaf: Mutex::default() }
    }
}

impl Texts {
    /// Whether this sender may write one more now; else after how many seconds.
    fn admits(&self, now: Instant, sender: &str, most: u32) -> Result<(), u64> {
        const MINUTE: Duration = Duration::from_secs(60);
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.len() >= REMEMBERED && !rate.contains_key(sender) {
            rate.retain(|_, (since, _)| now.saturating_duration_since(*since) < MINUTE);
            if rate.len() >= REMEMBERED {
                return Err(60);
            }
        }
        let (since, count) = rate.entry(sender.to_owned()).or_insert((now, 0));
        if now.saturating_duration_since(*since) >= MINUTE {
            (*since, *count) = (now, 0);
        }
        if *count >= most {
            return Err(MINUTE.saturating_sub(now.saturating_duration_since(*since)).as_secs().max(1));
        }
        *count += 1;
        Ok(())
    }

    fn is_deaf(&self, contact: &str) -> bool {
        let deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        deaf.get(contact).is_some_and(|since| since.elapsed() < DEAF)
    }

    fn note_deaf(&self, contact: &str) {
        let mut deaf = self.deaf.lock().unwrap_or_else(PoisonError::into_inner);
        if deaf.len() >= REMEMBERED {
            deaf.clear();
        }
        deaf.insert(contact.to_owned(), Instant::now());
    }
}

/// Who wrote, and where it goes.
struct Written {
    who: Dialler,
    /// The far end's id: `phone:8001`, `trunk:NAME/NUMBER`.
    id: String,
    party: CallParty,
    number: Option<String>,
}

fn account(shared: &Shared, user: String, number: String) -> Written {
    let name = shared.ctx.credentials.display_name(AccountKind::Phone, &user).unwrap_or_else(|| user.clone());
    Written {
        id: format!("{}:{user}", crate::NAME),
        party: CallParty::new(&user, &name),
        who: Dialler::Account(user),
        number: Some(number),
    }
}

/// Who sent this, proved as for a call. The error is the answer.
fn writer(shared: &Shared, request: &Request, flow: &Flow) -> Result<Written, Response> {
    let phone = shared.accounts.registered(request, flow);
    let trunk = if phone { None } else { shared.trunks.recognise(flow.peer.ip(), request) };
    if let Some(trunk) = trunk {
        let party = trunk.caller(request);
        let name = trunk.config.name.clone();
        let id = format!("trunk:{name}/{}", party.number);
        return Ok(Written { id, party, number: trunk.leads_to(request), who: Dialler::Trunk(name) });
    }
    match shared.accounts.caller(&shared.ctx, request, flow)? {
        Who::Account(user) => Ok(account(shared, user, user_of(&request.uri))),
        // Nobody who proved himself: a text needs no listener to do harm.
        Who::Guest => Err(request.respond(403)),
    }
}

/// Takes a MESSAGE outside of a call.
pub(crate) async fn serve(shared: Arc<Shared>, tx: TxId, flow: Flow, request: Request) {
    let response = match writer(&shared, &request, &flow) {
        Ok(written) => {
            let response = take(&shared, &request, written, flow.transport.is_reliable()).await;
            shared.counted(response.code);
            response
        }
        Err(response) => response,
    };
    shared.ctx.sip.respond(tx, response);
}

/// Takes a MESSAGE inside a call: it is for the other end, a conference or an account.
pub(crate) fn in_call(shared: &Arc<Shared>, call: CallHandle, tx: TxId, request: &Request, who: &Dialler, to: &str) {
    let Dialler::Account(user) = who else {
        return call.respond(tx, request.respond(405).with("Allow", crate::phone::ALLOW));
    };
    let written = account(shared, user.clone(), to.to_owned());
    let (own, request) = (shared.clone(), request.clone());
    shared.spawn(async move {
        // The transport of the call is not known here: the larger bound counts.
        let response = take(&own, &request, written, true).await;
        own.counted(response.code);
        call.respond(tx, response);
    });
}

async fn take(shared: &Arc<Shared>, request: &Request, written: Written, reliable: bool) -> Response {
    let busy = |seconds: u64| request.respond(503).with("Retry-After", seconds.to_string());
    let Ok(_place) = shared.texts.underway.try_acquire() else { return busy(5) };
    if let Err(seconds) = shared.texts.admits(Instant::now(), &written.id, shared.config.messages_per_minute) {
        return request.respond(480).with("Retry-After", seconds.to_string());
    }
    let text = match body::read(request, reliable) {
        Ok(text) => text,
        Err(refused) => return refused.response(request),
    };
    let Some(number) = written.number.clone() else { return request.respond(404) };
    let hall = number == shared.config.message_number;
    let to = if hall { None } else { Some(route::route(shared, &written.who, &number)) };
    let (thread, onward) = match to {
        None => (TextThread::With(written.id.clone()), None),
        Some(Ok(Destination::Conference(number))) => (TextThread::Conference(number), None),
        Some(Ok(Destination::Queue(_))) => return request.respond(404),
        Some(Ok(to)) => {
            let hops = request.headers.get("Max-Forwards").and_then(|v| v.trim().parse::<u32>().ok()).unwrap_or(70);
            if hops == 0 {
                return request.respond(483);
            }
            let mut pair = [written.party.number.clone(), to.party().number];
            pair.sort();
            (TextThread::With(format!("between:{}", pair.join("/"))), Some((to, hops - 1)))
        }
        Some(Err(reason)) => return request.respond(reason.sip_code()),
    };
    let relayed = onward.as_ref().map(|(to, _)| {
        let party = to.party();
        TextRelayed { to: format!("{}:{}", crate::NAME, party.number), name: party.name }
    });
    let stored = match store(shared, &written, thread, &text, relayed.clone()).await {
        Some(Ok(stored)) => stored,
        Some(Err(fault)) => {
            return match fault.code {
                "message_not_member" => request.respond(403),
                "message_no_conference" => request.respond(404),
                _ => busy(10),
            };
        }
        None => return busy(5),
    };
    let (Some((to, hops)), Some(relayed)) = (onward, relayed) else { return request.respond(200) };
    let done = send(shared, &written.party, &to, &text, hops).await;
    let progress = TextProgress {
        message: stored.id,
        to: relayed.to,
        state: if done.is_ok() { TextState::Delivered } else { TextState::Failed },
        waits: None,
        fault: done.as_ref().err().cloned(),
    };
    shared.ctx.reports.text(bridge_core::TextNews::Progress(progress));
    request.respond(done.map_or_else(|fault| refusal(&fault), |()| 200))
}

/// The answer to a sender whose text the far end did not take.
fn refusal(fault: &Fault) -> u16 {
    let reason = crate::faults::ALL.into_iter().find(|r| r.code() == fault.code);
    match reason {
        Some(Reason::NoTexts) => 488,
        Some(Reason::UnknownNumber) => 404,
        Some(Reason::TollDenied | Reason::Declined) => 403,
        _ => 480,
    }
}

/// Has the hall write a text down. None: it does not answer, or has too many to write.
async fn store(
    shared: &Shared,
    written: &Written,
    thread: TextThread,
    text: &str,
    relayed: Option<TextRelayed>,
) -> Option<Result<TextStored, Fault>> {
    let (stored, answer) = oneshot::channel();
    let report = TextReport {
        thread,
        from: written.id.clone(),
        name: written.party.name.clone(),
        link: Link::Lan,
        text: text.to_owned(),
        device_time: None,
        received: Timestamp::now(),
        relayed,
        stored,
    };
    if !shared.ctx.reports.text(bridge_core::TextNews::Came(report)) {
        return None;
    }
    tokio::time::timeout(STORED_WITHIN, answer).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_one_does_not_hinder_another() {
        let (texts, now) = (Texts::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(texts.admits(now, "phone:8001", 3), Ok(()));
        }
        assert_eq!(texts.admits(now + Duration::from_secs(20), "phone:8001", 3), Err(40));
        assert_eq!(texts.admits(now, "phone:8002", 3), Ok(()));
        assert_eq!(texts.admits(now + Duration::from_secs(60), "phone:8001", 3), Ok(()));
        for n in 0..2 * REMEMBERED {
            let _ = texts.admits(now, &format!("phone:{n}"), 3);
            texts.note_deaf(&n.to_string());
        }
        assert!(texts.rate.lock().is_ok_and(|r| r.len() <= REMEMBERED));
        assert!(texts.deaf.lock().is_ok_and(|d| d.len() <= REMEMBERED));
    }
}
