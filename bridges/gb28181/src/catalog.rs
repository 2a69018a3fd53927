//! Catalog items and device facts (GB/T 28181-2022 annex A.2.1, A.2.6; reference sections 8.1, 8.2 and 19).

use std::collections::HashSet;

use bridge_core::{Channel, ChannelId, ChannelKind, DeviceId, Place};

use crate::datum::Datum;
use crate::ids;
use crate::xml::Node;

/// One `Item` of a catalog, as far as this gateway uses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub id: String,
    pub name: String,
    pub manufacturer: String,
    pub model: String,
    /// None: the element is missing or unreadable; then the item counts as on.
    pub online: Option<bool>,
    pub parent: Option<String>,
    /// What may stand above it when `parent` is not in the catalog: further parents, its business group, its region and those
    /// above that, in this order.
    pub above: Vec<String>,
    /// It moves: a body camera, a vehicle, a drone (`MobileDeviceType`).
    pub mobile: bool,
    pub ptz_type: Option<u8>,
    /// It has one stream only (`StreamNumberList`, 2022): there is no sub-stream to ask for.
    pub single_stream: bool,
    pub longitude: Option<f64>,
    pub latitude: Option<f64>,
}

/// One message of a catalog answer.
#[derive(Debug, Clone, Default)]
pub struct Piece {
    /// Items in all messages together. Some devices lie.
    pub sum: Option<usize>,
    pub items: Vec<Item>,
    /// Items without a usable id.
    pub bad: usize,
}

/// `ON`/`OFF` and what devices write in their place.
fn status(text: &str) -> Option<bool> {
    let text = text.trim();
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text));
    if is(&["ON", "ONLINE", "OK", "1", "TRUE", "正常", "在线"]) {
        Some(true)
    } else if is(&["OFF", "OFFLINE", "ERROR", "0", "FALSE", "VLOST", "DEFECT", "DEL", "离线"]) {
        Some(false)
    } else {
        None
    }
}

/// Whether a list of streams, as in `0/1/2`, tells of one only. What is no list of numbers tells nothing.
fn single_stream(list: &str) -> bool {
    let mut numbers = list.split('/').map(|n| n.trim().parse::<u8>());
    matches!((numbers.next(), numbers.next()), (Some(Ok(_)), None))
}

/// Degrees with an optional letter E, W, N or S.
pub(crate) fn degrees(text: &str, limit: f64) -> Option<f64> {
    let text = text.trim();
    let number = text.trim_end_matches(['E', 'W', 'N', 'S', 'e', 'w', 'n', 's', '°', ' ']);
    let sign = if text.ends_with(['W', 'S', 'w', 's']) { -1.0 } else { 1.0 };
    let value: f64 = number.parse::<f64>().ok()? * sign;
    (value.is_finite() && value.abs() <= limit).then_some(value)
}

