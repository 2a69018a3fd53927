//! Attachments: taken in as a stream, known by their content and not by what they are called, kept under names of our own.

use std::path::PathBuf;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bridge_core::Timestamp;
use futures_util::StreamExt;
use media_hub::Fault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{MOST_ROWS, Messages, faults};
use crate::store::{MessageFile, MessageRow, StoreError};

/// A slow sender is cut off after this; 20 MiB come over 1 Mbit/s in 3 min.
const WITHIN: Duration = Duration::from_secs(300);
/// How often old messages are looked for.
const TIDY: Duration = Duration::from_secs(600);
/// Characters of a file's name.
const MOST_NAME: usize = 120;
/// Bytes by which a kind is known.
const HEAD: usize = 16;
/// Bytes that are read at once.
const PIECE: usize = 64 << 10;
/// Where files lie until they are whole.
const UNFINISHED: &str = "unfinished";

/// A kind of file that may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    Jpeg,
    Png,
    Webp,
    Pdf,
    Mp4,
    Text,
    /// Word and Excel: not looked into, only ever downloaded.
    Office,
}

impl File {
    /// By the first bytes; the name decides only where the content has no mark of its own.
    pub fn of(head: &[u8], name: &str) -> Option<File> {
        let name = name.to_lowercase();
        let office = name.ends_with(".docx") || name.ends_with(".xlsx");
        match head {
            [0xFF, 0xD8, 0xFF, ..] => Some(File::Jpeg),
            [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(File::Png),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(File::Webp),
            [b'%', b'P', b'D', b'F', b'-', ..] => Some(File::Pdf),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(File::Mp4),
            [b'P', b'K', 3, 4, ..] if office => Some(File::Office),
            _ if name.ends_with(".txt") => Some(File::Text),
            _ => None,
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            File::Jpeg => "image/jpeg",
            File::Png => "image/png",
            File::Webp => "image/webp",
            File::Pdf => "application/pdf",
            File::Mp4 => "video/mp4",
            File::Text => "text/plain",
            File::Office => "application/octet-stream",
        }
    }

    /// The content is what the kind says, as far as a piece of it shows.
    fn sound(self, piece: &[u8]) -> bool {
        self != File::Text || !piece.iter().any(|b| *b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0C))
    }
}

/// A file name that is safe to show and to save under: no path, no control or direction marks, at most 120 characters.
pub fn clean_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
    };
    let kept: String = last.chars().filter(|c| !hidden(*c) && !"\"<>|:*?".contains(*c)).collect();
    let kept = kept.trim().trim_start_matches('.').trim_end_matches('.');
    // A long name loses its middle: the end says what it is.
    let count = kept.chars().count();
    let kept: String = match count > MOST_NAME {
        true => kept.chars().take(MOST_NAME - 20).chain(kept.chars().skip(count - 20)).collect(),
        false => kept.to_owned(),
    };
    if kept.is_empty() { "file".to_owned() } else { kept }
}

impl Messages {
    fn path(&self, file: &str) -> PathBuf {
        self.0.folder.join(file)
    }

    /// Takes a file in. `length`: what the sender says. It is the caller's to put it into a message or to drop it.
    pub async fn receive(&self, name: &str, length: Option<u64>, body: Body) -> Result<MessageFile, Fault> {
        let most = u64::from(self.0.settings.max_file_megabytes) << 20;
        let too_large = || faults::file_too_large(self.0.settings.max_file_megabytes);
        if length.is_some_and(|n| n > most) {
            return Err(too_large());
        }
        let _place = self.0.uploads.try_acquire().map_err(|_| faults::uploads_busy())?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let part = self.path(UNFINISHED).join(&id);
        let taken = tokio::time::timeout(WITHIN, self.take_in(name, most, &id, body)).await;
        let taken = taken.unwrap_or_else(|_| Err(faults::upload_broken()));
        if taken.is_err() {
            let _ = tokio::fs::remove_file(&part).await;
        }
        taken
    }

