//! The media of one leg as it is on the wire: plain, SRTP, or STUN, DTLS and SRTP on one port (RFC 7983).
//!
//! A machine: datagrams and the time in; plain packets, and datagrams to send, out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceCreds, Protocol};

use crate::describe::Fingerprint;
use crate::dtls::{Association, Exported, Failure, Identity};
use crate::keys::Keys;
use crate::srtp::SrtpError;
use crate::stream::{Incoming, Outgoing};

/// What ICE takes for our address. The agent is told that all came there: which one it was makes no difference to a lite agent.
const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 9);
/// A browser that has sent no check for so long is gone (RFC 7675).
const CONSENT: Duration = Duration::from_secs(30);
/// How often ICE is looked after.
const ICE_TICK: Duration = Duration::from_millis(100);

/// Both ends' ICE credentials.
#[derive(Debug, Clone)]
pub struct IcePlan {
    pub local: IceCreds,
    pub remote: IceCreds,
}

/// What DTLS needs.
#[derive(Debug)]
pub struct DtlsPlan {
    pub identity: Arc<Identity>,
    pub fingerprints: Vec<Fingerprint>,
    /// We send the ClientHello.
    pub client: bool,
    pub ice: Option<IcePlan>,
}

impl DtlsPlan {
    fn same_association(&self, other: &DtlsPlan) -> bool {
        self.fingerprints == other.fingerprints && self.client == other.client
    }
}

/// What a dialog agreed on.
#[derive(Debug, Clone, Default)]
pub enum Agreed {
    #[default]
    Plain,
    /// Protected, and the keys are not known yet: nothing passes.
    Nothing,
    Sdes {
        ours: Keys,
        theirs: Keys,
    },
    Dtls(Arc<DtlsPlan>),
}

/// What a datagram was.
#[derive(Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A plain packet of RTP or RTCP.
    Media(&'a [u8]),
    /// STUN or DTLS: done here.
    Handled,
    /// Nothing of this call, or changed on its way.
    Bad,
}

struct Ice {
    agent: IceAgent,
    plan: IcePlan,
    /// Whoever proved himself by a check.
    known: Vec<SocketAddr>,
    remote: Option<SocketAddr>,
    heard: Instant,
    due: Instant,
}

impl Ice {
    fn new(plan: IcePlan, now: Instant) -> Ice {
        let mut agent = IceAgent::new(plan.local.clone());
        agent.set_ice_lite(true);
        agent.set_controlling(false);
        agent.set_remote_credentials(plan.remote.clone());
        if let Ok(candidate) = Candidate::host(HERE, Protocol::Udp) {
            agent.add_local_candidate(candidate);
        }
        agent.handle_timeout(now);
        Ice { agent, plan, known: Vec::new(), remote: None, heard: now, due: now + ICE_TICK }
    }

    fn drain(&mut self, out: &mut Vec<(SocketAddr, Vec<u8>)>) {
        while let Some(t) = self.agent.poll_transmit() {
            if out.len() < MOST_OUT {
                out.push((t.destination, t.contents.to_vec()));
            }
        }
        while let Some(event) = self.agent.poll_event() {
            if let IceAgentEvent::NominatedSend { destination, .. } = event {
                self.remote = Some(destination);
            }
        }
    }
}

/// Handshakes that begin before the answer which says of them is there: datagrams kept.
const MOST_EARLY: usize = 4;
/// Sources that ICE may have proved, and datagrams that wait to be sent.
const MOST_SOURCES: usize = 16;
const MOST_OUT: usize = 64;

struct Dtls {
    plan: Arc<DtlsPlan>,
    association: Association,
    ice: Option<Ice>,
    /// Where DTLS goes when there is no ICE: the described address, then whoever spoke DTLS.
    peer: Option<SocketAddr>,
}

enum State {
    Plain,
    Nothing,
    Sdes { ours: Keys, theirs: Keys },
    Dtls(Box<Dtls>),
}

/// Which port of a leg a datagram belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    Rtp,
    Rtcp,
}

/// Where the far end wants its media.
#[derive(Debug, Clone, Copy, Default)]
pub struct Remote {
    pub rtp: Option<SocketAddr>,
    pub rtcp: Option<SocketAddr>,
    /// Reports share the port of the sound (RFC 5761).
    pub mux: bool,
}

