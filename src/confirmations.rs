//! Dangerous orders are given twice: the first time gives a token, good for one minute, one person, one object and the very same
//! order.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a token is good.
pub const GOOD_FOR: Duration = Duration::from_secs(60);
/// Tokens at once. The oldest go first, so that one who asks for ever harms only the forgetful.
const MOST: usize = 256;

struct Waiting {
    session: String,
    object: String,
    order: String,
    made: Instant,
}

/// The table.
#[derive(Default)]
pub struct Confirmations(Mutex<HashMap<String, Waiting>>);

impl Confirmations {
    /// Notes that this order was asked for; the token confirms it.
    pub fn ask(&self, session: &str, object: &str, order: &str, now: Instant) -> String {
        let token = format!("{:032x}", rand::random::<u128>());
        let mut table = self.0.lock().unwrap_or_else(|p| p.into_inner());
        table.retain(|_, w| now.saturating_duration_since(w.made) < GOOD_FOR);
        if table.len() >= MOST
            && let Some(oldest) = table.iter().min_by_key(|(_, w)| w.made).map(|(t, _)| t.clone())
        {
            table.remove(&oldest);
        }
        let waiting = Waiting { session: session.into(), object: object.into(), order: order.into(), made: now };
        table.insert(token.clone(), waiting);
        token
    }

    /// Whether the token confirms exactly this; it is used up if so.
    pub fn confirm(&self, token: &str, session: &str, object: &str, order: &str, now: Instant) -> bool {
        let mut table = self.0.lock().unwrap_or_else(|p| p.into_inner());
        let good = table.get(token).is_some_and(|w| {
            w.session == session
                && w.object == object
                && w.order == order
                && now.saturating_duration_since(w.made) < GOOD_FOR
        });
        if good {
            table.remove(token);
        }
        good
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_one_object_one_order_once_and_in_time() {
        let (table, t) = (Confirmations::default(), Instant::now());
        let token = table.ask("s", "gb28181:1", "reboot", t);
        for (who, object, order) in
            [("x", "gb28181:1", "reboot"), ("s", "gb28181:2", "reboot"), ("s", "gb28181:1", "format")]
        {
            assert!(!table.confirm(&token, who, object, order, t));
        }
        assert!(!table.confirm("", "s", "gb28181:1", "reboot", t));
        assert!(table.confirm(&token, "s", "gb28181:1", "reboot", t + Duration::from_secs(59)));
        assert!(!table.confirm(&token, "s", "gb28181:1", "reboot", t), "used up");
        let late = table.ask("s", "gb28181:1", "reboot", t);
        assert!(!table.confirm(&late, "s", "gb28181:1", "reboot", t + GOOD_FOR));
    }

    #[test]
    fn the_table_is_bounded() {
        let (table, t) = (Confirmations::default(), Instant::now());
        for n in 0..1000 {
            table.ask("s", "o", &n.to_string(), t);
        }
        assert_eq!(table.0.lock().map(|t| t.len()).unwrap_or_default(), MOST);
    }
}
