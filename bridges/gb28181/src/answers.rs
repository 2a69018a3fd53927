//! Answers to queries (GB/T 28181-2022 annex A.2.6; reference section 8), and the gathering of those that come in several
//! messages. No I/O, no clock.

use bridge_core::{Answer, Card, CruiseItem, CruisePoint, Duty, Preset, Query, Setting, SettingKind};

use crate::blocks;
use crate::catalog;
use crate::edition::Edition;
use crate::xml::Node;

/// Items kept of one answer: presets and points are numbered in one byte.
const ITEMS: usize = 256;
/// Characters kept of a text.
const LETTERS: usize = 200;

/// `CmdType` of a query.
pub fn command(query: &Query) -> &'static str {
    match query {
        Query::Info {} => "DeviceInfo",
        Query::Status {} => "DeviceStatus",
        Query::Presets {} => "PresetQuery",
        Query::Cruises {} => "CruiseTrackListQuery",
        Query::Cruise { .. } => "CruiseTrackQuery",
        Query::Home {} => "HomePositionQuery",
        Query::Position {} => "PTZPosition",
        Query::Cards {} => "SDCardStatus",
        Query::Settings { .. } => "ConfigDownload",
    }
}

/// Whether only the 2022 edition knows the query.
pub fn is_new(query: &Query) -> bool {
    matches!(query, Query::Home {} | Query::Cruises {} | Query::Cruise { .. } | Query::Position {} | Query::Cards {})
}

/// The kinds that a question for settings means; an empty list is all that the edition knows. `Err`: one that it does not.
pub fn kinds(asked: &[SettingKind], edition: Option<Edition>) -> Result<Vec<SettingKind>, SettingKind> {
    if let Some(unknown) = asked.iter().find(|k| !blocks::known(**k, edition)) {
        return Err(*unknown);
    }
    let mut out: Vec<SettingKind> = SettingKind::ALL.into_iter().filter(|k| blocks::known(*k, edition)).collect();
    if !asked.is_empty() {
        out.retain(|k| asked.contains(k));
    }
    Ok(out)
}

/// What stands between DeviceID and the end of the query.
pub fn inner(query: &Query, kinds: &[SettingKind]) -> String {
    match query {
        Query::Cruise { number } => format!("<Number>{number}</Number>\r\n"),
        Query::Settings { .. } => {
            let names: Vec<&str> = kinds.iter().map(|k| blocks::name(*k)).collect();
            format!("<ConfigType>{}</ConfigType>\r\n", names.join("/"))
        }
        _ => String::new(),
    }
}

fn text(node: &Node, name: &str) -> String {
    node.get_or_info(name).unwrap_or("").chars().take(LETTERS).collect()
}

fn number<T: std::str::FromStr>(node: &Node, name: &str) -> Option<T> {
    node.get_or_info(name)?.parse().ok()
}

/// A finite number, whatever letters or signs of degrees stand behind it.
fn decimal(node: &Node, name: &str) -> Option<f64> {
    let text = node.get_or_info(name)?.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
    text.parse::<f64>().ok().filter(|v| v.is_finite())
}

/// `Result`: ERROR in any case; anything else, and nothing, counts as OK.
pub fn refused(tree: &Node) -> bool {
    tree.get("Result").is_some_and(|r| r.eq_ignore_ascii_case("ERROR") || r.eq_ignore_ascii_case("FAIL"))
}

/// ON, OK, ONLINE and the like.
fn word(node: &Node, name: &str) -> Option<bool> {
    let text = node.get_or_info(name)?;
    let is = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(text.trim()));
    match () {
        () if is(&["ON", "ONLINE", "OK", "1", "TRUE"]) => Some(true),
        () if is(&["OFF", "OFFLINE", "ERROR", "0", "FALSE"]) => Some(false),
        () => None,
    }
}