    async fn take_in(&self, name: &str, most: u64, id: &str, body: Body) -> Result<MessageFile, Fault> {
        let name = clean_name(name);
        let refused = |error: std::io::Error| {
            tracing::error!(%error, "a file of a message could not be written");
            faults::file_not_stored()
        };
        tokio::fs::create_dir_all(self.path(UNFINISHED)).await.map_err(refused)?;
        let part = self.path(UNFINISHED).join(id);
        let mut out = tokio::fs::File::create_new(&part).await.map_err(refused)?;
        let (mut head, mut kind, mut bytes) = (Vec::new(), None, 0u64);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| faults::upload_broken())?;
            bytes += piece.len() as u64;
            if bytes > most {
                return Err(faults::file_too_large(self.0.settings.max_file_megabytes));
            }
            if head.len() < HEAD {
                head.extend(piece.iter().take(HEAD - head.len()));
            }
            if head.len() >= HEAD && kind.is_none() {
                kind = Some(File::of(&head, &name).ok_or_else(faults::file_refused)?);
            }
            let text = kind.or_else(|| File::of(&head, &name));
            if text == Some(File::Text) && !File::Text.sound(&piece) {
                return Err(faults::file_refused());
            }
            out.write_all(&piece).await.map_err(refused)?;
        }
        if bytes == 0 {
            return Err(faults::file_refused());
        }
        let kind = kind.or_else(|| File::of(&head, &name)).ok_or_else(faults::file_refused)?;
        out.sync_all().await.map_err(refused)?;
        drop(out);
        let day: String = Timestamp::now().to_string().chars().take(10).collect();
        let file = format!("{day}/{id}");
        tokio::fs::create_dir_all(self.path(&day)).await.map_err(refused)?;
        tokio::fs::rename(&part, self.path(&file)).await.map_err(refused)?;
        Ok(MessageFile { file, name, kind: kind.mime().to_owned(), bytes: i64::try_from(bytes).unwrap_or(i64::MAX) })
    }

    /// Takes a still picture of ours in.
    pub async fn receive_still(&self, name: &str, jpeg: Vec<u8>) -> Result<MessageFile, Fault> {
        self.receive(name, Some(jpeg.len() as u64), Body::from(jpeg)).await
    }

    /// Deletes a file that no message wants.
    pub async fn drop_file(&self, file: &MessageFile) {
        let path = self.path(&file.file);
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "a message's file could not be deleted");
            }
            _ => {}
        }
    }

    /// A file in pieces, to be sent.
    pub async fn read(&self, file: &MessageFile) -> std::io::Result<Body> {
        let opened = tokio::fs::File::open(self.path(&file.file)).await?;
        let pieces = futures_util::stream::unfold(opened, |mut file| async move {
            let mut piece = vec![0; PIECE];
            match file.read(&mut piece).await {
                Ok(0) => None,
                Ok(n) => {
                    piece.truncate(n);
                    Some((Ok(Bytes::from(piece)), file))
                }
                Err(error) => Some((Err(error), file)),
            }
        });
        Ok(Body::from_stream(pieces))
    }

    async fn forget(&self, row: &MessageRow) -> Result<(), StoreError> {
        self.0.store.delete_message(&row.id).await?;
        if let Some(file) = &row.file {
            self.drop_file(file).await;
        }
        let gone = serde_json::json!({ "id": row.id, "thread": row.thread });
        self.0.events.tell("message_removed", gone);
        Ok(())
    }

    /// Deletes what is too old or beyond the bounds, the oldest first; gives how many.
    pub async fn tidy(&self, now: Timestamp) -> Result<usize, StoreError> {
        let days = i64::from(self.0.settings.keep_days);
        let before = if days == 0 { i64::MIN } else { now.0 - days * 86_400_000 };
        let most = i64::try_from(self.0.settings.max_megabytes).unwrap_or(i64::MAX).saturating_mul(1 << 20);
        let mut gone = 0;
        // Bounded: a wrong clock must not make this run for ever.
        for _ in 0..200 {
            let old = self.0.store.messages_to_forget(before, most, MOST_ROWS).await?;
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

    /// Tidies for ever. What was not whole when the gateway stopped goes first.
    pub async fn caretaker(self) {
        let _ = tokio::fs::remove_dir_all(self.path(UNFINISHED)).await;
        let mut tick = tokio::time::interval(TIDY);
        loop {
            tick.tick().await;
            match self.tidy(Timestamp::now()).await {
                Ok(0) => {}
                Ok(messages) => tracing::info!(messages, "old messages deleted"),
                Err(error) => tracing::error!(%error, "old messages could not be deleted"),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bridge_core::TextState;

    use super::*;
    use crate::events::Events;
    use crate::settings;
    use crate::store::{Delivery, MessageFilter, Store};
    use crate::testing::TempDir;

    #[test]
    fn names_of_strangers_are_made_safe() {
        for (given, kept) in [
            ("photo.jpg", "photo.jpg"),
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\现场.png", "现场.png"),
            ("a\u{202E}gpj.exe\0\n", "agpj.exe"),
            ("\"<x>|y?.txt", "xy.txt"),
            (".bashrc", "bashrc"),
            (" .. ", "file"),
            ("", "file"),
        ] {
            assert_eq!(clean_name(given), kept, "{given:?}");
        }
        let long = clean_name(&format!("{}.docx", "长".repeat(300)));
        assert!(long.chars().count() == MOST_NAME && long.ends_with(".docx"));
    }

    async fn messages(dir: &TempDir, change: impl FnOnce(&mut settings::Messages)) -> Messages {
        let store = Store::open(&dir.path().join("db")).await.unwrap();
        let mut settings = settings::Messages::default();
        change(&mut settings);
        Messages::new(settings, dir.path().join("messages"), store, Events::default())
    }

    fn row(thread: &str, text: &str, file: Option<MessageFile>, state: TextState) -> MessageRow {
        let now = Timestamp::now();
        let delivery =
            Delivery { to: "phone:8001".into(), name: "A".into(), state, at: now, leaves_at: None, fault: None };
        MessageRow {
            id: uuid::Uuid::now_v7().simple().to_string(),
            at: now.0,
            device_at: None,
            thread: thread.into(),
            thread_name: "t".into(),
            sender: "account:ann".into(),
            name: "ann".into(),
            link: "console".into(),
            text: text.into(),
            file,
            deliveries: vec![delivery],
        }
    }

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n0000000000000000";

    #[tokio::test]
    async fn files_are_known_by_their_content() {
        let dir = TempDir::new();
        let m = messages(&dir, |s| s.max_file_megabytes = 1).await;
        let code = |done: Result<MessageFile, Fault>| done.map(|f| f.kind).map_err(|f| f.code);
        for (name, body, wanted) in [
            ("a.png", PNG.to_vec(), Ok("image/png")),
            ("a.txt", PNG.to_vec(), Ok("image/png")),
            ("a.jpg", b"\xFF\xD8\xFF\xE0 and so on, long enough".to_vec(), Ok("image/jpeg")),
            ("a.webp", b"RIFF\0\0\0\0WEBPVP8 ...".to_vec(), Ok("image/webp")),
            ("报告.PDF", b"%PDF-1.7 and so on, long enough".to_vec(), Ok("application/pdf")),
            ("a.mp4", b"\0\0\0\x20ftypisom0000000000000".to_vec(), Ok("video/mp4")),
            ("a.docx", b"PK\x03\x04 and so on, long enough".to_vec(), Ok("application/octet-stream")),
            ("a.txt", "水位 3 m\r\n".as_bytes().to_vec(), Ok("text/plain")),
            ("a.txt", b"x".to_vec(), Ok("text/plain")),
            ("a.zip", b"PK\x03\x04 and so on, long enough".to_vec(), Err("message_file_refused")),
            ("a.jpg", b"<html><script>alert(1)</script>".to_vec(), Err("message_file_refused")),
            ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), Err("message_file_refused")),
            ("a.txt", b"MZ\0\0 and so on, long enough for it".to_vec(), Err("message_file_refused")),
            ("a.txt", b"".to_vec(), Err("message_file_refused")),
            ("a.txt", vec![b'x'; (1 << 20) + 1], Err("message_file_too_large")),
        ] {
            let done = m.receive(name, None, Body::from(body)).await;
            assert_eq!(code(done), wanted.map(str::to_owned), "{name}");
        }
        assert_eq!(code(m.receive("a.txt", Some(2 << 20), Body::empty()).await), Err("message_file_too_large"));
        let left = std::fs::read_dir(dir.path().join("messages").join(UNFINISHED)).unwrap().count();
        assert_eq!(left, 0, "nothing unfinished stays");
        let file = m.receive("a.png", None, Body::from(PNG)).await.unwrap();
        assert!(!file.file.contains("a.png"));
        let read = axum::body::to_bytes(m.read(&file).await.unwrap(), 1000).await.unwrap();
        assert_eq!(&read[..], PNG);
        // A disk that takes nothing: a fault, and what is stored stays.
        let kept = row("conference:1", "kept", None, TextState::Delivered);
        m.keep(&kept).await.unwrap();
        std::fs::remove_dir_all(dir.path().join("messages")).unwrap();
        std::fs::write(dir.path().join("messages"), "in the way").unwrap();
        assert_eq!(code(m.receive("a.png", None, Body::from(PNG)).await), Err("message_file_not_stored"));
        m.0.store.close().await;
        let fault = m.keep(&row("conference:1", "x", None, TextState::Sent)).await.unwrap_err();
        assert_eq!(fault.code, "message_not_stored");
    }

    #[tokio::test]
    async fn listed_settled_recovered_and_forgotten_the_oldest_first() {
        let dir = TempDir::new();
        let m = messages(&dir, |s| (s.keep_days, s.max_megabytes) = (2, 1)).await;
        for n in 0..30 {
            let thread = if n % 3 == 0 { "phone:8001" } else { "conference:1" };
            m.keep(&row(thread, &n.to_string(), None, TextState::Sent)).await.unwrap();
        }
        let page = |thread: &str, before: Option<String>| MessageFilter {
            thread: Some(thread.into()).filter(|t: &String| !t.is_empty()),
            before,
            limit: 8,
            ..MessageFilter::default()
        };
        let store = &m.0.store;
        let (total, first) = store.messages(&page("conference:1", None)).await.unwrap();
        assert_eq!((total, first.len(), first[0].text.as_str()), (20, 8, "29"));
        let (_, second) = store.messages(&page("conference:1", Some(first[7].id.clone()))).await.unwrap();
        assert!(second[0].id < first[7].id && second[0].text == "17", "{}", second[0].text);
        let threads = store.threads(10).await.unwrap();
        let counts: Vec<_> = threads.iter().map(|t| (t.thread.as_str(), t.count, t.last.text.as_str())).collect();
        assert_eq!(counts, [("conference:1", 20, "29"), ("phone:8001", 10, "27")]);

        // What has come to an end stays so.
        let id = first[0].id.clone();
        m.settle(&id, "phone:8001", TextState::Delivered, None, None).await;
        m.settle(&id, "phone:8001", TextState::Failed, None, Some(&faults::not_in_time())).await;
        assert_eq!(store.message(&id).await.unwrap().unwrap().deliveries[0].state, TextState::Delivered);
        // After a restart nobody knows of the other 29.
        assert_eq!(m.recover().await.unwrap(), 29);
        let other = store.message(&first[1].id).await.unwrap().unwrap();
        assert_eq!(other.deliveries[0].state, TextState::Failed);
        assert_eq!(other.deliveries[0].fault.as_ref().unwrap()["code"], "message_interrupted");
        assert_eq!(m.recover().await.unwrap(), 0);

        // Files beyond the bound: the oldest message with a file goes, texts stay.
        let mut files = Vec::new();
        for n in 0..2 {
            let file = m.receive("a.txt", None, Body::from(vec![b'x'; 600 << 10])).await.unwrap();
            m.keep(&row("conference:1", &format!("file {n}"), Some(file.clone()), TextState::Delivered)).await.unwrap();
            files.push(file);
        }
        assert_eq!(m.tidy(Timestamp::now()).await.unwrap(), 1);
        assert!(m.read(&files[0]).await.is_err() && m.read(&files[1]).await.is_ok());
        assert_eq!(store.messages_held().await.unwrap().0, 31);
        let later = Timestamp(Timestamp::now().0 + 3 * 86_400_000);
        assert_eq!(m.tidy(later).await.unwrap(), 31);
        assert!(m.read(&files[1]).await.is_err());
        store.close().await;
    }
}
