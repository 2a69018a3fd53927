//! The picture: a painted panorama that the dome looks into, a ball that bounces, the name, the frame number, the clock.

use std::sync::Arc;

use openh264::formats::YUVSource;

use crate::code_strip;
use crate::dome::Pose;
use crate::font::glyph;
use crate::pose_strip;
use crate::scenery::Scenery;

/// A picture in planar 4:2:0, limited range.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub luma: Vec<u8>,
    pub cb: Vec<u8>,
    pub cr: Vec<u8>,
}

impl YUVSource for Picture {
    fn dimensions(&self) -> (usize, usize) {
        (self.width, self.height)
    }
    fn strides(&self) -> (usize, usize, usize) {
        (self.width, self.width / 2, self.width / 2)
    }
    fn y(&self) -> &[u8] {
        &self.luma
    }
    fn u(&self) -> &[u8] {
        &self.cb
    }
    fn v(&self) -> &[u8] {
        &self.cr
    }
}

pub struct Painter {
    scenery: Arc<Scenery>,
    camera: u8,
    label: String,
    pub picture: Picture,
}

impl Painter {
    /// `camera` is the index in the code strip (0-15), `label` the painted name.
    pub fn new(scenery: Arc<Scenery>, width: usize, height: usize, camera: u8, label: &str) -> Self {
        let chroma = (width / 2) * (height / 2);
        let picture =
            Picture { width, height, luma: vec![16; width * height], cb: vec![128; chroma], cr: vec![128; chroma] };
        Self { scenery, camera, label: label.to_string(), picture }
    }

    /// Paints one frame; `clock` is HH:MM:SS.mmm.
    pub fn paint(&mut self, frame: u32, clock: &str, pose: Pose) {
        let (width, height) = (self.picture.width, self.picture.height);
        self.scenery.luma.view(pose, &mut self.picture.luma, width);
        self.scenery.cb.view(pose, &mut self.picture.cb, width / 2);
        self.scenery.cr.view(pose, &mut self.picture.cr, width / 2);
        self.ball(frame);
        let unit = (height / 180).max(1);
        let top = height / 9;
        self.text(4 * unit, top + 4 * unit, unit, &self.label.clone());
        self.text(4 * unit, top + 16 * unit, 3 * unit, &format!("{frame:07}"));
        self.text(4 * unit, top + 42 * unit, 2 * unit, clock);
        let arrow = |rate: f32, plus: char, minus: char| {
            if rate > 0.0 {
                plus
            } else if rate < 0.0 {
                minus
            } else {
                ' '
            }
        };
        let line = format!(
            "PAN {:5.1}{} TILT {:+5.1}{} ZOOM {:4.2}{}",
            pose.pan,
            arrow(pose.pan_rate, '>', '<'),
            pose.tilt,
            arrow(pose.tilt_rate, '^', '_'),
            pose.zoom,
            arrow(pose.zoom_rate, '+', '-')
        );
        self.text(4 * unit, height - 12 * unit, unit, &line);
        code_strip::paint(&mut self.picture.luma, width, height, frame, self.camera);
        pose_strip::paint(&mut self.picture.luma, width, height, pose);
        for plane in [&mut self.picture.cb, &mut self.picture.cr] {
            if let Some(strip) = plane.get_mut(..(height / 9).div_ceil(2) * (width / 2)) {
                strip.fill(128);
            }
        }
    }

    /// A ball that bounces through the right half, and a bar that sweeps under the strip.
    fn ball(&mut self, frame: u32) {
        let (width, height) = (self.picture.width as i64, self.picture.height as i64);
        let radius = (height / 12).max(4);
        let bounce = |step: i64, span: i64| {
            let at = (i64::from(frame) * step) % (span * 2).max(1);
            if at < span { at } else { 2 * span - at }
        };
        let x = width / 2 + radius + bounce((width / 160).max(1), width / 2 - 2 * radius);
        let y = height / 5 + radius + bounce((height / 120).max(1), height * 7 / 10 - 2 * radius);
        for dy in -radius..radius {
            let half = (((radius * radius - dy * dy) as f64).sqrt()) as i64;
            let (from, to) = (x - half, x + half);
            let line = (y + dy) * width;
            if let Some(run) = self.picture.luma.get_mut((line + from) as usize..(line + to) as usize) {
                run.fill((150 + dy * 60 / radius) as u8);
            }
            if dy & 1 == 0 {
                let line = (y + dy) / 2 * (width / 2);
                let run = (line + from / 2) as usize..(line + to / 2) as usize;
                if let (Some(b), Some(r)) = (self.picture.cb.get_mut(run.clone()), self.picture.cr.get_mut(run)) {
                    b.fill(90);
                    r.fill(190);
                }
            }
        }
        let bar = (i64::from(frame) * (width / 100).max(1)) % width;
        for y in height / 9..height / 9 + (height / 90).max(2) {
            let line = y * width;
            if let Some(run) = self.picture.luma.get_mut((line + bar / 2) as usize..(line + bar) as usize) {
                run.fill(220);
            }
        }
    }

    /// White signs on a dark box; `unit` is the side of one font pixel.
    fn text(&mut self, left: usize, top: usize, unit: usize, text: &str) {
        let (width, height) = (self.picture.width, self.picture.height);
        let right = (left + text.chars().count() * 6 * unit + unit).min(width);
        for y in top.saturating_sub(unit)..(top + 8 * unit).min(height) {
            self.picture.luma[y * width + left.saturating_sub(unit)..y * width + right].fill(30);
        }
        for (n, c) in text.chars().enumerate() {
            for (row, bits) in glyph(c).iter().enumerate() {
                for column in 0..5 {
                    if bits >> (4 - column) & 1 == 0 {
                        continue;
                    }
                    let x = left + (n * 6 + column) * unit;
                    for y in top + row * unit..top + (row + 1) * unit {
                        if x + unit <= width && y < height {
                            self.picture.luma[y * width + x..y * width + x + unit].fill(235);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paints_at_any_pose_and_size() {
        for (width, height) in [(640, 360), (160, 90), (352, 288), (1280, 720)] {
            let mut painter = Painter::new(
                Scenery::shared(width, height, 1),
                width,
                height,
                1,
                "NORTH GATE DOME 34020000001320000001",
            );
            for (pan, tilt, zoom) in [(0.0, 0.0, 1.0), (359.9, 90.0, 1.0), (180.0, -30.0, 8.0)] {
                for frame in [0, 57, 1234] {
                    painter.paint(
                        frame,
                        "12:34:56.789",
                        Pose { pan, tilt, zoom, pan_rate: 1.0, tilt_rate: 0.0, zoom_rate: 0.0 },
                    );
                    assert_eq!(code_strip::read(&painter.picture.luma, width, width, height), Some((frame, 1)));
                }
            }
        }
    }
}
