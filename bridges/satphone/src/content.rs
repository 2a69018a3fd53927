//! What stands in a short message: text in its coding, and our own forms for positions and alarms.

use bridge_core::Place;
use encoding_rs::GB18030;

use crate::config::Generation;
use crate::sentence::Sentence;

/// How a content is written. The numbers differ by generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// Chinese characters as they are, in GB18030.
    Hanzi,
    /// Hexadecimal digits of bytes.
    Code,
    /// The same of a mix; the older generation begins it with A4.
    Mixed,
}

impl Coding {
    pub fn of(generation: Generation, number: &str) -> Option<Coding> {
        Some(match (generation, number) {
            (Generation::Bds2, "0") | (Generation::Bds3, "1") => Coding::Hanzi,
            (Generation::Bds2, "1") | (Generation::Bds3, "2") => Coding::Code,
            (Generation::Bds2, "2") | (Generation::Bds3, "3") => Coding::Mixed,
            _ => return None,
        })
    }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) {
        return None;
    }
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    text.chunks_exact(2).map(digits).collect()
}

/// The text of a content; none: it is none in this coding.
pub fn decode(coding: Coding, content: &[u8]) -> Option<String> {
    let coded;
    let bytes = match coding {
        Coding::Hanzi => content,
        Coding::Code | Coding::Mixed => {
            coded = hex(content.trim_ascii())?;
            match coded.split_first() {
                Some((0xA4, rest)) if coding == Coding::Mixed => rest,
                _ => &coded,
            }
        }
    };
    let text = GB18030.decode_without_bom_handling_and_without_replacement(bytes)?;
    let clean: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.to_owned())
}

/// The bytes of a text in GB18030; characters of four bytes are sent so, too.
pub fn encoded(text: &str) -> Vec<u8> {
    GB18030.encode(text).0.into_owned()
}

/// The sentence that sends a text to a user. `channel`: of BDS-3.
pub fn send(generation: Generation, to: &str, channel: u8, text: &str) -> String {
    let digits: String = encoded(text).iter().map(|b| format!("{b:02X}")).collect();
    match generation {
        Generation::Bds2 => format!("CCTXA,{to},1,2,A4{digits}"),
        Generation::Bds3 if text.is_ascii() => format!("CCTCQ,{to},{channel},1,2,{digits},0"),
        Generation::Bds3 => format!("CCTCQ,{to},{channel},1,3,{digits},0"),
    }
}

/// A message from the air.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The sender's card number.
    pub from: String,
    pub text: String,
}

/// Reads `BDTXR` and `BDTCI`. None: it is another sentence, or no text in its coding.
pub fn received(generation: Generation, sentence: &Sentence<'_>) -> Option<Received> {
    let (from, coding, content) = match sentence.kind {
        "BDTXR" => (sentence.text(1), sentence.text(2), 4),
        "BDTCI" => (sentence.text(0), sentence.text(4), 6),
        _ => return None,
    };
    if !is_user(from) {
        return None;
    }
    // A raw text may hold commas: it is all that is left.
    let content = sentence.fields.get(content..)?.join(&b',');
    let text = decode(Coding::of(generation, coding)?, &content)?;
    Some(Received { from: from.to_owned(), text })
}

/// A card number: up to 12 digits.
pub fn is_user(text: &str) -> bool {
    (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// What the terminal says about the last order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feedback {
    pub good: bool,
    pub reason: String,
    /// Seconds until it takes the next one.
    pub remaining: u32,
}

/// Reads `BDFKI` about a message: the order of the fields differs by generation and maker, so the command and the Y or N behind it are
/// looked for. None: it is about something else.
pub fn feedback(sentence: &Sentence<'_>) -> Option<Feedback> {
    if sentence.kind != "BDFKI" {
        return None;
    }
    let fields: Vec<&str> = (0..sentence.fields.len()).map(|n| sentence.text(n)).collect();
    let at = fields.iter().position(|f| matches!(*f, "TXA" | "TCQ" | "CCTXA" | "CCTCQ"))?;
    let verdict = fields.get(at + 1)?;
    let good = match *verdict {
        "Y" => true,
        "N" => false,
        _ => return None,
    };
    let reason = fields.get(at + 2..fields.len().saturating_sub(1).max(at + 2)).unwrap_or_default();
    let reason: String = reason.join(",").chars().filter(|c| !c.is_control()).take(40).collect();
    // Four digits of some makers are seconds and hundredths; a wait above ten minutes is none.
    let remaining = fields.last().and_then(|f| f.parse::<f32>().ok()).filter(|s| (0.0..=600.0).contains(s));
    Some(Feedback { good, reason, remaining: remaining.map_or(0, |s| s.ceil() as u32) })
}

/// What a text tells, in the forms of `docs/design/satphone.md`.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Words(String),
    /// `P,ID,LAT,LON,ALT,HHMMSS`, degrees in 1e-5.
    Position {
        id: String,
        place: Place,
        altitude: Option<f64>,
    },
    /// `A,ID,CODE`.
    Alarm {
        id: String,
        code: String,
    },
}

