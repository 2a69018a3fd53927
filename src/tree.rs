//! A device's channels as a tree: regions, lower platforms, business groups, virtual organisations, recorders, cameras. Made once
//! after each change of a device and read by pages, so that a platform with tens of thousands of channels opens at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bridge_core::{Channel, ChannelKind, Device, DeviceId, Registry};
use serde::Serialize;

/// Trees kept at once; the ones not looked at for longest go first.
const KEPT: usize = 64;
/// A tree older than this is made anew even if no change was told.
const FRESH: Duration = Duration::from_secs(30);
/// Deepest nesting that is followed.
const DEPTH: usize = 32;
/// Devices with more channels than this are given without them; their tree is read by pages.
pub const INLINE: usize = 500;

/// What stands in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    Region,
    Platform,
    Group,
    Organisation,
    Recorder,
    Camera,
    Other,
}

/// One line.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct TreeNode {
    /// In the device's own world.
    pub id: String,
    /// For the API: `BRIDGE:DEVICE/ID`.
    pub channel: String,
    pub name: String,
    pub kind: NodeKind,
    pub online: bool,
    pub ptz: bool,
    /// It can be watched.
    pub video: bool,
    /// Directly beneath it.
    pub children: usize,
    /// Cameras beneath it, however deep, and those of them on line.
    pub cameras: usize,
    pub cameras_online: usize,
    /// Names above it, from the root; only in answers to a search.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    #[serde(skip)]
    below: Vec<u32>,
    #[serde(skip)]
    above: Option<u32>,
}

/// The whole tree of one device.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<TreeNode>,
    roots: Vec<u32>,
    by_id: HashMap<String, u32>,
}

/// Type code of a 20-digit id of GB/T 28181; other worlds have none.
fn type_code(id: &str) -> Option<u16> {
    (id.len() == 20 && id.bytes().all(|b| b.is_ascii_digit())).then(|| id.get(10..13)?.parse().ok()).flatten()
}

fn kind(channel: &Channel) -> NodeKind {
    let id = channel.id.name();
    match (channel.kind, type_code(id)) {
        (ChannelKind::Video, _) => NodeKind::Camera,
        (_, Some(200)) => NodeKind::Platform,
        (_, Some(215)) => NodeKind::Group,
        (_, Some(216)) => NodeKind::Organisation,
        (_, Some(111..=113 | 118 | 122 | 130)) => NodeKind::Recorder,
        (ChannelKind::Other, None) if id.len() <= 8 && id.bytes().all(|b| b.is_ascii_digit()) => NodeKind::Region,
        _ => NodeKind::Other,
    }
}

/// Whether a device's channels are more than a flat list.
pub fn is_tree(device: &Device) -> bool {
    device.channels.len() > INLINE
        || device.channels.iter().any(|c| !matches!(kind(c), NodeKind::Camera | NodeKind::Other))
}

impl Tree {
    pub fn new(device: &Device) -> Tree {
        let mut nodes: Vec<TreeNode> = device
            .channels
            .iter()
            .map(|c| TreeNode {
                id: c.id.name().to_owned(),
                channel: c.id.0.clone(),
                name: c.name.clone(),
                kind: kind(c),
                online: c.online && device.online,
                ptz: c.ptz,
                video: c.kind == ChannelKind::Video,
                children: 0,
                cameras: 0,
                cameras_online: 0,
                path: Vec::new(),
                below: Vec::new(),
                above: None,
            })
            .collect();
        let by_id: HashMap<String, u32> =
            nodes.iter().enumerate().map(|(n, node)| (node.id.clone(), n as u32)).collect();
        let above: Vec<Option<u32>> = device
            .channels
            .iter()
            .enumerate()
            .map(|(n, c)| c.parent.as_ref().and_then(|p| by_id.get(p)).copied().filter(|p| *p as usize != n))
            .collect();
        // One that is its own ancestor, or too deep, hangs at the root: nothing may be out of reach.
        let mut roots = Vec::new();
        for n in 0..nodes.len() {
            let mut up = above.get(n).copied().flatten();
            let mut steps = 0;
            while let Some(at) = up {
                steps += 1;
                if steps > DEPTH || at as usize == n {
                    break;
                }
                up = above.get(at as usize).copied().flatten();
            }
            let parent = above.get(n).copied().flatten().filter(|_| up.is_none());
            if let Some(node) = nodes.get_mut(n) {
                node.above = parent;
            }
            match parent.and_then(|p| nodes.get_mut(p as usize)) {
                Some(parent) => parent.below.push(n as u32),
                None => roots.push(n as u32),
            }
        }
        let mut tree = Tree { nodes, roots, by_id };
        tree.count();
        tree.sort();
        tree
    }