/// The items of a list, at most [`ITEMS`], and how many the list says it holds.
fn list<'a>(tree: &'a Node, list: &'a str, item: &'a str) -> impl Iterator<Item = &'a Node> {
    tree.children
        .iter()
        .filter(move |c| c.is(list))
        .flat_map(|l| l.children.iter())
        .filter(move |c| c.is(item))
        .take(ITEMS)
}

fn status(tree: &Node) -> Answer {
    let duties = tree
        .children
        .iter()
        .filter(|c| c.is("Alarmstatus"))
        .flat_map(|l| l.children.iter())
        .filter(|c| c.is("Item"))
        .take(ITEMS)
        .map(|i| Duty { id: text(i, "DeviceID"), duty: text(i, "DutyStatus").to_ascii_uppercase() })
        .collect();
    Answer::Status {
        online: word(tree, "Online"),
        ok: word(tree, "Status"),
        reason: text(tree, "Reason"),
        encoding: word(tree, "Encode"),
        recording: word(tree, "Record"),
        clock: text(tree, "DeviceTime"),
        duties,
    }
}

fn preset(i: &Node) -> Option<Preset> {
    Some(Preset { preset: number(i, "PresetID").filter(|n| *n > 0)?, name: text(i, "PresetName") })
}

fn cruise(i: &Node) -> Option<CruiseItem> {
    Some(CruiseItem { number: number(i, "Number")?, name: text(i, "Name") })
}

fn point(i: &Node) -> Option<CruisePoint> {
    Some(CruisePoint { preset: number(i, "PresetIndex")?, stay_s: number(i, "StayTime"), speed: number(i, "Speed") })
}

fn card(i: &Node) -> Option<Card> {
    Some(Card {
        id: number(i, "ID")?,
        name: text(i, "HddName"),
        status: text(i, "Status").to_ascii_lowercase(),
        format_percent: number(i, "FormatProgress").filter(|p| *p <= 100),
        capacity_mb: number(i, "Capacity"),
        free_mb: number(i, "FreeSpace"),
    })
}

/// Puts a message's part over what came before; items of one number count once, the later one wins.
fn put<T>(items: &mut Vec<T>, item: Option<T>, same: impl Fn(&T, &T) -> bool) {
    let Some(mut item) = item else { return };
    match items.iter().position(|old| same(old, &item)) {
        Some(at) => items.iter_mut().skip(at).take(1).for_each(|old| std::mem::swap(old, &mut item)),
        None if items.len() < ITEMS => items.push(item),
        None => {}
    }
}

/// Gathers the answer to one query.
#[derive(Debug)]
pub struct Collect {
    query: Query,
    wanted: Vec<SettingKind>,
    came: usize,
    refused: usize,
    /// What the last message announced in all.
    sum: Option<usize>,
    /// Items seen, repeats and unreadable ones included.
    counted: usize,
    presets: Vec<Preset>,
    cruises: Vec<CruiseItem>,
    points: Vec<CruisePoint>,
    cards: Vec<Card>,
    settings: Vec<Setting>,
    single: Option<Answer>,
    cruise_name: String,
}

impl Collect {
    /// `wanted` are the kinds of a question for settings, from [`kinds`].
    pub fn new(query: &Query, wanted: &[SettingKind]) -> Collect {
        Collect {
            query: query.clone(),
            wanted: wanted.to_vec(),
            came: 0,
            refused: 0,
            sum: None,
            counted: 0,
            presets: Vec::new(),
            cruises: Vec::new(),
            points: Vec::new(),
            cards: Vec::new(),
            settings: Vec::new(),
            single: None,
            cruise_name: String::new(),
        }
    }

    /// Whether any message came.
    pub fn any(&self) -> bool {
        self.came > 0
    }

