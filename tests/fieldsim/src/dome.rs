//! A dome that turns by PTZ commands until the stop, goes to presets, cruises, sweeps, and comes home.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::ptz::Command;

/// Where the dome looks. Pan in degrees 0-360 clockwise, tilt in degrees -30 to 90 (up counts up here), zoom from 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pose {
    pub pan: f32,
    pub tilt: f32,
    pub zoom: f32,
    /// Degrees per second, degrees per second, factor per second (as logarithm to base 2).
    pub pan_rate: f32,
    pub tilt_rate: f32,
    pub zoom_rate: f32,
}

impl Pose {
    fn still(self) -> Self {
        Pose { pan_rate: 0.0, tilt_rate: 0.0, zoom_rate: 0.0, ..self }
    }
}

/// A cruise: presets with the seconds at each, and the speed as told.
#[derive(Debug, Clone, Default)]
pub struct Cruise {
    pub name: String,
    pub presets: Vec<u8>,
    pub dwell: u16,
    pub speed: u16,
}

/// What it does by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Round {
    None,
    Cruise(u8, Instant),
    Scan(u8, Instant),
}

/// Where it returns to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Home {
    pub enabled: bool,
    pub reset_s: u32,
    pub preset: u8,
}

pub struct Dome {
    pose: Pose,
    since: Instant,
    last_order: Instant,
    round: Round,
    pub presets: BTreeMap<u8, (String, Pose)>,
    pub cruises: BTreeMap<u8, Cruise>,
    edges: BTreeMap<u8, (f32, f32)>,
    pub home: Home,
    /// Focus and iris, 0 to 1, and what they do in a second.
    pub lens: [f32; 2],
    lens_rate: [f32; 2],
    pub switches: BTreeMap<u8, bool>,
}

/// Width of the picture in degrees at zoom 1; the panorama is four pictures wide. Its height moves through 120 degrees.
const WIDE: f32 = 90.0;
const HIGH: f32 = 120.0;

impl Dome {
    pub fn new() -> Self {
        let pose = Pose { pan: 0.0, tilt: 0.0, zoom: 1.0, pan_rate: 0.0, tilt_rate: 0.0, zoom_rate: 0.0 };
        let now = Instant::now();
        Self {
            pose,
            since: now,
            last_order: now,
            round: Round::None,
            presets: BTreeMap::new(),
            cruises: BTreeMap::new(),
            edges: BTreeMap::new(),
            home: Home::default(),
            lens: [0.5, 0.5],
            lens_rate: [0.0, 0.0],
            switches: BTreeMap::new(),
        }
    }

    /// The pose at `now`.
    pub fn look(&mut self, now: Instant) -> Pose {
        let seconds = now.saturating_duration_since(self.since).as_secs_f32();
        self.since = now;
        for (value, rate) in self.lens.iter_mut().zip(self.lens_rate) {
            *value = (*value + rate * seconds).clamp(0.0, 1.0);
        }
        let idle = now.saturating_duration_since(self.last_order);
        let home = self.home.enabled && idle >= Duration::from_secs(u64::from(self.home.reset_s));
        if let Some((_, pose)) = self.presets.get(&self.home.preset).filter(|_| home) {
            self.pose = *pose;
            self.round = Round::None;
            return self.pose;
        }
        match self.round {
            Round::Cruise(group, began) => self.cruise(group, now.saturating_duration_since(began)),
            Round::Scan(group, began) => self.scan(group, now.saturating_duration_since(began)),
            Round::None => {
                let p = &mut self.pose;
                p.pan = (p.pan + p.pan_rate * seconds).rem_euclid(360.0);
                p.tilt = (p.tilt + p.tilt_rate * seconds).clamp(-30.0, 90.0);
                p.zoom = (p.zoom * (p.zoom_rate * seconds).exp2()).clamp(1.0, 8.0);
            }
        }
        self.pose
    }

    fn cruise(&mut self, group: u8, running: Duration) {
        let Some(cruise) = self.cruises.get(&group).filter(|c| !c.presets.is_empty()) else { return };
        let at = running.as_secs() / u64::from(cruise.dwell.max(1)) % cruise.presets.len() as u64;
        let preset = cruise.presets.get(at as usize).copied().unwrap_or(0);
        if let Some((_, pose)) = self.presets.get(&preset) {
            self.pose = *pose;
        }
    }

