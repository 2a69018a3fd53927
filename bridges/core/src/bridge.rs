//! The bridge itself and what the hall hands it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use media_hub::{Fault, Hub, Whose};
use media_net::PortPool;
use tokio_util::sync::CancellationToken;

use crate::capture::Captures;
use crate::device::{ChannelId, DeviceId};
use crate::order::{Answer, Done, Object, Order, Query};
use crate::registry::Registry;
use crate::reports::Reports;
use crate::rooms::{Rooms, Seat};
use crate::snapshot::SnapshotOrder;
use crate::texts::{TextDone, TextOrder};

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A secret of a SIP account.
#[derive(Clone)]
pub enum Secret {
    Password(String),
    /// MD5 of `user:realm:password` in lower-case hex (RFC 7616 A1 for MD5).
    Ha1(String),
}

/// Stands in a digest user that is a ticket: `8001~word` proves for a while, by a secret of its own, to be `8001`. No account's
/// name has it.
pub const TICKET: char = '~';

/// Whose account is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    Gb28181Device,
    Phone,
}

/// Accounts of devices and phones, held in memory by the hall.
pub trait Credentials: Send + Sync {
    /// None: there is no own secret for `user`, which may be a ticket (see [`TICKET`]).
    fn secret(&self, kind: AccountKind, user: &str) -> Option<Secret>;
    /// Name to show for a phone account.
    fn display_name(&self, kind: AccountKind, user: &str) -> Option<String>;
    /// Whether two phone accounts may take each other's ringing calls.
    fn pick_up_together(&self, one: &str, other: &str) -> bool {
        let _ = (one, other);
        false
    }
    /// The queues of duty desks.
    fn queues(&self) -> Vec<crate::QueueRule> {
        Vec::new()
    }
    /// The queue that answers to this number.
    fn queue(&self, number: &str) -> Option<crate::QueueRule> {
        self.queues().into_iter().find(|q| q.number == number)
    }
    /// Where a phone account's calls go when it cannot take them.
    fn forwards(&self, user: &str) -> crate::Forwards {
        let _ = user;
        crate::Forwards::default()
    }
}

/// What the hall hands to each bridge.
#[derive(Clone)]
pub struct BridgeContext {
    pub hub: Hub,
    pub registry: Registry,
    /// Where alarms, positions and texts go.
    pub reports: Reports,
    /// The SIP endpoint shared by all bridges that speak SIP.
    pub sip: sip::Sip,
    /// RTP ports shared by all bridges.
    pub ports: PortPool,
    /// The address that peers shall send media to; none: the local address towards the peer.
    pub media_address: Option<std::net::IpAddr>,
    pub rooms: Arc<dyn Rooms>,
    pub credentials: Arc<dyn Credentials>,
    pub metrics: prometheus::Registry,
    /// Who captures what; a session puts its packets in.
    pub captures: Captures,
    pub shutdown: CancellationToken,
}

/// An order to a bridge.
pub enum Command {
    /// Speeds from -1 to 1; all zero stops. The bridge stops by itself 2 s after the last repeat.
    Ptz {
        channel: ChannelId,
        pan: f32,
        tilt: f32,
        zoom: f32,
    },
    KeyFrame {
        channel: ChannelId,
    },
    /// Ask the device for its channels and facts again.
    Refresh {
        device: DeviceId,
    },
    /// Tell the device that its alarm was dealt with, so that it reports the next one.
    ResetAlarm {
        device: DeviceId,
        /// The part that raised it, as the report named it.
        source: String,
    },
    /// Let the device take pictures by itself. Done when the device has taken the order, not when the pictures are there.
    Snapshot {
        channel: ChannelId,
        order: SnapshotOrder,
    },
    /// Call somebody into the conference in which `seat` is kept. Refused at once: the seat is dropped and told nothing; what
    /// comes of the call after that is told to the seat alone.
    Dial {
        to: String,
        seat: Seat,
    },
    /// Move both phones of a live call into a conference: the caller into the first seat, the called phone into the other. Both
    /// hear a tone first. Refused at once: the seats are dropped.
    Insert {
        /// The call's id in its log.
        call: String,
        seats: Box<[Seat; 2]>,
    },
    /// Send what `seat` hears to the loudspeaker of a channel. Returns when the work has begun; the seat is told the rest.
    Talk {
        channel: ChannelId,
        seat: Seat,
    },
}

/// What the readiness probe and the admin page show of a bridge.
#[derive(Debug, Clone)]
pub struct BridgeHealth {
    pub ready: bool,
    pub detail: String,
}

/// A bridge to a foreign world.
pub trait Bridge: Send + Sync + 'static {
    /// The prefix of its ids and its section in the configuration.
    fn name(&self) -> &'static str;
    /// Works until the context's shutdown; ends its sessions cleanly then.
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()>;
    /// Carries out an order; an order that this world does not know gives the fault `not_supported`.
    fn command(&self, command: Command) -> BoxFuture<'_, Result<(), Fault>>;
    /// Carries out an order to a channel or a device, and says how far it is known to have come. Orders that
    /// [`Order::problem`] refuses never come here.
    fn order(&self, object: Object, order: Order) -> BoxFuture<'_, Result<Done, Fault>> {
        let _ = object;
        Box::pin(async move { Err(not_supported(order.verb())) })
    }
    /// Asks a channel or a device; ends within the bridge's own limit of time.
    fn ask(&self, object: Object, query: Query) -> BoxFuture<'_, Result<Answer, Fault>> {
        let _ = object;
        Box::pin(async move { Err(not_supported(query.verb())) })
    }
    /// Brings a text to somebody in the field. Ends when the far end has taken or refused it, or when it waits for its turn.
    fn text(&self, order: TextOrder) -> BoxFuture<'_, Result<TextDone, Fault>> {
        let _ = order;
        Box::pin(async move { Err(not_supported("text")) })
    }
    /// What the bridge knows of a device beyond its [`crate::Device`], as key and value for its page; empty for unknown ones.
    fn facts(&self, device: &DeviceId) -> Vec<(&'static str, String)> {
        let _ = device;
        Vec::new()
    }
    fn health(&self) -> BridgeHealth;
    /// Its telephone calls; none where this world knows no such thing.
    fn calls(&self) -> Option<&crate::CallLog> {
        None
    }
    /// The queues of duty desks with who waits and what the agents do.
    fn queues(&self) -> Vec<crate::QueueView> {
        Vec::new()
    }
    /// Its trunks to other telephone networks; none where this world knows no such thing.
    fn trunks(&self) -> Vec<crate::TrunkStatus> {
        Vec::new()
    }
    /// Its devices' own recordings; none where this world knows no such thing.
    fn history(&self) -> Option<&dyn crate::History> {
        None
    }
}

fn not_supported(what: &str) -> Fault {
    let (zh, en) = (format!("该设备不支持此操作：{what}"), format!("Devices of this kind cannot do that: {what}"));
    Fault::new("not_supported", Whose::You, false, zh, en)
}
