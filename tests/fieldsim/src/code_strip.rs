//! The frame number as black and white cells along the top of the picture, and its reader.
//!
//! The strip is height/9 high and 48 cells wide (cell width = width/48): cells 0-1 white, black; 2-33 the frame number,
//! most significant bit first, white = 1; 34-37 the camera index; 38-45 the checksum: sum of the four bytes of the number
//! plus the index, modulo 256; 46-47 black, white.

pub const CELLS: usize = 48;
const WHITE: u8 = 235;
const BLACK: u8 = 16;

/// The cells of a frame, true = white.
pub fn cells(frame: u32, camera: u8) -> [bool; CELLS] {
    let sum = check(frame, camera);
    let code = u64::from(frame) << 12 | u64::from(camera & 15) << 8 | u64::from(sum);
    let mut out = [false; CELLS];
    for (n, cell) in out.iter_mut().enumerate() {
        *cell = match n {
            0 | 47 => true,
            1 | 46 => false,
            n => code >> (45 - n) & 1 == 1,
        };
    }
    out
}

fn check(frame: u32, camera: u8) -> u8 {
    frame.to_be_bytes().iter().fold(camera & 15, |a, b| a.wrapping_add(*b))
}

/// Paints the strip into a luma plane.
pub fn paint(luma: &mut [u8], width: usize, height: usize, frame: u32, camera: u8) {
    let mut row = vec![BLACK; width];
    let cells = cells(frame, camera);
    for (x, pixel) in row.iter_mut().enumerate() {
        if cells.get(x * CELLS / width).copied().unwrap_or(false) {
            *pixel = WHITE;
        }
    }
    for line in luma.chunks_exact_mut(width).take(height / 9) {
        line.copy_from_slice(&row);
    }
}

/// Reads frame number and camera index from a luma plane. `None` when the strip is not there, damaged or of low contrast.
pub fn read(luma: &[u8], stride: usize, width: usize, height: usize) -> Option<(u32, u8)> {
    let y = height / 18;
    let level = |cell: usize| -> Option<u32> {
        let x = (cell * 2 + 1) * width / (CELLS * 2);
        let mut sum = 0u32;
        for dy in 0..3 {
            for dx in 0..3 {
                sum += u32::from(*luma.get((y + dy).checked_sub(1)? * stride + (x + dx).checked_sub(1)?)?);
            }
        }
        Some(sum / 9)
    };
    let (white, black) = ((level(0)? + level(47)?) / 2, (level(1)? + level(46)?) / 2);
    if white < black + 60 {
        return None;
    }
    let middle = (white + black) / 2;
    let mut code = 0u64;
    for cell in 2..46 {
        code = code << 1 | u64::from(level(cell)? > middle);
    }
    let (frame, camera, sum) = ((code >> 12) as u32, (code >> 8 & 15) as u8, code as u8);
    (sum == check(frame, camera)).then_some((frame, camera))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        for (width, height) in [(640, 360), (352, 288), (1280, 720), (1920, 1080), (320, 180)] {
            for frame in [0u32, 1, 0xDEAD_BEEF, u32::MAX, 90_123] {
                let mut luma = vec![100u8; width * height];
                assert_eq!(read(&luma, width, width, height), None);
                paint(&mut luma, width, height, frame, 9);
                assert_eq!(read(&luma, width, width, height), Some((frame, 9)));
                // One cell inverted: the checksum must notice.
                for line in luma.chunks_exact_mut(width).take(height / 9) {
                    let cell = 20 * width / CELLS..21 * width / CELLS;
                    line[cell].iter_mut().for_each(|p| *p = 251 - *p);
                }
                assert_eq!(read(&luma, width, width, height), None);
            }
        }
    }
}
