//! Ringing all contacts of an account at once (forking in parallel): the first 200 wins, the others are cancelled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bridge_core::Fault;
use media_core::sdp::Sdp;
use sip::{Call, CallEvent, EndReason, Headers, Method, Request, Response, Uri};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::call::sdp_body;
use crate::faults::Reason;
use crate::phone::Shared;
use crate::reach::Reach;
use crate::security::Security;
use crate::session_timer::MIN_SE;

/// Contacts of one account that ring at once.
pub(crate) const MOST_BRANCHES: usize = 8;

/// Who is called, and by whom it shall look.
pub(crate) struct Ring<'a> {
    pub caller: &'a bridge_core::CallParty,
    pub callee: &'a bridge_core::CallParty,
    pub reaches: Vec<Reach>,
    /// What is left of the caller's Max-Forwards.
    pub hops: u32,
    /// The account that transferred the call here.
    pub referred_by: Option<&'a str>,
}

enum Told {
    Progress(u16, Box<Response>, Box<Security>),
    Answered(Box<(Call, Response)>, Box<Security>),
    Refused(Refused),
}

/// Why a contact does not take the call.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub fault: Fault,
    /// 600, 603 and their like: no other contact shall be asked (RFC 3261 21.6).
    pub everywhere: bool,
    /// The phone itself sends the caller elsewhere (301, 302): the user part of its Contact.
    pub moved: Option<String>,
}

impl Refused {
    fn of(fault: Fault) -> Refused {
        Refused { fault, everywhere: false, moved: None }
    }

    /// How much this says: what a person did is more than what a network did.
    fn weight(&self) -> u8 {
        match self.fault.code {
            "declined" => 4,
            "busy" => 3,
            _ if self.moved.is_some() => 2,
            "no_codec" | "no_answer" => 1,
            _ => 0,
        }
    }
}

/// What happens while it rings.
pub(crate) enum Ringing {
    /// 180, 183 and the like of one contact.
    Progress {
        branch: usize,
        code: u16,
        response: Box<Response>,
        /// How the sound was offered to this contact.
        security: Box<Security>,
    },
    Answered {
        branch: usize,
        call: Box<Call>,
        response: Box<Response>,
        /// As above: it reads the answer, and belongs to the dialog from then on.
        security: Box<Security>,
    },
    /// All contacts refused; the reason that says most.
    Failed(Refused),
}

/// The contacts that ring. Dropping it cancels them all.
pub(crate) struct Fork {
    taken: Arc<AtomicBool>,
    told: mpsc::Receiver<(usize, Told)>,
    branches: JoinSet<()>,
    open: usize,
    worst: Option<Refused>,
}

impl Fork {
    /// `sdp`: an offer of plain RTP; each contact gets keys of its own in it, as its signalling and the site's rules allow.
    pub fn start(shared: &Arc<Shared>, ring: &Ring<'_>, sdp: &str) -> Fork {
        Fork::start_all(shared, std::slice::from_ref(ring), sdp)
    }

