//! The table of all devices: in memory for reading, written through to durable storage behind the back of signalling.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::device::{Channel, ChannelId, Device, DeviceId};

/// Durable storage of devices; the hall implements it. Called from one writer task only.
pub trait DeviceStore: Send + Sync + 'static {
    fn save<'a>(&'a self, devices: &'a [Device]) -> crate::BoxFuture<'a, Result<(), String>>;
    fn delete<'a>(&'a self, id: &'a DeviceId) -> crate::BoxFuture<'a, Result<(), String>>;
}

#[derive(Debug, Clone)]
pub enum RegistryEvent {
    Changed(Arc<Device>),
    Removed(DeviceId),
    /// Somebody was refused as this device; told at most once a minute for each device.
    Refused {
        id: DeviceId,
        address: String,
        reason: media_hub::Text,
    },
    /// A device calls the hall by itself (an emergency button, a wish to talk), and what became of the call.
    Calls {
        id: DeviceId,
        answer: media_hub::Text,
    },
    /// Something that an operator should read: the result of an order that came late, for example.
    Note {
        id: DeviceId,
        grave: bool,
        text: media_hub::Text,
    },
}

enum Write {
    /// Tells when everything before it is on disk.
    Flush(oneshot::Sender<()>),
    Save(DeviceId),
    Delete(DeviceId),
}

struct Shared {
    devices: DashMap<DeviceId, Arc<Device>>,
    events: broadcast::Sender<RegistryEvent>,
    writes: mpsc::Sender<Write>,
    refused: DashMap<DeviceId, Instant>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

/// Changes that may wait for the disk. Beyond it the oldest truth on disk stays until the device changes again.
const WRITE_QUEUE: usize = 262_144;
/// Changes are gathered so long before they are written: a device that has just come changes three times in a second, and it is
/// written once. What a power cut may lose.
const GATHER: Duration = Duration::from_millis(250);
/// Devices written in one transaction.
const WRITE_BATCH: usize = 2048;

impl Registry {
    /// `known` is what storage held; its devices are there at once, with the state they had.
    pub fn new(known: Vec<Device>, store: Arc<dyn DeviceStore>) -> Self {
        let (writes, queue) = mpsc::channel(WRITE_QUEUE);
        let devices = known.into_iter().map(|d| (d.id.clone(), Arc::new(d))).collect();
        let registry = Registry(Arc::new(Shared {
            devices,
            events: broadcast::Sender::new(4096),
            writes,
            refused: DashMap::new(),
        }));
        let shared = Arc::downgrade(&registry.0);
        tokio::spawn(write_behind(shared, queue, store));
        registry
    }

    pub fn events(&self) -> broadcast::Receiver<RegistryEvent> {
        self.0.events.subscribe()
    }

    pub fn get(&self, id: &DeviceId) -> Option<Arc<Device>> {
        self.0.devices.get(id).map(|d| d.clone())
    }

    /// (devices on line, all devices).
    pub fn counts(&self) -> (usize, usize) {
        let online = self.0.devices.iter().filter(|d| d.online).count();
        (online, self.0.devices.len())
    }

    /// Whether a device that is on line has this address.
    pub fn any_at(&self, ip: std::net::IpAddr) -> bool {
        let (plain, written) = (format!("{ip}:"), std::net::SocketAddr::new(ip, 0).to_string());
        let written = written.trim_end_matches('0');
        self.0.devices.iter().any(|d| d.online && (d.address.starts_with(&plain) || d.address.starts_with(written)))
    }