impl Item {
    /// Reads one `Item`; none without a usable `DeviceID`.
    pub fn read(node: &Node) -> Option<Item> {
        let id = node.get("DeviceID").filter(|id| ids::is_device_id(id))?.to_owned();
        let text = |name: &str| node.get(name).unwrap_or("").chars().take(200).collect::<String>();
        // Several parents are joined by `/` (2022): the first one that is an id and not the item itself.
        let parents = || node.get("ParentID").into_iter().flat_map(|p| p.split('/').map(str::trim)).take(8);
        let parent = parents().find(|p| ids::is_device_id(p) && *p != id);
        let group = node.get_or_info("BusinessGroupID").filter(|g| ids::is_id(g) && *g != id);
        // A region hangs under the shorter code before it, and so does what names only its region.
        let civil = node.get("CivilCode").filter(|c| c.len() <= 8 && ids::is_device_id(c) && *c != id);
        // Platforms, groups and organisations have an order of their own.
        let civil = civil.filter(|_| !matches!(ids::type_code(&id), Some(200 | 215 | 216)));
        let civil = civil.or((!ids::is_id(&id)).then_some(id.as_str()));
        let regions = [8, 6, 4, 2].into_iter().filter_map(|n| civil?.get(..n)).filter(|r| *r != id);
        let others = parents().filter(|p| ids::is_id(p) && *p != id && Some(*p) != parent);
        let above = others.chain(group).chain(regions).map(str::to_owned).collect();
        let (longitude, latitude) = (
            node.get_or_info("Longitude").and_then(|v| degrees(v, 180.0)),
            node.get_or_info("Latitude").and_then(|v| degrees(v, 90.0)),
        );
        // 0,0 lies in the Gulf of Guinea: it is what devices without a position send.
        let placed = longitude.is_some_and(|v| v != 0.0) || latitude.is_some_and(|v| v != 0.0);
        Some(Item {
            name: text("Name"),
            manufacturer: text("Manufacturer"),
            model: text("Model"),
            online: node.get("Status").and_then(status),
            parent: parent.or(group).map(str::to_owned),
            above,
            mobile: node.get_or_info("MobileDeviceType").is_some_and(|t| t != "0"),
            ptz_type: node.get_or_info("PTZType").and_then(|v| v.parse().ok()),
            single_stream: node.get_or_info("StreamNumberList").is_some_and(single_stream),
            longitude: longitude.filter(|_| placed && latitude.is_some()),
            latitude: latitude.filter(|_| placed && longitude.is_some()),
            id,
        })
    }

    /// Turns its position into WGS-84.
    pub fn place_in(&mut self, datum: Datum) {
        if let (Some(longitude), Some(latitude)) = (self.longitude, self.latitude) {
            let place = datum.to_wgs84(Place { longitude, latitude });
            (self.longitude, self.latitude) = (Some(place.longitude), Some(place.latitude));
        }
    }

    /// What it hangs under in the tree: an organisation or group before any other, for there people look for it; else the
    /// first that is known; else what it says.
    pub fn place_under(&self, device: &str, known: impl Fn(&str) -> bool) -> Option<String> {
        let all = || self.parent.iter().chain(&self.above).filter(|p| **p != device && **p != self.id);
        let grouped = || all().filter(|p| known(p)).find(|p| matches!(ids::type_code(p), Some(215 | 216)));
        let found = grouped().or_else(|| all().find(|p| known(p))).cloned();
        found.or_else(|| self.parent.clone().filter(|p| p != device))
    }

    /// The channel for the registry. `video`: type codes that may be invited.
    ///
    /// The PTZ flag: types 1, 2, 4 and 5 can be turned, 3 (fixed), 6 and 7 (stitched and split pictures) cannot. Where the
    /// element is missing, 0 or unknown, a video channel counts as one that turns: an order to a fixed camera does no harm,
    /// while a dome without its buttons is of no use in a disaster.
    ///
    /// `online` is what the device says of the channel; it counts only while the device itself is on line.
    pub fn channel(&self, device: &DeviceId, video: &[u16]) -> Channel {
        let kind = ids::channel_kind(&self.id, video);
        let turns = !matches!(self.ptz_type, Some(3 | 6 | 7));
        let name = if self.name.is_empty() { self.id.clone() } else { self.name.clone() };
        Channel {
            id: ChannelId::new(device, &self.id),
            name,
            kind,
            online: self.online.unwrap_or(true),
            ptz: kind == ChannelKind::Video && turns,
            parent: self.parent.clone().filter(|p| p != device.name()),
            longitude: self.longitude,
            latitude: self.latitude,
        }
    }
}

/// Reads one message of a catalog answer (`Response` with `DeviceList`).
pub fn piece(tree: &Node) -> Piece {
    let lists: Vec<&Node> = tree.children.iter().filter(|c| c.is("DeviceList")).collect();
    let nodes = lists.iter().flat_map(|l| l.children.iter()).filter(|i| i.is("Item"));
    let mut out = Piece { sum: tree.number("SumNum"), ..Piece::default() };
    for node in nodes {
        match Item::read(node) {
            Some(item) => out.items.push(item),
            None => out.bad += 1,
        }
    }
    out
}

