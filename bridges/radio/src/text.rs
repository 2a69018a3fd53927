//! What gateways write in bodies of INFO and MESSAGE: who talks, where a radio is, a status. Read by patterns of the configuration, and
//! positions as NMEA 0183 too (GA/T 1364 has them so).

use bridge_core::Place;
use regex_lite::Regex;

use crate::carrier::Who;
use crate::config::TextConfig;

/// Longest status or short message that is told.
const MOST_TEXT: usize = 500;

pub(crate) struct Reader {
    talker: Option<Regex>,
    name: Option<Regex>,
    emergency: Option<Regex>,
    longitude: Option<Regex>,
    latitude: Option<Regex>,
    status: Option<Regex>,
}

fn found<'t>(pattern: &Option<Regex>, group: &str, text: &'t str) -> Option<&'t str> {
    let all = pattern.as_ref()?.captures(text)?;
    all.name(group).map(|m| m.as_str().trim()).filter(|t| !t.is_empty())
}

fn clean(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
}

impl Reader {
    pub fn new(config: &TextConfig) -> Reader {
        let of = |text: &str| if text.is_empty() { None } else { Regex::new(text).ok() };
        Reader {
            talker: of(&config.talker),
            name: of(&config.name),
            emergency: of(&config.emergency),
            longitude: of(&config.longitude),
            latitude: of(&config.latitude),
            status: of(&config.status),
        }
    }

    /// The radio that is named.
    pub fn who(&self, text: &str) -> Option<Who> {
        let id = found(&self.talker, "id", text).map(|id| {
            let bare = id.strip_prefix("sip:").or_else(|| id.strip_prefix("tel:")).unwrap_or(id);
            clean(bare.split('@').next().unwrap_or_default(), 64)
        });
        let name = found(&self.name, "name", text).map(|n| clean(n, 64));
        (id.is_some() || name.is_some()).then(|| Who { id: id.unwrap_or_default(), name: name.unwrap_or_default() })
    }

    pub fn emergency(&self, text: &str) -> bool {
        self.emergency.as_ref().is_some_and(|p| p.is_match(text))
    }

    /// Where it is, by the patterns or an RMC sentence.
    pub fn place(&self, text: &str) -> Option<Place> {
        let number = |pattern, group| found(pattern, group, text)?.parse::<f64>().ok();
        let given = number(&self.longitude, "lon").zip(number(&self.latitude, "lat"));
        let (longitude, latitude) = given.or_else(|| text.split_whitespace().find_map(rmc))?;
        let sound = (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude);
        sound.then_some(Place { longitude, latitude })
    }

    /// The status or short message in a body.
    pub fn status(&self, plain: bool, text: &str) -> Option<String> {
        let whole = || plain.then(|| text.trim()).filter(|t| !t.is_empty());
        found(&self.status, "status", text).or_else(whole).map(|s| clean(s, MOST_TEXT))
    }
}

/// Longitude and latitude of `$GPRMC,time,A,3112.34,N,12128.91,E,...*hh`. The sum must fit where there is one.
fn rmc(sentence: &str) -> Option<(f64, f64)> {
    let sentence = sentence.get(sentence.find('$')? + 1..)?;
    let (text, sum) = sentence.split_once('*').map_or((sentence, None), |(text, sum)| (text, Some(sum)));
    if let Some(sum) = sum {
        let wanted = u8::from_str_radix(sum.get(..2)?, 16).ok()?;
        if text.bytes().fold(0, |all, b| all ^ b) != wanted {
            return None;
        }
    }
    let fields: Vec<&str> = text.split(',').take(8).collect();
    let [kind, _, "A", latitude, north, longitude, east, ..] = fields.as_slice() else { return None };
    if kind.len() != 5 || !kind.ends_with("RMC") {
        return None;
    }
    Some((degrees(longitude, east, ["E", "W"])?, degrees(latitude, north, ["N", "S"])?))
}

/// `12128.91` is 121 degrees and 28.91 minutes.
fn degrees(text: &str, side: &str, [plus, minus]: [&str; 2]) -> Option<f64> {
    let dot = text.find('.').unwrap_or(text.len());
    let (whole, minutes) = text.split_at_checked(dot.checked_sub(2)?)?;
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') || text.len() > 16 {
        return None;
    }
    let whole = if whole.is_empty() { 0.0 } else { whole.parse::<f64>().ok()? };
    let minutes = minutes.parse::<f64>().ok().filter(|m| *m < 60.0)?;
    let value = whole + minutes / 60.0;
    match side {
        s if s == plus => Some(value),
        s if s == minus => Some(-value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reader() -> Reader {
        Reader::new(&TextConfig::default())
    }

    #[test]
    fn talkers_in_several_forms() {
        for (text, id, name) in [
            ("<ptt><op>taken</op><user>1234</user><name>张队长</name></ptt>", "1234", "张队长"),
            ("{\"op\":\"taken\",\"user\":\"sip:1234@gw\",\"name\":\"Zhang\"}", "1234", "Zhang"),
            ("Signal=*\r\nCallerID=77-1\r\n", "77-1", ""),
        ] {
            assert_eq!(reader().who(text), Some(Who { id: id.into(), name: name.into() }), "{text}");
        }
        assert_eq!(reader().who("Signal=*\r\nDuration=100\r\n"), None);
        assert!(reader().emergency("<emergency>true</emergency>") && !reader().emergency("\"emergency\":false"));
    }

    #[test]
    fn positions_and_status() {
        let place = reader().place("{\"lon\":121.4737,\"lat\":-31.2304}").unwrap();
        assert_eq!((place.longitude, place.latitude), (121.4737, -31.2304));
        let place =
            reader().place("id=7 $GPRMC,023042,A,3112.3400,N,12128.9100,W,0.0,0.0,010124,,*0E").unwrap_or_else(|| {
                // The sum of the sentence as it stands here.
                let text = "GPRMC,023042,A,3112.3400,N,12128.9100,W,0.0,0.0,010124,,";
                let sum = text.bytes().fold(0, |all, b| all ^ b);
                reader().place(&format!("${text}*{sum:02X}")).unwrap()
            });
        assert!((place.latitude - 31.205_67).abs() < 1e-4 && (place.longitude + 121.481_83).abs() < 1e-4);
        assert_eq!(reader().place("$GPRMC,023042,A,3112.3400,N,12128.9100,W,0.0,0.0,010124,,*FF"), None);
        assert_eq!(reader().place("$GPRMC,023042,V,,,,,,,"), None);
        assert_eq!(reader().place("<lon>200.0</lon><lat>1</lat>"), None);
        assert_eq!(reader().status(true, " 已到达\r\n").as_deref(), Some("已到达"));
        assert_eq!(reader().status(false, "<status>3</status>").as_deref(), Some("3"));
        assert_eq!(reader().status(false, "<x/>"), None);
    }
}
