//! The one who is taken to be speaking, with hysteresis: a cough, or a second voice that falls in, does not change it.

use super::Level;

/// Ticks for which another must talk louder before it takes over: 300 ms.
const TAKES: u32 = 15;
/// How much louder, dB.
const LOUDER: f32 = 3.0;

/// Follows the voices of one conference; a machine of ticks of 20 ms.
#[derive(Debug, Default)]
pub(crate) struct Active {
    now: Option<String>,
    /// Who may take over, and for how many ticks it has been ahead.
    next: Option<(String, u32)>,
}

impl Active {
    /// Takes the levels of a tick. The active one stays until it stops talking, or another talks louder for 300 ms.
    pub fn tick<'a>(&mut self, levels: impl Iterator<Item = (&'a str, Level)>) -> Option<&str> {
        let (mut own, mut best): (Option<f32>, Option<(&str, f32)>) = (None, None);
        for (name, level) in levels.filter(|(_, l)| l.talking) {
            if self.now.as_deref() == Some(name) {
                own = Some(level.dbov);
            } else if best.is_none_or(|(_, loudest)| level.dbov > loudest) {
                best = Some((name, level.dbov));
            }
        }
        match (own, best) {
            (None, best) => {
                self.now = best.map(|(name, _)| name.to_owned());
                self.next = None;
            }
            (Some(own), Some((name, level))) if level > own + LOUDER => {
                let ahead = match &self.next {
                    Some((known, ticks)) if known == name => ticks + 1,
                    _ => 1,
                };
                self.next = Some((name.to_owned(), ahead));
                if ahead >= TAKES {
                    self.now = self.next.take().map(|n| n.0);
                }
            }
            _ => self.next = None,
        }
        self.now.as_deref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn level(dbov: f32) -> Level {
        Level { dbov, talking: dbov > -50.0 }
    }

    #[test]
    fn a_cough_changes_nothing_and_a_louder_voice_takes_over_in_its_time() {
        let mut active = Active::default();
        let mut run = |a: f32, b: f32, ticks: u32| {
            let mut last = None;
            for _ in 0..ticks {
                last = active.tick([("a", level(a)), ("b", level(b))].into_iter()).map(str::to_owned);
            }
            last
        };
        assert_eq!(run(-90.0, -90.0, 5), None);
        assert_eq!(run(-20.0, -90.0, 1).as_deref(), Some("a"), "at once");
        assert_eq!(run(-20.0, -10.0, 10).as_deref(), Some("a"), "a cough of 200 ms");
        assert_eq!(run(-20.0, -90.0, 5).as_deref(), Some("a"));
        assert_eq!(run(-20.0, -18.0, 200).as_deref(), Some("a"), "not louder by enough");
        assert_eq!(run(-20.0, -10.0, 14).as_deref(), Some("a"));
        assert_eq!(run(-20.0, -10.0, 1).as_deref(), Some("b"));
        assert_eq!(run(-20.0, -10.0, 50).as_deref(), Some("b"));
        assert_eq!(run(-20.0, -90.0, 1).as_deref(), Some("a"), "who stops gives way at once");
        assert_eq!(run(-90.0, -90.0, 1), None);
    }
}