    /// All devices, ordered by id.
    pub fn all(&self) -> Vec<Arc<Device>> {
        let mut all: Vec<Arc<Device>> = self.0.devices.iter().map(|d| d.clone()).collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    pub fn of_bridge(&self, bridge: &str) -> Vec<Arc<Device>> {
        self.all().into_iter().filter(|d| d.bridge() == bridge).collect()
    }

    pub fn channel(&self, id: &ChannelId) -> Option<(Arc<Device>, Channel)> {
        let device = self.get(&id.device())?;
        let channel = device.channels.iter().find(|c| c.id == *id)?.clone();
        Some((device, channel))
    }

    /// Puts a device in the table. Unchanged ones tell nobody.
    pub fn put(&self, device: Device) {
        let id = device.id.clone();
        let device = Arc::new(device);
        let old = self.0.devices.insert(id.clone(), device.clone());
        if old.as_deref().is_some_and(|old| *old == *device) {
            return;
        }
        let _ = self.0.events.send(RegistryEvent::Changed(device));
        self.queue(Write::Save(id));
    }

    /// Changes a known device; false if there is none. Two changes at once both count: `change` runs under the lock of the
    /// device's place in the table, so it must not ask the registry for anything.
    pub fn change(&self, id: &DeviceId, change: impl FnOnce(&mut Device)) -> bool {
        let Some(mut entry) = self.0.devices.get_mut(id) else { return false };
        let mut device = (**entry).clone();
        change(&mut device);
        if **entry == device {
            return true;
        }
        let device = Arc::new(device);
        *entry = device.clone();
        drop(entry);
        let _ = self.0.events.send(RegistryEvent::Changed(device));
        self.queue(Write::Save(id.clone()));
        true
    }

    /// Notes a sign of life without telling everyone: a keepalive changes nothing that a console shows at once, and it is
    /// not worth a write.
    pub fn seen(&self, id: &DeviceId, at: crate::Timestamp) {
        if let Some(mut entry) = self.0.devices.get_mut(id) {
            Arc::make_mut(entry.value_mut()).last_seen_at = Some(at);
        }
    }

    /// Tells that a registration as `id` was refused. Known or not, the table is not changed.
    pub fn refused(&self, id: &DeviceId, address: String, reason: media_hub::Text) {
        const QUIET: Duration = Duration::from_secs(60);
        if self.0.refused.len() >= 10_000 {
            self.0.refused.retain(|_, at| at.elapsed() < QUIET);
            if self.0.refused.len() >= 10_000 {
                return;
            }
        }
        let quiet = self.0.refused.get(id).is_some_and(|at| at.elapsed() < QUIET);
        if !quiet {
            self.0.refused.insert(id.clone(), Instant::now());
            let _ = self.0.events.send(RegistryEvent::Refused { id: id.clone(), address, reason });
        }
    }

    /// Tells that a device calls. At most one event in ten seconds for each device.
    pub fn calls(&self, id: &DeviceId, answer: media_hub::Text) {
        const QUIET: Duration = Duration::from_secs(10);
        let key = DeviceId(format!("{id}#calls"));
        if self.0.refused.len() >= 10_000 || self.0.refused.get(&key).is_some_and(|at| at.elapsed() < QUIET) {
            return;
        }
        self.0.refused.insert(key, Instant::now());
        let _ = self.0.events.send(RegistryEvent::Calls { id: id.clone(), answer });
    }

    /// Tells operators something about a device.
    pub fn note(&self, id: &DeviceId, grave: bool, text: media_hub::Text) {
        let _ = self.0.events.send(RegistryEvent::Note { id: id.clone(), grave, text });
    }

    pub fn remove(&self, id: &DeviceId) -> bool {
        if self.0.devices.remove(id).is_none() {
            return false;
        }
        let _ = self.0.events.send(RegistryEvent::Removed(id.clone()));
        self.queue(Write::Delete(id.clone()));
        true
    }

    /// Waits until all changes so far are on disk, or were refused by it.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.queue(Write::Flush(done));
        let _ = written.await;
    }

