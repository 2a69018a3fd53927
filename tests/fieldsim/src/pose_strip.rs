//! Where the dome looks as black and white cells along the bottom of the picture, and its reader.
//!
//! 48 cells of width/48, height/45 high: 0 white, 1 black; 2-13 pan in tenths of a degree; 14-24 tilt + 30 in tenths; 25-32
//! zoom x 20; 33-40 checksum: sum of the bytes of the 31 bits before, as a number, modulo 256; 41-45 black; 46 black, 47 white.

use crate::dome::Pose;

pub const CELLS: usize = 48;
const WHITE: u8 = 235;
const BLACK: u8 = 16;

fn code(pose: Pose) -> u32 {
    let pan = (pose.pan * 10.0).round() as u32 % 3600;
    let tilt = ((pose.tilt + 30.0) * 10.0).round().clamp(0.0, 1200.0) as u32;
    let zoom = (pose.zoom * 20.0).round().clamp(0.0, 255.0) as u32;
    pan << 19 | tilt << 8 | zoom
}

fn check(code: u32) -> u8 {
    code.to_be_bytes().iter().fold(0u8, |a, b| a.wrapping_add(*b))
}

/// Paints the strip into a luma plane.
pub fn paint(luma: &mut [u8], width: usize, height: usize, pose: Pose) {
    let bits = u64::from(code(pose)) << 8 | u64::from(check(code(pose)));
    let white = |cell: usize| match cell {
        0 | 47 => true,
        2..=40 => bits >> (40 - cell) & 1 == 1,
        _ => false,
    };
    let row: Vec<u8> = (0..width).map(|x| if white(x * CELLS / width) { WHITE } else { BLACK }).collect();
    let strip = (height / 45).max(3);
    for line in luma.chunks_exact_mut(width).take(height).skip(height - strip) {
        line.copy_from_slice(&row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pan and tilt in degrees, zoom.
    fn read(luma: &[u8], width: usize, height: usize) -> Option<(f32, f32, f32)> {
        let y = height - (height / 45).max(3) / 2 - 1;
        let level = |cell: usize| luma[y * width + (2 * cell + 1) * width / (2 * CELLS)];
        let bits = (2..41).fold(0u64, |v, c| v << 1 | u64::from(level(c) > 125));
        let (code, sum) = ((bits >> 8) as u32, bits as u8);
        let good = level(0) > 200 && level(1) < 50 && check(code) == sum;
        good.then_some((
            (code >> 19) as f32 / 10.0,
            (code >> 8 & 0x7FF) as f32 / 10.0 - 30.0,
            (code & 255) as f32 / 20.0,
        ))
    }

    #[test]
    fn what_is_painted_is_read() {
        for (width, height) in [(640, 360), (1280, 720), (352, 288)] {
            for (pan, tilt, zoom) in [(0.0, 0.0, 1.0), (359.9, 90.0, 8.0), (123.4, -30.0, 2.5)] {
                let mut luma = vec![100u8; width * height];
                assert_eq!(read(&luma, width, height), None);
                paint(
                    &mut luma,
                    width,
                    height,
                    Pose { pan, tilt, zoom, pan_rate: 0.0, tilt_rate: 0.0, zoom_rate: 0.0 },
                );
                let (p, t, z) = read(&luma, width, height).unwrap_or_default();
                assert!((p - pan).abs() < 0.06 && (t - tilt).abs() < 0.06 && (z - zoom).abs() < 0.03, "{p} {t} {z}");
            }
        }
    }
}
