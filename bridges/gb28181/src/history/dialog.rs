//! The INVITE of a history session: offer, answer, media way, and the end (GB/T 28181-2022 clauses 9.8 and 9.9; reference sections
//! 12.1, 12.7, 12.8).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bridge_core::ChannelId;
use media_core::gb::{GbOffer, GbRemote, GbSession, GbTransport, Ssrc};
use media_core::sdp::Sdp;
use media_hub::Fault;
use sip::{Call, CallEvent, EndReason, Method, Request, Response, Target, TxId};
use tokio_util::sync::CancellationToken;

use crate::config::{Quirk, seconds};
use crate::faults;
use crate::live::offer::{self, Agreed};
use crate::live::receiver::{Limits, Receiver};
use crate::live::source::Rules;
use crate::live::wire::Wire;
use crate::manscdp::{Manscdp, Root};
use crate::peer::Peer;
use crate::ready::Ready;
use crate::shared::{Shared, SsrcLease, sip_fault};

/// Why nothing was opened, or why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// Somebody told us to.
    Stopped,
    /// The device says that there is no more (MediaStatus 121).
    NoMore,
    Fault(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

/// A session that stands.
pub(super) struct Dialog {
    pub call: Call,
    pub wire: Wire,
    pub rules: Rules,
    pub agreed: Agreed,
    pub file_size: Option<u64>,
    pub port: u16,
    limits: Limits,
    /// 121 that came outside the dialog. Unregisters when dropped.
    pub notices: super::table::Entry,
    _ssrc: SsrcLease,
}

impl Dialog {
    /// A receiver for what comes from now on.
    pub fn receiver(&self) -> Receiver {
        Receiver::new(self.limits, self.rules.clone(), self.agreed.encoding, self.port, Instant::now())
    }
}

/// Opens a session: over TCP by preference, the other way when the device answers 488.
pub(super) async fn open(
    shared: &Arc<Shared>,
    channel: &ChannelId,
    session: &GbSession,
    stop: &CancellationToken,
) -> Result<Dialog, End> {
    let device = channel.device();
    let (peer, target) = shared.reach(device.name())?;
    let config = &shared.config;
    let fixed = config.device(device.name()).is_some_and(|d| d.transport.is_some());
    let usual = offer::transport(config, device.name(), peer.media_tcp, peer.transport.is_reliable());
    let first = if config.history.prefer_tcp && !fixed && usual == GbTransport::Udp && peer.media_tcp != Some(false) {
        GbTransport::TcpPassive
    } else {
        usual
    };
    let opening = Opening { shared, channel, session, stop, peer: &peer, target: &target };
    match opening.attempt(first).await {
        Err(End::Fault(fault)) if fault.code == "rejected_not_acceptable" && !fixed => {
            match opening.attempt(offer::other(first)).await {
                Err(End::Fault(again)) if again.code == "rejected_not_acceptable" => Err(fault.into()),
                other => other,
            }
        }
        // A camera that takes TCP in its signalling and cannot reach our port: the other way may work.
        Err(End::Fault(fault)) if fault.code == "tcp_not_connected" && !fixed && usual == GbTransport::Udp => {
            opening.attempt(GbTransport::Udp).await.map_err(|_| End::Fault(fault))
        }
        other => other,
    }
}

struct Opening<'a> {
    shared: &'a Arc<Shared>,
    channel: &'a ChannelId,
    session: &'a GbSession,
    stop: &'a CancellationToken,
    peer: &'a Peer,
    target: &'a Target,
}

