//! Ringing all contacts of an account at once (forking in parallel): the first 200 wins, the others are cancelled. By the setting
//! `fork` those of a lower q ring only after those of a higher one (RFC 3261 section 16.6).

mod keys;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bridge_core::{CallParty, Fault};
use media_core::sdp::Sdp;
use sip::{Call, CallEvent, CallHandle, EndReason, Headers, Method, Request, Response, TxId, Uri};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::call::{media_address, sdp_body};
use crate::config::ForkOrder;
use crate::faults::Reason;
use crate::phone::Shared;
use crate::reach::Reach;
use crate::security::Security;
use crate::session_timer::MIN_SE;
use crate::trunk::{Line, Way};

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
    /// The caller wants not to be shown (RFC 3323).
    pub hidden: bool,
    /// The phone is only spoken to: it is asked to answer by itself.
    pub announces: bool,
}

/// What each branch needs for the INVITEs that it sends one after the other.
struct Plan {
    caller: CallParty,
    callee: CallParty,
    hops: u32,
    referred_by: Option<String>,
    hidden: bool,
    announces: bool,
    sdp: String,
    /// The address in it.
    address: IpAddr,
}

enum Told {
    Updated(Box<Updated>),
    Progress(u16, Box<Response>, Box<Security>),
    Answered(Box<Taken>, Box<Security>),
    Refused(Refused),
}

/// Who took the call, and by which trunk.
struct Taken {
    call: Call,
    response: Response,
    line: Option<Line>,
    address: IpAddr,
}

/// Why a contact does not take the call.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub fault: Fault,
    /// 600, 603 and their like: no other contact shall be asked (RFC 3261 21.6).
    pub everywhere: bool,
    /// The phone itself sends the caller elsewhere (301, 302): the user part of its Contact.
    pub moved: Option<String>,
    /// The trunk that was tried last.
    pub trunk: Option<String>,
}

impl Refused {
    fn of(fault: Fault) -> Refused {
        Refused { fault, everywhere: false, moved: None, trunk: None }
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

/// An UPDATE with an offer from a phone that has answered ours by a reliable provisional response.
pub(crate) struct Updated {
    pub branch: usize,
    pub handle: CallHandle,
    pub tx: TxId,
    pub request: Request,
    pub security: Security,
}

/// What happens while it rings.
pub(crate) enum Ringing {
    /// To be answered.
    Updated(Box<Updated>),
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
        /// Its place on a trunk.
        line: Option<Line>,
        /// The media address that was offered: of the interface towards the one who answered.
        address: IpAddr,
    },
    /// All contacts refused; the reason that says most.
    Failed(Refused),
}

/// Contacts of lower q, highest first.
struct Later {
    branch: Branch,
    groups: VecDeque<Vec<Reach>>,
    /// When the next ones are called, whatever those that ring do.
    at: Instant,
}

/// The contacts in groups of one q, the highest first.
fn by_q(mut reaches: Vec<Reach>) -> VecDeque<Vec<Reach>> {
    reaches.truncate(MOST_BRANCHES);
    reaches.sort_by_key(|r| std::cmp::Reverse(r.q));
    reaches.chunk_by(|a, b| a.q == b.q).map(<[Reach]>::to_vec).collect()
}

/// The contacts that ring. Dropping it cancels them all.
pub(crate) struct Fork {
    taken: Arc<AtomicBool>,
    told: mpsc::Receiver<(usize, Told)>,
    branches: JoinSet<()>,
    open: usize,
    /// Branches below it were given up for those that ring now.
    first: usize,
    /// Whose turn has not come.
    later: Option<Later>,
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
        let mut later = None;
        for ring in rings {
            let first = ring.reaches.first().map(|r| media_address(shared, &r.target));
            let plan = Arc::new(Plan {
                caller: ring.caller.clone(),
                callee: ring.callee.clone(),
                hops: ring.hops,
                referred_by: ring.referred_by.map(str::to_owned),
                hidden: ring.hidden,
                announces: ring.announces,
                sdp: sdp.to_owned(),
                address: first.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            });
            let mut branch =
                Branch { shared: shared.clone(), number: 0, plan, tell: tell.clone(), taken: taken.clone() };
            let mut groups = VecDeque::from([ring.reaches.iter().take(MOST_BRANCHES).cloned().collect::<Vec<_>>()]);
            // Agents of a queue ring in the order of the queue.
            if rings.len() == 1 && shared.config.fork == ForkOrder::ByQ {
                groups = by_q(ring.reaches.clone());
            }
            for reach in groups.pop_front().unwrap_or_default() {
                branch.number = open;
                branches.spawn(branch.clone().run(reach));
                open += 1;
            }
            if !groups.is_empty() {
                later = Some(Later { branch, groups, at: Instant::now() + step(shared) });
            }
        }
        Fork { taken, told, branches, open, first: 0, later, worst: None }
    }

