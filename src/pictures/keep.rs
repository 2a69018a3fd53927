//! Files and index of the pictures, and how long they stay.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bridge_core::{ChannelId, Timestamp};
use serde_json::json;

use super::Pictures;
use crate::store::{PictureFilter, PictureRow, StoreError};

/// What is known of a picture before it is kept.
pub(super) struct New<'a> {
    pub channel: &'a ChannelId,
    pub session: &'a str,
    pub source: &'static str,
    pub by: &'a str,
    pub taken_at: Option<Timestamp>,
    pub name: &'a str,
    pub width: u16,
    pub height: u16,
}

/// How often old pictures are looked for.
const TIDY: Duration = Duration::from_secs(600);

impl Pictures {
    fn path(&self, file: &str) -> PathBuf {
        self.0.folder.join(file)
    }

    /// Writes the file, then the row: a crash between them leaves a file without a row, which harms nobody.
    pub(super) async fn keep(&self, new: New<'_>, jpeg: &[u8]) -> Result<PictureRow, String> {
        let now = Timestamp::now();
        let id = uuid::Uuid::now_v7().simple().to_string();
        let day: String = now.to_string().chars().take(10).collect();
        let file = format!("{day}/{id}.jpg");
        let path = self.path(&file);
        write(&path, jpeg).await.map_err(|e| format!("{}: {e}", path.display()))?;
        let row = PictureRow {
            id,
            channel: new.channel.0.clone(),
            device: new.channel.device().0,
            taken_at: new.taken_at.unwrap_or(now).0,
            received_at: now.0,
            session: new.session.to_owned(),
            source: new.source.to_owned(),
            ordered_by: new.by.to_owned(),
            file,
            name: new.name.to_owned(),
            bytes: jpeg.len() as i64,
            width: new.width.into(),
            height: new.height.into(),
        };
        if let Err(error) = self.0.store.add_picture(&row).await {
            let _ = tokio::fs::remove_file(&path).await;
            return Err(error.to_string());
        }
        self.change(new.session, |o| o.pictures.push(row.clone()));
        self.0.events.tell("picture", json!({ "picture": row }));
        Ok(row)
    }

    pub async fn list(&self, filter: &PictureFilter) -> Result<(i64, Vec<PictureRow>), StoreError> {
        self.0.store.pictures(filter).await
    }

    pub async fn get(&self, id: &str) -> Result<Option<PictureRow>, StoreError> {
        self.0.store.picture(id).await
    }

    pub async fn read(&self, row: &PictureRow) -> std::io::Result<Vec<u8>> {
        tokio::fs::read(self.path(&row.file)).await
    }

    /// False when there is no such picture.
    pub async fn delete(&self, id: &str) -> Result<bool, StoreError> {
        let Some(row) = self.0.store.picture(id).await? else { return Ok(false) };
        self.forget(&row).await?;
        Ok(true)
    }

    async fn forget(&self, row: &PictureRow) -> Result<(), StoreError> {
        self.0.store.delete_picture(&row.id).await?;
        let path = self.path(&row.file);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a picture's file could not be deleted");
            }
            _ => {}
        }
        self.0.events.tell("picture_removed", json!({ "id": row.id, "channel": row.channel }));
        Ok(())
    }

    /// Deletes what is too old or beyond the size; gives how many.
    pub(super) async fn tidy(&self, now: Timestamp) -> Result<usize, StoreError> {
        let days = i64::from(self.0.settings.keep_days);
        let before = if days == 0 { i64::MIN } else { now.0 - days * 86_400_000 };
        let most = i64::try_from(self.0.settings.max_megabytes).unwrap_or(i64::MAX).saturating_mul(1 << 20);
        let mut gone = 0;
        // Bounded: a wrong clock must not make this run for ever.
        for _ in 0..200 {
            let old = self.0.store.pictures_to_forget(before, most).await?;
            if old.is_empty() {
                break;
            }
            for row in &old {
                self.forget(row).await?;
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Tidies for ever.
    pub async fn caretaker(self) {
        let mut tick = tokio::time::interval(TIDY);
        loop {
            tick.tick().await;
            match self.tidy(Timestamp::now()).await {
                Ok(0) => {}
                Ok(pictures) => tracing::info!(pictures, "old pictures deleted"),
                Err(error) => tracing::error!(%error, "old pictures could not be deleted"),
            }
        }
    }
}

/// The whole file or none.
async fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    let half = path.with_extension("part");
    let done = async {
        tokio::fs::write(&half, bytes).await?;
        tokio::fs::rename(&half, path).await
    }
    .await;
    if done.is_err() {
        let _ = tokio::fs::remove_file(&half).await;
    }
    done
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::events::Events;
    use crate::settings;
    use crate::store::Store;

    async fn pictures(name: &str, change: impl FnOnce(&mut settings::Pictures)) -> (Pictures, PathBuf) {
        let folder = std::env::temp_dir().join(format!("skybridge-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let store = Store::open(&folder.join("db")).await.unwrap();
        let mut settings = settings::Pictures::default();
        change(&mut settings);
        (Pictures::new(settings, folder.join("pictures"), store, Events::default()), folder)
    }

    fn new<'a>(channel: &'a ChannelId) -> New<'a> {
        New { channel, session: "s", source: "device", by: "admin", taken_at: None, name: "", width: 1, height: 1 }
    }

    #[tokio::test]
    async fn kept_listed_read_and_deleted() {
        let (pictures, folder) = pictures("keep", |_| {}).await;
        let channel = ChannelId("gb28181:1/2".into());
        let first = pictures.keep(new(&channel), b"one").await.unwrap();
        let second = pictures.keep(new(&ChannelId("gb28181:1/3".into())), b"two").await.unwrap();
        let filter = PictureFilter { channel: Some(channel.0.clone()), limit: 10, ..PictureFilter::default() };
        assert_eq!(pictures.list(&filter).await.unwrap(), (1, vec![first.clone()]));
        assert_eq!(pictures.read(&first).await.unwrap(), b"one");
        assert!(pictures.delete(&first.id).await.unwrap() && !pictures.delete(&first.id).await.unwrap());
        assert!(pictures.read(&first).await.is_err() && pictures.read(&second).await.is_ok());
        assert!(!folder.join("pictures").join(&first.file).exists());
        let _ = std::fs::remove_dir_all(folder);
    }

    #[tokio::test]
    async fn age_and_size_are_bounded() {
        let (pictures, folder) = pictures("bounds", |s| {
            s.keep_days = 2;
            s.max_megabytes = 1;
        })
        .await;
        let channel = ChannelId("gb28181:1/2".into());
        let big = vec![7; 600 << 10];
        let first = pictures.keep(new(&channel), &big).await.unwrap();
        let second = pictures.keep(new(&channel), &big).await.unwrap();
        assert_eq!(pictures.tidy(Timestamp::now()).await.unwrap(), 1);
        assert_eq!(pictures.get(&first.id).await.unwrap(), None);
        assert!(pictures.get(&second.id).await.unwrap().is_some());
        let later = Timestamp(Timestamp::now().0 + 3 * 86_400_000);
        assert_eq!(pictures.tidy(later).await.unwrap(), 1);
        assert_eq!(pictures.tidy(later).await.unwrap(), 0);
        let _ = std::fs::remove_dir_all(folder);
    }
}
