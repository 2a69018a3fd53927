//! What the simulator tells: one human line, or one JSON object per line on stdout with `--json`.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

static JSON: AtomicBool = AtomicBool::new(false);

pub fn use_json(on: bool) {
    JSON.store(on, Ordering::Relaxed);
}

/// A sentence for a person: stdout, or stderr while JSON runs on stdout. A closed pipe is no error.
pub fn say(line: &str) {
    if JSON.load(Ordering::Relaxed) {
        let _ = writeln!(std::io::stderr(), "fieldsim: {line}");
    } else {
        let _ = writeln!(std::io::stdout(), "fieldsim: {line}");
    }
}

/// An event for a test: `{"event":name,"time":"...","id":...,...}`, flushed line by line.
pub fn event(name: &str, id: &str, fields: serde_json::Value) {
    if !JSON.load(Ordering::Relaxed) {
        return;
    }
    let mut object = serde_json::Map::new();
    object.insert("event".into(), name.into());
    object.insert("id".into(), id.into());
    object.insert("time".into(), jiff::Timestamp::now().to_string().into());
    if let serde_json::Value::Object(more) = fields {
        object.extend(more);
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", serde_json::Value::Object(object));
    let _ = out.flush();
}
