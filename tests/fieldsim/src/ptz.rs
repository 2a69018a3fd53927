//! PTZCmd: the eight bytes (reference section 7.4).

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Pan, tilt and zoom as -1, 0 or 1 with speeds 0-255, 0-255, 0-15. All zero: stop.
    Move {
        pan: i8,
        tilt: i8,
        zoom: i8,
        pan_speed: u8,
        tilt_speed: u8,
        zoom_speed: u8,
    },
    /// Iris and focus as -1, 0 or 1 (open and far count up).
    Lens {
        iris: i8,
        focus: i8,
        iris_speed: u8,
        focus_speed: u8,
    },
    Preset {
        action: &'static str,
        number: u8,
    },
    Cruise {
        action: &'static str,
        group: u8,
        value: u16,
    },
    Scan {
        action: &'static str,
        group: u8,
        value: u16,
    },
    Switch {
        on: bool,
        number: u8,
    },
}

/// Decodes the hex text; the error says what is wrong.
pub fn decode(text: &str) -> Result<Command, String> {
    let bytes = hex::decode(text.trim()).map_err(|e| format!("not hex: {e}"))?;
    let &[first, check, _address, command, d1, d2, d3, sum] = bytes.as_slice() else {
        return Err(format!("{} bytes, not 8", bytes.len()));
    };
    if first != 0xA5 {
        return Err(format!("first byte {first:02X}, not A5"));
    }
    if check & 15 != (0xA + 0x5 + (check >> 4)) & 15 {
        return Err(format!("check nibble of {check:02X} is wrong"));
    }
    let expected = bytes.iter().take(7).fold(0u8, |a, b| a.wrapping_add(*b));
    if sum != expected {
        return Err(format!("checksum {sum:02X}, not {expected:02X}"));
    }
    let value = u16::from(d2) | u16::from(d3 >> 4) << 8;
    let pair = |plus: u8, minus: u8| -> Result<i8, String> {
        match (command & plus != 0, command & minus != 0) {
            (true, true) => Err(format!("opposite bits both set in {command:02X}")),
            (true, false) => Ok(1),
            (false, true) => Ok(-1),
            (false, false) => Ok(0),
        }
    };
    Ok(match command {
        0x00..=0x3F => Command::Move {
            pan: pair(1, 2)?,
            tilt: pair(8, 4)?,
            zoom: pair(16, 32)?,
            pan_speed: d1,
            tilt_speed: d2,
            zoom_speed: d3 >> 4,
        },
        0x40..=0x4F => Command::Lens { iris: pair(4, 8)?, focus: pair(1, 2)?, focus_speed: d1, iris_speed: d2 },
        0x81 => Command::Preset { action: "set", number: d2 },
        0x82 => Command::Preset { action: "call", number: d2 },
        0x83 => Command::Preset { action: "delete", number: d2 },
        0x84 => Command::Cruise { action: "add", group: d1, value: u16::from(d2) },
        0x85 => Command::Cruise { action: "delete", group: d1, value: u16::from(d2) },
        0x86 => Command::Cruise { action: "speed", group: d1, value },
        0x87 => Command::Cruise { action: "dwell", group: d1, value },
        0x88 => Command::Cruise { action: "start", group: d1, value: 0 },
        0x89 => Command::Scan {
            action: if d2 == 0 {
                "start"
            } else if d2 == 1 {
                "left-edge"
            } else {
                "right-edge"
            },
            group: d1,
            value: 0,
        },
        0x8A => Command::Scan { action: "speed", group: d1, value },
        0x8C | 0x8D => Command::Switch { on: command == 0x8C, number: d1 },
        other => return Err(format!("unknown command {other:02X}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(pan: i8, tilt: i8, zoom: i8, pan_speed: u8, tilt_speed: u8, zoom_speed: u8) -> Result<Command, String> {
        Ok(Command::Move { pan, tilt, zoom, pan_speed, tilt_speed, zoom_speed })
    }

    #[test]
    fn vectors_of_the_reference() {
        assert_eq!(decode("A50F0100000000B5"), moved(0, 0, 0, 0, 0, 0));
        assert_eq!(decode("A50F0101320000E8"), moved(1, 0, 0, 0x32, 0, 0));
        assert_eq!(decode("A50F0102320000E9"), moved(-1, 0, 0, 0x32, 0, 0));
        assert_eq!(decode("A50F0108003200EF"), moved(0, 1, 0, 0, 0x32, 0));
        assert_eq!(decode("A50F0104003200EB"), moved(0, -1, 0, 0, 0x32, 0));
        assert_eq!(decode("A50F011000006025"), moved(0, 0, 1, 0, 0, 6));
        assert_eq!(decode("A50F012000006035"), moved(0, 0, -1, 0, 0, 6));
        assert_eq!(decode("A50F0129323260A2"), moved(1, 1, -1, 0x32, 0x32, 6));
        assert_eq!(
            decode("A50F01480040003D"),
            Ok(Command::Lens { iris: -1, focus: 0, iris_speed: 0x40, focus_speed: 0 })
        );
        assert_eq!(
            decode("A50F014140000036"),
            Ok(Command::Lens { iris: 0, focus: 1, iris_speed: 0, focus_speed: 0x40 })
        );
        assert_eq!(decode("A50F0140000000F5"), Ok(Command::Lens { iris: 0, focus: 0, iris_speed: 0, focus_speed: 0 }));
        assert_eq!(decode("A50F018200020039"), Ok(Command::Preset { action: "call", number: 2 }));
        assert_eq!(decode("A50F01860123106F"), Ok(Command::Cruise { action: "speed", group: 1, value: 0x123 }));
        assert_eq!(decode("A50F018901020041"), Ok(Command::Scan { action: "right-edge", group: 1, value: 0 }));
        assert_eq!(decode("A50F018C01000042"), Ok(Command::Switch { on: true, number: 1 }));
    }

    #[test]
    fn wrong_bytes_are_refused() {
        assert!(decode("A50F0101320000E9").is_err(), "checksum");
        assert!(decode("A50E0101320000E7").is_err(), "check nibble");
        assert!(decode("A50F0103320000EA").is_err(), "left and right");
        assert!(decode("A50F01").is_err() && decode("zz").is_err());
    }
}
