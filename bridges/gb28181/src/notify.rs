//! What devices tell unasked or by subscription: alarms, positions, changes of the catalog, PTZ positions, the wish to be seen
//! (GB/T 28181-2022 annex A.2.5; reference sections 9 and 10). Pure readers.

use bridge_core::{Place, Timestamp};

use crate::catalog::{self, Item};
use crate::ids;
use crate::xml::Node;

/// Most positions taken out of one message.
pub const MAX_FIXES: usize = 2_000;
/// Most catalog changes taken out of one message.
pub const MAX_CHANGES: usize = 20_000;
const MAX_TEXT: usize = 1_024;

/// An alarm as it stands in the message.
#[derive(Debug, Clone, PartialEq)]
pub struct Alarm {
    /// 1 (gravest) to 4; what is missing or out of range counts as 4.
    pub priority: u8,
    pub method: Option<u8>,
    pub kind: Option<u16>,
    /// Intrusion: 1 enters, 2 leaves.
    pub event: Option<u8>,
    pub time: Option<Timestamp>,
    pub description: String,
    pub place: Option<Place>,
}

/// One position.
#[derive(Debug, Clone, PartialEq)]
pub struct Fix {
    /// Whose; empty: that of the message.
    pub id: String,
    pub place: Place,
    pub time: Option<Timestamp>,
    pub speed_kmh: Option<f64>,
    pub direction: Option<f64>,
    pub altitude: Option<f64>,
    pub height: Option<f64>,
}

/// The positions of one message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fixes {
    pub fixes: Vec<Fix>,
    /// Those without a usable place: a body camera without satellites sends empty or 0,0.
    pub bad: usize,
}

/// What happened to a catalog item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    On,
    Off,
    /// Its picture is lost.
    Vlost,
    Defect,
    Add,
    Del,
    Update,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    pub id: String,
    pub event: Event,
    /// The whole item with ADD and UPDATE.
    pub item: Option<Item>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    pub changes: Vec<Change>,
    /// Items without an id or with an event that nobody knows.
    pub bad: usize,
}

/// Where a dome looks.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Look {
    pub pan: Option<f64>,
    pub tilt: Option<f64>,
    pub zoom: Option<f64>,
    pub horizontal_angle: Option<f64>,
    pub vertical_angle: Option<f64>,
    pub distance: Option<f64>,
}

/// `YYYY-MM-DDTHH:MM:SS` in Beijing time; also with a space, with parts of a second, and with a zone of its own.
pub fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim().get(..text.trim().len().min(40))?.replace(' ', "T");
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(at.as_millisecond()));
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    let at = jiff::tz::Offset::constant(8).to_timestamp(local).ok()?;
    Some(Timestamp(at.as_millisecond()))
}

fn number(node: &Node, name: &str, low: f64, high: f64) -> Option<f64> {
    // Units behind the number ("12.5km/h", "182°") occur.
    let text = node.get_or_info(name)?;
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let value: f64 = text.get(..end)?.parse().ok()?;
    (value.is_finite() && (low..=high).contains(&value)).then_some(value)
}

fn place(node: &Node) -> Option<Place> {
    let longitude = node.get_or_info("Longitude").and_then(|v| catalog::degrees(v, 180.0))?;
    let latitude = node.get_or_info("Latitude").and_then(|v| catalog::degrees(v, 90.0))?;
    // 0,0 is what a receiver without satellites sends.
    (longitude != 0.0 || latitude != 0.0).then_some(Place { longitude, latitude })
}

/// Reads `Notify` of an alarm.
pub fn alarm(tree: &Node) -> Alarm {
    let kind = tree.get_or_info("AlarmType").and_then(|t| t.parse().ok());
    let parameters = tree.children.iter().filter(|c| c.is("Info")).find_map(|i| i.child("AlarmTypeParam"));
    let priority = tree.number::<u8>("AlarmPriority").filter(|p| (1..=4).contains(p));
    let words = tree.get("AlarmDescription").unwrap_or("");
    Alarm {
        priority: priority.unwrap_or(4),
        method: tree.number("AlarmMethod"),
        kind,
        event: parameters.or(tree.child("AlarmTypeParam")).and_then(|p| p.number("EventType")),
        time: tree.get("AlarmTime").and_then(time),
        description: words.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect(),
        place: place(tree),
    }
}

