//! From the consoles to the field.

use std::time::Duration;

use bridge_core::{AccountKind, Credentials, MOST_TEXT, TextDone, TextOrder, TextState, Timestamp};
use media_hub::Fault;

use super::faults;
use crate::api::Shared;
use crate::store::{Delivery, MessageFile, MessageRow};

/// How long a far end may take to take a text. A bridge that knows better says that the text waits.
const WITHIN: Duration = Duration::from_secs(40);
/// Bytes of a thread's name.
const MOST_THREAD: usize = 160;
/// Far ends that one text is brought to.
const MOST_TARGETS: usize = 500;

/// A message that is to be kept and brought to whom it concerns.
pub struct New {
    pub thread: String,
    pub sender: String,
    pub name: String,
    pub link: String,
    pub text: String,
    pub device_time: Option<Timestamp>,
    pub file: Option<MessageFile>,
    /// Whom somebody else brings it to and tells of it.
    pub relayed: Option<(String, String)>,
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum Refused {
    /// Neither text nor file, or a text that is too long or holds control characters.
    Text,
    /// There is no such conference, or no such far end.
    NoThread,
    /// Nobody of ours can write there.
    ReadOnly,
    Fault(Fault),
}

/// Whom a message of a thread goes to: (far end, name).
fn targets(app: &Shared, new: &New) -> Result<Vec<(String, String)>, Refused> {
    if let Some(relayed) = &new.relayed {
        return Ok(vec![relayed.clone()]);
    }
    let mut found = match new.thread.split_once(':') {
        Some(("conference", id)) => {
            let phones = app.conferences.phones(id).ok_or(Refused::NoThread)?;
            // Texts to outside numbers cost money: those are written to one by one.
            let ours = |number: &str| app.secrets.secret(AccountKind::Phone, number).is_some();
            phones.into_iter().filter(|(n, _)| ours(n)).map(|(n, name)| (format!("phone:{n}"), name)).collect()
        }
        Some((bridge, far)) if !far.is_empty() && bridge_of(app, bridge).is_some() => {
            vec![(new.thread.clone(), thread_name(app, &new.thread))]
        }
        // Two far ends that write to each other by us.
        Some(("between", _)) => return Err(Refused::ReadOnly),
        _ => return Err(Refused::NoThread),
    };
    found.retain(|(to, _)| *to != new.sender);
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    found.truncate(MOST_TARGETS);
    Ok(found)
}

fn bridge_of<'a>(app: &'a Shared, prefix: &str) -> Option<&'a std::sync::Arc<dyn bridge_core::Bridge>> {
    // A trunk is a way of the telephone.
    let name = if prefix == "trunk" { "phone" } else { prefix };
    app.bridges.iter().find(|b| b.name() == name)
}

/// How a thread is called.
pub fn thread_name(app: &Shared, thread: &str) -> String {
    match thread.split_once(':') {
        Some(("conference", id)) => app.conferences.name(id).unwrap_or_else(|| id.to_owned()),
        Some(("between", pair)) => {
            let names: Vec<String> = pair.split('/').map(|n| app.phone_name(n)).collect();
            names.join(" — ")
        }
        Some(("phone", number)) => app.phone_name(number),
        Some(("trunk", far)) => far.rsplit('/').next().unwrap_or(far).to_owned(),
        _ => {
            let channel = bridge_core::ChannelId(thread.to_owned());
            let known = app.registry.channel(&channel).map(|(_, c)| c.name).filter(|n| !n.is_empty());
            known.unwrap_or_else(|| thread.split_once(':').map_or(thread, |(_, far)| far).to_owned())
        }
    }
}

fn sound(text: &str) -> bool {
    text.chars().count() <= MOST_TEXT && !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Keeps a message, tells the consoles, and begins to bring it to the far ends. What becomes of that is told by events.
pub async fn post(app: &Shared, mut new: New) -> Result<MessageRow, Refused> {
    new.text = new.text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
    if !sound(&new.text) || (new.text.is_empty() && new.file.is_none()) {
        return Err(Refused::Text);
    }
    if new.thread.len() > MOST_THREAD || new.thread.chars().any(char::is_control) {
        return Err(Refused::NoThread);
    }
    let targets = targets(app, &new)?;
    let now = Timestamp::now();
    let delivery = |(to, name): &(String, String)| Delivery {
        to: to.clone(),
        name: name.clone(),
        state: TextState::Sent,
        at: now,
        leaves_at: None,
        fault: None,
    };
    let row = MessageRow {
        id: uuid::Uuid::now_v7().simple().to_string(),
        at: now.0,
        device_at: new.device_time.map(|t| t.0),
        thread_name: thread_name(app, &new.thread),
        thread: new.thread,
        sender: new.sender,
        name: new.name.chars().filter(|c| !c.is_control()).take(64).collect(),
        link: new.link,
        text: new.text,
        file: new.file,
        deliveries: targets.iter().map(delivery).collect(),
    };
    app.messages.keep(&row).await.map_err(Refused::Fault)?;
    app.metrics.messages.with_label_values(&["kept"]).inc();
    if new.relayed.is_none() {
        for (to, _) in targets {
            let (app, row) = (app.clone(), row.clone());
            tokio::spawn(async move { bring(&app, &row, &to).await });
        }
    }
    Ok(row)
}

/// What the far end reads: the text, who wrote it where many write, and that there is a file.
fn wording(row: &MessageRow) -> String {
    let mut text = row.text.clone();
    if let Some(file) = &row.file {
        let line = format!("[附件 attachment: {}]", file.name);
        text = if text.is_empty() { line } else { format!("{text}\n{line}") };
    }
    if row.thread.starts_with("conference:") {
        text = format!("{}: {text}", row.name);
    }
    text.chars().take(MOST_TEXT).collect()
}

async fn bring(app: &Shared, row: &MessageRow, to: &str) {
    let Ok(_place) = app.messages.0.underway.acquire().await else { return };
    let conference = row.thread.strip_prefix("conference:").and_then(|id| app.conferences.get(id));
    let (from, name) = match conference {
        Some(c) => (c.number, c.name),
        None => (app.settings.phone.message_number.clone(), row.name.clone()),
    };
    let order = TextOrder { message: row.id.clone(), to: to.to_owned(), from, name, text: wording(row) };
    let bridge = to.split_once(':').and_then(|(bridge, _)| bridge_of(app, bridge));
    let done = match bridge {
        None => Err(faults::no_bridge()),
        Some(bridge) => {
            tokio::time::timeout(WITHIN, bridge.text(order)).await.unwrap_or_else(|_| Err(faults::not_in_time()))
        }
    };
    settled(app, &row.id, to, done).await;
}

async fn settled(app: &Shared, id: &str, to: &str, done: Result<TextDone, Fault>) {
    let messages = &app.messages;
    match done {
        Ok(TextDone::Delivered) => {
            messages.settle(id, to, TextState::Delivered, None, None).await;
            app.metrics.messages.with_label_values(&["delivered"]).inc();
        }
        Ok(TextDone::Waits(seconds)) => {
            let leaves = Timestamp::now().plus_seconds(seconds);
            messages.settle(id, to, TextState::Sent, Some(leaves), None).await;
        }
        Err(fault) => {
            tracing::info!(message = id, to, code = fault.code, fault = %fault.en, "a message was not delivered");
            messages.settle(id, to, TextState::Failed, None, Some(&fault)).await;
            app.metrics.messages.with_label_values(&["failed"]).inc();
        }
    }
}