    fn queue(&self, write: Write) {
        if self.0.writes.try_send(write).is_err() {
            tracing::error!("the device table's write queue is full: the disk does not keep up");
        }
    }
}

async fn write_behind(shared: std::sync::Weak<Shared>, mut queue: mpsc::Receiver<Write>, store: Arc<dyn DeviceStore>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, WRITE_BATCH).await > 0 {
        let waited_for = batch.iter().any(|w| matches!(w, Write::Flush(_)));
        if batch.len() < WRITE_BATCH && !waited_for {
            tokio::time::sleep(GATHER).await;
            while batch.len() < WRITE_BATCH {
                let Ok(write) = queue.try_recv() else { break };
                batch.push(write);
            }
        }
        let mut saves: HashSet<DeviceId> = HashSet::new();
        let mut waiting = Vec::new();
        for write in batch.drain(..) {
            match write {
                Write::Flush(done) => waiting.push(done),
                Write::Save(id) => {
                    saves.insert(id);
                }
                Write::Delete(id) => {
                    saves.remove(&id);
                    if let Err(error) = store.delete(&id).await {
                        tracing::error!(device = %id, error, "cannot delete a device from storage");
                    }
                }
            }
        }
        let Some(shared) = shared.upgrade() else { return };
        let devices: Vec<Device> =
            saves.iter().filter_map(|id| shared.devices.get(id).map(|d| (**d.value()).clone())).collect();
        drop(shared);
        if !devices.is_empty()
            && let Err(error) = store.save(&devices).await
        {
            tracing::error!(count = devices.len(), error, "cannot save devices");
        }
        for done in waiting {
            let _ = done.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeviceKind;

    struct Nowhere;

    impl DeviceStore for Nowhere {
        fn save<'a>(&'a self, _: &'a [Device]) -> crate::BoxFuture<'a, Result<(), String>> {
            Box::pin(async { Ok(()) })
        }
        fn delete<'a>(&'a self, _: &'a DeviceId) -> crate::BoxFuture<'a, Result<(), String>> {
            Box::pin(async { Ok(()) })
        }
    }

    #[tokio::test]
    async fn changes_at_the_same_time_all_count() {
        let id = DeviceId::new("test", "1");
        let device = Device::new(id.clone(), DeviceKind::Camera);
        let registry = Registry::new(vec![device], Arc::new(Nowhere));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..500).for_each(|_| assert!(registry.change(&id, |d| d.name.push('x')))));
            }
        });
        assert_eq!(registry.get(&id).map(|d| d.name.len()), Some(2000));
        assert!(!registry.change(&DeviceId::new("test", "2"), |d| d.online = true));
    }

    /// What reached the store: names of the devices of each write, or the id of one deleted.
    #[derive(Default)]
    struct Book(std::sync::Mutex<Vec<String>>);

    impl Book {
        fn lines(&self) -> Vec<String> {
            self.0.lock().map(|l| l.clone()).unwrap_or_default()
        }
    }

    impl DeviceStore for Book {
        fn save<'a>(&'a self, devices: &'a [Device]) -> crate::BoxFuture<'a, Result<(), String>> {
            let names: Vec<&str> = devices.iter().map(|d| d.name.as_str()).collect();
            let line = names.join(",");
            Box::pin(async move {
                self.0.lock().map_err(|e| e.to_string())?.push(line);
                Ok(())
            })
        }
        fn delete<'a>(&'a self, id: &'a DeviceId) -> crate::BoxFuture<'a, Result<(), String>> {
            Box::pin(async move {
                self.0.lock().map_err(|e| e.to_string())?.push(format!("-{id}"));
                Ok(())
            })
        }
    }

    #[tokio::test]
    async fn a_device_that_changes_often_is_written_once_and_what_went_is_deleted() {
        let book = Arc::new(Book::default());
        let registry = Registry::new(Vec::new(), book.clone());
        let id = DeviceId::new("test", "1");
        registry.put(Device::new(id.clone(), DeviceKind::Camera));
        for n in 0..100 {
            registry.change(&id, |d| d.name = n.to_string());
        }
        registry.flush().await;
        assert_eq!(book.lines(), ["99"]);
        registry.change(&id, |d| d.name = "last".into());
        registry.flush().await;
        assert_eq!(book.lines().last().map(String::as_str), Some("last"));
        registry.change(&id, |d| d.name = "gone".into());
        assert!(registry.remove(&id));
        registry.flush().await;
        assert_eq!(book.lines().last().map(String::as_str), Some("-test:1"), "no late write brings it back");
    }
}
