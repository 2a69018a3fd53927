//! Asks a device for its facts and its channels (GB/T 28181-2022 clause 9.5; reference sections 8.1, 8.2 and 11).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{ChannelKind, Timestamp};
use media_hub::Fault;

use crate::catalog::{self, Facts};
use crate::config::seconds;
use crate::facts;
use crate::gather::{Gather, Gathered, Limits};
use crate::ids;
use crate::listen::News;
use crate::peer::Stored;
use crate::shared::{Shared, device_id};
use crate::told;

/// Time for the answer to a single question.
const ANSWER: Duration = Duration::from_secs(10);

/// Puts a device in line for the questions, unless it stands there or is being asked now. `catalog.parallel` are asked at the
/// same time.
pub(crate) fn spawn(shared: &Arc<Shared>, id: &str) {
    if shared.refreshing.insert(id.to_owned(), ()).is_some() {
        return;
    }
    // Each device waits once only, so that the line is bounded by what is registered.
    if !shared.to_ask.join(id, usize::MAX, shared.config.catalog.parallel) {
        return;
    }
    let task = shared.clone();
    shared.tasks.spawn(async move {
        let shutdown = task.ctx.shutdown.clone();
        tokio::select! {
            () = ask_in_line(&task) => {}
            () = shutdown.cancelled() => {}
        }
    });
}

/// Asks one device after the other until nobody waits.
async fn ask_in_line(shared: &Arc<Shared>) {
    while let Some(id) = shared.to_ask.next() {
        refresh(shared, &id).await;
        shared.refreshing.remove(&id);
        // What is known now may show that it moves, or that it is a recorder.
        let _ = shared.news.send(News::Known(id)).await;
    }
}

async fn refresh(shared: &Arc<Shared>, id: &str) {
    catalogued(shared, id).await;
    if shared.config.keepalive.ask_device || shared.config.clock_offset_max > 0 {
        facts::line_up(shared, id);
    }
}

async fn catalogued(shared: &Arc<Shared>, id: &str) {
    if let Ok(Some(facts)) = device_info(shared, id).await {
        apply_facts(shared, id, &facts);
    }
    for attempt in 1..=2 {
        match catalog_once(shared, id).await {
            Ok(gathered) => {
                let outcome = if gathered.complete { "complete" } else { "partial" };
                shared.metrics.catalog_queries.with_label_values(&[outcome]).inc();
                tracing::info!(
                    device = id,
                    channels = gathered.items.len(),
                    announced = gathered.announced,
                    outcome,
                    "catalog"
                );
                let complete = gathered.complete;
                apply(shared, id, gathered);
                if complete {
                    return;
                }
            }
            Err(fault) => {
                shared.metrics.catalog_queries.with_label_values(&["failed"]).inc();
                tracing::warn!(device = id, attempt, fault = %fault, "catalog query failed");
            }
        }
        if shared.peer(id).is_none_or(|p| !p.online) {
            return;
        }
    }
}

async fn device_info(shared: &Arc<Shared>, id: &str) -> Result<Option<Facts>, Fault> {
    let mut asked = shared.ask(id, "DeviceInfo", id).await?;
    let answer = tokio::time::timeout(ANSWER, asked.answers.recv()).await.ok().flatten();
    Ok(answer.map(|m| catalog::facts(&m.tree)))
}

fn apply_facts(shared: &Shared, id: &str, facts: &Facts) {
    shared.ctx.registry.change(&device_id(id), |d| {
        let set = |to: &mut String, from: &String| {
            if !from.is_empty() {
                to.clone_from(from);
            }
        };
        set(&mut d.name, &facts.name);
        set(&mut d.manufacturer, &facts.manufacturer);
        set(&mut d.model, &facts.model);
        set(&mut d.firmware, &facts.firmware);
    });
    shared.quirks.forget(id);
}

async fn catalog_once(shared: &Arc<Shared>, id: &str) -> Result<Gathered, Fault> {
    let settings = &shared.config.catalog;
    let limits = Limits {
        first: seconds(shared.profile(id).catalog_first.unwrap_or(settings.first)),
        idle: seconds(settings.idle),
        total: seconds(settings.total),
        items: settings.max_channels,
    };
    let mut asked = shared.ask(id, "Catalog", id).await?;
    let mut gather = Gather::new(Instant::now(), limits);
    loop {
        let until = tokio::time::Instant::from_std(gather.deadline());
        match tokio::time::timeout_at(until, asked.answers.recv()).await {
            Ok(Some(message)) => {
                if gather.add(Instant::now(), catalog::piece(&message.tree)) {
                    break;
                }
            }
            Ok(None) => break,
            Err(_) => break,
        }
    }
    if !gather.any() {
        return Err(crate::faults::signalling_failed("设备没有返回目录 / the device sent no catalog"));
    }
    Ok(gather.finish())
}

fn apply(shared: &Shared, id: &str, mut gathered: Gathered) {
    let device = device_id(id);
    let datum = shared.datum(id);
    gathered.items.iter_mut().for_each(|i| i.place_in(datum));
    if let Some(mut peer) = shared.peers.get_mut(id) {
        let single = gathered.items.iter().filter(|i| i.single_stream).map(|i| i.id.clone());
        let asked: HashSet<&str> = gathered.items.iter().map(|i| i.id.as_str()).collect();
        let before = peer.single_streams.iter().filter(|c| !gathered.complete && !asked.contains(c.as_str())).cloned();
        peer.single_streams = Arc::new(single.chain(before).collect());
    }
    if gathered.items.iter().any(|i| i.mobile) {
        told::note_mobile(shared, id);
    }
    let channels = catalog::channels(&device, &gathered.items, shared.config.invite_types(id));
    shared.ctx.registry.change(&device, |d| {
        let channels = if gathered.complete { channels } else { catalog::merge(&d.channels, channels) };
        // A recorder often has a better name in its own item, or only there.
        if d.name == id
            && let Some(item) = gathered.items.iter().find(|i| i.id == id).filter(|i| !i.name.is_empty())
        {
            d.name.clone_from(&item.name);
        }
        // A device that does not answer DeviceInfo tells its maker in the catalog.
        if d.manufacturer.is_empty()
            && let Some(item) = gathered.items.iter().filter(|i| !i.manufacturer.is_empty()).min_by_key(|i| i.id != id)
        {
            d.manufacturer.clone_from(&item.manufacturer);
            d.model.clone_from(&item.model);
        }
        let videos = channels.iter().filter(|c| c.kind == ChannelKind::Video).count();
        if ids::device_kind(id) == bridge_core::DeviceKind::Camera && videos > 1 {
            d.kind = bridge_core::DeviceKind::Nvr;
        }
        d.channels = channels;
        let mut stored = Stored::read(d);
        if gathered.complete {
            stored.catalog_at = Some(Timestamp::now().0);
        }
        d.private = stored.write();
    });
    shared.quirks.forget(id);
}