/// The protection of one leg's media.
#[derive(Default)]
pub struct Channel {
    rtp: Half,
    /// Reports on a port of their own have a handshake and keys of their own (RFC 5764 4); keys of a description serve both.
    rtcp: Option<Box<Half>>,
}

impl Channel {
    /// Packets pass as they are.
    pub fn is_plain(&self) -> bool {
        self.rtp.is_plain()
    }

    /// Takes what the dialog agreed on; the same as before changes nothing.
    pub fn agree(&mut self, agreed: &Agreed, remote: Remote, now: Instant) {
        self.rtp.agree(agreed, remote.rtp, now);
        match agreed {
            Agreed::Dtls(plan) if plan.ice.is_none() && !remote.mux => {
                self.rtcp.get_or_insert_default().agree(agreed, remote.rtcp, now);
            }
            _ => self.rtcp = None,
        }
    }

    fn half(&mut self, component: Component) -> &mut Half {
        match (component, &mut self.rtcp) {
            (Component::Rtcp, Some(rtcp)) => rtcp,
            _ => &mut self.rtp,
        }
    }

    /// One datagram of that port. `scratch` holds what is opened.
    pub fn input<'a>(
        &mut self,
        component: Component,
        data: &'a [u8],
        from: SocketAddr,
        now: Instant,
        scratch: &'a mut Vec<u8>,
    ) -> Input<'a> {
        self.half(component).input(data, from, now, scratch)
    }

    /// Protects the packet that begins at `start` and ends `buf`, if it is to be; on an error nothing of it is left.
    pub fn protect(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        let report = buf.get(start..).is_some_and(media_core::rtp::is_rtcp);
        self.half(if report { Component::Rtcp } else { Component::Rtp }).protect(buf, start)
    }

    /// What must be sent from which port: STUN answers, DTLS.
    pub fn poll_transmit(&mut self) -> Option<(Component, SocketAddr, Vec<u8>)> {
        if let Some((to, datagram)) = self.rtp.poll_transmit() {
            return Some((Component::Rtp, to, datagram));
        }
        self.rtcp.as_mut()?.poll_transmit().map(|(to, datagram)| (Component::Rtcp, to, datagram))
    }

    /// Where media goes, when ICE has found it out. `Some(None)`: not yet.
    pub fn destination(&self) -> Option<Option<SocketAddr>> {
        self.rtp.destination()
    }

    /// When [`Channel::tick`] has something to do again.
    pub fn next_timeout(&self) -> Option<Instant> {
        [self.rtp.next_timeout(), self.rtcp.as_ref().and_then(|h| h.next_timeout())].into_iter().flatten().min()
    }

    pub fn tick(&mut self, now: Instant) {
        self.rtp.tick(now);
        if let Some(rtcp) = &mut self.rtcp {
            rtcp.tick(now);
        }
    }

    /// Why there are no keys for the sound and will not be. Reports without keys are not worth a call.
    pub fn failure(&self) -> Option<Failure> {
        self.rtp.failure
    }

    /// Keys stand, or none are needed.
    pub fn ready(&self) -> bool {
        self.rtp.ready()
    }

    /// Packets that were not authentic, came twice, or came before the keys.
    pub fn refused(&self) -> u64 {
        self.rtp.refused + self.rtcp.as_ref().map_or(0, |h| h.refused)
    }
}

/// One port's part of it.
struct Half {
    state: State,
    incoming: Option<Incoming>,
    outgoing: Option<Outgoing>,
    out: Vec<(SocketAddr, Vec<u8>)>,
    /// A far end may send its ClientHello with the answer, and be faster than it (RFC 5763 5): without it the sound would begin a
    /// second later, when it is repeated.
    early: Vec<(SocketAddr, Vec<u8>)>,
    failure: Option<Failure>,
    refused: u64,
}

impl Default for Half {
    fn default() -> Self {
        Half {
            state: State::Plain,
            incoming: None,
            outgoing: None,
            out: Vec::new(),
            early: Vec::new(),
            failure: None,
            refused: 0,
        }
    }
}

impl Half {
    /// Packets pass as they are.
    fn is_plain(&self) -> bool {
        matches!(self.state, State::Plain)
    }