    /// Takes a message in; true when nothing more is due.
    pub fn add(&mut self, tree: &Node) -> bool {
        self.came += 1;
        self.sum = number(tree, "SumNum").or(self.sum);
        if refused(tree) {
            self.refused += 1;
        }
        match self.query {
            Query::Info {} => {
                let f = catalog::facts(tree);
                self.single = Some(Answer::Info {
                    name: f.name,
                    manufacturer: f.manufacturer,
                    model: f.model,
                    firmware: f.firmware,
                    channels: number(tree, "Channel"),
                });
            }
            Query::Status {} => self.single = Some(status(tree)),
            Query::Home {} => {
                // Beneath HomePosition by the standard; directly beneath the root by some.
                let home = tree.child("HomePosition").unwrap_or(tree);
                self.single = Some(Answer::Home {
                    enabled: home.get("Enabled").and_then(blocks::flag),
                    reset_s: home.number("ResetTime"),
                    preset: home.number("PresetIndex"),
                });
            }
            Query::Position {} => {
                self.single = Some(Answer::Position {
                    pan: decimal(tree, "Pan"),
                    tilt: decimal(tree, "Tilt"),
                    zoom: decimal(tree, "Zoom"),
                    horizontal_angle: decimal(tree, "HorizontalFieldAngle"),
                    vertical_angle: decimal(tree, "VerticalFieldAngle"),
                    range_m: decimal(tree, "MaxViewDistance"),
                });
            }
            Query::Presets {} => {
                for i in list(tree, "PresetList", "Item") {
                    self.counted += 1;
                    put(&mut self.presets, preset(i), |a, b| a.preset == b.preset);
                }
            }
            Query::Cruises {} => {
                for i in list(tree, "CruiseTrackList", "CruiseTrack").chain(list(tree, "CruiseTrackList", "Item")) {
                    self.counted += 1;
                    put(&mut self.cruises, cruise(i), |a, b| a.number == b.number);
                }
            }
            Query::Cruise { .. } => {
                self.cruise_name = text(tree, "Name");
                for i in list(tree, "CruisePointList", "CruisePoint").chain(list(tree, "CruisePointList", "Item")) {
                    self.counted += 1;
                    // One preset may be visited twice: points are not merged.
                    put(&mut self.points, point(i), |_, _| false);
                }
            }
            Query::Cards {} => {
                for i in list(tree, "SDCardStatusInfo", "Item") {
                    self.counted += 1;
                    put(&mut self.cards, card(i), |a, b| a.id == b.id);
                }
            }
            Query::Settings { .. } => {
                for found in tree.children.iter().filter_map(blocks::read).take(SettingKind::ALL.len()) {
                    // A block under another name than the one asked for is as good.
                    put(&mut self.settings, Some(found), |a, b| a.kind() == b.kind());
                }
            }
        }
        self.done()
    }

    fn done(&self) -> bool {
        match self.query {
            Query::Settings { .. } => self.settings.len() + self.refused >= self.wanted.len(),
            Query::Presets {} | Query::Cruises {} | Query::Cruise { .. } | Query::Cards {} => {
                self.sum.is_none_or(|sum| self.counted >= sum) || self.refused > 0
            }
            _ => true,
        }
    }

