//! Snapshots of the 2022 edition (clause 9.14 in our reading; reference sections 7.5, 9.5 and 15): the order by DeviceConfig,
//! its business answer, and the device's word that it is done. The pictures themselves come by HTTP to the hall.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bridge_core::{ChannelId, SnapshotFinished, SnapshotOrder};
use media_hub::Fault;
use tokio::sync::oneshot;

use crate::edition::Edition;
use crate::faults;
use crate::manscdp::{self, Manscdp};
use crate::shared::{Shared, lock};
use crate::text;

/// The notification that ends an order.
pub const FINISHED: &str = "UploadSnapShotFinished";

/// Time for the business answer. A missing one is no error: the device may still upload (reference section 7.1).
const ANSWER: Duration = Duration::from_secs(8);
/// Orders that wait at once, and how long one of them does at most.
const MOST: usize = 1000;
const LONGEST: Duration = Duration::from_secs(900);
/// File names taken of one notification (the standard's own limit), and bytes of each.
const FILES: usize = 10;
const NAME: usize = 128;

struct Order {
    session: String,
    device: String,
    since: Instant,
    finished: oneshot::Sender<SnapshotFinished>,
}

/// Orders without a last word yet.
#[derive(Default)]
pub(crate) struct Waiting(Mutex<Vec<Order>>);

impl Waiting {
    fn add(&self, order: Order) -> Result<(), Fault> {
        let mut all = lock(&self.0);
        all.retain(|o| o.since.elapsed() < LONGEST && !o.finished.is_closed());
        if all.len() >= MOST {
            return Err(faults::too_many_sessions(MOST));
        }
        all.push(order);
        Ok(())
    }

    /// The order that a device means: its own word, and only of its own order.
    fn take(&self, device: &str, session: &str) -> Option<Order> {
        let mut all = lock(&self.0);
        let at = all.iter().position(|o| o.session == session && o.device == device)?;
        Some(all.swap_remove(at))
    }

    fn drop_session(&self, session: &str) {
        lock(&self.0).retain(|o| o.session != session);
    }
}

/// Whether a device may be ordered: only one that says it speaks 2022, or of which the operator says so.
pub(crate) fn able(edition: Option<Edition>) -> bool {
    edition.is_some_and(|e| e >= Edition::V2022)
}

/// Orders pictures. Good when the device has taken the order, or at least did not refuse it.
pub(crate) async fn order(shared: &Arc<Shared>, channel: &ChannelId, order: SnapshotOrder) -> Result<(), Fault> {
    let device = channel.device();
    let id = device.name();
    let (peer, _) = shared.reach(id)?;
    let edition = shared.edition(id, &peer);
    if !able(edition) {
        return Err(faults::snapshot_edition(&Edition::words(edition)));
    }
    let block = block(order.count, order.interval_s, &order.upload_url, &order.session);
    let session = order.session.clone();
    shared.snapshots.add(Order {
        session: order.session,
        device: id.to_owned(),
        since: Instant::now(),
        finished: order.finished,
    })?;
    let asked = shared
        .ask_with(id, "DeviceConfig", channel.name(), |charset, sn| {
            manscdp::config(charset, sn, channel.name(), &block)
        })
        .await;
    let mut asked = match asked {
        Ok(asked) => asked,
        Err(fault) => {
            shared.snapshots.drop_session(&session);
            return Err(fault);
        }
    };
    match tokio::time::timeout(ANSWER, asked.answers.recv()).await {
        Ok(Some(answer)) if answer.tree.get("Result").is_some_and(|r| r.eq_ignore_ascii_case("ERROR")) => {
            shared.snapshots.drop_session(&session);
            Err(faults::snapshot_refused())
        }
        Ok(_) => Ok(()),
        Err(_) => {
            tracing::info!(device = id, "no business answer to an order for pictures; they may come all the same");
            Ok(())
        }
    }
}

/// Reference section 7.5. The order of elements is that of the standard's table.
fn block(count: u8, interval_s: u32, url: &str, session: &str) -> String {
    format!(
        "<SnapShotConfig>\r\n<SnapNum>{}</SnapNum>\r\n<Interval>{}</Interval>\r\n<UploadURL>{}</UploadURL>\r\n\
         <SessionID>{}</SessionID>\r\n</SnapShotConfig>\r\n",
        count.clamp(1, 10),
        interval_s.max(1),
        text::escape(url),
        text::escape(session)
    )
}

/// Takes the device's word that it is done. A session that is not this device's is refused and counted.
pub(crate) fn finished(shared: &Shared, id: &str, message: &Manscdp) {
    let session = message.tree.get("SessionID").unwrap_or_default();
    match shared.snapshots.take(id, session) {
        Some(order) => {
            let files = files(message);
            tracing::info!(device = id, files = files.len(), "pictures uploaded");
            let _ = order.finished.send(SnapshotFinished { files });
        }
        None => {
            shared.metrics.refused_messages.with_label_values(&["snapshot_session"]).inc();
            tracing::warn!(device = id, "a device says that pictures of an unknown session are uploaded");
        }
    }
}

/// `SnapShotList` with `SnapShotFileID`s; without the list directly below the root, as some write it.
fn files(message: &Manscdp) -> Vec<String> {
    let list = message.tree.child("SnapShotList").unwrap_or(&message.tree);
    let ids = list.children.iter().filter(|c| c.is("SnapShotFileID") && !c.text.is_empty());
    ids.take(FILES).map(|c| c.text.chars().take(NAME).collect()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::text::Charset;

    #[test]
    fn the_order_is_read_as_written() {
        let inner = block(99, 0, "http://10.1.1.5:8080/u?a=1&b=2", &"a".repeat(32));
        let m = Manscdp::parse(&manscdp::config(Charset::Gb18030, 7, "34020000001320000001", &inner)).unwrap();
        assert!(m.is(manscdp::Root::Control, "DeviceConfig"));
        let c = m.tree.child("SnapShotConfig").unwrap();
        assert_eq!((c.get("SnapNum"), c.get("Interval")), (Some("10"), Some("1")));
        assert_eq!(c.get("UploadURL"), Some("http://10.1.1.5:8080/u?a=1&b=2"));
        assert_eq!(c.get("SessionID").unwrap().len(), 32);
    }

    #[test]
    fn file_names_are_bounded_and_only_the_own_session_ends() {
        let many = "<SnapShotFileID>x</SnapShotFileID>".repeat(40);
        for text in [format!("<SnapShotList>{many}</SnapShotList>"), many] {
            let text =
                format!("<Notify><CmdType>UploadSnapShotFinished</CmdType><SessionID>s</SessionID>{text}</Notify>");
            assert_eq!(files(&Manscdp::parse(text.as_bytes()).unwrap()).len(), 10);
        }
        let waiting = Waiting::default();
        let (finished, mut told) = oneshot::channel();
        waiting.add(Order { session: "s".into(), device: "a".into(), since: Instant::now(), finished }).unwrap();
        assert!(waiting.take("b", "s").is_none() && waiting.take("a", "t").is_none());
        assert!(told.try_recv().is_err());
        assert!(waiting.take("a", "s").is_some() && waiting.take("a", "s").is_none());
        assert!(able(Some(Edition::V2022)) && !able(Some(Edition::V2016)) && !able(None));
    }
}
