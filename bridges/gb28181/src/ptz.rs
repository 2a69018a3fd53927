//! `PTZCmd`: the eight bytes (GB/T 28181-2022 annex A.3; reference section 7.4).

/// Address written into byte 3. It does not pick the camera, `DeviceID` does; 1 is what others send.
const ADDRESS: u8 = 1;

/// A command of the front-end control protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PtzCommand {
    /// Directions as -1, 0, 1: pan counts to the right, tilt upwards, zoom inwards. Speeds: pan and tilt 0 to 255, zoom 0 to
    /// 15. All directions 0: stop everything.
    Move {
        pan: i8,
        tilt: i8,
        zoom: i8,
        pan_speed: u8,
        tilt_speed: u8,
        zoom_speed: u8,
    },
    /// Focus counts far, iris counts open; speeds 0 to 255.
    Lens {
        focus: i8,
        iris: i8,
        focus_speed: u8,
        iris_speed: u8,
    },
    SetPreset(u8),
    CallPreset(u8),
    DeletePreset(u8),
    CruiseAdd {
        group: u8,
        preset: u8,
    },
    /// Preset 0 deletes the whole cruise.
    CruiseDelete {
        group: u8,
        preset: u8,
    },
    /// 12 bits.
    CruiseSpeed {
        group: u8,
        value: u16,
    },
    /// Seconds, 12 bits.
    CruiseDwell {
        group: u8,
        value: u16,
    },
    CruiseStart {
        group: u8,
    },
    ScanStart {
        group: u8,
    },
    ScanLeftEdge {
        group: u8,
    },
    ScanRightEdge {
        group: u8,
    },
    ScanSpeed {
        group: u8,
        value: u16,
    },
    /// 1 is the wiper.
    Switch {
        on: bool,
        number: u8,
    },
}

impl PtzCommand {
    /// Stops pan, tilt, zoom, cruise and scan.
    pub const STOP: PtzCommand =
        PtzCommand::Move { pan: 0, tilt: 0, zoom: 0, pan_speed: 0, tilt_speed: 0, zoom_speed: 0 };

    /// Stops focus and iris.
    pub const LENS_STOP: PtzCommand = PtzCommand::Lens { focus: 0, iris: 0, focus_speed: 0, iris_speed: 0 };

    /// Focus and iris from speeds of -1 to 1, as [`PtzCommand::from_speeds`].
    pub fn lens_from_speeds(focus: f32, iris: f32) -> PtzCommand {
        match PtzCommand::from_speeds(focus, iris, 0.0) {
            PtzCommand::Move { pan, tilt, pan_speed, tilt_speed, .. } => {
                PtzCommand::Lens { focus: pan, iris: tilt, focus_speed: pan_speed, iris_speed: tilt_speed }
            }
            other => other,
        }
    }

    /// From speeds of -1 to 1. Values that are no number count as 0; a tremble of less than 2 % is rest.
    pub fn from_speeds(pan: f32, tilt: f32, zoom: f32) -> PtzCommand {
        let part = |v: f32, most: f32| -> (i8, u8) {
            let v = if v.is_finite() { v.clamp(-1.0, 1.0) } else { 0.0 };
            if v.abs() < 0.02 {
                return (0, 0);
            }
            (if v > 0.0 { 1 } else { -1 }, ((v.abs() * most).round() as u8).max(1))
        };
        let ((pan, pan_speed), (tilt, tilt_speed), (zoom, zoom_speed)) =
            (part(pan, 255.0), part(tilt, 255.0), part(zoom, 15.0));
        PtzCommand::Move { pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed }
    }

    /// Whether this stops all movement, or that of the lens.
    pub fn is_stop(&self) -> bool {
        matches!(self, PtzCommand::Move { pan: 0, tilt: 0, zoom: 0, .. } | PtzCommand::Lens { focus: 0, iris: 0, .. })
    }

