//! What all tasks of the bridge hold, and how a device is spoken to.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bridge_core::{BridgeContext, DeviceId, Timestamp};
use dashmap::DashMap;
use media_core::gb::Ssrc;
use media_hub::Fault;
use sip::{Method, NameAddr, Request, SipError, Target, Transport, Uri};
use tokio::sync::{Notify, Semaphore, broadcast, mpsc};
use tokio_util::task::TaskTracker;

use crate::config::{Config, Quirk};
use crate::datum::Datum;
use crate::edition::Edition;
use crate::faults;
use crate::hold::Holds;
use crate::line::Line;
use crate::listen::News;
use crate::manscdp::{self, Manscdp};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::quirks::{Profile, Quirks};
use crate::text::Charset;
use crate::voice;

/// The name of this bridge and the prefix of its ids.
pub const NAME: &str = "gb28181";

/// Business answers to alarms that may be on their way at once.
const ALARM_ANSWERS: usize = 512;

/// Answers to one question that wait to be taken.
const ANSWERS: usize = 512;

/// A question of ours that waits for its answers.
pub(crate) struct Pending {
    /// The device asked.
    pub device: String,
    /// The id asked about.
    pub about: String,
    pub command: &'static str,
    pub answers: mpsc::Sender<Manscdp>,
}

pub(crate) struct Shared {
    pub config: Config,
    pub ctx: BridgeContext,
    pub metrics: Metrics,
    pub peers: DashMap<String, Peer>,
    /// By SN, which is unique among ours.
    pub pending: DashMap<u32, Pending>,
    sn: AtomicU32,
    ssrcs: Mutex<(u16, HashSet<u16>)>,
    pub holds: Mutex<Holds>,
    pub holds_changed: Notify,
    /// Devices that are being asked for their channels.
    pub refreshing: DashMap<String, ()>,
    /// Orders for pictures that wait for the device's last word.
    pub snapshots: crate::snapshot::Waiting,
    /// For the machine of subscriptions.
    pub news: mpsc::Sender<News>,
    /// Business answers to alarms on their way.
    pub answers: Arc<Semaphore>,
    /// Devices whose facts and catalog are to be asked for.
    pub to_ask: Line,
    /// Devices that logged out.
    pub left: broadcast::Sender<String>,
    pub tasks: TaskTracker,
    pub quirks: Quirks,
    pub voice: voice::Table,
    /// Playbacks and downloads that run.
    pub history: crate::history::table::Table,
    /// Lists of recordings, kept for a short while.
    pub listings: crate::history::Cache,
    /// Since when requests to a device go unanswered.
    silent: DashMap<String, Timestamp>,
    /// Questions and answered orders under way.
    pub questions: Semaphore,
    /// Devices to be asked for their keepalive terms and their clock.
    pub terms_to_ask: Line,
    /// Devices whose own keepalive terms were read; the task that watches over life takes them up.
    pub terms: Mutex<Vec<String>>,
    pub terms_changed: Notify,
}

/// An SSRC in use; free again when dropped.
pub(crate) struct SsrcLease {
    pub ssrc: Ssrc,
    serial: u16,
    shared: Arc<Shared>,
}

impl Drop for SsrcLease {
    fn drop(&mut self) {
        lock(&self.shared.ssrcs).1.remove(&self.serial);
    }
}

/// A question that is taken back when dropped.
pub(crate) struct Asked {
    pub sn: u32,
    pub shared: Arc<Shared>,
    pub answers: mpsc::Receiver<Manscdp>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shared.pending.remove(&self.sn);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn device_id(id: &str) -> DeviceId {
    DeviceId::new(NAME, id)
}

impl Shared {
    pub fn new(
        ctx: BridgeContext,
        config: Config,
        metrics: Metrics,
        voice: voice::Table,
        news: mpsc::Sender<News>,
    ) -> Shared {
        Shared {
            ctx,
            metrics,
            peers: DashMap::new(),
            pending: DashMap::new(),
            // Random, so that late answers to an earlier run find nothing.
            sn: AtomicU32::new(rand::random_range(1..1_000_000)),
            ssrcs: Mutex::new((rand::random_range(0..10_000), HashSet::new())),
            holds: Mutex::default(),
            holds_changed: Notify::new(),
            refreshing: DashMap::new(),
            snapshots: crate::snapshot::Waiting::default(),
            news,
            answers: Arc::new(Semaphore::new(ALARM_ANSWERS)),
            to_ask: Line::default(),
            left: broadcast::Sender::new(256),
            tasks: TaskTracker::new(),
            quirks: Quirks::new(&config),
            voice,
            history: Default::default(),
            listings: Default::default(),
            silent: DashMap::new(),
            questions: crate::control::gate(),
            terms_to_ask: Line::default(),
            terms: Mutex::default(),
            terms_changed: Notify::new(),
            config,
        }
    }