/// What DeviceInfo said; empty where it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    pub name: String,
    pub manufacturer: String,
    pub model: String,
    pub firmware: String,
}

/// Reads an answer to DeviceInfo.
pub fn facts(tree: &Node) -> Facts {
    let text = |name: &str| tree.get_or_info(name).unwrap_or("").chars().take(200).collect::<String>();
    Facts {
        name: text("DeviceName"),
        manufacturer: text("Manufacturer"),
        model: text("Model"),
        firmware: text("Firmware"),
    }
}

/// The channels of a device out of its items. The device's own item is no channel, unless it is the only one or a type that
/// can be watched (an IP camera with one id). A device whose catalog is empty is its own only channel.
pub fn channels(device: &DeviceId, items: &[Item], video: &[u16]) -> Vec<Channel> {
    let own = device.name();
    let mut out: Vec<Channel> = items
        .iter()
        .filter(|i| i.id != own || ids::channel_kind(own, video) == ChannelKind::Video)
        .map(|i| i.channel(device, video))
        .collect();
    let known: HashSet<&str> = items.iter().map(|i| i.id.as_str()).collect();
    for (channel, item) in
        out.iter_mut().zip(items.iter().filter(|i| i.id != own || ids::channel_kind(own, video) == ChannelKind::Video))
    {
        channel.parent = item.place_under(own, |id| known.contains(id));
    }
    if out.is_empty() {
        out.push(own_channel(device, items.iter().find(|i| i.id == own)));
    }
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out.dedup_by(|a, b| a.id == b.id);
    out
}

pub(crate) fn own_channel(device: &DeviceId, item: Option<&Item>) -> Channel {
    Channel {
        id: ChannelId::new(device, device.name()),
        name: item.map(|i| i.name.clone()).filter(|n| !n.is_empty()).unwrap_or_else(|| device.name().to_owned()),
        kind: ChannelKind::Video,
        online: true,
        ptz: true,
        parent: None,
        longitude: item.and_then(|i| i.longitude),
        latitude: item.and_then(|i| i.latitude),
    }
}

