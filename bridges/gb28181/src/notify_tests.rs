#![allow(clippy::unwrap_used)]
use super::*;
use crate::manscdp::Manscdp;

fn tree(inner: &str) -> Node {
    let text = format!(
        "<?xml version=\"1.0\"?><Notify><CmdType>X</CmdType><SN>1</SN><DeviceID>34020000001320000001</DeviceID>{inner}</Notify>"
    );
    Manscdp::parse(text.as_bytes()).unwrap().tree
}

#[test]
fn times_in_every_spelling_are_beijing_time_unless_they_say_otherwise() {
    let beijing = time("2026-03-01T08:31:10").unwrap();
    assert_eq!(beijing.to_string(), "2026-03-01T00:31:10.000Z");
    for same in
        ["2026-03-01 08:31:10", " 2026-03-01T08:31:10.000 ", "2026-03-01T00:31:10Z", "2026-03-01T08:31:10+08:00"]
    {
        assert_eq!(time(same), Some(beijing), "{same}");
    }
    for bad in ["", "yesterday", "2026-13-01T00:00:00", "T", "２０２６"] {
        assert_eq!(time(bad), None, "{bad}");
    }
}

#[test]
fn an_alarm_with_all_and_with_nothing() {
    let a = alarm(&tree(
        "<AlarmPriority>1</AlarmPriority><AlarmMethod>5</AlarmMethod><AlarmTime>2026-03-01T08:31:10</AlarmTime>\
         <AlarmDescription>人员 <![CDATA[<入侵>]]></AlarmDescription><Longitude>118.37E</Longitude><Latitude>31.3</Latitude>\
         <Info><AlarmType>6</AlarmType><AlarmTypeParam><EventType>1</EventType></AlarmTypeParam></Info>",
    ));
    assert_eq!((a.priority, a.method, a.kind, a.event), (1, Some(5), Some(6), Some(1)));
    assert_eq!(a.place, Some(Place { longitude: 118.37, latitude: 31.3 }));
    assert_eq!((a.time.is_some(), a.description.as_str()), (true, "人员 <入侵>"));
    let a = alarm(&tree("<AlarmPriority>9</AlarmPriority><AlarmMethod/><AlarmTime>now</AlarmTime>"));
    assert_eq!((a.priority, a.method, a.kind, a.time, a.place), (4, None, None, None, None));
}

#[test]
fn positions_in_the_form_of_2016_with_odd_values() {
    let one = |inner: &str| positions(&tree(inner));
    let f = one("<Time>2026-03-01T08:31:10</Time><Longitude>118.376451</Longitude><Latitude>31.326319</Latitude>\
                 <Speed>4.2km/h</Speed><Direction>-90</Direction><Altitude></Altitude>");
    let f = &f.fixes[0];
    assert_eq!(
        (f.id.as_str(), f.speed_kmh, f.direction, f.altitude),
        ("34020000001320000001", Some(4.2), Some(270.0), None)
    );
    let west = one("<Longitude>12.5W</Longitude><Latitude>31.3N</Latitude><Speed>-3</Speed>");
    assert_eq!((west.fixes[0].place.longitude, west.fixes[0].speed_kmh), (-12.5, None));
    for bad in [
        "",
        "<Longitude/><Latitude/>",
        "<Longitude>0.0</Longitude><Latitude>0</Latitude>",
        "<Longitude>NaN</Longitude><Latitude>31</Latitude>",
        "<Longitude>181</Longitude><Latitude>31</Latitude>",
        "<Longitude>east</Longitude><Latitude>31</Latitude>",
    ] {
        assert_eq!(one(bad), Fixes { fixes: vec![], bad: 1 }, "{bad}");
    }
}

#[test]
fn positions_in_the_form_of_2022() {
    let item = |id: &str, lon: &str| {
        format!(
            "<Item><DeviceID>{id}</DeviceID><CaptureTime>2026-03-01T08:31:09</CaptureTime><Longitude>{lon}</Longitude>\
                 <Latitude>31.3</Latitude><Height>2</Height></Item>"
        )
    };
    let f = positions(&tree(&format!(
        "<Time>2026-03-01T08:31:10</Time><SumNum>3</SumNum><DeviceList Num=\"3\">{}{}{}</DeviceList>",
        item("34020000001320000011", "118.1"),
        item("34020000001320000012", ""),
        item("12", "118.1"),
    )));
    assert_eq!(
        (f.fixes.len(), f.bad, f.fixes[0].id.as_str(), f.fixes[0].height),
        (1, 2, "34020000001320000011", Some(2.0))
    );
    let many: String = (0..MAX_FIXES + 5).map(|n| item(&format!("340200000013{n:08}"), "118.1")).collect();
    let f = positions(&tree(&format!("<DeviceList>{many}</DeviceList>")));
    assert_eq!((f.fixes.len(), f.bad), (MAX_FIXES, 5));
    assert_eq!(positions(&tree("<SumNum>0</SumNum><DeviceList Num=\"0\"></DeviceList>")), Fixes::default());
}

#[test]
fn all_changes_of_a_catalog() {
    let words = ["ON", "off", "VLOST", "DEFECT", "ADD", "DEL", "UPDATE", "EXPLODED"];
    let items: String = words
        .iter()
        .enumerate()
        .map(|(n, w)| {
            format!("<Item><DeviceID>3402000000131000000{n}</DeviceID><Event>{w}</Event><Name>Gate {n}</Name></Item>")
        })
        .collect();
    let c = changes(&tree(&format!(
        "<SumNum>9</SumNum><DeviceList Num=\"9\">{items}<Item><Event>ON</Event></Item></DeviceList>"
    )));
    let got: Vec<Event> = c.changes.iter().map(|c| c.event).collect();
    use Event::*;
    assert_eq!((got, c.bad), (vec![On, Off, Vlost, Defect, Add, Del, Update], 2));
    let with_item: Vec<bool> = c.changes.iter().map(|c| c.item.is_some()).collect();
    assert_eq!(with_item, [false, false, false, false, true, false, true]);
    let silent = changes(&tree(
        "<DeviceList><Item><DeviceID>34020000001310000001</DeviceID><Status>OFF</Status></Item></DeviceList>",
    ));
    assert_eq!(silent.changes[0].event, Off);
}