    pub fn peer(&self, id: &str) -> Option<Peer> {
        self.peers.get(id).map(|p| p.clone())
    }

    /// Notes that a device leaves us without answer; gives when that began.
    pub fn silent_since(&self, id: &str, now: Timestamp) -> Timestamp {
        // No device is in here that is not in `peers`, which is bounded.
        *self.silent.entry(id.to_owned()).or_insert(now)
    }

    /// Something of ours was answered.
    pub fn reached(&self, id: &str) {
        if !self.silent.is_empty() {
            self.silent.remove(id);
        }
    }

    /// Edition of a device: the operator's word, else its own.
    pub fn edition(&self, id: &str, peer: &Peer) -> Option<Edition> {
        self.config.device(id).and_then(|d| d.version).or(peer.edition)
    }

    /// Silence after which a device is off line: the operator's word, else the device's own, else the default.
    pub fn patience(&self, id: &str) -> Duration {
        self.config.patience(id, self.peers.get(id).and_then(|p| p.heartbeat))
    }

    pub fn charset(&self, id: &str, peer: &Peer) -> Charset {
        self.profile(id).charset.unwrap_or(peer.charset)
    }

    /// What a device wants beside the standard: the table's rows that fit it, and the operator's word.
    pub fn profile(&self, id: &str) -> Arc<Profile> {
        self.quirks.of(&self.config, id, || {
            let device = self.ctx.registry.get(&device_id(id))?;
            Some([device.manufacturer.clone(), device.model.clone(), device.firmware.clone()])
        })
    }

    /// In which system a device writes its positions.
    pub fn datum(&self, id: &str) -> Datum {
        if self.quirk(id, Quirk::Gcj02) { Datum::Gcj02 } else { self.config.datum(id) }
    }

    /// Whether a device must be spared something, or needs it.
    pub fn quirk(&self, id: &str, quirk: Quirk) -> bool {
        self.profile(id).has(quirk)
    }

    pub fn next_sn(&self) -> u32 {
        // Kept below 2^30: some devices read it as a signed number.
        self.sn.fetch_add(1, Ordering::Relaxed) % (1 << 30) + 1
    }

    /// An SSRC that no living session of ours uses; none when all 10,000 are taken.
    pub fn lease_ssrc(self: &Arc<Self>) -> Option<SsrcLease> {
        let mut pool = lock(&self.ssrcs);
        for _ in 0..10_000 {
            let serial = pool.0;
            pool.0 = (serial + 1) % 10_000;
            if pool.1.insert(serial) {
                drop(pool);
                let lease = |ssrc| SsrcLease { ssrc, serial, shared: self.clone() };
                let built = Ssrc::build(false, &self.config.server_id, serial);
                return Some(lease(built.unwrap_or(Ssrc(u32::from(serial)))));
            }
        }
        None
    }

    /// The peer and where its requests go: its flow, after a restart its stored UDP address; a TCP device must come first.
    pub fn reach(&self, id: &str) -> Result<(Peer, Target), Fault> {
        let Some(peer) = self.peer(id) else { return Err(faults::device_offline("尚未注册 / not registered")) };
        if !peer.online {
            let device = self.ctx.registry.get(&device_id(id));
            let why = device.and_then(|d| d.offline_reason.clone());
            let why = why.map_or_else(|| "未注册 / not registered".to_owned(), |t| format!("{} / {}", t.zh, t.en));
            return Err(faults::device_offline(&why));
        }
        match peer.flow {
            Some(flow) if self.ctx.sip.flow(flow).is_some() => Ok((peer, Target::Flow(flow))),
            _ if peer.transport == Transport::Udp => {
                let target = Target::Address(Transport::Udp, peer.source);
                Ok((peer, target))
            }
            _ => Err(faults::device_offline("等待设备重新建立 TCP 信令连接 / waiting for its signalling connection")),
        }
    }