    /// Takes what the dialog agreed on; the same as before changes nothing. `described`: where the far end wants its media.
    fn agree(&mut self, agreed: &Agreed, described: Option<SocketAddr>, now: Instant) {
        match (&mut self.state, agreed) {
            (State::Plain, Agreed::Plain) => {}
            (_, Agreed::Plain) => *self = Half::default(),
            (_, Agreed::Nothing) => *self = Half { state: State::Nothing, ..Half::default() },
            (State::Sdes { ours, theirs }, Agreed::Sdes { ours: a, theirs: b }) => {
                // A key that changes begins a new count; the other direction goes on.
                if ours != a {
                    ours.clone_from(a);
                    self.outgoing = Outgoing::new(a).ok();
                }
                if theirs != b {
                    theirs.clone_from(b);
                    self.incoming = Incoming::new(b).ok();
                }
            }
            (_, Agreed::Sdes { ours, theirs }) => {
                *self = Half {
                    incoming: Incoming::new(theirs).ok(),
                    outgoing: Outgoing::new(ours).ok(),
                    state: State::Sdes { ours: ours.clone(), theirs: theirs.clone() },
                    ..Half::default()
                };
            }
            (State::Dtls(dtls), Agreed::Dtls(plan)) if dtls.plan.same_association(plan) => {
                let same = |a: &IcePlan, b: &IcePlan| {
                    a.remote.ufrag == b.remote.ufrag && a.remote.pass == b.remote.pass && a.local.ufrag == b.local.ufrag
                };
                match (&dtls.ice, &plan.ice) {
                    (Some(ice), Some(new)) if same(&ice.plan, new) => {}
                    (_, new) => {
                        // ICE restarts; the media goes on where it went.
                        let old = dtls.ice.take();
                        dtls.ice = new.clone().map(|p| Ice::new(p, now));
                        if let (Some(old), Some(new)) = (old, &mut dtls.ice) {
                            (new.remote, new.known) = (old.remote, old.known);
                        }
                    }
                }
                dtls.peer = dtls.peer.or(described);
                dtls.plan = plan.clone();
            }
            (_, Agreed::Dtls(plan)) => {
                let association = Association::new(&plan.identity, plan.fingerprints.clone(), plan.client, now);
                let ice = plan.ice.clone().map(|p| Ice::new(p, now));
                let dtls = Dtls { plan: plan.clone(), association, ice, peer: described };
                let early = std::mem::take(&mut self.early);
                *self = Half { state: State::Dtls(Box::new(dtls)), ..Half::default() };
                // Of several phones that rang, the one that answered; behind NAT nobody knows its address, and the last is it.
                let mut from = early.iter().map(|(from, _)| *from);
                let from = from.clone().find(|from| Some(*from) == described).or(from.next_back());
                if !plan.client && plan.ice.is_none() {
                    for (at, data) in early.iter().filter(|(at, _)| Some(*at) == from) {
                        self.dtls(data, *at, now);
                    }
                }
            }
        }
    }

    /// One datagram of the RTP or RTCP port. `scratch` holds what is opened.
    fn input<'a>(&mut self, data: &'a [u8], from: SocketAddr, now: Instant, scratch: &'a mut Vec<u8>) -> Input<'a> {
        if let State::Plain | State::Nothing = self.state
            && matches!(data.first(), Some(20..=63))
        {
            if self.early.len() < MOST_EARLY && crate::dtls::records(data) {
                self.early.push((from, data.to_vec()));
            }
            return Input::Bad;
        }
        if let State::Plain = self.state {
            return Input::Media(data);
        }
        match data.first() {
            Some(0..=3) => self.stun(data, from, now),
            Some(20..=63) => self.dtls(data, from, now),
            Some(128..=191) => {
                if let State::Dtls(dtls) = &self.state
                    && dtls.ice.as_ref().is_some_and(|ice| !ice.known.contains(&from))
                {
                    return Input::Bad;
                }
                scratch.clear();
                scratch.extend_from_slice(data);
                match self.incoming.as_mut().map(|i| i.open(scratch)) {
                    Some(Ok(len)) => Input::Media(scratch.get(..len).unwrap_or_default()),
                    _ => {
                        self.refused += 1;
                        Input::Bad
                    }
                }
            }
            _ => Input::Bad,
        }
    }