/// Reads what a text of `from` tells. A position without an id is the sender's.
pub fn told(from: &str, text: &str) -> Told {
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let id = |given: &str| if given.is_empty() { from.to_owned() } else { given.to_owned() };
    let known = |given: &str| given.len() <= 24 && given.bytes().all(|b| b.is_ascii_alphanumeric());
    match fields.as_slice() {
        ["P", who, latitude, longitude, rest @ ..] if known(who) && rest.len() <= 2 => {
            let degrees = |text: &str| text.parse::<i64>().ok().map(|n| n as f64 / 1e5);
            let place = degrees(latitude).zip(degrees(longitude));
            let sound = place.filter(|(lat, lon)| (-90.0..=90.0).contains(lat) && (-180.0..=180.0).contains(lon));
            match sound {
                Some((latitude, longitude)) => Told::Position {
                    id: id(who),
                    place: Place { longitude, latitude },
                    altitude: rest.first().and_then(|a| a.parse::<f64>().ok()).filter(|a| a.abs() < 100_000.0),
                },
                None => Told::Words(text.to_owned()),
            }
        }
        ["A", who, code] if known(who) && !code.is_empty() && known(code) => {
            Told::Alarm { id: id(who), code: (*code).to_owned() }
        }
        _ => Told::Words(text.to_owned()),
    }
}

/// Where the terminal itself is: the GGA sentence of any system (NMEA 0183).
pub fn own_place(sentence: &Sentence<'_>) -> Option<(Place, Option<f64>)> {
    if sentence.kind.len() != 5 || !sentence.kind.ends_with("GGA") || matches!(sentence.text(5), "" | "0") {
        return None;
    }
    let degrees = |text: &str, side: &str, plus: &str, minus: &str| {
        let value = text.parse::<f64>().ok().filter(|v| v.is_finite() && *v >= 0.0)?;
        let (whole, minutes) = ((value / 100.0).trunc(), value % 100.0);
        let value = whole + minutes / 60.0;
        let sign = if side == plus {
            1.0
        } else if side == minus {
            -1.0
        } else {
            return None;
        };
        (minutes < 60.0).then_some(sign * value)
    };
    let latitude = degrees(sentence.text(1), sentence.text(2), "N", "S")?;
    let longitude = degrees(sentence.text(3), sentence.text(4), "E", "W")?;
    let sound = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    sound.then(|| (Place { longitude, latitude }, sentence.text(8).parse().ok()))
}