    /// Several who are called at once; branches are numbered through. At most 8 contacts each.
    pub fn start_all(shared: &Arc<Shared>, rings: &[Ring<'_>], sdp: &str) -> Fork {
        let (tell, told) = mpsc::channel(32);
        let taken = Arc::new(AtomicBool::new(false));
        let mut branches = JoinSet::new();
        let mut open = 0;
        let contacts = rings.iter().flat_map(|ring| ring.reaches.iter().take(MOST_BRANCHES).map(move |r| (ring, r)));
        for (ring, reach) in contacts {
            let request = (invite(shared, ring, reach), sdp.to_owned());
            branches.spawn(branch(shared.clone(), open, reach.clone(), request, tell.clone(), taken.clone()));
            open += 1;
        }
        Fork { taken, told, branches, open, worst: None }
    }

    /// The next thing that happens; [`Ringing::Answered`] and [`Ringing::Failed`] are the last. Cancel safe.
    pub async fn next(&mut self) -> Ringing {
        loop {
            let refused = match self.told.recv().await {
                Some((branch, Told::Progress(code, response, security))) => {
                    return Ringing::Progress { branch, code, response, security };
                }
                Some((branch, Told::Answered(answered, security))) => {
                    // The others are given up: their calls are dropped with their tasks, which cancels them. A 200 that
                    // crosses the CANCEL gets its ACK and a BYE from the endpoint.
                    self.taken_elsewhere();
                    self.branches.abort_all();
                    let (call, response) = *answered;
                    let (call, response) = (Box::new(call), Box::new(response));
                    return Ringing::Answered { branch, call, response, security };
                }
                Some((_, Told::Refused(refused))) => refused,
                None => return Ringing::Failed(self.failure()),
            };
            self.open = self.open.saturating_sub(1);
            let everywhere = refused.everywhere;
            if self.worst.as_ref().is_none_or(|w| refused.weight() > w.weight()) {
                self.worst = Some(refused);
            }
            if everywhere || self.open == 0 {
                self.branches.abort_all();
                return Ringing::Failed(self.failure());
            }
        }
    }

    /// Who still rings when this is dropped is told that somebody else took the call: it is none that he missed.
    pub fn taken_elsewhere(&self) {
        self.taken.store(true, Ordering::Relaxed);
    }

    fn failure(&mut self) -> Refused {
        self.worst.take().unwrap_or_else(|| Refused::of(Reason::CallFailed.fault()))
    }
}

/// An INVITE of our own: nothing of the caller's is passed but number, name and the filtered SDP.
fn invite(shared: &Shared, ring: &Ring<'_>, reach: &Reach) -> Request {
    let mut request = reach.invite(shared, ring.caller, ring.callee);
    if let Some(account) = ring.referred_by {
        // RFC 3892, by a name that is proven: what the phone wrote itself is not.
        let host = shared.ctx.sip.local_address(&reach.target).ip().to_string();
        request.headers.set("Referred-By", format!("<{}>", Uri::sip(account, &host, None)));
    }
    request.headers.set("Max-Forwards", ring.hops.to_string());
    request.headers.set("Supported", "timer, 100rel");
    request.headers.set("Session-Expires", "1800");
    request.headers.set("Min-SE", MIN_SE.to_string());
    request
}

/// A contact that rings. Dropped with its task, it gets a CANCEL that says why (RFC 3326).
struct Rung {
    call: Option<Call>,
    taken: Arc<AtomicBool>,
}

impl Drop for Rung {
    fn drop(&mut self) {
        let Some(call) = self.call.take().filter(|_| self.taken.load(Ordering::Relaxed)) else { return };
        call.bye_with(elsewhere());
    }
}

/// The reason of a CANCEL or BYE when somebody else has taken the call.
pub(crate) fn elsewhere() -> Headers {
    let mut headers = Headers::new();
    headers.push("Reason", "SIP;cause=200;text=\"Call completed elsewhere\"");
    headers
}

/// Rings one contact, in each way of protection until it takes one.
async fn branch(
    shared: Arc<Shared>,
    branch: usize,
    reach: Reach,
    (mut request, sdp): (Request, String),
    tell: mpsc::Sender<(usize, Told)>,
    taken: Arc<AtomicBool>,
) {
    let mut tries = Security::tries(&shared, &reach.target).into_iter().peekable();
    while let Some(mut security) = tries.next() {
        request.set_body("application/sdp", sdp_body(dressed(&sdp, &mut security)));
        let way = Way { branch, security, last: tries.peek().is_none() };
        if !attempt(&shared, &way, &reach, request.clone(), &tell, taken.clone()).await {
            return;
        }
        tracing::debug!(contact = %reach.uri, "a phone does not take SRTP as we offer it: tried in the next way");
    }
}

/// One way of protection in which a contact is asked.
struct Way {
    branch: usize,
    security: Security,
    last: bool,
}

fn dressed(sdp: &str, security: &mut Security) -> String {
    match Sdp::parse(sdp.as_bytes()) {
        Ok(mut parsed) => {
            security.dress(&mut parsed);
            parsed.to_string()
        }
        Err(_) => sdp.to_owned(),
    }
}

/// One INVITE; true when the phone refused its media and may be asked in another way.
async fn attempt(
    shared: &Arc<Shared>,
    way: &Way,
    reach: &Reach,
    request: Request,
    tell: &mpsc::Sender<(usize, Told)>,
    taken: Arc<AtomicBool>,
) -> bool {
    let security = &way.security;
    let say = async |told| {
        let _ = tell.send((way.branch, told)).await;
        false
    };
    // Another flow of the same device is asked when this one fails before the device has said a word.
    let mut others = reach.others.iter();
    let again = request.clone();
    let mut silent = true;
    let mut rung = match reach.call(shared, request).await {
        Ok(call) => Rung { call: Some(call), taken: taken.clone() },
        Err(error) => return say(Told::Refused(Refused::of(Reason::Unreachable.with(error)))).await,
    };
    loop {
        let Some(call) = rung.call.as_mut() else { return false };
        let fault = match call.next().await {
            Some(CallEvent::Progress(r)) => {
                if r.code > 100 {
                    silent = false;
                    say(Told::Progress(r.code, Box::new(r), Box::new(security.clone()))).await;
                }
                continue;
            }
            Some(CallEvent::Answered(response)) => {
                let Some(call) = rung.call.take() else { return false };
                return say(Told::Answered(Box::new((call, response)), Box::new(security.clone()))).await;
            }
            Some(CallEvent::Request { tx, request }) => {
                call.respond(tx, early(&request));
                continue;
            }
            Some(CallEvent::Confirmed(_)) => continue,
            Some(CallEvent::Ended(EndReason::Rejected(r))) if !way.last && matches!(r.code, 415 | 488 | 606) => {
                return true;
            }
            // 430: the proxy has lost its flow (RFC 5626 section 11.5).
            Some(CallEvent::Ended(why)) if silent && flow_failed(&why) => match others.next() {
                Some(other) => match other.call(shared, other.instead(again.clone())).await {
                    Ok(call) => {
                        rung = Rung { call: Some(call), taken: taken.clone() };
                        continue;
                    }
                    Err(error) => Reason::Unreachable.with(error),
                },
                None => match why {
                    EndReason::Rejected(r) => return say(Told::Refused(rejected(&r))).await,
                    EndReason::FlowClosed => Reason::SignallingLost.fault(),
                    _ => Reason::Unreachable.fault(),
                },
            },
            Some(CallEvent::Ended(EndReason::Rejected(r))) => return say(Told::Refused(rejected(&r))).await,
            Some(CallEvent::Ended(EndReason::Timeout)) => Reason::Unreachable.fault(),
            Some(CallEvent::Ended(EndReason::FlowClosed)) => Reason::SignallingLost.fault(),
            Some(CallEvent::Ended(EndReason::Error(error))) => Reason::CallFailed.with(error),
            Some(CallEvent::Ended(_)) | None => Reason::CallFailed.fault(),
        };
        return say(Told::Refused(Refused::of(fault))).await;
    }
}

/// The way to the device failed, not the device.
fn flow_failed(why: &EndReason) -> bool {
    match why {
        EndReason::Rejected(r) => r.code == 430,
        EndReason::Timeout | EndReason::FlowClosed | EndReason::Error(_) => true,
        _ => false,
    }
}

/// The answer to a request in a call that nobody has answered yet.
pub(crate) fn early(request: &Request) -> Response {
    match request.method {
        Method::Options => crate::phone::capabilities(request),
        // RFC 3311 5.2: no change of media before the answer.
        Method::Update if !request.body.is_empty() => request.respond(500).with("Retry-After", "2"),
        Method::Update => request.respond(200),
        _ => request.respond(405).with("Allow", crate::phone::ALLOW),
    }
}

fn rejected(response: &Response) -> Refused {
    let fault = crate::outbound::rejected(response);
    let moved = matches!(response.code, 301 | 302).then(|| response.contact()).flatten();
    let moved = moved.map(|c| c.uri.user().to_owned()).filter(|u| !u.is_empty() && u.len() <= 64);
    Refused { fault, everywhere: response.code >= 600, moved }
}