    fn count(&mut self) {
        for n in 0..self.nodes.len() {
            let Some(node) = self.nodes.get(n) else { continue };
            if node.kind != NodeKind::Camera {
                continue;
            }
            let online = usize::from(node.online);
            let mut up = node.above;
            while let Some(parent) = up.and_then(|at| self.nodes.get_mut(at as usize)) {
                parent.cameras += 1;
                parent.cameras_online += online;
                up = parent.above;
            }
        }
        for node in &mut self.nodes {
            node.children = node.below.len();
        }
    }

    fn sort(&mut self) {
        let keys: Vec<(NodeKind, String)> = self.nodes.iter().map(|n| (n.kind, n.id.clone())).collect();
        let order = |a: &u32, b: &u32| keys.get(*a as usize).cmp(&keys.get(*b as usize));
        for node in &mut self.nodes {
            node.below.sort_by(order);
        }
        self.roots.sort_by(order);
    }

    /// The lines beneath `parent` (none: the roots): how many there are, and one page. None when there is no such line.
    pub fn children(&self, parent: Option<&str>, offset: usize, limit: usize) -> Option<(usize, Vec<TreeNode>)> {
        let list = match parent {
            None => &self.roots,
            Some(id) => &self.nodes.get(*self.by_id.get(id)? as usize)?.below,
        };
        let page = list.iter().skip(offset).take(limit).filter_map(|n| self.nodes.get(*n as usize).cloned());
        Some((list.len(), page.collect()))
    }

    /// Lines whose name or id holds `words`, with the names above them.
    pub fn search(&self, words: &str, offset: usize, limit: usize) -> (usize, Vec<TreeNode>) {
        let words = words.to_lowercase();
        let fits = |n: &&TreeNode| n.name.to_lowercase().contains(&words) || n.id.contains(&words);
        let found: Vec<&TreeNode> = self.nodes.iter().filter(fits).collect();
        let page = found.iter().skip(offset).take(limit).map(|n| {
            let mut node = (*n).clone();
            let mut up = node.above.and_then(|at| self.nodes.get(at as usize));
            while let Some(parent) = up {
                node.path.insert(0, parent.name.clone());
                up = parent.above.and_then(|at| self.nodes.get(at as usize));
            }
            node
        });
        (found.len(), page.collect())
    }
}

/// Trees that were asked for.
#[derive(Default)]
pub struct Trees(Mutex<HashMap<DeviceId, (Instant, Arc<Tree>)>>);

