//! What a device remembers beside its domes: settings as they were given, guard, recording, cards, firmware. It outlives
//! connections and restarts of the device, as flash memory does.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a card is formatted.
const FORMATTING: Duration = Duration::from_secs(3);
const CAPACITY_MB: u64 = 64_000;

pub struct Card {
    pub name: &'static str,
    pub used_mb: u64,
    pub formatting: Option<Instant>,
}

impl Card {
    /// Status, progress, free space.
    pub fn state(&mut self, now: Instant) -> (&'static str, u8, u64) {
        if let Some(began) = self.formatting {
            let passed = now.saturating_duration_since(began);
            if passed < FORMATTING {
                return ("formatting", (passed.as_secs_f32() / FORMATTING.as_secs_f32() * 100.0) as u8, 0);
            }
            self.formatting = None;
            self.used_mb = 0;
        }
        ("ok", 0, CAPACITY_MB - self.used_mb)
    }

    pub const CAPACITY_MB: u64 = CAPACITY_MB;
}

/// An upgrade that is told of after the next registration.
pub struct Upgrade {
    pub session: String,
    pub firmware: String,
}

pub struct Memory {
    /// What stands inside a settings block, by target id and lower-case block name.
    pub blocks: HashMap<(String, String), String>,
    pub guarded: bool,
    pub alarm: bool,
    /// Channels that record, with the stream.
    pub recording: BTreeMap<String, u8>,
    pub cards: Vec<Card>,
    pub firmware: String,
    pub upgrade: Option<Upgrade>,
    pub expires: Option<u32>,
    pub heartbeat_s: Option<f64>,
    pub heartbeat_count: Option<u32>,
    pub name: Option<String>,
}

impl Memory {
    fn new() -> Self {
        let card = |name, used_mb| Card { name, used_mb, formatting: None };
        Self {
            blocks: HashMap::new(),
            guarded: false,
            alarm: false,
            recording: BTreeMap::new(),
            cards: vec![card("sd1", 41_000), card("sd2", 12_000)],
            firmware: concat!("fieldsim ", env!("CARGO_PKG_VERSION")).to_owned(),
            upgrade: None,
            expires: None,
            heartbeat_s: None,
            heartbeat_count: None,
            name: None,
        }
    }
}

type Memories = HashMap<String, Arc<Mutex<Memory>>>;
static ALL: Mutex<Option<Memories>> = Mutex::new(None);

/// The memory of a device, by its id.
pub fn of(device: &str) -> Arc<Mutex<Memory>> {
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    all.get_or_insert_default().entry(device.to_owned()).or_insert_with(|| Arc::new(Mutex::new(Memory::new()))).clone()
}

pub fn lock<T>(memory: &Mutex<T>) -> MutexGuard<'_, T> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