    /// To and fro between the edges, 15 degrees a second; once round and round without edges.
    fn scan(&mut self, group: u8, running: Duration) {
        let (left, right) = self.edges.get(&group).copied().unwrap_or((0.0, 360.0));
        let span = (right - left).rem_euclid(360.0).max(1.0);
        let way = running.as_secs_f32() * 15.0 % (2.0 * span);
        let offset = if way < span { way } else { 2.0 * span - way };
        self.pose.pan = (left + offset).rem_euclid(360.0);
    }

    fn go(&mut self, pose: Pose) {
        self.round = Round::None;
        self.pose = Pose {
            pan: pose.pan.rem_euclid(360.0),
            tilt: pose.tilt.clamp(-30.0, 90.0),
            zoom: pose.zoom.clamp(1.0, 8.0),
            ..pose.still()
        };
    }

    /// PTZPreciseCtrl: tilt grows downward there.
    pub fn precise(&mut self, pan: Option<f32>, tilt: Option<f32>, zoom: Option<f32>, now: Instant) {
        let here = self.look(now);
        self.last_order = now;
        let pose = Pose {
            pan: pan.unwrap_or(here.pan),
            tilt: tilt.map_or(here.tilt, |t| -t),
            zoom: zoom.unwrap_or(here.zoom),
            ..here
        };
        self.go(pose);
    }

    /// A box in a window: `window`, middle and size of the box as across and down.
    pub fn drag(&mut self, inwards: bool, window: [f32; 2], middle: [f32; 2], size: [f32; 2], now: Instant) {
        let here = self.look(now);
        self.last_order = now;
        let factor = (window[0] / size[0].max(1.0)).min(window[1] / size[1].max(1.0)).max(1.0);
        let pan = here.pan + (middle[0] / window[0].max(1.0) - 0.5) * WIDE / here.zoom;
        let tilt = here.tilt + (0.5 - middle[1] / window[1].max(1.0)) * HIGH / here.zoom;
        let zoom = if inwards { here.zoom * factor } else { here.zoom / factor };
        self.go(Pose { pan, tilt, zoom, ..here });
    }

