//! What balancing knows beside the balancer itself: backends' own load reports, and where on Earth somebody is.
//!
//! Named by `policy::Spread` and by endpoints. Pure data and pure arithmetic; defaults stand here and nowhere else.

use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// Backends say in their answers how busy they are (ORCA), and weights follow (gRPC proposal A58).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadReports {
    /// An endpoint's reports count from so long after its first one on: the first ones tell of its start only.
    pub blackout: Duration,
    /// An endpoint that has not reported for so long counts by its configured weight again.
    pub expiry: Duration,
    /// By how much failures weigh on utilisation, in percent: at 100, failing every request is as bad as being fully busy.
    pub error_penalty_percent: u32,
}

impl Default for LoadReports {
    fn default() -> Self {
        Self { blackout: Duration::from_secs(10), expiry: Duration::from_secs(180), error_penalty_percent: 100 }
    }
}

/// A place on Earth, in millionths of a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    latitude: i32,
    longitude: i32,
}

const MILLIONTHS: f64 = 1e6;
/// Of the Earth, in kilometres (IUGG mean).
const RADIUS: f64 = 6371.0088;

impl Location {
    /// In degrees; `None` beyond the poles (90) or the date line (180).
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let millionths = |degrees: f64| (degrees * MILLIONTHS).round() as i32;
        let valid = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        valid.then(|| Self { latitude: millionths(latitude), longitude: millionths(longitude) })
    }

    /// In millionths of a degree, within the same bounds.
    pub fn from_millionths(latitude: i32, longitude: i32) -> Option<Self> {
        Self::new(f64::from(latitude) / MILLIONTHS, f64::from(longitude) / MILLIONTHS)
    }

    /// Latitude and longitude in millionths of a degree.
    pub fn millionths(self) -> (i32, i32) {
        (self.latitude, self.longitude)
    }

    /// Kilometres along the surface (haversine).
    pub fn distance(self, to: Self) -> f64 {
        let radians = |millionths: i32| (f64::from(millionths) / MILLIONTHS).to_radians();
        let half_sine = |a: i32, b: i32| ((radians(b) - radians(a)) / 2.0).sin().powi(2);
        let across = radians(self.latitude).cos() * radians(to.latitude).cos();
        let h = half_sine(self.latitude, to.latitude) + across * half_sine(self.longitude, to.longitude);
        2.0 * RADIUS * h.sqrt().min(1.0).asin()
    }
}

impl FromStr for Location {
    type Err = &'static str;

    /// As `latitude,longitude` in degrees.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let degrees = |text: &str| text.trim().parse::<f64>().ok();
        text.split_once(',')
            .and_then(|(latitude, longitude)| Self::new(degrees(latitude)?, degrees(longitude)?))
            .ok_or("is not latitude,longitude in degrees (at most 90 and 180)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_an_atlas() {
        let at = |text: &str| text.parse::<Location>().unwrap();
        let berlin = at("52.52,13.405");
        for (place, kilometres) in [("48.8566,2.3522", 878.0), ("40.7128,-74.006", 6385.0), ("52.52,13.405", 0.0)] {
            let distance = berlin.distance(at(place));
            assert!((distance - kilometres).abs() < 5.0, "{place}: {distance}");
        }
        let antipode = at("0,0").distance(at("0,180"));
        assert!((antipode - 20_015.0).abs() < 5.0, "{antipode}");
    }

    #[test]
    fn places_that_are_not_on_earth_are_refused() {
        for text in ["", "1", "91,0", "0,181", "NaN,0", "a,b", "1;2"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }
}