/// Puts a partial answer over what was known: nothing is deleted.
pub fn merge(old: &[Channel], new: Vec<Channel>) -> Vec<Channel> {
    let mut out = new;
    for channel in old {
        if !out.iter().any(|c| c.id == channel.id) {
            out.push(channel.clone());
        }
    }
    out.sort_by(|a, b| a.id.cmp(&b.id));
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manscdp::Manscdp;
    use crate::text::Charset;

    const VIDEO: &[u16] = &[131, 132];

    fn device(id: &str) -> DeviceId {
        DeviceId::new("gb28181", id)
    }

    #[test]
    fn hikvision_stray_signs() {
        let m = Manscdp::parse(include_bytes!("../testdata/hikvision_stray_signs.xml")).unwrap();
        let p = piece(&m.tree);
        assert_eq!((m.sn, p.sum, p.items.len(), p.bad), (17, Some(3), 3, 0));
        let c = channels(&device("34020000001180000002"), &p.items, VIDEO);
        assert_eq!(
            (c[0].name.as_str(), c[0].ptz, c[0].parent.as_deref(), c[0].online),
            ("A&B gate <3m", false, None, true)
        );
        assert_eq!((c[0].longitude, c[0].latitude), (Some(118.376451), Some(31.326319)));
        assert_eq!((c[1].ptz, c[1].parent.as_deref(), c[1].online, c[1].longitude), (true, None, false, None));
        assert_eq!((c[2].kind, c[2].ptz, c[2].online, c[2].parent.as_deref()), (ChannelKind::Audio, false, true, None));
    }

    #[test]
    fn one_stream_or_several_and_shifted_places() {
        let read = |info: &str| {
            let text = format!(
                "<Response><CmdType>Catalog</CmdType><SN>1</SN><DeviceID>1</DeviceID><DeviceList><Item>\
                 <DeviceID>34020000001310000001</DeviceID><Longitude>116.404</Longitude><Latitude>39.915</Latitude>\
                 <Info>{info}</Info></Item></DeviceList></Response>"
            );
            piece(&Manscdp::parse(text.as_bytes()).unwrap().tree).items.remove(0)
        };
        let list = |l: &str| read(&format!("<StreamNumberList>{l}</StreamNumberList>")).single_stream;
        assert!(list("0") && list(" 1 "));
        assert!(!list("0/1") && !list("0/1/2") && !list("") && !list("main") && !list("0/"));
        assert!(!read("").single_stream, "nothing is said");
        let mut item = read("");
        item.place_in(Datum::Wgs84);
        assert_eq!(item.longitude, Some(116.404));
        item.place_in(Datum::Gcj02);
        let moved = (116.404 - item.longitude.unwrap()).abs();
        assert!((0.004..0.01).contains(&moved), "half a kilometre: {moved}");
    }

    #[test]
    fn names_in_any_case_and_status_in_any_word() {
        let m = Manscdp::parse(include_bytes!("../testdata/dahua_lower_case_status.xml")).unwrap();
        let p = piece(&m.tree);
        assert_eq!((m.sn, p.sum, p.items.len(), p.bad), (5, Some(4), 3, 1));
        let online: Vec<_> = p.items.iter().map(|i| i.online).collect();
        assert_eq!(online, [Some(true), Some(true), Some(false)]);
        assert_eq!((p.items[1].longitude, p.items[1].latitude), (Some(-118.5), Some(31.2)));
        assert_eq!(p.items[2].parent.as_deref(), Some("34020000002160000001"));
        let c = channels(&device("34020000001110000005"), &p.items, VIDEO);
        assert_eq!(c[2].name, "34020000001320000053");
    }

    #[test]
    fn the_prolog_lies() {
        let m = Manscdp::parse(include_bytes!("../testdata/uniview_gb18030_called_utf8.xml")).unwrap();
        assert_eq!(m.charset, Some(Charset::Gb18030));
        let p = piece(&m.tree);
        let c = channels(&device("34020000001320000001"), &p.items, VIDEO);
        assert_eq!((c.len(), c[0].name.as_str(), c[0].online, c[0].kind), (1, "北门球机㐀", true, ChannelKind::Video));
    }

    #[test]
    fn groups_and_regions_are_shown_but_not_watched() {
        let m = Manscdp::parse(include_bytes!("../testdata/platform_tree.xml")).unwrap();
        let c = channels(&device("34020000002000000009"), &piece(&m.tree).items, VIDEO);
        let got: Vec<_> = c.iter().map(|c| (c.id.name().len(), c.kind, c.parent.as_deref())).collect();
        assert_eq!(
            got,
            [
                (6, ChannelKind::Other, None),
                (20, ChannelKind::Video, Some("34020000002160000001")),
                (20, ChannelKind::Other, None),
                (20, ChannelKind::Other, Some("34020000002150000001")),
            ]
        );
        assert!(c[1].ptz, "PTZType 0 is unknown");
    }

    #[test]
    fn an_empty_catalog_makes_the_device_its_channel_and_partial_answers_delete_nothing() {
        let d = device("34020000001180000002");
        let own = channels(&d, &[], VIDEO);
        assert_eq!((own.len(), own[0].kind, own[0].id.name()), (1, ChannelKind::Video, "34020000001180000002"));
        let m = Manscdp::parse(include_bytes!("../testdata/hikvision_stray_signs.xml")).unwrap();
        let all = channels(&d, &piece(&m.tree).items, VIDEO);
        let part = vec![all[1].clone()];
        assert_eq!(merge(&all, part), all);
    }
}
