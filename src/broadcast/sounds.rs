//! Sounds of one's own: WAV files that are kept to be said again, such as a siren or the words of a mayor.

use std::path::PathBuf;

use bridge_core::Timestamp;
use media_core::wav::Wav;
use media_hub::Fault;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};
use utoipa::ToSchema;
use uuid::Uuid;

use super::faults;
use super::sound::LONGEST;
use crate::store::{DeskKind, Store, StoreError};

/// Most sounds.
pub(crate) const MOST: usize = 100;
/// Largest file.
pub(crate) const MOST_BYTES: usize = 64 << 20;

/// A sound that is kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Sound {
    #[serde(default)]
    pub id: String,
    pub name: String,
    pub seconds: f64,
    pub by: String,
    #[schema(value_type = String)]
    pub at: Timestamp,
}

/// All of them: their files beneath the data directory, their names in the database.
pub struct Sounds {
    directory: PathBuf,
    store: Store,
    uploads: Semaphore,
}

impl Sounds {
    pub fn new(directory: PathBuf, store: Store) -> Sounds {
        Sounds { directory, store, uploads: Semaphore::new(1) }
    }

    /// The turn to bring a file; none: another one is being brought.
    pub fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.uploads.try_acquire().ok()
    }

    fn path(&self, id: &str) -> Option<PathBuf> {
        // Only names that we gave.
        Uuid::try_parse(id).ok().map(|id| self.directory.join(format!("{}.wav", id.simple())))
    }

    pub async fn all(&self) -> Result<Vec<Sound>, StoreError> {
        let all = self.store.desk_items::<Sound>(DeskKind::BroadcastSound).await?;
        Ok(all.into_iter().map(|(id, sound)| Sound { id, ..sound }).collect())
    }

    pub async fn read(&self, id: &str) -> Option<Vec<u8>> {
        tokio::fs::read(self.path(id)?).await.ok()
    }

    /// The sound, ready to be played.
    pub async fn wav(&self, id: &str) -> Result<Wav, Fault> {
        let bytes = self.read(id).await.ok_or_else(|| faults::bad_sound("there is no such sound"))?;
        parse(bytes).await
    }

    /// Keeps a file.
    pub async fn add(&self, name: &str, by: &str, bytes: Vec<u8>) -> Result<Sound, Fault> {
        let wav = parse(bytes).await?;
        let not_kept = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a sound could not be stored");
            faults::not_kept()
        };
        let id = Uuid::now_v7().simple().to_string();
        let sound = Sound {
            id: id.clone(),
            name: name.to_owned(),
            seconds: wav.seconds(),
            by: by.to_owned(),
            at: Timestamp::now(),
        };
        let path = self.path(&id).ok_or_else(faults::not_kept)?;
        tokio::fs::create_dir_all(&self.directory).await.map_err(|e| not_kept(&e))?;
        // Written as we read it, so that nothing else of the file is kept.
        if let Err(error) = tokio::fs::write(&path, wav.write()).await {
            let _ = tokio::fs::remove_file(&path).await;
            return Err(not_kept(&error));
        }
        let kept = self.store.put_desk_item(DeskKind::BroadcastSound, &id, &sound).await;
        kept.map_err(|e| not_kept(&e))?;
        Ok(sound)
    }

    /// False: there is none.
    pub async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let Some(path) = self.path(id) else { return Ok(false) };
        let known = self.store.delete_desk_item(DeskKind::BroadcastSound, id).await?;
        let _ = tokio::fs::remove_file(path).await;
        Ok(known)
    }
}

async fn parse(bytes: Vec<u8>) -> Result<Wav, Fault> {
    let read = tokio::task::spawn_blocking(move || Wav::parse(&bytes, LONGEST)).await;
    let wav = read.map_err(|e| faults::bad_sound(&e.to_string()))?.map_err(|e| faults::bad_sound(&e.to_string()))?;
    if wav.seconds() < 0.1 {
        return Err(faults::bad_sound("it is empty"));
    }
    Ok(wav)
}
