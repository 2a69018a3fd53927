//! Changes of a catalog by NOTIFY, gathered for a moment and put over the channels that are known (reference section 10). No clock
//! of its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bridge_core::{Channel, ChannelId, DeviceId};

use crate::notify::{Change, Event};

/// Changes of one device are gathered this long: a platform that tells of 20,000 channels one by one must not have its table
/// copied 20,000 times.
pub const GATHER: Duration = Duration::from_millis(400);
/// Gathered changes of one device beyond which they are put to use at once.
pub const MOST: usize = 4_000;
/// A device that tells of things nobody knows is asked for its catalog, but not more often.
pub const ASK_AGAIN: Duration = Duration::from_secs(300);

/// What came of putting changes over a table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    pub used: usize,
    /// Told of channels that are not in the table: the catalog should be asked for.
    pub unknown: usize,
    /// Left out because the table is full.
    pub full: usize,
}

/// Puts changes over channels, which are ordered by id and stay so. `video`: type codes that may be invited; `limit`: the most
/// channels of a device.
pub fn apply(
    device: &DeviceId,
    channels: &mut Vec<Channel>,
    changes: &[Change],
    video: &[u16],
    limit: usize,
) -> Applied {
    let mut out = Applied::default();
    for change in changes {
        let id = ChannelId::new(device, &change.id);
        let at = channels.binary_search_by(|c| c.id.cmp(&id));
        match (change.event, at) {
            (Event::On | Event::Off | Event::Vlost | Event::Defect, Ok(n)) => {
                if let Some(channel) = channels.get_mut(n) {
                    channel.online = change.event == Event::On;
                }
                out.used += 1;
            }
            (Event::Del, Ok(n)) => {
                channels.remove(n);
                out.used += 1;
            }
            (Event::Del, Err(_)) => out.used += 1,
            (Event::Add | Event::Update, at) => {
                // Without a name it is not the whole item: what is known must not be overwritten by nothing.
                let Some(item) = change.item.as_ref().filter(|i| !i.name.is_empty() || at.is_err()) else {
                    out.used += 1;
                    continue;
                };
                let mut new = item.channel(device, video);
                new.parent = item.place_under(device.name(), |id| {
                    let id = ChannelId::new(device, id);
                    channels.binary_search_by(|c| c.id.cmp(&id)).is_ok()
                });
                match at {
                    Ok(n) => {
                        if let Some(channel) = channels.get_mut(n) {
                            // Many platforms leave the state out of an update.
                            new.online = item.online.unwrap_or(channel.online);
                            *channel = new;
                        }
                        out.used += 1;
                    }
                    Err(_) if channels.len() >= limit => out.full += 1,
                    Err(n) => {
                        channels.insert(n, new);
                        out.used += 1;
                    }
                }
            }
            (_, Err(_)) => out.unknown += 1,
        }
    }
    out
}

#[derive(Debug)]
struct Gathering {
    since: Instant,
    changes: Vec<Change>,
}

/// Changes that wait for their moment, by device.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: HashMap<String, Gathering>,
    asked: HashMap<String, Instant>,
}

impl Pending {
    /// Takes changes in; what is given back is to be put to use at once.
    pub fn add(&mut self, now: Instant, id: &str, changes: Vec<Change>) -> Option<Vec<Change>> {
        let gathering =
            self.waiting.entry(id.to_owned()).or_insert_with(|| Gathering { since: now, changes: Vec::new() });
        gathering.changes.extend(changes);
        if gathering.changes.len() < MOST {
            return None;
        }
        self.waiting.remove(id).map(|g| g.changes)
    }

    pub fn next(&self) -> Option<Instant> {
        self.waiting.values().map(|g| g.since + GATHER).min()
    }

    /// The changes whose moment has come.
    pub fn due(&mut self, now: Instant) -> Vec<(String, Vec<Change>)> {
        let due: Vec<String> =
            self.waiting.iter().filter(|(_, g)| g.since + GATHER <= now).map(|(id, _)| id.clone()).collect();
        due.into_iter().filter_map(|id| self.waiting.remove(&id).map(|g| (id, g.changes))).collect()
    }

