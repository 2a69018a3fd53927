//! Orders as Control messages (GB/T 28181-2022 clause 9.3 and annex A.2.3; reference section 7). No I/O, no clock.

use bridge_core::{Area, Edge, Order, Setting, Tracking};

use crate::blocks;
use crate::edition::Edition;
use crate::ptz::PtzCommand;
use crate::text::escape;

/// One message of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// `DeviceControl` or `DeviceConfig`.
    pub command: &'static str,
    /// What goes between DeviceID and the end.
    pub inner: String,
    /// The standard gives it a business answer.
    pub answered: bool,
    /// It goes to the device's own id whatever the order names: makers differ in what they take there (reference section 7.5).
    pub to_device: bool,
}

/// Why an order is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// Only devices of the 2022 edition know that element.
    NeedsEdition(&'static str),
}

fn tag(name: &str, value: impl std::fmt::Display) -> String {
    format!("<{name}>{}</{name}>\r\n", escape(&value.to_string()))
}

fn maybe(name: &str, value: Option<impl std::fmt::Display>) -> String {
    value.map_or_else(String::new, |v| tag(name, v))
}

fn control(inner: String, answered: bool) -> Out {
    Out { command: "DeviceControl", inner, answered, to_device: false }
}

/// A PTZCmd with its companion of 2022, which a device of 2016 is spared: the order itself stays the same.
fn ptz(command: PtzCommand, params: &str, edition: Option<Edition>) -> Out {
    let mut inner = tag("PTZCmd", command.hex());
    if !params.is_empty() && edition == Some(Edition::V2022) {
        inner += &format!("<PTZCmdParams>\r\n{params}</PTZCmdParams>\r\n");
    }
    control(inner, false)
}

/// A name of at most `most` bytes as GB 18030 writes it, cut at a whole character.
fn short_name(name: &str, most: usize) -> String {
    let mut bytes = 0;
    name.chars()
        .take_while(|c| {
            bytes += if c.is_ascii() {
                1
            } else if u32::from(*c) > 0xFFFF {
                4
            } else {
                2
            };
            bytes <= most
        })
        .collect()
}

fn area(a: &Area) -> String {
    // Length runs across, Width down.
    tag("Length", a.window_width)
        + &tag("Width", a.window_height)
        + &tag("MidPointX", a.x)
        + &tag("MidPointY", a.y)
        + &tag("LengthX", a.width)
        + &tag("LengthY", a.height)
}

/// The eight bytes of an order that has them.
pub fn ptz_command(order: &Order) -> Option<PtzCommand> {
    Some(match *order {
        Order::Lens { focus, iris } => PtzCommand::lens_from_speeds(focus, iris),
        Order::PresetSet { preset, .. } => PtzCommand::SetPreset(preset),
        Order::PresetCall { preset } => PtzCommand::CallPreset(preset),
        Order::PresetDelete { preset } => PtzCommand::DeletePreset(preset),
        Order::CruiseAdd { cruise, preset, .. } => PtzCommand::CruiseAdd { group: cruise, preset },
        Order::CruiseRemove { cruise, preset } => {
            PtzCommand::CruiseDelete { group: cruise, preset: preset.unwrap_or(0) }
        }
        Order::CruiseSpeed { cruise, speed } => PtzCommand::CruiseSpeed { group: cruise, value: speed },
        Order::CruiseDwell { cruise, seconds } => PtzCommand::CruiseDwell { group: cruise, value: seconds },
        Order::CruiseStart { cruise } => PtzCommand::CruiseStart { group: cruise },
        // Both end by the stop of all movement.
        Order::CruiseStop {} | Order::ScanStop {} => PtzCommand::STOP,
        Order::ScanStart { scan } => PtzCommand::ScanStart { group: scan },
        Order::ScanEdge { scan, edge: Edge::Left } => PtzCommand::ScanLeftEdge { group: scan },
        Order::ScanEdge { scan, edge: Edge::Right } => PtzCommand::ScanRightEdge { group: scan },
        Order::ScanSpeed { scan, speed } => PtzCommand::ScanSpeed { group: scan, value: speed },
        Order::Switch { number, on } => PtzCommand::Switch { on, number },
        _ => return None,
    })
}

