//! Walls: which source stands in which tile. Each tile is a [`Program`], so a viewer's track never changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use media_hub::{Hub, Program, PublishError, StreamId};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::events::Events;
use crate::store::{Store, WallRow};

/// Tiles that each wall keeps, whatever its layout shows.
pub const TILES: usize = 9;
/// Scenes that undo can go back.
const HISTORY: usize = 20;

/// What a bridge puts behind the id of a channel's stream for its sub-stream.
const SUB: &str = "~sub";
/// Layouts with at least so many tiles take sub-streams by themselves.
const SMALL_FROM: u8 = 9;
/// A sub-stream that failed is not chosen by itself again for this long.
const WEAK: Duration = Duration::from_secs(600);

/// Which stream of a channel a tile takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    /// The sub-stream on walls of nine tiles where the channel has one, else the main stream.
    #[default]
    Auto,
    Main,
    Sub,
}

/// A wall as the API shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct WallView {
    pub id: String,
    pub name: String,
    /// Tiles shown: 1, 4 or 9.
    pub layout: u8,
    pub tiles: Vec<TileView>,
    /// Who changed it last.
    pub by: String,
    pub can_undo: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TileView {
    pub n: usize,
    /// The stream to play by WHEP.
    pub program: String,
    /// What was asked for.
    pub source: Option<String>,
    /// Which stream of it: `auto`, `main`, `sub`.
    pub quality: Quality,
    /// The stream that this comes to now: the source, or its sub-stream.
    pub stream: Option<String>,
    /// The source has a sub-stream.
    pub has_sub: bool,
    pub source_name: Option<String>,
    /// What the program shows now; the source's id for its sub-stream too.
    pub live: Option<String>,
    /// Milliseconds since `live` changed.
    pub live_for_ms: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum SceneError {
    #[error("there is no wall {0}")]
    NoWall(String),
    #[error("a wall has the layouts 1, 4 and 9, not {0}")]
    Layout(u8),
    #[error("there is no tile {0}; a wall has {TILES}")]
    NoTile(usize),
    #[error("there is no stream {0}")]
    NoSource(String),
    #[error("there is nothing to undo")]
    NothingToUndo,
}

/// A source and which stream of it.
type Asked = (StreamId, Quality);
type Scene = (u8, Vec<Option<Asked>>);

struct Wall {
    name: String,
    layout: u8,
    programs: Vec<Program>,
    asked: Vec<Option<Asked>>,
    /// What that comes to: the streams that the programs were told.
    wanted: Vec<Option<StreamId>>,
    history: Vec<Scene>,
    by: String,
}

/// All walls of the hall.
pub struct Scenes {
    hub: Hub,
    events: Events,
    walls: Mutex<BTreeMap<String, Wall>>,
    /// Sub-streams that failed, and when.
    weak: Mutex<HashMap<StreamId, Instant>>,
    save: watch::Sender<BTreeMap<String, WallRow>>,
}

impl Scenes {
    /// Makes `count` walls and puts back what they showed.
    pub fn start(hub: Hub, events: Events, store: Store, count: u8, stored: &[WallRow]) -> Result<Self, PublishError> {
        let mut walls = BTreeMap::new();
        for n in 1..=count {
            let id = n.to_string();
            let row = stored.iter().find(|w| w.id == id);
            let mut programs = Vec::with_capacity(TILES);
            let mut asked = Vec::with_capacity(TILES);
            for tile in 0..TILES {
                let program = Program::start(&hub, StreamId::new(format!("program:wall/{id}/{tile}")), "")?;
                let stored = row.and_then(|r| r.tiles.get(tile).cloned().flatten());
                programs.push(program);
                asked.push(stored.map(|s| read_stored(&s)).filter(|(s, _)| hub.knows(s)));
            }
            let mut wall = Wall {
                name: id.clone(),
                layout: row.map_or(4, |r| r.layout),
                programs,
                asked,
                wanted: Vec::new(),
                history: Vec::new(),
                by: row.map_or_else(String::new, |r| r.changed_by.clone()),
            };
            wall.apply(&hub, &HashMap::new());
            walls.insert(id, wall);
        }
        // The newest scene of each wall waits for the disk; those in between need not be kept.
        let (save, mut rows) = watch::channel(BTreeMap::<String, WallRow>::new());
        tokio::spawn(async move {
            while rows.changed().await.is_ok() {
                let newest: Vec<WallRow> = rows.borrow_and_update().values().cloned().collect();
                for row in newest {
                    if let Err(error) = store.put_wall(&row).await {
                        tracing::error!(wall = row.id, %error, "cannot save the wall");
                    }
                }
            }
        });
        Ok(Scenes { hub, events, walls: Mutex::new(walls), weak: Mutex::default(), save })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Wall>> {
        self.walls.lock().unwrap_or_else(|p| p.into_inner())
    }

    pub fn all(&self) -> Vec<WallView> {
        self.lock().iter().map(|(id, wall)| self.view(id, wall)).collect()
    }

    pub fn get(&self, id: &str) -> Option<WallView> {
        self.lock().get(id).map(|wall| self.view(id, wall))
    }

    /// Walls that show the program `stream`, to tell their consoles when it changed.
    pub fn of_program(&self, stream: &StreamId) -> Option<WallView> {
        let id = stream.as_str().strip_prefix("program:wall/")?.split('/').next()?;
        self.get(id)
    }

    fn view(&self, id: &str, wall: &Wall) -> WallView {
        let tiles = wall.programs.iter().enumerate().map(|(n, program)| {
            let state = program.state().borrow().clone();
            let asked = wall.asked.get(n).cloned().flatten();
            let sub = asked.as_ref().map(|(s, _)| sub_of(s));
            let live = state.live.map(|live| match &asked {
                Some((source, _)) if sub.as_ref() == Some(&live) => source.to_string(),
                _ => live.to_string(),
            });
            TileView {
                n,
                program: program.id().to_string(),
                source_name: asked.as_ref().map(|(s, _)| self.hub.name_of(s).unwrap_or_default()),
                quality: asked.as_ref().map(|(_, q)| *q).unwrap_or_default(),
                stream: wall.wanted.get(n).cloned().flatten().map(|s| s.to_string()),
                has_sub: sub.is_some_and(|s| self.hub.knows(&s)),
                source: asked.map(|(s, _)| s.to_string()),
                live,
                live_for_ms: state.since.map(|s| s.elapsed().as_millis() as u64),
            }
        });
        WallView {
            id: id.to_owned(),
            name: wall.name.clone(),
            layout: wall.layout,
            tiles: tiles.collect(),
            by: wall.by.clone(),
            can_undo: !wall.history.is_empty(),
        }
    }

    fn known(&self, source: &Option<String>) -> Result<Option<StreamId>, SceneError> {
        match source {
            None => Ok(None),
            Some(id) => {
                let stream = StreamId::new(id);
                // A program behind a program of a wall could close a loop.
                let allowed = !id.starts_with("program:wall/") && self.hub.knows(&stream);
                if allowed { Ok(Some(stream)) } else { Err(SceneError::NoSource(id.clone())) }
            }
        }
    }

    /// Takes a whole scene.
    pub fn take(&self, id: &str, layout: u8, tiles: &[Option<String>], by: &str) -> Result<WallView, SceneError> {
        let sources: Result<Vec<_>, _> = tiles.iter().take(TILES).map(|t| self.known(t)).collect();
        let sources = sources?;
        self.change(id, by, |wall| {
            if ![1, 4, 9].contains(&layout) {
                return Err(SceneError::Layout(layout));
            }
            wall.remember();
            wall.layout = layout;
            for (n, source) in sources.into_iter().enumerate() {
                wall.put(n, source, None);
            }
            Ok(())
        })
    }

    /// A sub-stream could not be had: tiles that chose it by themselves take the main stream.
    pub fn sub_failed(&self, stream: &StreamId) {
        if !stream.as_str().ends_with(SUB) {
            return;
        }
        let mut known = self.weak.lock().unwrap_or_else(|p| p.into_inner());
        known.retain(|_, at| at.elapsed() < WEAK);
        known.insert(stream.clone(), Instant::now());
        let weak = known.clone();
        drop(known);
        for wall in self.lock().values_mut() {
            wall.apply(&self.hub, &weak);
        }
    }

    /// Switches one tile. Without `quality` that of the tile stays while its source does.
    pub fn switch(
        &self,
        id: &str,
        n: usize,
        source: &Option<String>,
        quality: Option<Quality>,
        by: &str,
    ) -> Result<WallView, SceneError> {
        let source = self.known(source)?;
        self.change(id, by, |wall| {
            if n >= TILES {
                return Err(SceneError::NoTile(n));
            }
            wall.remember();
            wall.put(n, source, quality);
            Ok(())
        })
    }

    /// Back to the scene before the last change.
    pub fn undo(&self, id: &str, by: &str) -> Result<WallView, SceneError> {
        self.change(id, by, |wall| {
            let (layout, sources) = wall.history.pop().ok_or(SceneError::NothingToUndo)?;
            wall.layout = layout;
            for (n, asked) in sources.into_iter().enumerate() {
                let quality = asked.as_ref().map(|(_, q)| *q);
                wall.put(n, asked.map(|(s, _)| s), quality);
            }
            Ok(())
        })
    }

    fn change(
        &self,
        id: &str,
        by: &str,
        change: impl FnOnce(&mut Wall) -> Result<(), SceneError>,
    ) -> Result<WallView, SceneError> {
        let weak = self.weak.lock().unwrap_or_else(|p| p.into_inner()).clone();
        let mut walls = self.lock();
        let wall = walls.get_mut(id).ok_or_else(|| SceneError::NoWall(id.to_owned()))?;
        change(wall)?;
        wall.apply(&self.hub, &weak);
        by.clone_into(&mut wall.by);
        let row = WallRow {
            id: id.to_owned(),
            layout: wall.layout,
            tiles: wall.asked.iter().map(|s| s.as_ref().map(stored)).collect(),
            changed_by: by.to_owned(),
        };
        let view = self.view(id, wall);
        self.save.send_modify(|rows| {
            rows.insert(id.to_owned(), row);
        });
        drop(walls);
        self.events.tell("wall", serde_json::json!({ "wall": view }));
        Ok(view)
    }
}

impl Wall {
    fn remember(&mut self) {
        if self.history.len() == HISTORY {
            self.history.remove(0);
        }
        self.history.push((self.layout, self.asked.clone()));
    }

    fn put(&mut self, n: usize, source: Option<StreamId>, quality: Option<Quality>) {
        let Some(asked) = self.asked.get_mut(n) else { return };
        let same = asked.as_ref().filter(|(s, _)| Some(s) == source.as_ref()).map(|(_, q)| *q);
        *asked = source.map(|s| (s, quality.or(same).unwrap_or_default()));
    }

    /// Gives each tile's program the stream that its source, its quality and the layout come to. One that has it keeps it.
    fn apply(&mut self, hub: &Hub, weak: &HashMap<StreamId, Instant>) {
        self.wanted.clear();
        for (program, asked) in self.programs.iter().zip(&self.asked) {
            let wanted = asked.as_ref().map(|(source, quality)| {
                let sub = sub_of(source);
                let failed = weak.get(&sub).is_some_and(|at| at.elapsed() < WEAK);
                let small = match quality {
                    Quality::Main => false,
                    Quality::Sub => true,
                    Quality::Auto => self.layout >= SMALL_FROM && !failed,
                };
                if small && hub.knows(&sub) { sub } else { source.clone() }
            });
            program.switch(wanted.clone());
            self.wanted.push(wanted);
        }
    }
}

fn sub_of(source: &StreamId) -> StreamId {
    StreamId::new(format!("{source}{SUB}"))
}

/// As a wall's row keeps it: `#main` or `#sub` behind the id, which has no such sign; nothing for `auto`.
fn stored((source, quality): &Asked) -> String {
    match quality {
        Quality::Auto => source.to_string(),
        Quality::Main => format!("{source}#main"),
        Quality::Sub => format!("{source}#sub"),
    }
}

fn read_stored(text: &str) -> Asked {
    match text.rsplit_once('#') {
        Some((source, "main")) => (StreamId::new(source), Quality::Main),
        Some((source, "sub")) => (StreamId::new(source), Quality::Sub),
        _ => (StreamId::new(text), Quality::Auto),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_tiles_come_back() {
        for quality in [Quality::Auto, Quality::Main, Quality::Sub] {
            let asked = (StreamId::new("gb28181:1/2"), quality);
            assert_eq!(read_stored(&stored(&asked)), asked);
        }
    }
}
