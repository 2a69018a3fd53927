//! A caller in the waiting line of a duty desk: answered by us, spoken to, and joined with the first agent who answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{CallEndedBy, CallEntry, CallParty, Fault, QueueRule, Text};
use media_core::sdp::{Direction, OriginVersion, Sdp};
use sip::{CallEvent, Headers, Method, Request, Target};

use super::queue::{Claim, Waits};
use super::relay::{End as MediaEnd, Play, Relay};
use super::replaces::DialogName;
use super::ring::{Fork, MOST_BRANCHES, Ring, Ringing, early};
use super::sdp::{self, Described, Local};
use super::standing::{Pair, Side, Standing};
use super::{Incoming, Over, caller_gone, refuse, voice};
use crate::call::{media_address, sdp_body};
use crate::faults::Reason;
use crate::phone::{Place, Shared};
use crate::route;
use crate::security::Security;
use crate::session_timer::{Due, SessionTimer};

/// How often it is looked whether an agent is free.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Agents whose phones ring for the caller.
struct Calling {
    fork: Fork,
    claims: Vec<Claim>,
    parties: Vec<(CallParty, usize)>,
    local: Local,
    origin: OriginVersion,
    sent: Sdp,
    deadline: tokio::time::Instant,
}

impl Calling {
    /// Whose contact this branch is.
    fn agent(&self, branch: usize) -> Option<&CallParty> {
        let mut end = 0;
        self.parties.iter().find_map(|(party, contacts)| {
            end += contacts;
            (branch < end).then_some(party)
        })
    }
}

pub(super) async fn run(shared: &Arc<Shared>, incoming: Incoming, entry: &CallEntry, place: Place) -> Over {
    let rule = shared.ctx.credentials.queue(&incoming.to.party().number);
    let joined = rule.as_ref().and_then(|rule| shared.queues.join(rule, entry.id(), incoming.caller.clone()));
    if joined.is_none()
        && let Some(party) = rule.as_ref().and_then(|r| route::party(shared, r.overflow.as_deref()?))
    {
        // The line is full: an ordinary call to the overflow number.
        entry.update(|c| c.callee = party.clone());
        let to = route::Destination::Account(party);
        return super::run(shared, Incoming { to, ..incoming }, entry, place).await;
    }
    let Incoming { call, flow, request, who, caller, to } = incoming;
    let failed = |place: Place, fault: Fault, code: u16, warning: Option<&str>| {
        drop(place);
        refuse(&call, &request, &fault, code, warning);
        Over::fault(CallEndedBy::Gateway, &fault)
    };
    let number = to.party().number;
    let Some(rule) = rule else {
        return failed(place, Reason::UnknownNumber.fault(), 404, None);
    };
    let Ok(timer) = SessionTimer::of_request(&request, Instant::now()) else {
        return failed(place, Reason::CallFailed.with("Session-Expires"), 422, None);
    };
    // We speak to him ourselves: one of the laws is needed, also where he offers nothing.
    let security = Security::incoming(shared, &Target::Flow(flow.id));
    let offered = match Described::offered(&request.body, &security) {
        Ok(offered) => offered,
        Err(refusal) => return failed(place, refusal.reason().fault(), 488, Some(refusal.warning())),
    };
    let Some(laws) = offered.laws() else {
        let warning = "304 skybridge \"PCMA or PCMU needed\"";
        return failed(place, Reason::NoCodec.fault(), 488, Some(warning));
    };
    entry.update(|c| c.queue = Some(number.clone()));
    let Some(waits) = joined else {
        return failed(place, Reason::QueueFull.fault(), 486, None);
    };
    let Some(relay) = Relay::open(shared) else {
        return failed(place, Reason::NoMediaPort.fault(), 503, None);
    };
    let near = Local {
        address: media_address(shared, &Target::Flow(flow.id)),
        port: relay.port(0),
        turns: shared.turning.transcode,
    };
    let Ok(body) = sdp::answer(&offered, &laws, near, Direction::SendRecv) else {
        return failed(place, Reason::NoCodec.fault(), 488, None);
    };
    let mut side = Side::new(call, who, near, laws);
    side.party = caller;
    side.timer = timer.or(Some(SessionTimer::own(Instant::now())));
    side.peer_updates = super::allows_update(&request.headers);
    let text = side.stamp(body);
    let mut extra = Headers::new();
    if let Some(timer) = &timer {
        timer.answer(&mut extra);
    }
    // As he was answered: he sends nothing else.
    relay.describe(0, MediaEnd::of(&side.described));
    side.call.accept("application/sdp", sdp_body(text), extra);
    entry.ringing();
    let began = Instant::now();
    let waiting = Waiting { shared, entry, rule, waits, relay, side, place, began, overflowed: false };
    waiting.run().await
}

struct Waiting<'a> {
    shared: &'a Arc<Shared>,
    entry: &'a CallEntry,
    rule: QueueRule,
    waits: Waits,
    relay: Relay,
    side: Side,
    place: Place,
    began: Instant,
    /// The overflow number was tried.
    overflowed: bool,
}

