//! Conferences that are kept: their number, name, PIN, picture and the channels that belong to them.

use std::collections::BTreeMap;

use sqlx::Row;

use super::{Store, StoreError};
use crate::conference::LobbyMode;

#[derive(Debug, Clone)]
pub struct ConferenceRow {
    pub id: String,
    pub number: String,
    pub name: String,
    /// Digits, or empty for none. A PIN is shown to operators, who read it to callers: it is not a password.
    pub pin: String,
    pub locked: bool,
    pub picture: Option<String>,
    pub created_at: i64,
    pub channels: Vec<String>,
    /// Channels whose loudspeaker is on, with the wish for their duplex.
    pub speakers: BTreeMap<String, String>,
    /// One talks at a time, by the floor.
    pub half_duplex: bool,
    pub lobby: LobbyMode,
}

impl Store {
    pub async fn conferences(&self) -> Result<Vec<ConferenceRow>, StoreError> {
        let rows = sqlx::query("SELECT * FROM conferences ORDER BY number").fetch_all(&self.pool).await?;
        let channels = sqlx::query("SELECT conference, channel FROM conference_channels").fetch_all(&self.pool).await?;
        let speakers =
            sqlx::query("SELECT conference, channel, duplex FROM conference_speakers").fetch_all(&self.pool).await?;
        let half: Vec<String> =
            sqlx::query_scalar("SELECT conference FROM conference_floors").fetch_all(&self.pool).await?;
        let lobbies: Vec<(String, String)> =
            sqlx::query_as("SELECT conference, lobby FROM conference_lobbies").fetch_all(&self.pool).await?;
        let mut conferences = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.try_get("id")?;
            let mut own = Vec::new();
            for channel in &channels {
                if channel.try_get::<&str, _>("conference")? == id {
                    own.push(channel.try_get("channel")?);
                }
            }
            let mut speak = BTreeMap::new();
            for speaker in &speakers {
                if speaker.try_get::<&str, _>("conference")? == id {
                    speak.insert(speaker.try_get("channel")?, speaker.try_get("duplex")?);
                }
            }
            conferences.push(ConferenceRow {
                number: row.try_get("number")?,
                name: row.try_get("name")?,
                pin: row.try_get("pin")?,
                locked: row.try_get::<i64, _>("locked")? != 0,
                picture: row.try_get("picture")?,
                created_at: row.try_get("created_at")?,
                channels: own,
                speakers: speak,
                half_duplex: half.contains(&id),
                lobby: lobbies.iter().find(|(c, _)| *c == id).map_or(LobbyMode::Off, |(_, l)| LobbyMode::parse(l)),
                id,
            });
        }
        Ok(conferences)
    }

    pub async fn put_conference(&self, row: &ConferenceRow) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "INSERT INTO conferences (id, number, name, pin, locked, picture, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (id) DO UPDATE SET number = excluded.number, name = excluded.name, pin = excluded.pin,
             locked = excluded.locked, picture = excluded.picture",
        )
        .bind(&row.id)
        .bind(&row.number)
        .bind(&row.name)
        .bind(&row.pin)
        .bind(i64::from(row.locked))
        .bind(&row.picture)
        .bind(row.created_at)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM conference_channels WHERE conference = $1").bind(&row.id).execute(&mut *tx).await?;
        for channel in &row.channels {
            sqlx::query("INSERT INTO conference_channels (conference, channel) VALUES ($1, $2)")
                .bind(&row.id)
                .bind(channel)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM conference_speakers WHERE conference = $1").bind(&row.id).execute(&mut *tx).await?;
        for (channel, duplex) in &row.speakers {
            sqlx::query("INSERT INTO conference_speakers (conference, channel, duplex) VALUES ($1, $2, $3)")
                .bind(&row.id)
                .bind(channel)
                .bind(duplex)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM conference_floors WHERE conference = $1").bind(&row.id).execute(&mut *tx).await?;
        if row.half_duplex {
            sqlx::query("INSERT INTO conference_floors (conference) VALUES ($1)")
                .bind(&row.id)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query("DELETE FROM conference_lobbies WHERE conference = $1").bind(&row.id).execute(&mut *tx).await?;
        if row.lobby != LobbyMode::Off {
            sqlx::query("INSERT INTO conference_lobbies (conference, lobby) VALUES ($1, $2)")
                .bind(&row.id)
                .bind(row.lobby.as_str())
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub async fn delete_conference(&self, id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM conference_channels WHERE conference = $1").bind(id).execute(&self.pool).await?;
        sqlx::query("DELETE FROM conference_speakers WHERE conference = $1").bind(id).execute(&self.pool).await?;
        sqlx::query("DELETE FROM conference_floors WHERE conference = $1").bind(id).execute(&self.pool).await?;
        sqlx::query("DELETE FROM conference_lobbies WHERE conference = $1").bind(id).execute(&self.pool).await?;
        sqlx::query("DELETE FROM conferences WHERE id = $1").bind(id).execute(&self.pool).await?;
        Ok(())
    }
}