    /// Bytes 4 to 7: command, data 1, data 2, data 3 in the high nibble.
    fn body(&self) -> [u8; 4] {
        let bit = |v: i8, plus: u8, minus: u8| match v {
            0 => 0,
            v if v > 0 => plus,
            _ => minus,
        };
        let wide = |value: u16| ((value & 0xFF) as u8, ((value >> 8) as u8 & 0x0F) << 4);
        match *self {
            PtzCommand::Move { pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed } => [
                bit(pan, 0x01, 0x02) | bit(tilt, 0x08, 0x04) | bit(zoom, 0x10, 0x20),
                pan_speed,
                tilt_speed,
                (zoom_speed & 0x0F) << 4,
            ],
            PtzCommand::Lens { focus, iris, focus_speed, iris_speed } => {
                [0x40 | bit(focus, 0x01, 0x02) | bit(iris, 0x04, 0x08), focus_speed, iris_speed, 0]
            }
            PtzCommand::SetPreset(n) => [0x81, 0, n, 0],
            PtzCommand::CallPreset(n) => [0x82, 0, n, 0],
            PtzCommand::DeletePreset(n) => [0x83, 0, n, 0],
            PtzCommand::CruiseAdd { group, preset } => [0x84, group, preset, 0],
            PtzCommand::CruiseDelete { group, preset } => [0x85, group, preset, 0],
            PtzCommand::CruiseSpeed { group, value } => [0x86, group, wide(value).0, wide(value).1],
            PtzCommand::CruiseDwell { group, value } => [0x87, group, wide(value).0, wide(value).1],
            PtzCommand::CruiseStart { group } => [0x88, group, 0, 0],
            PtzCommand::ScanStart { group } => [0x89, group, 0, 0],
            PtzCommand::ScanLeftEdge { group } => [0x89, group, 1, 0],
            PtzCommand::ScanRightEdge { group } => [0x89, group, 2, 0],
            PtzCommand::ScanSpeed { group, value } => [0x8A, group, wide(value).0, wide(value).1],
            PtzCommand::Switch { on, number } => [if on { 0x8C } else { 0x8D }, number, 0, 0],
        }
    }

    /// The eight bytes. Byte 2 is 0x0F: version 0, and the check nibble (0xA + 0x5 + 0) mod 16.
    pub fn bytes(&self) -> [u8; 8] {
        let [command, one, two, three] = self.body();
        let mut out = [0xA5, 0x0F, ADDRESS, command, one, two, three, 0];
        out[7] = out.iter().take(7).fold(0u8, |sum, b| sum.wrapping_add(*b));
        out
    }

    /// Sixteen upper-case hex digits, as they stand in the element.
    pub fn hex(&self) -> String {
        self.bytes().iter().map(|b| format!("{b:02X}")).collect()
    }