/// The messages of an order, in the order in which they are sent. `session` is used where the order names none.
pub fn write(order: &Order, edition: Option<Edition>, session: &str) -> Result<Vec<Out>, NotSent> {
    let new =
        |what: &'static str| if edition == Some(Edition::V2022) { Ok(()) } else { Err(NotSent::NeedsEdition(what)) };
    if let Some(command) = ptz_command(order) {
        let params = match order {
            Order::PresetSet { name: Some(name), .. } => tag("PresetName", short_name(name, 32)),
            Order::CruiseAdd { name: Some(name), .. } => tag("CruiseTrackName", short_name(name, 32)),
            _ => String::new(),
        };
        return Ok(vec![ptz(command, &params, edition)]);
    }
    Ok(match order {
        Order::DragZoom { inwards, area: a } => {
            let element = if *inwards { "DragZoomIn" } else { "DragZoomOut" };
            vec![control(format!("<{element}>\r\n{}</{element}>\r\n", area(a)), false)]
        }
        Order::HomePosition { enabled, reset_s, preset } => {
            let inner =
                tag("Enabled", u8::from(*enabled)) + &maybe("ResetTime", *reset_s) + &maybe("PresetIndex", *preset);
            vec![control(format!("<HomePosition>\r\n{inner}</HomePosition>\r\n"), true)]
        }
        Order::Position { pan, tilt, zoom } => {
            new("PTZPreciseCtrl")?;
            let number = |v: &Option<f64>| v.map(|v| format!("{v:.2}"));
            let inner = maybe("Pan", number(pan)) + &maybe("Tilt", number(tilt)) + &maybe("Zoom", number(zoom));
            vec![control(format!("<PTZPreciseCtrl>\r\n{inner}</PTZPreciseCtrl>\r\n"), false)]
        }
        Order::Record { on, stream } => {
            let mut inner = tag("RecordCmd", if *on { "Record" } else { "StopRecord" });
            if let Some(stream) = stream.filter(|s| *s > 0) {
                new("StreamNumber")?;
                inner += &tag("StreamNumber", stream);
            }
            vec![control(inner, true)]
        }
        Order::Guard { on } => vec![control(tag("GuardCmd", if *on { "SetGuard" } else { "ResetGuard" }), true)],
        Order::AlarmReset { methods, kind } => {
            let mut inner = tag("AlarmCmd", "ResetAlarm");
            if !methods.is_empty() || kind.is_some() {
                let list: Vec<String> = methods.iter().map(u8::to_string).collect();
                let list = if list.is_empty() { "0".to_owned() } else { list.join("/") };
                inner += &format!("<Info>\r\n{}{}</Info>\r\n", tag("AlarmMethod", list), maybe("AlarmType", *kind));
            }
            vec![control(inner, true)]
        }
        Order::Reboot {} => vec![control(tag("TeleBoot", "Boot"), false)],
        Order::FormatCard { card } => {
            new("FormatSDCard")?;
            vec![control(tag("FormatSDCard", card), false)]
        }
        Order::Track { mode, panorama, area: a } => {
            new("TargetTrack")?;
            let word = match mode {
                Tracking::Auto => "Auto",
                Tracking::Manual => "Manual",
                Tracking::Stop => "Stop",
            };
            let mut inner = tag("TargetTrack", word) + &maybe("DeviceID2", panorama.as_deref());
            if let (Tracking::Manual, Some(a)) = (mode, a) {
                inner += &format!("<TargetArea>\r\n{}</TargetArea>\r\n", area(a));
            }
            vec![control(inner, false)]
        }
        Order::Upgrade { firmware, url, manufacturer, session: own } => {
            new("DeviceUpgrade")?;
            let inner = tag("Firmware", firmware)
                + &tag("FileURL", url)
                + &tag("Manufacturer", manufacturer)
                + &tag("SessionID", own.as_deref().unwrap_or(session));
            vec![control(format!("<DeviceUpgrade>\r\n{inner}</DeviceUpgrade>\r\n"), true)]
        }
        Order::Configure { settings } => {
            if let Some(unknown) = settings.iter().map(Setting::kind).find(|k| !blocks::known(*k, edition)) {
                return Err(NotSent::NeedsEdition(blocks::name(unknown)));
            }
            // One message for each block: a device that refuses one of them would leave open which.
            let one = |s: &Setting| Out {
                command: "DeviceConfig",
                inner: blocks::write(s),
                answered: true,
                to_device: matches!(s, Setting::Basic { .. }),
            };
            settings.iter().map(one).collect()
        }
        _ => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bridge_core::Mirror;

    const NEW: Option<Edition> = Some(Edition::V2022);
    const OLD: Option<Edition> = Some(Edition::V2016);

    fn one(order: Order, edition: Option<Edition>) -> Out {
        let mut all = write(&order, edition, "s").unwrap();
        assert_eq!(all.len(), 1, "{order:?}");
        all.remove(0)
    }

    fn area() -> Area {
        Area { window_width: 1920, window_height: 1080, x: 960, y: 540, width: 200, height: 100 }
    }

    #[test]
    fn bytes_of_the_reference() {
        let hex = |order| one(order, OLD).inner.replace("<PTZCmd>", "").replace("</PTZCmd>\r\n", "");
        assert_eq!(hex(Order::PresetSet { preset: 2, name: None }), "A50F018100020038");
        assert_eq!(hex(Order::PresetCall { preset: 2 }), "A50F018200020039");
        assert_eq!(hex(Order::PresetDelete { preset: 2 }), "A50F01830002003A");
        assert_eq!(hex(Order::CruiseAdd { cruise: 1, preset: 3, name: None }), "A50F01840103003D");
        assert_eq!(hex(Order::CruiseRemove { cruise: 1, preset: Some(3) }), "A50F01850103003E");
        assert_eq!(hex(Order::CruiseSpeed { cruise: 1, speed: 0x123 }), "A50F01860123106F");
        assert_eq!(hex(Order::CruiseDwell { cruise: 1, seconds: 10 }), "A50F0187010A0047");
        assert_eq!(hex(Order::CruiseStart { cruise: 1 }), "A50F01880100003E");
        assert_eq!(hex(Order::CruiseStop {}), "A50F0100000000B5");
        assert_eq!(hex(Order::ScanStart { scan: 1 }), "A50F01890100003F");
        assert_eq!(hex(Order::ScanEdge { scan: 1, edge: Edge::Left }), "A50F018901010040");
        assert_eq!(hex(Order::ScanEdge { scan: 1, edge: Edge::Right }), "A50F018901020041");
        assert_eq!(hex(Order::ScanSpeed { scan: 1, speed: 0x40 }), "A50F018A01400080");
        assert_eq!(hex(Order::Switch { number: 1, on: true }), "A50F018C01000042");
        assert_eq!(hex(Order::Switch { number: 1, on: false }), "A50F018D01000043");
        assert_eq!(hex(Order::Lens { focus: 0.0, iris: 0.0 }), "A50F0140000000F5");
        assert_eq!(hex(Order::Lens { focus: -0.25, iris: 0.0 }), "A50F014240000037");
        assert_eq!(hex(Order::Lens { focus: 0.0, iris: 0.25 }), "A50F014400400039");
    }

    #[test]
    fn names_go_to_2022_only_and_the_order_goes_to_both() {
        let set = |edition| one(Order::PresetSet { preset: 2, name: Some("大门 <1>".into()) }, edition).inner;
        let plain = "<PTZCmd>A50F018100020038</PTZCmd>\r\n";
        assert_eq!(set(OLD), plain);
        assert_eq!(set(None), plain);
        let name = "<PTZCmdParams>\r\n<PresetName>大门 &lt;1&gt;</PresetName>\r\n</PTZCmdParams>\r\n";
        assert_eq!(set(NEW), format!("{plain}{name}"));
        assert_eq!(short_name(&"字".repeat(20), 32).chars().count(), 16);
        assert_eq!(short_name("a字", 2), "a");
    }

    #[test]
    fn each_element_stands_as_the_standard_has_it() {
        let inner = |order| one(order, NEW).inner;
        let boxed = "<Length>1920</Length>\r\n<Width>1080</Width>\r\n<MidPointX>960</MidPointX>\r\n\
                     <MidPointY>540</MidPointY>\r\n<LengthX>200</LengthX>\r\n<LengthY>100</LengthY>\r\n";
        assert_eq!(
            inner(Order::DragZoom { inwards: false, area: area() }),
            format!("<DragZoomOut>\r\n{boxed}</DragZoomOut>\r\n")
        );
        assert_eq!(
            inner(Order::HomePosition { enabled: true, reset_s: Some(60), preset: Some(5) }),
            "<HomePosition>\r\n<Enabled>1</Enabled>\r\n<ResetTime>60</ResetTime>\r\n<PresetIndex>5</PresetIndex>\r\n</HomePosition>\r\n"
        );
        assert_eq!(
            inner(Order::Position { pan: Some(120.5), tilt: Some(-3.0), zoom: None }),
            "<PTZPreciseCtrl>\r\n<Pan>120.50</Pan>\r\n<Tilt>-3.00</Tilt>\r\n</PTZPreciseCtrl>\r\n"
        );
        assert_eq!(
            inner(Order::Record { on: true, stream: Some(1) }),
            "<RecordCmd>Record</RecordCmd>\r\n<StreamNumber>1</StreamNumber>\r\n"
        );
        assert_eq!(inner(Order::Guard { on: false }), "<GuardCmd>ResetGuard</GuardCmd>\r\n");
        assert_eq!(inner(Order::AlarmReset { methods: vec![], kind: None }), "<AlarmCmd>ResetAlarm</AlarmCmd>\r\n");
        assert_eq!(
            inner(Order::AlarmReset { methods: vec![2, 5], kind: Some(6) }),
            "<AlarmCmd>ResetAlarm</AlarmCmd>\r\n<Info>\r\n<AlarmMethod>2/5</AlarmMethod>\r\n<AlarmType>6</AlarmType>\r\n</Info>\r\n"
        );
        assert_eq!(inner(Order::Reboot {}), "<TeleBoot>Boot</TeleBoot>\r\n");
        assert_eq!(inner(Order::FormatCard { card: 0 }), "<FormatSDCard>0</FormatSDCard>\r\n");
        assert_eq!(
            inner(Order::Track {
                mode: Tracking::Manual,
                panorama: Some("34020000001320000009".into()),
                area: Some(area())
            }),
            format!(
                "<TargetTrack>Manual</TargetTrack>\r\n<DeviceID2>34020000001320000009</DeviceID2>\r\n<TargetArea>\r\n{boxed}</TargetArea>\r\n"
            )
        );
        let upgrade = inner(Order::Upgrade {
            firmware: "V2".into(),
            url: "http://10.0.0.1/fw?a=1&b=2".into(),
            manufacturer: "ACME".into(),
            session: None,
        });
        assert!(
            upgrade.contains("<FileURL>http://10.0.0.1/fw?a=1&amp;b=2</FileURL>\r\n<Manufacturer>ACME"),
            "{upgrade}"
        );
        assert!(upgrade.contains("<SessionID>s</SessionID>"));
    }

    #[test]
    fn business_answers_as_the_table_says() {
        for (order, answered) in [
            (Order::PresetCall { preset: 1 }, false),
            (Order::Reboot {}, false),
            (Order::DragZoom { inwards: true, area: area() }, false),
            (Order::Position { pan: Some(1.0), tilt: None, zoom: None }, false),
            (Order::FormatCard { card: 1 }, false),
            (Order::Track { mode: Tracking::Auto, panorama: None, area: None }, false),
            (Order::Record { on: true, stream: None }, true),
            (Order::Guard { on: true }, true),
            (Order::AlarmReset { methods: vec![], kind: None }, true),
            (Order::HomePosition { enabled: false, reset_s: None, preset: None }, true),
            (Order::Configure { settings: vec![Setting::FrameMirror { mirror: Mirror::None }] }, true),
        ] {
            assert_eq!(one(order.clone(), NEW).answered, answered, "{order:?}");
        }
    }

    #[test]
    fn nothing_new_goes_to_2016() {
        let refused = [
            Order::Position { pan: Some(1.0), tilt: None, zoom: None },
            Order::FormatCard { card: 1 },
            Order::Track { mode: Tracking::Auto, panorama: None, area: None },
            Order::Upgrade { firmware: "a".into(), url: "http://a".into(), manufacturer: "b".into(), session: None },
            Order::Record { on: true, stream: Some(1) },
            Order::Configure { settings: vec![Setting::FrameMirror { mirror: Mirror::None }] },
        ];
        for order in refused {
            for edition in [OLD, None, Some(Edition::V2011)] {
                assert!(matches!(write(&order, edition, "s"), Err(NotSent::NeedsEdition(_))), "{order:?} {edition:?}");
            }
            assert!(write(&order, NEW, "s").is_ok());
        }
        // The main stream needs no word for it.
        assert_eq!(
            one(Order::Record { on: false, stream: Some(0) }, OLD).inner,
            "<RecordCmd>StopRecord</RecordCmd>\r\n"
        );
        let basic = Setting::Basic {
            name: Some("x".into()),
            expiration_s: None,
            heartbeat_interval_s: None,
            heartbeat_count: None,
        };
        assert!(one(Order::Configure { settings: vec![basic] }, OLD).to_device);
    }
}
