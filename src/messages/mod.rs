//! The hall's messages: texts and files within a conference and with far ends (phones, radios, short messages by satellite), kept
//! with what became of each. `files`: attachments on disk. `send`: from the consoles to the field. `listen`: from the field.

mod faults;
mod files;
mod listen;
mod send;

use std::path::PathBuf;
use std::sync::Arc;

use bridge_core::{TextState, Timestamp};
use media_hub::Fault;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};

use crate::events::Events;
use crate::settings;
use crate::store::{Delivery, MessageRow, Store, StoreError};

pub use files::{File, clean_name};
pub use listen::run;
pub use send::{New, Refused, post, thread_name};

/// Files that are taken in at once.
const UPLOADS: usize = 8;
/// Texts to far ends under way at once; others wait for their turn.
const UNDERWAY: usize = 64;
/// Messages kept, whatever the settings say.
const MOST_ROWS: i64 = 1_000_000;

struct Shared {
    settings: settings::Messages,
    folder: PathBuf,
    store: Store,
    events: Events,
    uploads: Semaphore,
    underway: Semaphore,
    /// What became of a message is read, changed and written by one at a time.
    settling: Mutex<()>,
}

/// The hall's messages. Cheap to clone.
#[derive(Clone)]
pub struct Messages(Arc<Shared>);

impl Messages {
    pub fn new(settings: settings::Messages, folder: PathBuf, store: Store, events: Events) -> Self {
        Messages(Arc::new(Shared {
            settings,
            folder,
            store,
            events,
            uploads: Semaphore::new(UPLOADS),
            underway: Semaphore::new(UNDERWAY),
            settling: Mutex::default(),
        }))
    }

    /// Writes a message and tells every console.
    async fn keep(&self, row: &MessageRow) -> Result<(), Fault> {
        if let Err(error) = self.0.store.add_message(row).await {
            tracing::error!(%error, thread = row.thread, "a message could not be stored");
            return Err(faults::not_stored());
        }
        self.tell(row);
        Ok(())
    }

    fn tell(&self, row: &MessageRow) {
        self.0.events.tell("message", json!({ "message": row }));
    }

    /// Notes what became of a message at one far end. What has come to an end stays so.
    async fn settle(&self, id: &str, to: &str, state: TextState, leaves_at: Option<Timestamp>, fault: Option<&Fault>) {
        let _alone = self.0.settling.lock().await;
        if let Err(error) = self.settle_alone(id, to, state, leaves_at, fault).await {
            tracing::error!(%error, message = id, to, ?state, "what became of a message could not be written");
        }
    }

    async fn settle_alone(
        &self,
        id: &str,
        to: &str,
        state: TextState,
        leaves_at: Option<Timestamp>,
        fault: Option<&Fault>,
    ) -> Result<(), StoreError> {
        let Some(mut row) = self.0.store.message(id).await? else { return Ok(()) };
        let Some(delivery) = row.deliveries.iter_mut().find(|d| d.to == to && d.state == TextState::Sent) else {
            return Ok(());
        };
        let fault = fault.and_then(|f| serde_json::to_value(f).ok());
        *delivery =
            Delivery { to: to.to_owned(), name: delivery.name.clone(), state, at: Timestamp::now(), leaves_at, fault };
        self.0.store.save_deliveries(id, &row.deliveries).await?;
        self.tell(&row);
        Ok(())
    }

    /// What was on its way when the gateway stopped: nobody will tell what became of it.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        // Bounded: 1,000 at a time.
        for _ in 0..100 {
            let pending = self.0.store.pending_messages().await?;
            if pending.is_empty() {
                break;
            }
            for mut row in pending {
                let fault = serde_json::to_value(faults::interrupted()).ok();
                for d in row.deliveries.iter_mut().filter(|d| d.state == TextState::Sent) {
                    (d.state, d.at, d.leaves_at) = (TextState::Failed, Timestamp::now(), None);
                    d.fault.clone_from(&fault);
                }
                self.0.store.save_deliveries(&row.id, &row.deliveries).await?;
                count += 1;
            }
        }
        Ok(count)
    }
}
