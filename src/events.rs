//! What changed, told to every console: `docs/ref/api.md`, part "Events".

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::broadcast;

/// Events that a slow console may be behind before it must read anew.
const BUFFER: usize = 1024;

/// One event, written once for all consoles.
#[derive(Debug, Clone)]
pub struct Event {
    pub kind: &'static str,
    pub text: Arc<str>,
}

/// Notices kept for consoles that come later.
const NOTICES: usize = 100;

struct Shared {
    seq: AtomicU64,
    notices: Mutex<VecDeque<Notice>>,
    sender: broadcast::Sender<Event>,
}

/// The hall's event line. Cheap to clone.
#[derive(Clone)]
pub struct Events(Arc<Shared>);

impl Default for Events {
    fn default() -> Self {
        Events(Arc::new(Shared {
            seq: AtomicU64::new(0),
            notices: Mutex::default(),
            sender: broadcast::Sender::new(BUFFER),
        }))
    }
}

/// A line of the strip of last events.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Notice {
    pub at: String,
    #[schema(value_type = String)]
    pub severity: Severity,
    pub zh: String,
    pub en: String,
    pub object: String,
}

/// How grave a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warning,
    Alarm,
}

impl Events {
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.sender.subscribe()
    }

    /// Whether anybody listens: what costs to say is not said to nobody.
    pub fn heard(&self) -> bool {
        self.0.sender.receiver_count() > 0
    }

    /// Tells that something changed; `fields` holds the changed thing whole.
    pub fn tell(&self, kind: &'static str, fields: Value) {
        let mut object = Map::new();
        object.insert("type".into(), kind.into());
        object.insert("at".into(), bridge_core::Timestamp::now().to_string().into());
        object.insert("seq".into(), (self.0.seq.fetch_add(1, Ordering::Relaxed) + 1).into());
        if let Value::Object(fields) = fields {
            object.extend(fields);
        }
        let text = Value::Object(object).to_string();
        // Nobody signed in is no fault.
        let _ = self.0.sender.send(Event { kind, text: Arc::from(text) });
    }

    /// A line for the strip of last events.
    pub fn notice(&self, severity: Severity, zh: &str, en: &str, object: &str) {
        let at = bridge_core::Timestamp::now().to_string();
        let notice = Notice { at, severity, zh: zh.to_owned(), en: en.to_owned(), object: object.to_owned() };
        {
            let mut notices = self.0.notices.lock().unwrap_or_else(|p| p.into_inner());
            if notices.len() == NOTICES {
                notices.pop_front();
            }
            notices.push_back(notice.clone());
        }
        self.tell("notice", serde_json::to_value(notice).unwrap_or_default());
    }

    /// The last notices, newest first.
    pub fn notices(&self) -> Vec<Notice> {
        let notices = self.0.notices.lock().unwrap_or_else(|p| p.into_inner());
        notices.iter().rev().cloned().collect()
    }
}
