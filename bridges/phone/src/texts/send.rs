//! A text to the contacts of somebody: all of them, one after the other's servers where a contact has several.

use std::sync::Arc;
use std::time::Duration;

use bridge_core::{CallParty, Fault};
use sip::{Method, Response, SipError, Target, Transport};

use super::body::pieces;
use crate::faults::Reason;
use crate::outbound::rejected;
use crate::phone::Shared;
use crate::reach::Reach;
use crate::route::Destination;

/// Bytes of text in one datagram: with the headers of a MESSAGE it stays below 1300 (RFC 3428 section 8), on satellite links too.
/// baresip 1.0 shows nothing of a text that is above 512 with its sender.
const MOST_DATAGRAM: usize = 440;
/// Bytes over a connection.
const MOST_STREAM: usize = 16_000;
/// A contact has so long; the sender of a text that is carried on gives up after 32 s (RFC 3261 timer F).
const PATIENCE: Duration = Duration::from_secs(12);
/// For all contacts together, with all pieces.
const ALL: Duration = Duration::from_secs(26);

/// Brings a text to somebody. Good when one of his contacts has all of it.
pub(crate) async fn send(
    shared: &Arc<Shared>,
    from: &CallParty,
    to: &Destination,
    text: &str,
    hops: u32,
) -> Result<(), Fault> {
    let reaches = to.reaches(shared);
    if reaches.is_empty() {
        return Err(to.absent());
    }
    let party = to.party();
    // An outside number is one phone, whatever ways lead there; an account's contacts each get it.
    let outside = matches!(to, Destination::Outside(_));
    let all = async {
        if outside {
            let mut last = Err(to.absent());
            for reach in &reaches {
                last = one(shared, reach, from, &party, text, hops).await;
                if !last.as_ref().is_err_and(|fault| fault.retry) {
                    break;
                }
            }
            return last;
        }
        let mut tries = tokio::task::JoinSet::new();
        for reach in reaches {
            let (shared, from, party, text) = (shared.clone(), from.clone(), party.clone(), text.to_owned());
            tries.spawn(async move {
                let mut done = one(&shared, &reach, &from, &party, &text, hops).await;
                for other in &reach.fallbacks {
                    if done.is_ok() {
                        break;
                    }
                    done = one(&shared, other, &from, &party, &text, hops).await;
                }
                done
            });
        }
        let mut worst = None;
        let mut good = false;
        while let Some(done) = tries.join_next().await {
            match done {
                Ok(Ok(())) => good = true,
                Ok(Err(fault)) => worst = Some(fault),
                Err(error) => tracing::error!(%error, "a task that sent a text ended early"),
            }
        }
        if good { Ok(()) } else { Err(worst.unwrap_or_else(|| to.absent())) }
    };
    tokio::time::timeout(ALL, all).await.unwrap_or_else(|_| Err(Reason::NoAnswer.fault()))
}

/// All pieces to one contact.
async fn one(
    shared: &Shared,
    reach: &Reach,
    from: &CallParty,
    to: &CallParty,
    text: &str,
    hops: u32,
) -> Result<(), Fault> {
    let contact = reach.uri.to_string();
    if shared.texts.is_deaf(&contact) {
        return Err(Reason::NoTexts.fault());
    }
    let transport = match reach.target {
        Target::Flow(id) => shared.ctx.sip.flow(id).map(|f| f.transport),
        Target::Address(transport, _) => Some(transport),
    };
    let datagram = transport.is_none_or(|t| t == Transport::Udp);
    for piece in pieces(text, if datagram { MOST_DATAGRAM } else { MOST_STREAM }) {
        // As a call would be announced, without what only a dialog has (RFC 3428 section 4).
        let mut request = reach.invite(shared, from, to, false);
        request.method = Method::Message;
        request.headers.remove("Contact");
        request.headers.set("Max-Forwards", hops.to_string());
        request.set_body("text/plain;charset=UTF-8", piece);
        let answer = async {
            match &reach.credentials {
                Some(credentials) => shared.ctx.sip.request_as(reach.target, request, credentials.clone()).await,
                None => shared.ctx.sip.request(reach.target, request).await,
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Err(SipError::Timeout));
        judge(shared, &contact, answer)?;
    }
    Ok(())
}

fn judge(shared: &Shared, contact: &str, answer: Result<Response, SipError>) -> Result<(), Fault> {
    let response = match answer {
        Ok(response) => response,
        Err(SipError::Timeout) => return Err(Reason::NoAnswer.fault()),
        Err(error) => return Err(Reason::Unreachable.with(error)),
    };
    match response.code {
        200..=299 => Ok(()),
        // Not today, and not in a minute either.
        405 | 415 | 488 | 501 => {
            shared.texts.note_deaf(contact);
            Err(Reason::NoTexts.with(response.code))
        }
        _ => Err(match rejected(&response) {
            fault if fault.code == Reason::CallFailed.code() => {
                Reason::TextFailed.with(format_args!("{} {}", response.code, response.reason))
            }
            fault => fault,
        }),
    }
}