    /// Calls those of the next q in place of those that ring; false when there are none.
    fn step(&mut self) -> bool {
        let Some(mut later) = self.later.take() else { return false };
        let Some(group) = later.groups.pop_front() else { return false };
        tracing::debug!(contacts = group.len(), q = group.first().map(|r| r.q), "contacts of a lower q are called");
        // Dropped with their tasks, they get a CANCEL.
        self.branches.abort_all();
        self.first = later.branch.number + 1;
        self.open = group.len();
        for reach in group {
            later.branch.number += 1;
            self.branches.spawn(later.branch.clone().run(reach));
        }
        later.at = Instant::now() + step(&later.branch.shared);
        self.later = Some(later).filter(|l| !l.groups.is_empty());
        true
    }

    /// The next thing that happens; [`Ringing::Answered`] and [`Ringing::Failed`] are the last. Cancel safe.
    pub async fn next(&mut self) -> Ringing {
        loop {
            let next = self.later.as_ref().map(|l| l.at);
            let told = tokio::select! {
                told = self.told.recv() => told,
                () = until(next) => {
                    self.step();
                    continue;
                }
            };
            let refused = match told {
                Some((branch, Told::Progress(code, response, security))) => {
                    return Ringing::Progress { branch, code, response, security };
                }
                Some((branch, Told::Answered(answered, security))) => {
                    // The others are given up: their calls are dropped with their tasks, which cancels them. A 200 that
                    // crosses the CANCEL gets its ACK and a BYE from the endpoint.
                    self.taken_elsewhere();
                    self.branches.abort_all();
                    let Taken { call, response, line, address } = *answered;
                    let (call, response) = (Box::new(call), Box::new(response));
                    return Ringing::Answered { branch, call, response, security, line, address };
                }
                Some((_, Told::Updated(updated))) => return Ringing::Updated(updated),
                // Its turn was over already.
                Some((branch, Told::Refused(refused))) if branch < self.first && !refused.everywhere => continue,
                Some((_, Told::Refused(refused))) => refused,
                None => return Ringing::Failed(self.failure()),
            };
            self.open = self.open.saturating_sub(1);
            let everywhere = refused.everywhere;
            if self.worst.as_ref().is_none_or(|w| refused.weight() > w.weight()) {
                self.worst = Some(refused);
            }
            if !everywhere && self.open == 0 && self.step() {
                continue;
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

fn step(shared: &Shared) -> Duration {
    Duration::from_secs(u64::from(shared.config.fork_step))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// An INVITE of our own: nothing of the caller's is passed but number, name and the filtered SDP.
fn invite(shared: &Shared, plan: &Plan, reach: &Reach, address: IpAddr, security: &mut Security) -> Request {
    let mut request = reach.invite(shared, &plan.caller, &plan.callee, plan.hidden);
    if let Some(account) = plan.referred_by.as_ref().filter(|_| reach.way.is_none()) {
        // RFC 3892, by a name that is proven: what the phone wrote itself is not.
        let host = shared.ctx.sip.local_address(&reach.target).ip().to_string();
        request.headers.set("Referred-By", format!("<{}>", Uri::sip(account, &host, None)));
    }
    if plan.announces && reach.way.is_none() {
        // What phones of several makes answer by themselves for; a foreign network is not asked.
        for (name, value) in shared.config.auto_answer.iter().filter_map(|line| line.split_once(": ")) {
            request.headers.push(name, value);
        }
    }
    request.headers.set("Max-Forwards", plan.hops.to_string());
    request.headers.set("Supported", "timer, 100rel");
    request.headers.set("Session-Expires", "1800");
    request.headers.set("Min-SE", MIN_SE.to_string());
    request.set_body("application/sdp", sdp_body(dressed(&plan.sdp_at(address), security)));
    request
}

impl Plan {
    /// The offer from this address: another trunk may be behind another interface of ours.
    fn sdp_at(&self, address: IpAddr) -> String {
        self.sdp.replace(&format!(" {}\r\n", self.address), &format!(" {address}\r\n"))
    }
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

/// One of the ways that ring at once: a contact, or a chain of trunks.
#[derive(Clone)]
struct Branch {
    shared: Arc<Shared>,
    number: usize,
    plan: Arc<Plan>,
    tell: mpsc::Sender<(usize, Told)>,
    taken: Arc<AtomicBool>,
}

/// An attempt that was not answered.
struct Missed {
    refused: Refused,
    /// Another way may do better.
    next: bool,
    /// Something was heard of it before.
    rang: bool,
}

impl Missed {
    fn at_once(fault: Fault) -> Missed {
        Missed { refused: Refused::of(fault), next: true, rang: false }
    }
}

impl Branch {
    async fn say(&self, told: Told) {
        let _ = self.tell.send((self.number, told)).await;
    }

    async fn run(self, mut reach: Reach) {
        let mut rest = std::mem::take(&mut reach.fallbacks).into_iter();
        loop {
            let Some((mut refused, next)) = self.ask(&reach).await else { return };
            let name = reach.way.as_ref().map(|way| way.trunk.config.name.clone());
            if let (Some(m), Some(name)) = (&self.shared.metrics, &name) {
                m.trunk_tries.with_label_values(&[name.as_str(), refused.fault.code]).inc();
            }
            refused.trunk.clone_from(&name);
            let Some(other) = rest.next().filter(|_| next) else { return self.say(Told::Refused(refused)).await };
            if let (Some(way), Some(trunk)) = (&reach.way, name) {
                let (server, why) = (way.server, &refused.fault.en);
                tracing::warn!(trunk, %server, why, "a trunk does not carry a call; the next way is tried");
            }
            reach = other;
        }
    }

    /// Rings one, in each way of protection until it takes one; none when it answered. Else why not, and whether another way
    /// may do better.
    async fn ask(&self, reach: &Reach) -> Option<(Refused, bool)> {
        // DTLS beside plain sound is not for carriers, whose 488 is of codecs, nor for an offer with a picture: that is what is refused
        // then, and the sound alone comes next.
        let dtls = reach.way.is_none() && !self.plan.sdp.contains("m=video");
        let mut tries = Security::tries(&self.shared, &reach.target, dtls).into_iter();
        let mut security = tries.next()?;
        loop {
            let Missed { refused, next, rang } = self.attempt(reach, security).await?;
            let keys = refused.fault.code == Reason::NoCodec.code();
            // A phone that has rung is not rung once more for a guess.
            let Some(other) = tries.find(|after| !(rang && after.is_dtls())).filter(|_| keys) else {
                return Some((refused, next));
            };
            tracing::debug!(contact = %reach.uri, "a phone does not take its sound as we offer it: tried in the next way");
            security = other;
        }
    }

    async fn attempt(&self, reach: &Reach, mut security: Security) -> Option<Missed> {
        let line = match reach.way.as_ref().map(Way::line).transpose() {
            Ok(line) => line,
            Err(reason) => return Some(Missed::at_once(reason.fault())),
        };
        let address = match reach.way {
            Some(_) => media_address(&self.shared, &reach.target),
            None => self.plan.address,
        };
        let request = invite(&self.shared, &self.plan, reach, address, &mut security);
        let mut rung = match reach.call(&self.shared, request).await {
            Ok(call) => {
                self.shared.accounts.carries(call.id(), &reach.target);
                Rung { call: Some(call), taken: self.taken.clone() }
            }
            Err(error) => {
                mark(reach, "信令无法送达", &error);
                return Some(Missed::at_once(Reason::Unreachable.with(error)));
            }
        };
        // Who has said a word was reached: no other way does better.
        let mut silent = true;
        // Our offer has its answer already, by a reliable provisional response (RFC 3262 5).
        let mut agreed = false;
        loop {
            let call = rung.call.as_mut()?;
            let fault = match call.next().await {
                Some(CallEvent::Progress(r)) => {
                    if r.code > 100 {
                        silent = false;
                        let reliable = r.headers.tokens("Require").any(|t| t.eq_ignore_ascii_case("100rel"));
                        agreed |= reliable && !r.body.is_empty();
                        self.say(Told::Progress(r.code, Box::new(r), Box::new(security.clone()))).await;
                    }
                    continue;
                }
                Some(CallEvent::Answered(mut response)) => {
                    if reach.way.is_none()
                        && keys::missing(&response, &security)
                        && let Some(agreed) = self.ask_again(&call.handle(), reach, address, &mut response).await
                    {
                        security = agreed;
                        self.shared.dtls_phones.note(&self.shared, &reach.target, true);
                    } else if security.is_sdes() {
                        self.shared.dtls_phones.note(&self.shared, &reach.target, false);
                    }
                    let call = rung.call.take()?;
                    if let (Some(m), Some(way)) = (&self.shared.metrics, &reach.way) {
                        m.trunk_tries.with_label_values(&[way.trunk.config.name.as_str(), "answered"]).inc();
                    }
                    let taken = Taken { call, response, line, address };
                    self.say(Told::Answered(Box::new(taken), Box::new(security))).await;
                    return None;
                }
                Some(CallEvent::Request { tx, request }) => {
                    if request.method == Method::Update && !request.body.is_empty() {
                        let (handle, security) = (call.handle(), security.clone());
                        match agreed {
                            true => {
                                let updated = Updated { branch: self.number, handle, tx, request, security };
                                self.say(Told::Updated(Box::new(updated))).await;
                            }
                            // RFC 3311 5.2: our own offer is under way.
                            false => call.respond(tx, request.respond(491)),
                        }
                    } else {
                        call.respond(tx, early(&request));
                    }
                    continue;
                }
                Some(CallEvent::Confirmed(_)) => continue,
                Some(CallEvent::Ended(EndReason::Rejected(r))) => {
                    let next = match &reach.way {
                        // RFC 3263 4.3 for 503; the others say that this trunk, not the one called, is at fault.
                        Some(_) => matches!(r.code, 401 | 407 | 408 | 500 | 502 | 503 | 504),
                        // The proxy has lost the phone's flow (RFC 5626 section 11.5).
                        None => silent && r.code == 430,
                    };
                    if r.code == 503 {
                        mark(reach, "服务器过载或故障", &"503");
                    }
                    return Some(Missed { refused: rejected(&r), next, rang: !silent });
                }
                Some(CallEvent::Ended(EndReason::Timeout)) => Reason::Unreachable.fault(),
                Some(CallEvent::Ended(EndReason::FlowClosed)) => Reason::SignallingLost.fault(),
                Some(CallEvent::Ended(EndReason::Error(error))) => Reason::CallFailed.with(error),
                Some(CallEvent::Ended(_)) | None => Reason::CallFailed.fault(),
            };
            mark(reach, &fault.zh, &fault.en);
            return Some(Missed { refused: Refused::of(fault), next: silent || reach.way.is_some(), rang: !silent });
        }
    }
}

/// The trunk's server did not carry a call.
fn mark(reach: &Reach, zh: &str, why: &dyn std::fmt::Display) {
    if let Some(way) = &reach.way {
        way.trunk.failed(way.server, &format!("{} {zh}", way.server), &why.to_string());
    }
}

/// The answer to a request in a call that nobody has answered yet.
pub(crate) fn early(request: &Request) -> Response {
    match request.method {
        Method::Options => crate::phone::capabilities(request),
        // RFC 3311 5.2: an offer of ours is under way.
        Method::Update if !request.body.is_empty() => request.respond(491),
        Method::Update => request.respond(200),
        _ => request.respond(405).with("Allow", crate::phone::ALLOW),
    }
}

fn rejected(response: &Response) -> Refused {
    let fault = crate::outbound::rejected(response);
    let moved = matches!(response.code, 301 | 302).then(|| response.contact()).flatten();
    let moved = moved.map(|c| c.uri.user().to_owned()).filter(|u| !u.is_empty() && u.len() <= 64);
    Refused { fault, everywhere: response.code >= 600, moved, trunk: None }
}