impl Opening<'_> {
    async fn attempt(&self, way: GbTransport) -> Result<Dialog, End> {
        let shared = self.shared;
        let Some(lease) = shared.lease_ssrc() else { return Err(faults::too_many_sessions(10_000).into()) };
        // First digit 1: history.
        let ssrc = Ssrc::build(true, &shared.config.server_id, lease.ssrc.serial()).unwrap_or(lease.ssrc);
        let ready = Ready::open(&shared.ctx.ports, way)?;
        let port = ready.port();
        let invite = self.invite(way, ssrc, port);
        let call_id = invite.call_id().unwrap_or("").to_owned();
        let notices = shared.history.enter(self.channel, &call_id, self.peer.source);
        let mut call = shared.ctx.sip.invite(*self.target, invite).await.map_err(|e| sip_fault(&e))?;
        let answer = self.answered(&mut call).await?;
        let agreed = match offer::check(&answer, way, ssrc) {
            Ok(agreed) => agreed,
            Err(fault) => {
                call.bye();
                return Err(fault.into());
            }
        };
        let file_size = Sdp::parse(&answer.body).ok().and_then(|s| GbRemote::read(&s).ok()).and_then(|r| r.file_size);
        let wire = self.connected(&mut call, ready, &agreed).await?;
        let config = &shared.config;
        let device = self.channel.device();
        let strict = config.device(device.name()).and_then(|d| d.strict_ssrc).unwrap_or(config.media.strict_ssrc);
        let rules = Rules {
            ssrc: agreed.ssrc.0,
            device: vec![self.peer.source.ip(), agreed.address.ip()],
            strict_ssrc: strict,
            strict_source: config.media.strict_source,
        };
        let limits = Limits::of(&config.media);
        Ok(Dialog { call, wire, rules, agreed, file_size, port, limits, notices, _ssrc: lease })
    }

    fn invite(&self, way: GbTransport, ssrc: Ssrc, port: u16) -> Request {
        let (shared, config) = (self.shared, &self.shared.config);
        let (device, name) = (self.channel.device(), self.channel.name());
        let own = config.device(device.name());
        let set = own.and_then(|d| d.media_address).or(config.media.address).or(shared.ctx.media_address);
        let address: IpAddr = set.unwrap_or_else(|| shared.ctx.sip.local_address(self.target).ip());
        let owner = if shared.quirk(device.name(), Quirk::OwnerIsChannel) { name } else { &config.server_id };
        let offer = GbOffer::history(owner, name, self.session.clone(), address, port, way, ssrc);
        let mut invite = shared.request_to(Method::Invite, name, self.peer, self.target);
        let host = shared.ctx.sip.local_address(self.target).ip();
        invite.headers.set("Call-ID", format!("{:016x}{:08x}@{host}", rand::random::<u64>(), rand::random::<u32>()));
        // The SSRC as serial: its first digit is 1, as clause 12.4 wants it for history, and each session has its own.
        invite.headers.set("Subject", offer::subject(name, ssrc, &config.server_id));
        invite.set_body("application/sdp", offer.to_sdp().to_string().into_bytes());
        invite
    }

    async fn answered(&self, call: &mut Call) -> Result<Response, End> {
        let limit = self.shared.config.media.answer;
        let until = tokio::time::Instant::now() + seconds(limit);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    call.cancel();
                    return Err(End::Stopped);
                }
                () = tokio::time::sleep_until(until) => {
                    call.cancel();
                    return Err(faults::no_answer(limit).into());
                }
                event = call.next() => match event {
                    Some(CallEvent::Answered(response)) => return Ok(response),
                    Some(CallEvent::Request { tx, request }) => { in_call(call, tx, &request); }
                    Some(CallEvent::Progress(_) | CallEvent::Confirmed(_)) => {}
                    Some(CallEvent::Ended(why)) => return Err(ended(&why, limit, 0).into()),
                    None => return Err(gone().into()),
                },
            }
        }
    }

    async fn connected(&self, call: &mut Call, ready: Ready, agreed: &Agreed) -> Result<Wire, End> {
        let limit = self.shared.config.media.tcp_connect;
        let named = agreed.address.ip();
        let private = |ip: IpAddr| match ip {
            IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
        };
        // Behind NAT the address in the answer is private: connect to where the signalling comes from.
        let behind_nat = private(named) && !private(self.peer.source.ip());
        let host = if named.is_unspecified() || behind_nat { self.peer.source.ip() } else { named };
        let connect = Wire::connect(ready, SocketAddr::new(host, agreed.address.port()), agreed.ssrc.0, limit);
        tokio::pin!(connect);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => {
                    call.bye();
                    return Err(End::Stopped);
                }
                wire = &mut connect => return wire.map_err(|fault| {
                    call.bye();
                    End::Fault(fault)
                }),
                event = call.next() => match event {
                    Some(CallEvent::Ended(why)) => return Err(ended(&why, 0, 0).into()),
                    Some(CallEvent::Request { tx, request }) => { in_call(call, tx, &request); }
                    Some(_) => {}
                    None => return Err(gone().into()),
                },
            }
        }
    }
}

pub(super) fn gone() -> Fault {
    faults::signalling_failed("呼叫已不存在 / the call is gone")
}

/// Whether a body says that a recording has come to its end.
pub(super) fn is_121(message: &Manscdp) -> bool {
    message.is(Root::Notify, "MediaStatus") && message.tree.get("NotifyType") == Some("121")
}

/// Answers a request of the device inside the call; true when it says that there is no more.
pub(super) fn in_call(call: &Call, tx: TxId, request: &Request) -> bool {
    let code = match request.method {
        Method::Message | Method::Info | Method::Notify | Method::Options => 200,
        Method::Invite | Method::Update => 488,
        _ => 405,
    };
    call.respond(tx, request.respond(code));
    request.method == Method::Message && Manscdp::parse(&request.body).is_ok_and(|m| is_121(&m))
}

/// The end of a call, as a fault.
pub(super) fn ended(why: &EndReason, limit: u32, packets: u64) -> Fault {
    match why {
        EndReason::Rejected(response) => faults::rejected(response.code, &response.reason),
        EndReason::Bye(_) => faults::bye_from_device(packets),
        EndReason::Timeout => faults::no_answer(limit.max(1)),
        EndReason::FlowClosed => faults::device_lost("信令连接断开 / its signalling connection broke"),
        EndReason::Cancelled | EndReason::LocalBye => faults::signalling_failed("会话已取消 / cancelled"),
        EndReason::Error(error) => sip_fault(error),
    }
}
