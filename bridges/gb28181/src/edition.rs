//! Editions of the standard and the time format of `Date` (reference section 4.1).

use serde::{Deserialize, Serialize};

/// The edition a device speaks, as its `X-GB-Ver` says. It decides what may be sent to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Edition {
    /// `X-GB-Ver: 1.0`
    #[serde(rename = "1.0")]
    V2011,
    /// `X-GB-Ver: 1.1`: 2011 with its supplement.
    #[serde(rename = "1.1")]
    V2014,
    /// `X-GB-Ver: 2.0`
    #[serde(rename = "2.0")]
    V2016,
    /// `X-GB-Ver: 3.0`
    #[serde(rename = "3.0")]
    V2022,
}

impl Edition {
    /// Reads the header. A higher number than ours counts as ours; nonsense as none.
    pub fn parse(header: &str) -> Option<Edition> {
        let (major, minor) = header.trim().split_once('.')?;
        let (major, minor) = (major.parse::<u8>().ok()?, minor.parse::<u8>().ok()?);
        Some(match (major, minor) {
            (0, _) => return None,
            (1, 0) => Edition::V2011,
            (1, _) => Edition::V2014,
            (2, _) => Edition::V2016,
            _ => Edition::V2022,
        })
    }

    /// The value of `X-GB-Ver`.
    pub fn header(self) -> &'static str {
        match self {
            Edition::V2011 => "1.0",
            Edition::V2014 => "1.1",
            Edition::V2016 => "2.0",
            Edition::V2022 => "3.0",
        }
    }

    /// For the console. A device that says nothing is taken for 2016.
    pub fn words(edition: Option<Edition>) -> String {
        let year = match edition {
            Some(Edition::V2011) => "2011",
            Some(Edition::V2014) => "2011 (with supplement)",
            Some(Edition::V2016) | None => "2016",
            Some(Edition::V2022) => "2022",
        };
        format!("GB/T 28181-{year}")
    }
}

/// How a device writes the order for a key frame; both when its edition is not known (reference section 7.3).
pub fn key_frame_elements(edition: Option<Edition>) -> &'static [&'static str] {
    match edition {
        Some(Edition::V2022) => &["IFrameCmd"],
        Some(_) => &["IFameCmd"],
        None => &["IFameCmd", "IFrameCmd"],
    }
}

/// Beijing time without zone: `YYYY-MM-DDTHH:MM:SS.sss`.
pub fn date(now: jiff::Timestamp) -> String {
    jiff::tz::Offset::constant(8).to_datetime(now).strftime("%Y-%m-%dT%H:%M:%S%.3f").to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(Edition::parse(" 3.0 "), Some(Edition::V2022));
        assert_eq!(Edition::parse("4.1"), Some(Edition::V2022));
        assert_eq!(Edition::parse("2.0"), Some(Edition::V2016));
        assert_eq!(Edition::parse("x"), None);
        assert_eq!(key_frame_elements(None).len(), 2);
        assert_eq!(key_frame_elements(Some(Edition::V2016)), ["IFameCmd"]);
        assert_eq!(Edition::words(None), "GB/T 28181-2016");
    }

    #[test]
    fn date_is_beijing_time() {
        let at: jiff::Timestamp = "2026-03-01T00:30:00.25Z".parse().unwrap();
        assert_eq!(date(at), "2026-03-01T08:30:00.250");
    }
}