impl Waiting<'_> {
    async fn run(mut self) -> Over {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let ordered = self.entry.ordered();
        let mut calling: Option<Calling> = None;
        let announce = Duration::from_secs(u64::from(self.rule.announce_every_s));
        let mut next_word = Instant::now() + announce;
        let mut spoken = self.waits.position();
        self.speak(true, spoken).await;
        loop {
            let event = tokio::select! {
                event = next_of(&mut calling) => event,
                event = self.side.call.next() => match event {
                    Some(CallEvent::Request { tx, request }) => {
                        self.answer(tx, &request);
                        continue;
                    }
                    Some(CallEvent::Confirmed(ack)) => {
                        self.side.dialog = DialogName::of_request(&ack);
                        continue;
                    }
                    Some(CallEvent::Ended(reason)) => return self.abandoned(caller_gone(&reason)),
                    None => return self.abandoned(Over::cancelled()),
                    Some(_) => continue,
                },
                _ = look.tick() => {
                    let now = Instant::now();
                    let longest = Duration::from_secs(u64::from(self.rule.longest_wait_s));
                    if calling.is_none() && now.saturating_duration_since(self.began) >= longest {
                        let tried = std::mem::replace(&mut self.overflowed, true);
                        match self.overflow().filter(|_| !tried) {
                            Some(overflow) => calling = Some(overflow),
                            None => return self.sent_away(),
                        }
                    }
                    if calling.is_none() {
                        calling = self.ring();
                    }
                    if !announce.is_zero() && now >= next_word {
                        next_word = now + announce;
                        spoken = self.waits.position();
                        self.speak(false, spoken).await;
                    }
                    if let Some(timer) = &mut self.side.timer
                        && timer.due(now) == Due::Expired
                    {
                        self.side.call.bye();
                        return Over::fault(CallEndedBy::Network, &Reason::RefreshMissing.fault());
                    }
                    continue;
                }
                () = ordered.cancelled() => {
                    self.side.call.bye();
                    return Over::ordered();
                }
                () = self.shared.ctx.shutdown.cancelled() => {
                    self.side.call.bye();
                    return Over::fault(CallEndedBy::Gateway, &Reason::ShuttingDown.fault());
                }
            };
            match event {
                None | Some(Ringing::Failed(_)) => {
                    // Nobody of them took it: dropped, they have their pause, and the next are asked.
                    calling = None;
                    self.waits.unserved();
                }
                Some(Ringing::Updated(u)) => u.handle.respond(u.tx, u.request.respond(491)),
                Some(Ringing::Progress { .. }) => {}
                Some(Ringing::Answered { branch, call, response, mut security, .. }) => {
                    let Some(mut called) = calling.take() else { continue };
                    let Some(agent) = called.agent(branch).cloned() else { continue };
                    security.dress_sent(&mut called.sent, &mut called.origin);
                    let Ok(described) = Described::answered(&response.body, &security) else {
                        call.bye();
                        self.waits.unserved();
                        continue;
                    };
                    return self.join(called, agent, *call, &response, described).await;
                }
            }
        }
    }

    /// A request of the caller while he waits. A refresh is answered with what he was told.
    fn answer(&mut self, tx: sip::TxId, request: &Request) {
        let now = Instant::now();
        let response = match &request.method {
            Method::Update | Method::Invite => {
                if let Some(timer) = &mut self.side.timer {
                    timer.refreshed(now);
                }
                match (&self.side.sent, request.body.is_empty(), &request.method) {
                    (_, true, Method::Update) => request.respond(200),
                    // Any other change waits until somebody is there (RFC 3261 14.2).
                    _ => request.respond(491),
                }
            }
            _ => early(request),
        };
        self.side.call.respond(tx, response);
    }

    async fn speak(&self, hold: bool, position: usize) {
        let first = voice::announcement(&self.shared.config.prompts, hold, position);
        let play = Play { first, then: voice::ring_back(), mu: self.side.described.prefers_mu() };
        self.relay.play(0, Some(play));
    }

    /// Rings agents who are free; none while there are none.
    fn ring(&self) -> Option<Calling> {
        // The rule may have changed since: agents sign in and out.
        let rule = self.shared.ctx.credentials.queue(&self.rule.number)?;
        let can = |phone: &str| {
            !self.shared.busy(phone) && !self.shared.accounts.reaches(&self.shared.ctx.sip, phone).is_empty()
        };
        let claims = self.waits.claim(&rule, Instant::now(), can);
        let parties = claims.iter().filter_map(|c| route::party(self.shared, &c.phone)).collect();
        let calling = self.call(parties, claims, rule.ring_time_s);
        if calling.is_none() {
            self.waits.unserved();
        }
        calling
    }

    /// Nobody was free in time: the overflow number.
    fn overflow(&self) -> Option<Calling> {
        let number = self.rule.overflow.as_ref()?;
        let party = route::party(self.shared, number)?;
        self.call(vec![party], Vec::new(), self.shared.config.ring_timeout)
    }

    fn call(&self, parties: Vec<CallParty>, claims: Vec<Claim>, seconds: u32) -> Option<Calling> {
        let targets: Vec<_> =
            parties.iter().map(|party| self.shared.accounts.reaches(&self.shared.ctx.sip, &party.number)).collect();
        let first = targets.iter().flatten().next()?;
        let local = Local {
            address: media_address(self.shared, &first.target),
            port: self.relay.port(1),
            turns: self.shared.turning.offers(),
        };
        let mut origin = OriginVersion::new(u64::from(rand::random::<u32>() >> 1));
        let mut sent = sdp::offer(&self.side.described, local, None, Direction::SendRecv);
        origin.stamp(&mut sent, "skybridge", local.address);
        let rings: Vec<Ring<'_>> = parties
            .iter()
            .zip(&targets)
            .map(|(callee, reaches)| Ring {
                caller: &self.side.party,
                callee,
                reaches: reaches.clone(),
                hops: 70,
                referred_by: None,
                hidden: self.side.party.number == "anonymous",
                announces: false,
            })
            .collect();
        let fork = Fork::start_all(self.shared, &rings, &sent.to_string());
        let counts = targets.iter().map(|t| t.len().min(MOST_BRANCHES));
        let parties = parties.iter().cloned().zip(counts).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(u64::from(seconds.max(1)));
        Some(Calling { fork, claims, parties, local, origin, sent, deadline })
    }

    async fn join(
        self,
        called: Calling,
        agent: CallParty,
        call: sip::Call,
        response: &sip::Response,
        described: Described,
    ) -> Over {
        let Calling { fork, claims, local, origin, sent, .. } = called;
        drop(fork);
        // Who did not answer may be asked again at once: somebody else was quicker.
        let mut answered = None;
        for mut claim in claims {
            match claim.phone == agent.number {
                true => {
                    claim.answered();
                    answered = Some(claim);
                }
                false => claim.lost(),
            }
        }
        let Waiting { shared, entry, waits, relay, side, place, .. } = self;
        drop(waits);
        let Some(far_place) = shared.place(&format!("{}:{}", crate::NAME, agent.number)) else {
            call.bye();
            side.call.bye();
            return Over::fault(CallEndedBy::Gateway, &Reason::Limit.fault());
        };
        if sdp::turned(&side.described, &described) && !relay.decodes() {
            call.bye();
            side.call.bye();
            return Over::fault(CallEndedBy::Gateway, &Reason::TranscodeLimit.fault());
        }
        relay.play(0, None);
        relay.describe(1, MediaEnd::of(&described));
        let now = Instant::now();
        let mut far = Side::new(call, route::Dialler::Account(agent.number.clone()), local, described);
        far.party.clone_from(&agent);
        far.origin = origin;
        far.sent = Some(sent);
        far.timer = SessionTimer::of_response(&response.headers, now).or(Some(SessionTimer::own(now)));
        far.peer_updates = super::allows_update(&response.headers);
        far.dialog = DialogName::of_response(response);
        tracing::info!(agent = agent.number, "a caller of a queue is answered");
        entry.update(|c| c.callee = agent);
        entry.answered();
        let (line, orders) = shared.board.open(entry.id());
        // The numbers of the agent's formats may be others than those that the caller was told.
        let renumbered = far.described.maps.iter().any(|m| {
            let same = |o: &&media_core::sdp::RtpMap| o.encoding.eq_ignore_ascii_case(&m.encoding);
            side.described.maps.iter().find(same).is_some_and(|o| o.payload_type != m.payload_type)
        });
        let pair = Pair { sides: [side, far], places: [place, far_place], relay, line, orders };
        let mut standing = Standing::new(shared.clone(), pair, entry);
        if renumbered {
            standing.tell_first(1);
        }
        let over = standing.run().await;
        drop(answered);
        over
    }

    /// The caller gave up.
    fn abandoned(&self, over: Over) -> Over {
        match over.code {
            "cancelled" => Over { words: Text::new("排队时主叫挂机", "the caller gave up waiting"), ..over },
            _ => over,
        }
    }

    fn sent_away(&self) -> Over {
        let fault = Reason::QueueTimeout.fault();
        let mut headers = Headers::new();
        headers.push("Reason", format!("SIP;cause=480;text=\"{}\"", fault.code));
        self.side.call.bye_with(headers);
        Over::fault(CallEndedBy::Gateway, &fault)
    }
}

/// The next thing that happens to the phones that ring; none when their time is over.
async fn next_of(calling: &mut Option<Calling>) -> Option<Ringing> {
    match calling {
        Some(calling) => tokio::time::timeout_at(calling.deadline, calling.fork.next()).await.ok(),
        None => std::future::pending().await,
    }
}