    /// Reads the hex text, any address. None when a byte, a nibble or the sum is wrong.
    pub fn parse(text: &str) -> Option<PtzCommand> {
        let text = text.trim();
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0u8; 8];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        let [first, check, _, command, one, two, three, sum] = bytes;
        let good = first == 0xA5
            && check & 0x0F == (0xA + 0x5 + (check >> 4)) & 0x0F
            && bytes.iter().take(7).fold(0u8, |s, b| s.wrapping_add(*b)) == sum;
        if !good {
            return None;
        }
        let pair = |plus: u8, minus: u8| match (command & plus != 0, command & minus != 0) {
            (true, true) => None,
            (true, false) => Some(1),
            (false, true) => Some(-1),
            (false, false) => Some(0),
        };
        let value = u16::from(two) | (u16::from(three >> 4) << 8);
        Some(match command {
            0x00..=0x3F => PtzCommand::Move {
                pan: pair(0x01, 0x02)?,
                tilt: pair(0x08, 0x04)?,
                zoom: pair(0x10, 0x20)?,
                pan_speed: one,
                tilt_speed: two,
                zoom_speed: three >> 4,
            },
            0x40..=0x4F => PtzCommand::Lens {
                focus: pair(0x01, 0x02)?,
                iris: pair(0x04, 0x08)?,
                focus_speed: one,
                iris_speed: two,
            },
            0x81 => PtzCommand::SetPreset(two),
            0x82 => PtzCommand::CallPreset(two),
            0x83 => PtzCommand::DeletePreset(two),
            0x84 => PtzCommand::CruiseAdd { group: one, preset: two },
            0x85 => PtzCommand::CruiseDelete { group: one, preset: two },
            0x86 => PtzCommand::CruiseSpeed { group: one, value },
            0x87 => PtzCommand::CruiseDwell { group: one, value },
            0x88 => PtzCommand::CruiseStart { group: one },
            0x89 if two == 0 => PtzCommand::ScanStart { group: one },
            0x89 if two == 1 => PtzCommand::ScanLeftEdge { group: one },
            0x89 if two == 2 => PtzCommand::ScanRightEdge { group: one },
            0x8A => PtzCommand::ScanSpeed { group: one, value },
            0x8C | 0x8D => PtzCommand::Switch { on: command == 0x8C, number: one },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use PtzCommand::*;

    fn turn(pan: i8, tilt: i8, zoom: i8) -> PtzCommand {
        let speed = |v: i8, s: u8| if v == 0 { 0 } else { s };
        Move { pan, tilt, zoom, pan_speed: speed(pan, 0x32), tilt_speed: speed(tilt, 0x32), zoom_speed: speed(zoom, 6) }
    }

    #[test]
    fn vectors_of_the_reference() {
        let lens = |focus: i8, iris: i8| {
            let s = |v: i8| if v == 0 { 0 } else { 0x40 };
            Lens { focus, iris, focus_speed: s(focus), iris_speed: s(iris) }
        };
        let table = [
            (STOP_, "A50F0100000000B5"),
            (turn(1, 0, 0), "A50F0101320000E8"),
            (turn(-1, 0, 0), "A50F0102320000E9"),
            (turn(0, 1, 0), "A50F0108003200EF"),
            (turn(0, -1, 0), "A50F0104003200EB"),
            (turn(0, 0, 1), "A50F011000006025"),
            (turn(0, 0, -1), "A50F012000006035"),
            (turn(1, 1, -1), "A50F0129323260A2"),
            (lens(0, -1), "A50F01480040003D"),
            (lens(0, 1), "A50F014400400039"),
            (lens(-1, 0), "A50F014240000037"),
            (lens(1, 0), "A50F014140000036"),
            (lens(0, 0), "A50F0140000000F5"),
            (SetPreset(2), "A50F018100020038"),
            (CallPreset(2), "A50F018200020039"),
            (DeletePreset(2), "A50F01830002003A"),
            (CruiseAdd { group: 1, preset: 3 }, "A50F01840103003D"),
            (CruiseDelete { group: 1, preset: 3 }, "A50F01850103003E"),
            (CruiseSpeed { group: 1, value: 0x123 }, "A50F01860123106F"),
            (CruiseDwell { group: 1, value: 10 }, "A50F0187010A0047"),
            (CruiseStart { group: 1 }, "A50F01880100003E"),
            (ScanStart { group: 1 }, "A50F01890100003F"),
            (ScanLeftEdge { group: 1 }, "A50F018901010040"),
            (ScanRightEdge { group: 1 }, "A50F018901020041"),
            (ScanSpeed { group: 1, value: 0x40 }, "A50F018A01400080"),
            (Switch { on: true, number: 1 }, "A50F018C01000042"),
            (Switch { on: false, number: 1 }, "A50F018D01000043"),
        ];
        for (command, hex) in table {
            assert_eq!(command.hex(), hex, "{command:?}");
            assert_eq!(PtzCommand::parse(hex), Some(command));
        }
    }

    const STOP_: PtzCommand = PtzCommand::STOP;

    #[test]
    fn speeds_and_refusals() {
        assert_eq!(PtzCommand::from_speeds(f32::NAN, 0.01, -0.0), PtzCommand::STOP);
        assert_eq!(
            PtzCommand::from_speeds(-1.5, 0.5, 0.001),
            Move { pan: -1, tilt: 1, zoom: 0, pan_speed: 255, tilt_speed: 128, zoom_speed: 0 }
        );
        for bad in [
            "",
            "A50F0101320000E9",
            "A50F0103320000EA",
            "A40F0101320000E7",
            "zz0F0101320000E8",
            "A50F01",
            "é50F0101320000",
        ] {
            assert_eq!(PtzCommand::parse(bad), None, "{bad}");
        }
    }
}
