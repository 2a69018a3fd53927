//! From the shifted coordinates of Chinese maps (GCJ-02) back to WGS-84. The standard wants WGS-84; some devices send what their
//! map shows (reference section 9.4).

use bridge_core::Place;
use serde::{Deserialize, Serialize};

/// In which system a device writes its coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Datum {
    #[default]
    #[serde(rename = "wgs84")]
    Wgs84,
    #[serde(rename = "gcj02")]
    Gcj02,
}

/// Krassovsky ellipsoid: half axis in metres, square of the eccentricity.
const A: f64 = 6_378_245.0;
const EE: f64 = 0.006_693_421_622_965_943;

/// The shift is applied in this box only.
fn shifted(place: Place) -> bool {
    (72.004..=137.8347).contains(&place.longitude) && (0.8293..=55.8271).contains(&place.latitude)
}

/// What the shift adds, in degrees.
fn offset(place: Place) -> (f64, f64) {
    use std::f64::consts::PI;
    let (x, y) = (place.longitude - 105.0, place.latitude - 35.0);
    let root = x.abs().sqrt();
    let waves = (20.0 * (6.0 * x * PI).sin() + 20.0 * (2.0 * x * PI).sin()) * 2.0 / 3.0;
    let north = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * root
        + waves
        + (20.0 * (y * PI).sin() + 40.0 * (y / 3.0 * PI).sin()) * 2.0 / 3.0
        + (160.0 * (y / 12.0 * PI).sin() + 320.0 * (y * PI / 30.0).sin()) * 2.0 / 3.0;
    let east = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * root
        + waves
        + (20.0 * (x * PI).sin() + 40.0 * (x / 3.0 * PI).sin()) * 2.0 / 3.0
        + (150.0 * (x / 12.0 * PI).sin() + 300.0 * (x / 30.0 * PI).sin()) * 2.0 / 3.0;
    let latitude = place.latitude.to_radians();
    let magic = 1.0 - EE * latitude.sin().powi(2);
    let north = north * 180.0 / (A * (1.0 - EE) / (magic * magic.sqrt()) * PI);
    let east = east * 180.0 / (A / magic.sqrt() * latitude.cos() * PI);
    (east, north)
}

/// As a shifted map would show it.
pub fn to_gcj02(place: Place) -> Place {
    if !shifted(place) {
        return place;
    }
    let (east, north) = offset(place);
    Place { longitude: place.longitude + east, latitude: place.latitude + north }
}

impl Datum {
    /// The place in WGS-84. The shift has no closed inverse; three rounds come within a millimetre.
    pub fn to_wgs84(self, place: Place) -> Place {
        if self == Datum::Wgs84 || !shifted(place) {
            return place;
        }
        let mut guess = place;
        for _ in 0..3 {
            let back = to_gcj02(guess);
            guess.longitude += place.longitude - back.longitude;
            guess.latitude += place.latitude - back.latitude;
        }
        guess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that public converters agree on.
    #[test]
    fn known_pairs_there_and_back() {
        let pairs = [
            ((121.527_210_6, 31.177_427_6), (121.531_541_859_215, 31.175_303_983_646_6)),
            ((113.912_316, 22.543_847), (113.917_176_480_836_3, 22.540_796_131_694_8)),
            ((116.377_817, 39.911_954), (116.384_047_222_545_6, 39.913_345_435_360_7)),
        ];
        for ((lon, lat), (glon, glat)) in pairs {
            let got = to_gcj02(Place { longitude: lon, latitude: lat });
            assert!((got.longitude - glon).abs() < 1e-5 && (got.latitude - glat).abs() < 1e-5, "{got:?}");
            let back = Datum::Gcj02.to_wgs84(got);
            assert!((back.longitude - lon).abs() < 1e-8 && (back.latitude - lat).abs() < 1e-8, "{back:?}");
        }
    }

    #[test]
    fn elsewhere_nothing_is_shifted() {
        let paris = Place { longitude: 2.35, latitude: 48.85 };
        assert_eq!(Datum::Gcj02.to_wgs84(paris), paris);
        let here = Place { longitude: 118.3, latitude: 31.3 };
        assert_eq!(Datum::Wgs84.to_wgs84(here), here);
        assert_ne!(Datum::Gcj02.to_wgs84(here), here);
    }
}