    /// Ends the gathering. None: nothing came, or the device refused.
    pub fn finish(self) -> Option<Answer> {
        if self.came == 0 {
            return None;
        }
        let settings = matches!(self.query, Query::Settings { .. });
        if self.refused == self.came && (!settings || self.settings.is_empty()) {
            return None;
        }
        let complete = self.sum.is_none_or(|sum| self.counted >= sum);
        Some(match self.query {
            Query::Presets {} => {
                let mut items = self.presets;
                items.sort_by_key(|p| p.preset);
                Answer::Presets { items, complete }
            }
            Query::Cruises {} => {
                let mut items = self.cruises;
                items.sort_by_key(|c| c.number);
                Answer::Cruises { items, complete }
            }
            Query::Cruise { number } => {
                Answer::Cruise { number, name: self.cruise_name, points: self.points, complete }
            }
            Query::Cards {} => Answer::Cards { items: self.cards, complete },
            Query::Settings { .. } => {
                let missing =
                    self.wanted.iter().copied().filter(|k| !self.settings.iter().any(|s| s.kind() == *k)).collect();
                Answer::Settings { items: self.settings, missing }
            }
            _ => return self.single,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manscdp::Manscdp;

    fn answer(query: Query, wanted: &[SettingKind], parts: &[&str]) -> (Vec<bool>, Option<Answer>) {
        let mut collect = Collect::new(&query, wanted);
        let done = parts
            .iter()
            .map(|part| {
                let body = format!(
                    "<Response><CmdType>{}</CmdType><SN>1</SN><DeviceID>34020000001320000001</DeviceID>{part}</Response>",
                    command(&query)
                );
                collect.add(&Manscdp::parse(body.as_bytes()).unwrap().tree)
            })
            .collect();
        (done, collect.finish())
    }

    #[test]
    fn presets_in_two_messages() {
        let (done, got) = answer(
            Query::Presets {},
            &[],
            &[
                "<SumNum>3</SumNum><PresetList Num=\"2\"><Item><PresetID>2</PresetID><PresetName>大门</PresetName></Item>\
                 <Item><PresetID>1</PresetID></Item></PresetList>",
                "<SumNum>3</SumNum><presetlist><Item><PresetID>255</PresetID><PresetName> x </PresetName></Item></presetlist>",
            ],
        );
        assert_eq!(done, [false, true]);
        let Some(Answer::Presets { items, complete: true }) = got else { unreachable!("{got:?}") };
        let items: Vec<_> = items.iter().map(|p| (p.preset, p.name.as_str())).collect();
        assert_eq!(items, [(1, ""), (2, "大门"), (255, "x")]);
    }

    #[test]
    fn a_lost_part_of_2022_and_an_answer_of_2016_without_sum() {
        let (done, got) = answer(
            Query::Presets {},
            &[],
            &["<SumNum>9</SumNum><PresetList Num=\"1\"><Item><PresetID>1</PresetID></Item></PresetList>"],
        );
        assert_eq!(done, [false]);
        assert!(matches!(got, Some(Answer::Presets { complete: false, .. })));
        let (done, _) =
            answer(Query::Presets {}, &[], &["<PresetList Num=\"1\"><Item><PresetID>1</PresetID></Item></PresetList>"]);
        assert_eq!(done, [true]);
    }

    #[test]
    fn status_with_the_odd_capital() {
        for name in ["Alarmstatus", "AlarmStatus"] {
            let part = format!(
                "<Result>OK</Result><Online>ONLINE</Online><Status>ERROR</Status><Reason>disk</Reason><Encode>ON</Encode>\
                 <Record>off</Record><DeviceTime>2026-03-01T08:30:00</DeviceTime><{name} Num=\"1\"><Item>\
                 <DeviceID>34020000001340000001</DeviceID><DutyStatus>onduty</DutyStatus></Item></{name}>"
            );
            let (_, got) = answer(Query::Status {}, &[], &[&part]);
            let Some(Answer::Status { online, ok, reason, encoding, recording, clock, duties }) = got else {
                unreachable!("{got:?}")
            };
            assert_eq!((online, ok, encoding, recording), (Some(true), Some(false), Some(true), Some(false)));
            assert_eq!((reason.as_str(), clock.as_str(), duties.len()), ("disk", "2026-03-01T08:30:00", 1));
            assert_eq!(duties[0].duty, "ONDUTY");
        }
        let (_, plain) = answer(Query::Status {}, &[], &["<Alarmstatus>0</Alarmstatus>"]);
        assert!(matches!(plain, Some(Answer::Status { online: None, .. })));
    }

    #[test]
    fn home_position_cards_and_cruises() {
        let (_, home) = answer(
            Query::Home {},
            &[],
            &["<HomePosition><Enabled>1</Enabled><ResetTime>60</ResetTime><PresetIndex>3</PresetIndex></HomePosition>"],
        );
        assert_eq!(home, Some(Answer::Home { enabled: Some(true), reset_s: Some(60), preset: Some(3) }));
        let (_, at) = answer(
            Query::Position {},
            &[],
            &["<Pan>120.50</Pan><Tilt>-3.2</Tilt><Zoom>2x</Zoom><HorizontalFieldAngle>NaN</HorizontalFieldAngle>"],
        );
        let Some(Answer::Position { pan, tilt, zoom, horizontal_angle, .. }) = at else { unreachable!("{at:?}") };
        assert_eq!((pan, tilt, zoom, horizontal_angle), (Some(120.5), Some(-3.2), Some(2.0), None));
        let (_, cards) = answer(
            Query::Cards {},
            &[],
            &[
                "<SumNum>1</SumNum><SDCardStatusInfo Num=\"1\"><Item><ID>1</ID><HddName>sd</HddName><Status>Formatting</Status>\
               <FormatProgress>40</FormatProgress><Capacity>64000</Capacity><FreeSpace>100</FreeSpace></Item></SDCardStatusInfo>",
            ],
        );
        let Some(Answer::Cards { items, complete: true }) = cards else { unreachable!("{cards:?}") };
        assert_eq!(
            (items[0].status.as_str(), items[0].format_percent, items[0].capacity_mb),
            ("formatting", Some(40), Some(64_000))
        );
        let (_, track) = answer(
            Query::Cruise { number: 2 },
            &[],
            &["<Number>2</Number><Name>ring</Name><SumNum>2</SumNum><CruisePointList Num=\"2\">\
               <CruisePoint><PresetIndex>1</PresetIndex><StayTime>5</StayTime><Speed>7</Speed></CruisePoint>\
               <CruisePoint><PresetIndex>1</PresetIndex></CruisePoint></CruisePointList>"],
        );
        let Some(Answer::Cruise { number: 2, name, points, complete: true }) = track else { unreachable!("{track:?}") };
        assert_eq!((name.as_str(), points.len(), points[0].stay_s, points[1].speed), ("ring", 2, Some(5), None));
    }

    #[test]
    fn settings_one_by_one_with_a_refusal() {
        let wanted = kinds(&[], Some(Edition::V2016)).unwrap();
        assert_eq!(
            inner(&Query::Settings { kinds: vec![] }, &wanted),
            "<ConfigType>BasicParam/VideoParamOpt</ConfigType>\r\n"
        );
        let query = Query::Settings { kinds: vec![] };
        let (done, got) = answer(
            query.clone(),
            &wanted,
            &[
                "<Result>ERROR</Result>",
                "<Result>OK</Result><BasicParam><HeartBeatInterval>60</HeartBeatInterval></BasicParam>",
            ],
        );
        assert_eq!(done, [false, true]);
        let Some(Answer::Settings { items, missing }) = got else { unreachable!("{got:?}") };
        assert_eq!((items.len(), missing), (1, vec![SettingKind::VideoOptions]));
        assert_eq!(answer(query, &wanted, &["<Result>ERROR</Result>"]).1, None);
        assert_eq!(kinds(&[SettingKind::Osd], Some(Edition::V2016)), Err(SettingKind::Osd));
        assert_eq!(kinds(&[SettingKind::Osd], Some(Edition::V2022)), Ok(vec![SettingKind::Osd]));
    }

    #[test]
    fn a_flood_of_items_is_bounded() {
        let items: String = (0..5000).map(|n| format!("<Item><PresetID>{}</PresetID></Item>", n % 255 + 1)).collect();
        let part = format!("<PresetList>{items}</PresetList>");
        let (_, got) = answer(Query::Presets {}, &[], &[&part]);
        assert!(matches!(got, Some(Answer::Presets { items, .. }) if items.len() <= ITEMS));
        let points = "<CruisePoint><PresetIndex>1</PresetIndex></CruisePoint>".repeat(5000);
        let part = format!("<CruisePointList>{points}</CruisePointList>");
        let (_, got) = answer(Query::Cruise { number: 1 }, &[], &[&part]);
        assert!(matches!(got, Some(Answer::Cruise { points, .. }) if points.len() <= ITEMS));
    }
}