    fn stun(&mut self, data: &[u8], from: SocketAddr, now: Instant) -> Input<'static> {
        let State::Dtls(dtls) = &mut self.state else { return Input::Handled };
        let Some(ice) = &mut dtls.ice else { return Input::Handled };
        let Ok(message) = StunMessage::parse(data) else { return Input::Bad };
        if !ice.agent.handle_packet(now, StunPacket { proto: Protocol::Udp, source: from, destination: HERE, message })
        {
            return Input::Bad;
        }
        ice.heard = now;
        if !ice.known.contains(&from) {
            if ice.known.len() >= MOST_SOURCES {
                ice.known.remove(0);
            }
            ice.known.push(from);
        }
        ice.agent.handle_timeout(now);
        ice.drain(&mut self.out);
        Input::Handled
    }

    fn dtls(&mut self, data: &[u8], from: SocketAddr, now: Instant) -> Input<'static> {
        let State::Dtls(dtls) = &mut self.state else { return Input::Bad };
        match &dtls.ice {
            Some(ice) if !ice.known.contains(&from) => return Input::Bad,
            Some(_) => {}
            // Behind NAT it comes from elsewhere than described. Once it is done, nobody else is listened to.
            None if dtls.association.done() && dtls.peer != Some(from) => return Input::Bad,
            None => dtls.peer = Some(from),
        }
        let got = dtls.association.receive(data, now);
        self.after(got);
        Input::Handled
    }

    fn after(&mut self, got: Result<Option<Exported>, Failure>) {
        match got {
            Ok(Some(keys)) => {
                self.incoming = Incoming::new(&keys.theirs).ok();
                self.outgoing = Outgoing::new(&keys.ours).ok();
            }
            Ok(None) => {}
            Err(failure) => self.failure = self.failure.or(Some(failure)),
        }
        let State::Dtls(dtls) = &mut self.state else { return };
        let to = match &dtls.ice {
            Some(ice) => ice.remote.or(ice.known.last().copied()),
            None => dtls.peer,
        };
        while let Some(packet) = dtls.association.out.pop_front() {
            if let Some(to) = to
                && self.out.len() < MOST_OUT
            {
                self.out.push((to, packet));
            }
        }
    }

    /// Protects the packet that begins at `start` and ends `buf`, if it is to be; on an error nothing of it is left.
    fn protect(&mut self, buf: &mut Vec<u8>, start: usize) -> Result<(), SrtpError> {
        if let State::Plain = self.state {
            return Ok(());
        }
        match &mut self.outgoing {
            Some(outgoing) => outgoing.protect(buf, start),
            None => {
                buf.truncate(start);
                Err(SrtpError::Keys)
            }
        }
    }

    /// What must be sent from the RTP port: STUN answers, DTLS.
    fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        (!self.out.is_empty()).then(|| self.out.remove(0))
    }

    /// Where media goes, when ICE has found it out. `Some(None)`: not yet.
    fn destination(&self) -> Option<Option<SocketAddr>> {
        match &self.state {
            State::Dtls(dtls) => dtls.ice.as_ref().map(|ice| ice.remote),
            _ => None,
        }
    }

    /// When [`Half::tick`] has something to do again.
    fn next_timeout(&self) -> Option<Instant> {
        let State::Dtls(dtls) = &self.state else { return None };
        let ice = dtls.ice.as_ref().map(|ice| ice.due);
        [dtls.association.next_timeout(), ice].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Instant) {
        let State::Dtls(dtls) = &mut self.state else { return };
        if let Some(ice) = &mut dtls.ice {
            if now >= ice.due {
                ice.due = now + ICE_TICK;
                ice.agent.handle_timeout(now);
                ice.drain(&mut self.out);
            }
            if ice.remote.is_some() && now.saturating_duration_since(ice.heard) > CONSENT {
                // Its media is not sent any more; when nothing comes either, the call's own time-out ends it.
                ice.remote = None;
            }
            if ice.known.is_empty() && dtls.plan.client {
                return;
            }
        }
        let got = dtls.association.tick(now);
        self.after(got);
    }

    /// Keys stand, or none are needed.
    fn ready(&self) -> bool {
        self.is_plain() || self.outgoing.is_some()
    }
}
