//! The panorama a dome looks into: hills, houses, clouds, and a mark every 10 degrees.

use std::sync::{Arc, Mutex};

use crate::dome::Pose;

/// A plane of the panorama: 360 degrees wide (four pictures), 2 pictures high.
pub struct Plane {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

impl Plane {
    /// `paint` gets the column (with its hill) and the row.
    fn new(width: usize, height: usize, paint: impl Fn(&Column, &Row) -> u8) -> Self {
        let columns: Vec<Column> = (0..width).map(|x| Column::at(x as f32 / width as f32)).collect();
        let mut bytes = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = Row::at(y as f32 / height as f32);
            bytes.extend(columns.iter().map(|column| paint(column, &row)));
        }
        Self { width, height, bytes }
    }

    /// Fills `out` with the view at `pose`; each pixel by its nearest neighbour.
    pub fn view(&self, pose: Pose, out: &mut [u8], width: usize) {
        let height = out.len() / width.max(1);
        let across = width as f32 / pose.zoom;
        let down = height as f32 / pose.zoom;
        let left = pose.pan / 360.0 * self.width as f32 - across / 2.0;
        // Tilt 90 shows the top edge, -30 the bottom edge.
        let middle = (90.0 - pose.tilt) / 120.0 * (self.height as f32 - height as f32) + height as f32 / 2.0;
        let top = middle - down / 2.0;
        let columns: Vec<usize> = (0..width)
            .map(|x| {
                (left + x as f32 * across / width as f32).floor().rem_euclid(self.width as f32) as usize % self.width
            })
            .collect();
        for (y, line) in out.chunks_exact_mut(width).enumerate() {
            let row = ((top + y as f32 * down / height as f32).max(0.0) as usize).min(self.height - 1) * self.width;
            let Some(source) = self.bytes.get(row..row + self.width) else {
                continue;
            };
            if pose.zoom == 1.0 {
                // The view wraps at most once.
                let from = columns.first().copied().unwrap_or(0);
                let first = (self.width - from).min(width);
                line[..first].copy_from_slice(&source[from..from + first]);
                line[first..].copy_from_slice(&source[..width - first]);
            } else {
                for (pixel, x) in line.iter_mut().zip(&columns) {
                    *pixel = source[*x];
                }
            }
        }
    }
}

/// What a column of the panorama is made of; the sines are taken once.
struct Column {
    hill: f32,
    /// Top of the house here, when there is one.
    house: Option<f32>,
    window: bool,
    mark: bool,
    cloud: f32,
    field: f32,
}

impl Column {
    fn at(x: f32) -> Self {
        let a = x * std::f32::consts::TAU;
        let hill = 0.62 + 0.05 * (a * 3.0).sin() + 0.03 * (a * 7.0 + 1.0).sin() + 0.012 * (a * 29.0).cos();
        let house = ((x * 16.0).fract() > 0.55).then(|| hill - 0.06 - 0.08 * ((x * 16.0).floor() * 2.4).sin().abs());
        Self {
            hill,
            house,
            window: (x * 64.0).fract() > 0.3,
            // A mark every 10 degrees helps to see the dome turn.
            mark: (x * 36.0).fract() < 0.02,
            cloud: (x * 40.0).sin(),
            field: (x * 900.0).sin(),
        }
    }
}

struct Row {
    y: f32,
    cloud: f32,
    field: f32,
}

impl Row {
    fn at(y: f32) -> Self {
        Self { y, cloud: (y * 23.0).cos(), field: (y * 160.0).sin() }
    }
}

/// The panorama, painted once per size and tint and shared.
pub struct Scenery {
    pub luma: Plane,
    pub cb: Plane,
    pub cr: Plane,
}

type Sceneries = std::collections::HashMap<(usize, usize, u8), Arc<Scenery>>;
static SHARED: Mutex<Option<Sceneries>> = Mutex::new(None);

impl Scenery {
    /// The panorama for a camera index.
    pub fn shared(width: usize, height: usize, camera: u8) -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let key = (width, height, camera % 8);
        shared
            .get_or_insert_default()
            .entry(key)
            .or_insert_with(|| Arc::new(Self::new(width, height, camera % 8)))
            .clone()
    }

    fn new(width: usize, height: usize, tint: u8) -> Self {
        let tint = f32::from(tint) * 7.0;
        let luma = Plane::new(width * 4, height * 2, |c, r| {
            let y = r.y;
            if c.mark && (y - 0.5).abs() < 0.02 {
                return 225;
            }
            let bright = if c.house.is_some_and(|top| y > top) && y < c.hill {
                if c.window && (y * 40.0).fract() > 0.35 { 190.0 } else { 80.0 }
            } else if y < c.hill {
                175.0 - 90.0 * y + 10.0 * c.cloud * r.cloud
            } else {
                70.0 + 40.0 * (y - c.hill) + 14.0 * c.field * r.field
            };
            bright.clamp(20.0, 230.0) as u8
        });
        let cb = Plane::new(width * 2, height, |c, r| {
            (if r.y < c.hill { 150.0 - 20.0 * r.y } else { 108.0 + tint * 0.3 }) as u8
        });
        let cr = Plane::new(width * 2, height, |c, r| {
            (if r.y < c.hill { 112.0 + tint * 0.3 } else { 120.0 + tint * 0.6 }) as u8
        });
        Self { luma, cb, cr }
    }
}
