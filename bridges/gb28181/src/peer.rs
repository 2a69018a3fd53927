//! What is known of a device while we run, and the part of it that outlives a restart.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use bridge_core::Device;
use serde::{Deserialize, Serialize};
use sip::{FlowId, Transport};

use crate::clock::Clock;
use crate::edition::Edition;
use crate::text::Charset;

/// Kept in [`Device::private`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stored {
    /// Where its signalling comes from.
    pub source: Option<SocketAddr>,
    /// Over TCP (or TLS): then it can be asked only after it has connected again.
    pub stream: bool,
    pub version: Option<Edition>,
    pub charset: Charset,
    /// When its catalog was last complete, in milliseconds since 1970.
    pub catalog_at: Option<i64>,
    /// It refused one way of media; ask for the other: true for TCP.
    pub media_tcp: Option<bool>,
    /// Until then (milliseconds since 1970) it sends over TCP, for too much was lost over UDP ...
    pub lossy_until: Option<i64>,
    /// ... and until then it is not asked to, for it could not.
    pub tcp_failed_until: Option<i64>,
    /// It logged out or was removed: its stored registration is void.
    pub logged_out: bool,
    /// Which id a channel's loudspeaker answered to, by channel.
    pub speakers: BTreeMap<String, String>,
    /// It moves: one of its channels says so, or it has sent a position.
    pub mobile: bool,
    /// Its own HeartBeatInterval in seconds and HeartBeatCount.
    pub heartbeat: Option<(u32, u32)>,
    /// How far its clock was off when it was last read.
    pub clock: Option<Clock>,
}

impl Stored {
    pub fn read(device: &Device) -> Stored {
        serde_json::from_value(device.private.clone()).unwrap_or_default()
    }

    pub fn write(&self) -> serde_json::Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// One device in memory.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The flow of its last message; none after a restart until it speaks.
    pub flow: Option<FlowId>,
    pub transport: Transport,
    pub source: SocketAddr,
    /// What its header said, or the configuration.
    pub edition: Option<Edition>,
    pub charset: Charset,
    pub online: bool,
    pub media_tcp: Option<bool>,
    /// When its registration lapses, in milliseconds since 1970.
    pub expires_at: i64,
    /// Fingerprint of the Call-ID of its registration: another one tells that it started anew.
    pub register_call: u64,
    /// See [`Stored::mobile`].
    pub mobile: bool,
    pub heartbeat: Option<(u32, u32)>,
    pub clock: Option<Clock>,
    /// Channels that have one stream only, as its last catalog said. Not kept over a restart: then a device is asked, and
    /// refuses, until its catalog comes again.
    pub single_streams: Arc<HashSet<String>>,
}
