//! RecordInfo: the question for a channel's recordings and its answer in several messages (GB/T 28181-2022 clause 9.7, annex
//! A.2.6; reference sections 8.4 and 11). Pure.

use std::collections::HashSet;
use std::time::Instant;

use bridge_core::{DeviceRecording, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

use crate::config::Indistinct;
use crate::gather::Limits;
use crate::text::{self, Charset};
use crate::xml::Node;

/// Items of one message that are read; beyond it a device must send another message.
const MAX_PIECE: usize = 10_000;

/// Beijing time, in which the profile writes all times.
fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

/// `YYYY-MM-DDTHH:MM:SS` in Beijing time.
pub fn time_text(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(zone()).strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// Reads the same, with a blank for the `T`, a fraction, and a zone where a device writes one.
pub fn time_of(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 40 {
        return None;
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(at.as_millisecond());
    }
    let civil: DateTime = text.replace(' ', "T").parse().ok()?;
    Some(civil.to_zoned(zone()).ok()?.timestamp().as_millisecond())
}

/// The body of the question. `Type` is always there: some recorders answer nothing without it.
pub fn query(charset: Charset, sn: u32, channel: &str, from: i64, to: i64, indistinct: Indistinct) -> Vec<u8> {
    let where_ = match indistinct {
        Indistinct::LeaveOut => "",
        Indistinct::Device => "<IndistinctQuery>0</IndistinctQuery>\r\n",
        Indistinct::Both => "<IndistinctQuery>1</IndistinctQuery>\r\n",
    };
    charset.encode(&format!(
        "<?xml version=\"1.0\" encoding=\"{}\"?>\r\n<Query>\r\n<CmdType>RecordInfo</CmdType>\r\n<SN>{sn}</SN>\r\n\
         <DeviceID>{}</DeviceID>\r\n<StartTime>{}</StartTime>\r\n<EndTime>{}</EndTime>\r\n<Secrecy>0</Secrecy>\r\n\
         <Type>all</Type>\r\n{where_}</Query>\r\n",
        charset.prolog(),
        text::escape(channel),
        time_text(from),
        time_text(to),
    ))
}

/// One message of the answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Piece {
    pub sum: Option<usize>,
    pub items: Vec<DeviceRecording>,
    /// Items without readable times.
    pub bad: usize,
}

/// Reads one message.
pub fn piece(tree: &Node) -> Piece {
    let mut out = Piece { sum: tree.number("SumNum"), ..Piece::default() };
    let lists = tree.children.iter().filter(|c| c.is("RecordList"));
    for item in lists.flat_map(|l| &l.children).filter(|c| c.is("Item")).take(MAX_PIECE) {
        let times = item.get("StartTime").and_then(time_of).zip(item.get("EndTime").and_then(time_of));
        match times.filter(|(from, to)| to > from) {
            Some((from, to)) => out.items.push(DeviceRecording {
                from: Timestamp(from),
                to: Timestamp(to),
                kind: item.get("Type").unwrap_or("").chars().take(20).collect(),
                bytes: item.number("FileSize").filter(|n| *n > 0),
                name: item.get("Name").unwrap_or("").chars().take(100).collect(),
            }),
            None => out.bad += 1,
        }
    }
    out
}

/// Gathers the pieces. No clock of its own.
#[derive(Debug)]
pub struct Gather {
    limits: Limits,
    began: Instant,
    last: Option<Instant>,
    sum: Option<usize>,
    counted: usize,
    items: Vec<DeviceRecording>,
    seen: HashSet<(i64, i64, String)>,
    overflow: bool,
}

impl Gather {
    pub fn new(now: Instant, limits: Limits) -> Gather {
        Gather {
            limits,
            began: now,
            last: None,
            sum: None,
            counted: 0,
            items: Vec::new(),
            seen: HashSet::new(),
            overflow: false,
        }
    }

    /// Takes a message in; true when everything announced is there. Items are counted, for `Num` lies; repeated ones count.
    pub fn add(&mut self, now: Instant, piece: Piece) -> bool {
        self.last = Some(now);
        self.sum = piece.sum.or(self.sum);
        self.counted += piece.items.len() + piece.bad;
        for item in piece.items {
            if !self.seen.insert((item.from.0, item.to.0, item.kind.clone())) {
                continue;
            }
            if self.items.len() >= self.limits.items {
                self.overflow = true;
            } else {
                self.items.push(item);
            }
        }
        self.sum.is_some_and(|sum| self.counted >= sum)
    }

    pub fn deadline(&self) -> Instant {
        let next = match self.last {
            None => self.began + self.limits.first,
            Some(last) => last + self.limits.idle,
        };
        next.min(self.began + self.limits.total)
    }

    pub fn any(&self) -> bool {
        self.last.is_some()
    }

    /// In order of time, and whether all came.
    pub fn finish(mut self) -> (Vec<DeviceRecording>, bool) {
        self.items.sort_by_key(|i| (i.from, i.to));
        let complete = self.last.is_some() && !self.overflow && self.sum.is_none_or(|sum| self.counted >= sum);
        (self.items, complete)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::manscdp::{Manscdp, Root};
    use std::time::Duration;

    const DAY: i64 = 1_792_598_400_000; // 2026-10-21T16:00:00Z, midnight in Beijing

    #[test]
    fn times_are_beijing_time_in_and_out() {
        assert_eq!(time_text(DAY), "2026-10-22T00:00:00");
        assert_eq!(time_of("2026-10-22T00:00:00"), Some(DAY));
        assert_eq!(time_of(" 2026-10-22 00:00:01.5 "), Some(DAY + 1500));
        assert_eq!(time_of("2026-10-21T16:00:00Z"), Some(DAY));
        for bad in ["", "yesterday", "2026-13-01T00:00:00", &"9".repeat(50)] {
            assert_eq!(time_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_question_says_type_all_and_the_setting() {
        let q = |i| String::from_utf8(query(Charset::Utf8, 7, "34020000001310000001", DAY, DAY + 1000, i)).unwrap();
        let m = Manscdp::parse(q(Indistinct::Both).as_bytes()).unwrap();
        assert!(m.is(Root::Query, "RecordInfo") && m.sn == 7);
        assert_eq!((m.tree.get("Type"), m.tree.get("IndistinctQuery")), (Some("all"), Some("1")));
        assert_eq!(m.tree.get("StartTime"), Some("2026-10-22T00:00:00"));
        assert!(q(Indistinct::Device).contains("<IndistinctQuery>0<"));
        assert!(!q(Indistinct::LeaveOut).contains("IndistinctQuery"));
    }

    fn answer(sum: usize, items: &[(i64, i64)]) -> Piece {
        let list: String = items
            .iter()
            .map(|(a, b)| {
                format!(
                    "<Item><DeviceID>1</DeviceID><Name>n</Name><StartTime>{}</StartTime><EndTime>{}</EndTime><Type>time</Type><FileSize>77</FileSize></Item>",
                    time_text(*a),
                    time_text(*b)
                )
            })
            .collect();
        let list = if items.is_empty() { String::new() } else { format!("<RecordList Num='9'>{list}</RecordList>") };
        let text = format!(
            "<Response><CmdType>RecordInfo</CmdType><SN>1</SN><DeviceID>1</DeviceID><SumNum>{sum}</SumNum>{list}</Response>"
        );
        piece(&Manscdp::parse(text.as_bytes()).unwrap().tree)
    }

    const LIMITS: Limits = Limits {
        first: Duration::from_secs(10),
        idle: Duration::from_secs(5),
        total: Duration::from_secs(60),
        items: 1000,
    };

    #[test]
    fn pieces_are_gathered_sorted_and_counted() {
        let t = Instant::now();
        let mut g = Gather::new(t, LIMITS);
        assert_eq!(g.deadline(), t + LIMITS.first);
        assert!(!g.add(t, answer(3, &[(DAY + 7000, DAY + 9000)])));
        assert_eq!(g.deadline(), t + LIMITS.idle);
        // A repeated one counts, for the device will never send another.
        assert!(!g.add(t, answer(3, &[(DAY + 7000, DAY + 9000)])));
        assert!(g.add(t, answer(3, &[(DAY, DAY + 5000)])));
        let (items, complete) = g.finish();
        assert!(complete && items.len() == 2);
        assert_eq!((items[0].from.0, items[0].bytes, items[0].kind.as_str()), (DAY, Some(77), "time"));
    }

    #[test]
    fn an_empty_answer_is_done_and_a_lost_piece_is_partial() {
        let t = Instant::now();
        let mut g = Gather::new(t, LIMITS);
        assert!(g.add(t, answer(0, &[])));
        assert_eq!(g.finish(), (vec![], true));
        let mut g = Gather::new(t, LIMITS);
        g.add(t, answer(5, &[(DAY, DAY + 5000)]));
        assert!(!g.finish().1);
        let mut g = Gather::new(t, Limits { items: 1, ..LIMITS });
        assert!(g.add(t, answer(2, &[(DAY, DAY + 5000), (DAY + 5000, DAY + 6000)])));
        assert!(!g.finish().1, "too many are not complete");
    }

    #[test]
    fn items_without_times_count_but_are_left_out() {
        let text = "<Response><CmdType>RecordInfo</CmdType><SumNum>2</SumNum><RecordList><Item><Name>x</Name></Item><Item><StartTime>2026-10-22T00:00:09</StartTime><EndTime>2026-10-22T00:00:01</EndTime></Item></RecordList></Response>";
        let p = piece(&Manscdp::parse(text.as_bytes()).unwrap().tree);
        assert_eq!((p.items.len(), p.bad, p.sum), (0, 2, Some(2)));
    }
}
