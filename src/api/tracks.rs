//! Where channels are and were; the tree of a device; one channel by its id.

use axum::Json;
use axum::extract::{Path, Query, State};
use bridge_core::{ChannelId, DeviceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::auth::Viewer;
use super::devices::{brief_view, channel_view};
use super::{ApiError, Shared, time};
use crate::store::PositionRow;
use crate::tree::TreeNode;

#[derive(Deserialize, IntoParams)]
pub struct TrackQuery {
    /// Left out: the last hour.
    from: Option<String>,
    to: Option<String>,
    /// At most 10,000; beyond it the newest are given.
    limit: Option<i64>,
}

#[derive(Serialize, ToSchema)]
pub struct Track {
    /// Whose position it is: the channel's own, or that of the device that carries it.
    subject: String,
    /// The newest, however old.
    last: Option<PositionRow>,
    /// Oldest first.
    items: Vec<PositionRow>,
    /// There are more than were given.
    cut: bool,
}

/// Where a channel was in a range of time.
#[utoipa::path(get, path = "/channels/{id}/track", params(("id" = String, Path), TrackQuery), responses((status = 200, body = Track)))]
pub async fn track(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
    Query(q): Query<TrackQuery>,
) -> Result<Json<Track>, ApiError> {
    let to = time::parse_optional(q.to.as_deref())?.unwrap_or_else(|| Timestamp::now().0);
    let from = time::parse_optional(q.from.as_deref())?.unwrap_or(to - 3_600_000);
    let limit = q.limit.unwrap_or(2_000).clamp(1, 10_000);
    let channel = ChannelId(id);
    let device = channel.device();
    // A device that carries the receiver tells its own place, not that of its camera.
    let carrier = ChannelId::new(&device, device.name());
    let mut found = None;
    for subject in [&channel, &carrier] {
        let now = app.reports.last(subject).map(|r| PositionRow::from(&*r));
        let last = match now {
            Some(row) => Some(row),
            None => app.store.track(&subject.0, i64::MIN, i64::MAX, 1).await?.pop(),
        };
        if last.is_some() {
            found = Some((subject, last));
            break;
        }
    }
    let (subject, last) = found.unwrap_or((&channel, None));
    let mut items = app.store.track(&subject.0, from, to, limit + 1).await?;
    let cut = items.len() as i64 > limit;
    if cut {
        items.remove(0);
    }
    Ok(Json(Track { subject: subject.0.clone(), last, items, cut }))
}

/// One channel, with its device.
#[utoipa::path(get, path = "/channels/{id}", params(("id" = String, Path)), responses((status = 200, body = Object), (status = 404)))]
pub async fn channel(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let channel = ChannelId(id.clone());
    let (device, channel) =
        app.registry.channel(&channel).ok_or_else(|| ApiError::not_found(&format!("channel {id}")))?;
    Ok(Json(json!({ "channel": channel_view(&device, &channel), "device": brief_view(&device) })))
}

#[derive(Deserialize, IntoParams)]
pub struct TreeQuery {
    /// Id of the line whose children are asked for, in the device's own world; left out: the roots.
    parent: Option<String>,
    /// Part of a name or id: gives lines from all over the tree, with the names above them.
    query: Option<String>,
    offset: Option<usize>,
    /// At most 1000.
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
pub struct TreePage {
    total: usize,
    items: Vec<TreeNode>,
}

/// A page of a device's tree: regions, platforms, groups, organisations, recorders, cameras.
#[utoipa::path(get, path = "/devices/{id}/tree", params(("id" = String, Path), TreeQuery),
    responses((status = 200, body = TreePage), (status = 404)))]
pub async fn tree(
    State(app): State<Shared>,
    Viewer(_who): Viewer,
    Path(id): Path<String>,
    Query(q): Query<TreeQuery>,
) -> Result<Json<TreePage>, ApiError> {
    let none = || ApiError::not_found(&format!("device {id}, or such a line in its tree"));
    let tree = app.trees.get(&app.registry, &DeviceId(id.clone())).ok_or_else(none)?;
    let (offset, limit) = (q.offset.unwrap_or(0), q.limit.unwrap_or(200).clamp(1, 1000));
    let (total, items) = match q.query.as_deref().filter(|w| !w.is_empty()) {
        Some(words) => tree.search(words, offset, limit),
        None => tree.children(q.parent.as_deref().filter(|p| !p.is_empty()), offset, limit).ok_or_else(none)?,
    };
    Ok(Json(TreePage { total, items }))
}
