//! The history sessions that run, and which of them a MediaStatus 121 outside a dialog means (reference section 9.2).

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bridge_core::ChannelId;
use tokio::sync::mpsc;

use crate::shared::lock;

/// What is known of a session for the match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub call_id: String,
    pub device: String,
    pub channel: String,
    /// Where the device signals from.
    pub source: SocketAddr,
}

/// Which session ends: by Call-ID first, wherever the message comes from with it; then, among those of the device (or, when From
/// is nobody that we know, of the address that it came from), by the channel in its body; then the only one there is. A 121
/// that could mean several sessions ends none: each notices its end by itself.
pub fn meant(
    all: &[(u64, Candidate)],
    call_id: &str,
    device: Option<&str>,
    source: SocketAddr,
    about: &str,
) -> Option<u64> {
    // The address must be the device's in any case: whoever knows a Call-ID must not end foreign sessions.
    if let Some((id, _)) = all.iter().find(|(_, c)| c.call_id == call_id && c.source.ip() == source.ip()) {
        return Some(*id);
    }
    let of_peer: Vec<&(u64, Candidate)> = all
        .iter()
        .filter(|(_, c)| match device {
            Some(device) => c.device == device,
            None => c.source == source,
        })
        .collect();
    let mut named = of_peer.iter().filter(|(_, c)| c.channel == about);
    match (named.next(), named.next()) {
        (Some((id, _)), None) => return Some(*id),
        (Some(_), Some(_)) => return None,
        (None, _) => {}
    }
    match of_peer.as_slice() {
        [(id, _)] => Some(*id),
        _ => None,
    }
}

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    sessions: Mutex<HashMap<u64, (Candidate, mpsc::Sender<()>)>>,
}

/// All sessions of the bridge.
#[derive(Default, Clone)]
pub(crate) struct Table(Arc<Inner>);

/// The place of one session; free when dropped.
pub(crate) struct Entry {
    id: u64,
    table: Table,
    ended: mpsc::Receiver<()>,
}

impl Entry {
    /// A 121 for this session came outside its dialog. Cancel-safe.
    pub async fn ended(&mut self) {
        if self.ended.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.table.0.sessions).remove(&self.id);
    }
}

impl Table {
    pub fn enter(&self, channel: &ChannelId, call_id: &str, source: SocketAddr) -> Entry {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let (tx, ended) = mpsc::channel(1);
        let candidate = Candidate {
            call_id: call_id.to_owned(),
            device: channel.device().name().to_owned(),
            channel: channel.name().to_owned(),
            source,
        };
        lock(&self.0.sessions).insert(id, (candidate, tx));
        Entry { id, table: self.clone(), ended }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        lock(&self.0.sessions).len()
    }

    /// Tells the session that a 121 outside its dialog means; gives the device it is of.
    pub fn no_more(&self, call_id: &str, device: Option<&str>, source: SocketAddr, about: &str) -> Option<String> {
        let sessions = lock(&self.0.sessions);
        let all: Vec<(u64, Candidate)> = sessions.iter().map(|(id, (c, _))| (*id, c.clone())).collect();
        let (candidate, tx) = sessions.get(&meant(&all, call_id, device, source, about)?)?;
        // Full means that it was told already.
        let _ = tx.try_send(());
        Some(candidate.device.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], port))
    }

    fn one(id: u64, call: &str, device: &str, channel: &str, source: SocketAddr) -> (u64, Candidate) {
        (id, Candidate { call_id: call.into(), device: device.into(), channel: channel.into(), source })
    }

    #[test]
    fn by_call_then_channel_then_the_only_one() {
        let all = [
            one(1, "a", "NVR", "C1", at(1, 5060)),
            one(2, "b", "NVR", "C2", at(1, 5060)),
            one(3, "c", "NVR", "C2", at(1, 5060)),
            one(4, "d", "CAM", "CAM", at(2, 5060)),
        ];
        assert_eq!(meant(&all, "c", Some("NVR"), at(1, 5060), "C1"), Some(3), "the Call-ID goes first");
        assert_eq!(meant(&all, "c", None, at(9, 1), "C2"), None, "but not from a foreign address");
        assert_eq!(meant(&all, "x", Some("NVR"), at(1, 5060), "C1"), Some(1));
        assert_eq!(meant(&all, "x", Some("NVR"), at(1, 5060), "C2"), None, "two playbacks of one channel");
        assert_eq!(meant(&all, "x", Some("NVR"), at(1, 5060), "NVR"), None);
        assert_eq!(meant(&all, "x", Some("CAM"), at(2, 5060), "NVR"), Some(4), "its only session");
        assert_eq!(meant(&all, "x", None, at(1, 5060), "C1"), Some(1), "an odd From: by address and channel");
        assert_eq!(
            meant(&all, "x", None, at(2, 5060), "whatever"),
            Some(4),
            "an odd From: the only one of the address"
        );
        assert_eq!(meant(&all, "x", None, at(2, 5061), "CAM"), None);
        assert_eq!(meant(&all, "x", Some("OTHER"), at(3, 5060), "C1"), None);
    }

    #[tokio::test]
    async fn a_session_is_told_once_and_forgotten() {
        let table = Table::default();
        let channel = ChannelId("gb28181:NVR/C1".into());
        let mut entry = table.enter(&channel, "call", at(1, 1));
        assert_eq!(table.no_more("call", None, at(1, 1), ""), Some("NVR".into()));
        assert_eq!(table.no_more("call", None, at(1, 1), ""), Some("NVR".into()));
        entry.ended().await;
        drop(entry);
        assert_eq!((table.len(), table.no_more("call", None, at(1, 1), "")), (0, None));
    }
}