    pub fn forget(&mut self, id: &str) {
        self.waiting.remove(id);
    }

    /// Whether the catalog of a device may be asked for again because of strangers in its news.
    pub fn may_ask(&mut self, now: Instant, id: &str) -> bool {
        self.asked.retain(|_, at| now.saturating_duration_since(*at) < ASK_AGAIN);
        if self.asked.contains_key(id) || self.asked.len() >= 10_000 {
            return false;
        }
        self.asked.insert(id.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manscdp::Manscdp;
    use crate::notify;

    const VIDEO: &[u16] = &[131, 132];

    fn told(items: &str) -> Vec<Change> {
        let text = format!(
            "<Notify><CmdType>Catalog</CmdType><SN>1</SN><DeviceID>34020000002000000009</DeviceID><DeviceList>{items}</DeviceList></Notify>"
        );
        notify::changes(&Manscdp::parse(text.as_bytes()).unwrap().tree).changes
    }

    fn item(n: u32, event: &str, more: &str) -> String {
        format!("<Item><DeviceID>340200000013100{n:05}</DeviceID><Event>{event}</Event>{more}</Item>")
    }

    #[test]
    fn every_event_does_what_it_says() {
        let device = DeviceId::new("gb28181", "34020000002000000009");
        let mut channels = Vec::new();
        let add: String =
            (0..10).rev().map(|n| item(n, "ADD", &format!("<Name>Gate {n}</Name><Status>ON</Status>"))).collect();
        let done = apply(&device, &mut channels, &told(&add), VIDEO, 100);
        assert_eq!((done.used, channels.len()), (10, 10));
        assert!(channels.windows(2).all(|w| w[0].id < w[1].id));
        let news = [
            item(0, "OFF", ""),
            item(1, "VLOST", ""),
            item(2, "DEFECT", ""),
            item(3, "DEL", ""),
            item(4, "UPDATE", "<Name>North</Name><ParentID>34020000001310000005</ParentID>"),
            item(5, "UPDATE", ""),
            item(77, "ON", ""),
            item(78, "DEL", ""),
        ]
        .concat();
        let done = apply(&device, &mut channels, &told(&news), VIDEO, 100);
        assert_eq!((done.used, done.unknown, channels.len()), (7, 1, 9));
        let on: Vec<bool> = channels.iter().map(|c| c.online).collect();
        assert_eq!(on, [false, false, false, true, true, true, true, true, true]);
        assert_eq!((channels[3].name.as_str(), channels[3].parent.as_deref()), ("North", Some("34020000001310000005")));
        assert_eq!(channels[4].name, "Gate 5", "an update without content takes nothing away");
        let done = apply(&device, &mut channels, &told(&item(0, "ON", "")), VIDEO, 100);
        assert!(done.used == 1 && channels[0].online);
        let more: String = (20..200).map(|n| item(n, "ADD", "<Name>x</Name>")).collect();
        let done = apply(&device, &mut channels, &told(&more), VIDEO, 100);
        assert_eq!((channels.len(), done.full), (100, 89));
    }

    #[test]
    fn gathered_for_a_moment_and_asked_seldom() {
        let now = Instant::now();
        let mut p = Pending::default();
        assert!(p.add(now, "a", told(&item(1, "ON", ""))).is_none());
        assert!(p.add(now + GATHER / 2, "a", told(&item(1, "OFF", ""))).is_none());
        assert_eq!(p.next(), Some(now + GATHER));
        assert!(p.due(now + GATHER / 2).is_empty());
        let due = p.due(now + GATHER);
        let events: Vec<Event> = due[0].1.iter().map(|c| c.event).collect();
        assert_eq!(events, [Event::On, Event::Off], "in the order they came");
        assert!(p.next().is_none());
        let many: String = (0..MOST as u32).map(|n| item(n, "ON", "")).collect();
        assert_eq!(p.add(now, "a", told(&many)).map(|c| c.len()), Some(MOST));
        assert!(p.may_ask(now, "a") && !p.may_ask(now, "a") && p.may_ask(now + ASK_AGAIN, "a"));
    }
}