    /// Applies a command; speed 255 is 120 degrees a second, zoom speed 15 doubles twice a second. `name` is the companion of
    /// 2022.
    pub fn apply(&mut self, command: &Command, name: Option<&str>, now: Instant) {
        let here = self.look(now);
        self.last_order = now;
        match command {
            Command::Move { pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed } => {
                self.round = Round::None;
                self.pose.pan_rate = f32::from(*pan) * f32::from(*pan_speed) / 255.0 * 120.0;
                self.pose.tilt_rate = f32::from(*tilt) * f32::from(*tilt_speed) / 255.0 * 60.0;
                self.pose.zoom_rate = f32::from(*zoom) * f32::from(*zoom_speed) / 15.0 * 2.0;
            }
            Command::Lens { iris, focus, iris_speed, focus_speed } => {
                self.lens_rate = [
                    f32::from(*focus) * f32::from(*focus_speed) / 255.0,
                    f32::from(*iris) * f32::from(*iris_speed) / 255.0,
                ];
            }
            Command::Preset { action: "set", number } => {
                let name = name.map_or_else(|| format!("Preset {number}"), str::to_owned);
                self.presets.insert(*number, (name, here.still()));
            }
            Command::Preset { action: "call", number } => {
                if let Some((_, pose)) = self.presets.get(number) {
                    self.go(*pose);
                }
            }
            Command::Preset { number, .. } => {
                self.presets.remove(number);
            }
            Command::Cruise { action: "add", group, value } => {
                let cruise =
                    self.cruises.entry(*group).or_insert_with(|| Cruise { dwell: 5, speed: 5, ..Cruise::default() });
                if let Some(name) = name {
                    cruise.name = name.to_owned();
                }
                if cruise.presets.len() < 32 {
                    cruise.presets.push(*value as u8);
                }
            }
            Command::Cruise { action: "delete", group, value: 0 } => {
                self.cruises.remove(group);
            }
            Command::Cruise { action: "delete", group, value } => {
                if let Some(cruise) = self.cruises.get_mut(group) {
                    cruise.presets.retain(|p| u16::from(*p) != *value);
                }
            }
            Command::Cruise { action: "speed", group, value } => self.cruises.entry(*group).or_default().speed = *value,
            Command::Cruise { action: "dwell", group, value } => self.cruises.entry(*group).or_default().dwell = *value,
            Command::Cruise { group, .. } => {
                self.pose = here.still();
                self.round = Round::Cruise(*group, now);
            }
            Command::Scan { action: "start", group, .. } => {
                self.pose = here.still();
                self.round = Round::Scan(*group, now);
            }
            Command::Scan { action: "left-edge", group, .. } => {
                self.edges.entry(*group).or_insert((0.0, 360.0)).0 = here.pan
            }
            Command::Scan { action: "right-edge", group, .. } => {
                self.edges.entry(*group).or_insert((0.0, 360.0)).1 = here.pan
            }
            Command::Scan { .. } => {}
            Command::Switch { on, number } => {
                self.switches.insert(*number, *on);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(action: &'static str, number: u8) -> Command {
        Command::Preset { action, number }
    }

    const STOP: Command = Command::Move { pan: 0, tilt: 0, zoom: 0, pan_speed: 0, tilt_speed: 0, zoom_speed: 0 };

    #[test]
    fn a_dome_turns_until_stop() {
        let mut dome = Dome::new();
        let t0 = Instant::now();
        dome.apply(&Command::Move { pan: 1, tilt: 0, zoom: 0, pan_speed: 255, tilt_speed: 0, zoom_speed: 0 }, None, t0);
        let t1 = t0 + Duration::from_secs(1);
        dome.apply(&STOP, None, t1);
        let pose = dome.look(t1 + Duration::from_secs(5));
        assert!((pose.pan - 120.0).abs() < 0.1, "{pose:?}");
    }

    #[test]
    fn presets_cruise_and_home() {
        let (mut dome, t) = (Dome::new(), Instant::now());
        let s = Duration::from_secs(1);
        dome.precise(Some(50.0), Some(10.0), Some(2.0), t);
        dome.apply(&preset("set", 1), Some("gate"), t);
        dome.precise(Some(200.0), None, None, t);
        dome.apply(&preset("set", 2), None, t);
        assert_eq!((dome.presets[&1].0.as_str(), dome.presets[&2].0.as_str()), ("gate", "Preset 2"));
        dome.apply(&preset("call", 1), None, t + s);
        let pose = dome.look(t + s);
        assert_eq!((pose.pan, pose.tilt, pose.zoom), (50.0, -10.0, 2.0));
        for value in [1, 2] {
            dome.apply(&Command::Cruise { action: "add", group: 3, value }, Some("round"), t + s);
        }
        dome.apply(&Command::Cruise { action: "dwell", group: 3, value: 2 }, None, t + s);
        dome.apply(&Command::Cruise { action: "start", group: 3, value: 0 }, None, t + s);
        assert_eq!((dome.look(t + 2 * s).pan, dome.look(t + 3 * s).pan, dome.look(t + 5 * s).pan), (50.0, 200.0, 50.0));
        dome.apply(&STOP, None, t + 5 * s);
        assert_eq!(dome.look(t + 8 * s).pan, 50.0, "a stop ends the cruise");
        dome.home = Home { enabled: true, reset_s: 10, preset: 2 };
        assert_eq!((dome.look(t + 14 * s).pan, dome.look(t + 15 * s).pan), (50.0, 200.0));
        dome.apply(&preset("delete", 1), None, t + 16 * s);
        assert!(!dome.presets.contains_key(&1));
    }

    #[test]
    fn a_box_fills_the_picture() {
        let (mut dome, t) = (Dome::new(), Instant::now());
        dome.drag(true, [1000.0, 500.0], [750.0, 250.0], [500.0, 250.0], t);
        let pose = dome.look(t);
        assert_eq!((pose.pan, pose.tilt, pose.zoom), (22.5, 0.0, 2.0));
        dome.drag(false, [1000.0, 500.0], [500.0, 250.0], [500.0, 250.0], t);
        assert_eq!(dome.look(t).zoom, 1.0);
    }
}
