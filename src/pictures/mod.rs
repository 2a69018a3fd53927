//! Single pictures: ordered from the device where it can, else a still of the live stream; kept below the data directory.
//!
//! A device brings its pictures by HTTP to an address that nobody can guess, that ends with its order, and that takes no more
//! than was ordered (`intake`). `order` is the course of one order, `keep` what is kept and for how long.

mod intake;
mod keep;
pub mod listen;
mod order;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bridge_core::{ChannelId, Timestamp};
use media_hub::{Fault, Text, Whose};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};

use crate::events::Events;
use crate::settings;
use crate::store::{PictureRow, Store};

pub use intake::{Refused, take_upload};
pub use order::{Want, start};

/// Orders remembered, and under way at once.
const REMEMBERED: usize = 200;
const AT_ONCE: usize = 64;
/// Uploads read at the same time: with the largest picture each they bound the memory.
const UPLOADS: usize = 16;

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Under way.
    Ordered,
    Done,
    /// Fewer pictures than were ordered.
    Partial,
    Failed,
}

/// One order for pictures, as the API shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct SnapshotView {
    pub id: String,
    pub channel: String,
    #[schema(value_type = String)]
    pub state: State,
    /// `device` or `stream`: who takes, or took, the pictures.
    pub source: &'static str,
    /// Pictures ordered.
    pub count: u8,
    pub pictures: Vec<PictureRow>,
    /// What is worth knowing: why it is a still, how many are missing.
    #[schema(value_type = Option<Object>)]
    pub note: Option<Text>,
    #[schema(value_type = Option<Object>)]
    pub fault: Option<Fault>,
    pub by: String,
    pub at: String,
}

/// An upload address that is open.
struct Open {
    session: String,
    channel: ChannelId,
    by: String,
    /// Pictures that it still takes.
    left: u8,
    until: Instant,
    stored: mpsc::Sender<PictureRow>,
}

struct Shared {
    settings: settings::Pictures,
    folder: PathBuf,
    store: Store,
    events: Events,
    open: Mutex<HashMap<String, Open>>,
    orders: Mutex<VecDeque<SnapshotView>>,
    uploads: Semaphore,
}

/// The hall's pictures. Cheap to clone.
#[derive(Clone)]
pub struct Pictures(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No order can be taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOrder {
    /// One of this channel is under way.
    Underway,
    /// Too many are.
    Full,
}

impl Pictures {
    pub fn new(settings: settings::Pictures, folder: PathBuf, store: Store, events: Events) -> Self {
        Pictures(Arc::new(Shared {
            settings,
            folder,
            store,
            events,
            open: Mutex::default(),
            orders: Mutex::default(),
            uploads: Semaphore::new(UPLOADS),
        }))
    }

    pub fn order(&self, id: &str) -> Option<SnapshotView> {
        lock(&self.0.orders).iter().find(|o| o.id == id).cloned()
    }

    fn begin(&self, channel: &ChannelId, source: &'static str, count: u8, by: &str) -> Result<SnapshotView, NoOrder> {
        let mut orders = lock(&self.0.orders);
        let running = |o: &&SnapshotView| o.state == State::Ordered;
        if orders.iter().filter(running).any(|o| o.channel == channel.0) {
            return Err(NoOrder::Underway);
        }
        if orders.iter().filter(running).count() >= AT_ONCE {
            return Err(NoOrder::Full);
        }
        while orders.len() >= REMEMBERED {
            // Those under way are fewer than those remembered, so there is always one that has ended.
            let Some(at) = orders.iter().position(|o| o.state != State::Ordered) else { break };
            orders.remove(at);
        }
        let order = SnapshotView {
            id: secret()[..32].to_owned(),
            channel: channel.0.clone(),
            state: State::Ordered,
            source,
            count,
            pictures: Vec::new(),
            note: None,
            fault: None,
            by: by.to_owned(),
            at: Timestamp::now().to_string(),
        };
        orders.push_back(order.clone());
        Ok(order)
    }

    /// Changes an order and tells everybody.
    fn change(&self, id: &str, change: impl FnOnce(&mut SnapshotView)) -> Option<SnapshotView> {
        let changed = {
            let mut orders = lock(&self.0.orders);
            let order = orders.iter_mut().find(|o| o.id == id)?;
            change(order);
            order.clone()
        };
        self.0.events.tell("snapshot", serde_json::json!({ "snapshot": changed }));
        Some(changed)
    }
}

/// 64 hexadecimal digits that nobody can guess.
fn secret() -> String {
    let bytes: [u8; 32] = rand::random();
    hex::encode(bytes)
}

/// The device took the order and brought nothing.
fn not_uploaded(seconds: u64) -> Fault {
    Fault::new(
        "snapshot_not_uploaded",
        Whose::Device,
        true,
        format!("设备接受了抓拍，但 {seconds} 秒内没有上传图片"),
        format!("The device took the order but uploaded no picture within {seconds} s"),
    )
    .next(
        "检查设备能否访问 pictures.upload_address（或 pictures.listen）的地址，防火墙是否放行",
        "Check that the device reaches the address of pictures.upload_address (or pictures.listen) and that no firewall is between",
    )
}

/// There is no address that devices could reach.
fn no_address() -> Fault {
    Fault::new(
        "snapshot_no_address",
        Whose::Us,
        false,
        "没有可供设备上传图片的地址",
        "There is no address to which devices could upload pictures",
    )
    .next("设置 pictures.listen 或 pictures.upload_address", "Set pictures.listen or pictures.upload_address")
}

/// No still could be made of the live stream.
fn no_still(why_zh: &str, why_en: &str) -> Fault {
    Fault::new(
        "snapshot_no_still",
        Whose::Us,
        true,
        format!("无法从实时画面取得静态图：{why_zh}"),
        format!("No still of the live picture could be made: {why_en}"),
    )
    .next("先确认该通道有实时画面，再试一次", "Make sure that the channel shows a live picture, then try again")
}