fn fix(node: &Node, id: &str, outer: Option<Timestamp>) -> Option<Fix> {
    let own = node.get("CaptureTime").or_else(|| node.get("Time")).and_then(time);
    let direction = number(node, "Direction", -360.0, 360.0).map(|d| d.rem_euclid(360.0));
    Some(Fix {
        id: id.to_owned(),
        place: place(node)?,
        time: own.or(outer),
        speed_kmh: number(node, "Speed", 0.0, 5_000.0),
        direction,
        altitude: number(node, "Altitude", -12_000.0, 100_000.0),
        height: number(node, "Height", -12_000.0, 100_000.0),
    })
}

/// Reads `Notify` of positions, in the form of 2016 (one, flat) or of 2022 (a list).
pub fn positions(tree: &Node) -> Fixes {
    let lists = || tree.children.iter().filter(|c| c.is("DeviceList"));
    let mut out = Fixes::default();
    if lists().next().is_none() {
        match fix(tree, tree.get("DeviceID").unwrap_or(""), None) {
            Some(one) => out.fixes.push(one),
            None => out.bad += 1,
        }
        return out;
    }
    let outer = tree.get("Time").and_then(time);
    for item in lists().flat_map(|l| l.children.iter()).filter(|c| c.is("Item")) {
        let id = item.get("DeviceID").filter(|id| ids::is_id(id));
        match id.and_then(|id| fix(item, id, outer)) {
            Some(one) if out.fixes.len() < MAX_FIXES => out.fixes.push(one),
            _ => out.bad += 1,
        }
    }
    out
}

fn event(text: &str) -> Option<Event> {
    Some(match text.trim().to_ascii_uppercase().as_str() {
        "ON" | "ONLINE" => Event::On,
        "OFF" | "OFFLINE" => Event::Off,
        "VLOST" => Event::Vlost,
        "DEFECT" => Event::Defect,
        "ADD" => Event::Add,
        "DEL" | "DELETE" => Event::Del,
        "UPDATE" => Event::Update,
        _ => return None,
    })
}

/// Reads `Notify` of the catalog. An item without `Event` that is whole counts as an update: platforms answer the first
/// subscription with their items as they stand.
pub fn changes(tree: &Node) -> Changes {
    let lists = tree.children.iter().filter(|c| c.is("DeviceList"));
    let mut out = Changes::default();
    for node in lists.flat_map(|l| l.children.iter()).filter(|c| c.is("Item")) {
        let Some(id) = node.get("DeviceID").filter(|id| ids::is_device_id(id)) else {
            out.bad += 1;
            continue;
        };
        let item = Item::read(node);
        let event = match node.get("Event") {
            Some(text) => event(text),
            None if node.get("Name").is_some() => Some(Event::Update),
            None => match item.as_ref().and_then(|i| i.online) {
                Some(true) => Some(Event::On),
                Some(false) => Some(Event::Off),
                None => None,
            },
        };
        match event {
            Some(event) if out.changes.len() < MAX_CHANGES => {
                let item = item.filter(|_| matches!(event, Event::Add | Event::Update));
                out.changes.push(Change { id: id.to_owned(), event, item });
            }
            _ => out.bad += 1,
        }
    }
    out
}

/// Reads `Notify` of PTZPosition.
pub fn look(tree: &Node) -> Look {
    Look {
        pan: number(tree, "Pan", -360.0, 360.0),
        tilt: number(tree, "Tilt", -180.0, 180.0),
        zoom: number(tree, "Zoom", 0.0, 10_000.0),
        horizontal_angle: number(tree, "HorizontalFieldAngle", 0.0, 360.0),
        vertical_angle: number(tree, "VerticalFieldAngle", 0.0, 360.0),
        distance: number(tree, "MaxViewDistance", 0.0, 1e7),
    }
}

/// Reads VideoUploadNotify: the place, where it gives one.
pub fn wish(tree: &Node) -> Option<Place> {
    place(tree)
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