    /// A request from us to `user` at the device (reference section 4.4: the stored source address, never the Contact).
    pub fn request_to(&self, method: Method, user: &str, peer: &Peer, target: &Target) -> Request {
        let own = Uri::sip(&self.config.server_id, self.config.domain(), None);
        let theirs = Uri::sip(user, &peer.source.ip().to_string(), Some(peer.source.port()));
        let mut req = Request::new(method, theirs.clone());
        req.headers.push("From", NameAddr::new(own).with_tag(&format!("{:08x}", rand::random::<u32>())).to_string());
        req.headers.push("To", NameAddr::new(theirs).to_string());
        let contact = self.ctx.sip.local_contact(target, &self.config.server_id);
        req.headers.push("Contact", NameAddr::new(contact).to_string());
        req
    }

    /// Sends a MANSCDP body as MESSAGE and waits for its response.
    pub async fn message(
        &self,
        id: &str,
        make: impl FnOnce(Charset) -> Vec<u8>,
        within: Duration,
    ) -> Result<(), Fault> {
        let (peer, target) = self.reach(id)?;
        let mut req = self.request_to(Method::Message, id, &peer, &target);
        req.set_body(manscdp::CONTENT_TYPE, make(self.charset(id, &peer)));
        match tokio::time::timeout(within, self.ctx.sip.request(target, req)).await {
            Ok(Ok(response)) if response.is_success() => {
                self.reached(id);
                Ok(())
            }
            Ok(Ok(response)) => Err(faults::signalling_failed(&format!("{} {}", response.code, response.reason))),
            Ok(Err(e)) => Err(sip_fault(&e)),
            Err(_) => Err(faults::signalling_failed("没有应答 / no response")),
        }
    }

    /// From now on answers of `id` to the message that carries this SN are ours.
    pub fn expect_answers(self: &Arc<Self>, id: &str, command: &'static str, about: &str) -> (u32, Asked) {
        let sn = self.next_sn();
        let (tx, answers) = mpsc::channel(8);
        self.pending.insert(sn, Pending { device: id.to_owned(), about: about.to_owned(), command, answers: tx });
        (sn, Asked { sn, shared: self.clone(), answers })
    }

    /// Sends an order whose result comes in a message of its own, and gives the queue of its answers.
    pub async fn order(
        self: &Arc<Self>,
        id: &str,
        command: &'static str,
        about: &str,
        make: impl FnOnce(Charset, u32) -> Vec<u8>,
    ) -> Result<Asked, Fault> {
        let sn = self.next_sn();
        let (tx, answers) = mpsc::channel(1);
        self.pending.insert(sn, Pending { device: id.to_owned(), about: about.to_owned(), command, answers: tx });
        let asked = Asked { sn, shared: self.clone(), answers };
        self.message(id, |charset| make(charset, sn), Duration::from_secs(5)).await?;
        Ok(asked)
    }

    /// Asks a question and gives the queue of its answers.
    pub async fn ask(self: &Arc<Self>, id: &str, command: &'static str, about: &str) -> Result<Asked, Fault> {
        let written = |charset, sn| manscdp::query(charset, command, sn, about);
        self.exchange(id, command, about, written, Duration::from_secs(32)).await
    }

    /// As [`Shared::ask`], with a body of one's own that carries the given SN.
    pub async fn ask_with(
        self: &Arc<Self>,
        id: &str,
        command: &'static str,
        about: &str,
        make: impl FnOnce(Charset, u32) -> Vec<u8>,
    ) -> Result<Asked, Fault> {
        self.exchange(id, command, about, make, Duration::from_secs(32)).await
    }

    /// Sends a message that is answered by others with the same SN, and gives the queue of those.
    pub async fn exchange(
        self: &Arc<Self>,
        id: &str,
        command: &'static str,
        about: &str,
        make: impl FnOnce(Charset, u32) -> Vec<u8>,
        within: Duration,
    ) -> Result<Asked, Fault> {
        let sn = self.next_sn();
        let (tx, answers) = mpsc::channel(ANSWERS);
        self.pending.insert(sn, Pending { device: id.to_owned(), about: about.to_owned(), command, answers: tx });
        let asked = Asked { sn, shared: self.clone(), answers };
        self.message(id, |charset| make(charset, sn), within).await?;
        Ok(asked)
    }
}

/// A failure to send, as a fault.
pub(crate) fn sip_fault(error: &SipError) -> Fault {
    match error {
        SipError::Timeout => faults::signalling_failed("没有应答 / no response"),
        SipError::FlowClosed | SipError::UnknownFlow => {
            faults::device_offline("信令连接已断开 / its signalling connection is gone")
        }
        other => faults::signalling_failed(&other.to_string()),
    }
}