/// Cuts a text into pieces of at most `most` bytes in GB18030, each marked with its place where there are several.
pub fn pieces(text: &str, most: usize) -> Vec<String> {
    if encoded(text).len() <= most {
        return vec![text.to_owned()];
    }
    let room = most.saturating_sub("(99/99)".len()).max(4);
    let (mut cut, mut piece, mut size) = (Vec::new(), String::new(), 0);
    for c in text.chars() {
        let width = encoded(c.encode_utf8(&mut [0; 4])).len();
        if size + width > room {
            cut.push(std::mem::take(&mut piece));
            size = 0;
        }
        piece.push(c);
        size += width;
    }
    if !piece.is_empty() {
        cut.push(piece);
    }
    let all = cut.len();
    cut.into_iter().enumerate().map(|(n, piece)| format!("({}/{all}){piece}", n + 1)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sentence::write;

    fn read<T>(body: &str, f: impl FnOnce(&Sentence<'_>) -> T) -> T {
        let line = write(body);
        f(&Sentence::parse(line.trim_ascii_end()).unwrap())
    }

    #[test]
    fn messages_of_both_generations() {
        let got = |generation, body: &str| read(body, |s| received(generation, s).map(|r| (r.from, r.text)));
        let is = |from: &str, text: &str| Some((from.to_owned(), text.to_owned()));
        assert_eq!(got(Generation::Bds2, "BDTXR,1,0247718,2,0830,A4C4E3BAC3"), is("0247718", "你好"));
        assert_eq!(got(Generation::Bds2, "BDTXR,1,0247718,1,,41424344"), is("0247718", "ABCD"));
        assert_eq!(got(Generation::Bds3, "BDTCI,4238473,4238474,2,083010,2,0,41424344"), is("4238473", "ABCD"));
        assert_eq!(got(Generation::Bds3, "BDTCI,4238473,4238474,2,083010,3,0,C4E3BAC341"), is("4238473", "你好A"));
        assert_eq!(got(Generation::Bds3, "BDTCI,4238473,4238474,2,083010,3,0,A4C4E3"), is("4238473", "你"));
        for bad in ["BDTCI,x,1,2,083010,2,0,41", "BDTCI,1,1,2,083010,9,0,41", "BDTCI,1,1,2,083010,2,0,4", "BDTCI,1,1"] {
            assert_eq!(got(Generation::Bds3, bad), None, "{bad}");
        }
        // Chinese characters as they are.
        let mut body = b"BDTCI,4238473,4238474,2,083010,1,0,".to_vec();
        body.extend([0xC4, 0xE3, 0xBA, 0xC3, b',', b'A']);
        let sum = body.iter().fold(0, |all, b| all ^ b);
        let line = [&b"$"[..], &body, format!("*{sum:02X}").as_bytes()].concat();
        assert_eq!(received(Generation::Bds3, &Sentence::parse(&line).unwrap()).unwrap().text, "你好,A");
        assert_eq!(send(Generation::Bds2, "0247718", 2, "你好"), "CCTXA,0247718,1,2,A4C4E3BAC3");
        assert_eq!(send(Generation::Bds3, "4238473", 2, "ABCD"), "CCTCQ,4238473,2,1,2,41424344,0");
    }

    #[test]
    fn feedback_in_several_orders() {
        let got = |body: &str| read(body, feedback).map(|f| (f.good, f.remaining));
        assert_eq!(got("BDFKI,083010,TCQ,Y,0,0"), Some((true, 0)));
        assert_eq!(got("BDFKI,083010,TCQ,N,1,42"), Some((false, 42)));
        assert_eq!(got("BDFKI,TXA,Y,0,0,60"), Some((true, 60)));
        assert_eq!(got("BDFKI,083010,RMO,Y,0,0"), None);
        assert_eq!(got("BDFKI,083010,TCQ"), None);
        assert_eq!(got("BDFKI,TXA,N,2,99999"), Some((false, 0)));
    }

    #[test]
    fn what_texts_tell() {
        assert_eq!(
            told("77", "P,,3123456,12147890,12,083010"),
            Told::Position {
                id: "77".into(),
                place: Place { longitude: 121.4789, latitude: 31.23456 },
                altitude: Some(12.0)
            }
        );
        assert_eq!(told("77", "A,car1,SOS"), Told::Alarm { id: "car1".into(), code: "SOS".into() });
        for words in ["P,x,y", "P,1,9999999999,1,1,1", "A,1,需要支援", "道路中断,绕行"] {
            assert_eq!(told("77", words), Told::Words(words.into()));
        }
        let gga = read("GNGGA,083010.00,3112.3400,N,12128.9100,E,1,12,0.8,14.2,M,0,M,,", own_place).unwrap();
        assert!((gga.0.latitude - 31.205_667).abs() < 1e-5 && (gga.0.longitude - 121.481_833).abs() < 1e-5);
        assert_eq!(gga.1, Some(14.2));
        assert_eq!(read("GNGGA,083010.00,,,,,0,0,,,M,,M,,", own_place), None);
        assert_eq!(read("GNGGA,083010.00,3172.3,N,12128.9,E,1,1,1,1", own_place), None);
    }

    #[test]
    fn long_texts_in_pieces() {
        let text = "水位上涨".repeat(40);
        let cut = pieces(&text, 70);
        assert!(cut.len() > 3 && cut.iter().all(|p| encoded(p).len() <= 70));
        let whole: String = cut.iter().map(|p| p.split_once(')').unwrap().1).collect();
        assert_eq!(whole, text);
        assert_eq!(pieces("短", 70), ["短"]);
    }
}