impl Trees {
    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<DeviceId, (Instant, Arc<Tree>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tree of a device; none when there is no such device.
    pub fn get(&self, registry: &Registry, id: &DeviceId) -> Option<Arc<Tree>> {
        if let Some((made, tree)) = self.table().get(id)
            && made.elapsed() < FRESH
        {
            return Some(tree.clone());
        }
        let device = registry.get(id)?;
        let tree = Arc::new(Tree::new(&device));
        // Small ones are made faster than kept.
        if device.channels.len() > INLINE {
            let mut table = self.table();
            if table.len() >= KEPT
                && let Some(oldest) = table.iter().min_by_key(|(_, (made, _))| *made).map(|(id, _)| id.clone())
            {
                table.remove(&oldest);
            }
            table.insert(id.clone(), (Instant::now(), tree.clone()));
        }
        Some(tree)
    }

    /// The device has changed.
    pub fn changed(&self, id: &DeviceId) {
        self.table().remove(id);
    }

    /// Changes were missed.
    pub fn all_changed(&self) {
        self.table().clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bridge_core::{ChannelId, DeviceKind};

    fn device(items: &[(&str, Option<&str>)]) -> Device {
        let id = DeviceId::new("gb28181", "34020000002000000009");
        let channels = items.iter().map(|(name, parent)| Channel {
            id: ChannelId::new(&id, name),
            name: format!("name of {name}"),
            kind: if type_code(name) == Some(131) { ChannelKind::Video } else { ChannelKind::Other },
            online: !name.ends_with('9'),
            ptz: false,
            parent: parent.map(str::to_owned),
            longitude: None,
            latitude: None,
        });
        Device { channels: channels.collect(), online: true, ..Device::new(id.clone(), DeviceKind::Platform) }
    }

    #[test]
    fn groups_organisations_regions_platforms_and_recorders_nest() {
        let tree = Tree::new(&device(&[
            ("34", None),
            ("3402", Some("34")),
            ("34020000001180000001", Some("34020000002160000002")),
            ("34020000001310000001", Some("34020000002160000001")),
            ("34020000001310000002", Some("34020000001180000001")),
            ("34020000001310000009", Some("34020000001180000001")),
            ("34020000002000000010", None),
            ("34020000002150000001", None),
            ("34020000002160000001", Some("34020000002150000001")),
            ("34020000002160000002", Some("34020000002160000001")),
        ]));
        let (total, roots) = tree.children(None, 0, 10).unwrap();
        let kinds: Vec<NodeKind> = roots.iter().map(|n| n.kind).collect();
        assert_eq!((total, kinds), (3, vec![NodeKind::Region, NodeKind::Platform, NodeKind::Group]));
        assert_eq!((roots[2].children, roots[2].cameras, roots[2].cameras_online), (1, 3, 2));
        let (_, below) = tree.children(Some("34020000002160000001"), 0, 10).unwrap();
        assert_eq!(below.iter().map(|n| n.kind).collect::<Vec<_>>(), [NodeKind::Organisation, NodeKind::Camera]);
        let (total, found) = tree.search("0000009", 0, 10);
        assert_eq!((total, found[0].path.len()), (1, 4), "group, organisation, organisation, recorder");
        assert!(tree.children(Some("nobody"), 0, 10).is_none());
    }

    #[test]
    fn circles_and_strangers_hang_at_the_root() {
        let tree = Tree::new(&device(&[
            ("34020000002160000001", Some("34020000002160000002")),
            ("34020000002160000002", Some("34020000002160000001")),
            ("34020000001310000001", Some("34020000002160000001")),
            ("34020000001310000002", Some("34020000002169999999")),
            ("34020000001310000003", Some("34020000001310000003")),
        ]));
        let (total, roots) = tree.children(None, 0, 10).unwrap();
        // Whoever hangs in a circle is at the root, and so is what cannot be reached but through it.
        assert_eq!(total, 5, "{roots:?}");
    }

    /// What the console waits for when a platform of 20,000 is opened.
    #[test]
    fn twenty_thousand_are_paged() {
        let own: Vec<(String, Option<String>)> = (0..20_000)
            .map(|n| (format!("3402000000131{n:07}"), Some(format!("3402000000216{:07}", n % 100))))
            .chain((0..100).map(|n| (format!("3402000000216{n:07}"), None)))
            .collect();
        let items: Vec<(&str, Option<&str>)> = own.iter().map(|(a, b)| (a.as_str(), b.as_deref())).collect();
        let device = device(&items);
        assert!(is_tree(&device));
        let began = Instant::now();
        let tree = Tree::new(&device);
        let made = began.elapsed();
        let (total, page) = tree.children(Some("34020000002160000007"), 150, 100).unwrap();
        assert_eq!((total, page.len(), page[0].kind), (200, 50, NodeKind::Camera));
        assert_eq!(tree.children(None, 0, 1000).unwrap().1.iter().map(|n| n.cameras).sum::<usize>(), 20_000);
        println!("a tree of 20,100 lines in {made:?}");
        assert!(made < Duration::from_secs(2));
    }
}
