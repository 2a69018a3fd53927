//! Records of calls (call detail records), and where the calls of a phone account are forwarded to.

use bridge_core::{CallLeg, CallRecord, Forwards};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, StoreError};

/// One call that ended.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CallRow {
    pub id: String,
    /// `in`: a phone called a conference; `out`: the hall called a phone; `between`: phone to phone.
    pub direction: String,
    pub caller: String,
    pub caller_name: String,
    /// Who took the call, or rang last.
    pub callee: String,
    pub callee_name: String,
    /// The number as it was dialled: another one than `callee` after a forward.
    pub dialled: String,
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub began_at: i64,
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub rang_at: Option<i64>,
    #[serde(serialize_with = "crate::api::time::rfc3339_optional")]
    #[schema(value_type = Option<String>)]
    pub answered_at: Option<i64>,
    #[serde(serialize_with = "crate::api::time::rfc3339")]
    #[schema(value_type = String)]
    pub ended_at: i64,
    /// `caller`, `callee`, `gateway` or `network`.
    pub ended_by: String,
    /// `ended`, `cancelled`, `hung_up`, or the code of a fault.
    pub code: String,
    pub zh: String,
    pub en: String,
    /// Nobody took it.
    pub missed: bool,
    /// The queue in which the caller waited.
    pub queue: Option<String>,
    /// How long he waited there, until an agent answered or he left.
    pub waited_ms: Option<i64>,
    #[schema(value_type = Vec<Object>)]
    pub legs: Vec<CallLeg>,
}

impl CallRow {
    /// The row of a record.
    pub fn of(record: CallRecord) -> CallRow {
        let CallRecord { call, ended, by, code, words } = record;
        CallRow {
            missed: call.answered.is_none(),
            waited_ms: call.queue.as_ref().map(|_| call.answered.map_or(ended.0, |a| a.0) - call.began.0),
            queue: call.queue,
            id: call.id,
            direction: call.direction.as_str().to_owned(),
            caller: call.caller.number,
            caller_name: call.caller.name,
            callee: call.callee.number,
            callee_name: call.callee.name,
            dialled: call.dialled,
            began_at: call.began.0,
            rang_at: call.rang.map(|t| t.0),
            answered_at: call.answered.map(|t| t.0),
            ended_at: ended.0,
            ended_by: by.as_str().to_owned(),
            code,
            zh: words.zh,
            en: words.en,
            legs: call.legs,
        }
    }
}

/// Which calls are asked for.
#[derive(Debug, Clone, Default)]
pub struct CallFilter {
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Caller, callee or dialled number.
    pub number: Option<String>,
    pub direction: Option<String>,
    /// Only those that nobody took.
    pub missed: bool,
    pub offset: i64,
    pub limit: i64,
}

fn row(r: &SqliteRow) -> Result<CallRow, StoreError> {
    let legs: String = r.try_get("legs")?;
    let answered_at: Option<i64> = r.try_get("answered_at")?;
    let queue: Option<String> = r.try_get("queue")?;
    let (began_at, ended_at): (i64, i64) = (r.try_get("began_at")?, r.try_get("ended_at")?);
    Ok(CallRow {
        id: r.try_get("id")?,
        direction: r.try_get("direction")?,
        caller: r.try_get("caller")?,
        caller_name: r.try_get("caller_name")?,
        callee: r.try_get("callee")?,
        callee_name: r.try_get("callee_name")?,
        dialled: r.try_get("dialled")?,
        began_at,
        rang_at: r.try_get("rang_at")?,
        answered_at,
        ended_at,
        ended_by: r.try_get("ended_by")?,
        code: r.try_get("code")?,
        zh: r.try_get("zh")?,
        en: r.try_get("en")?,
        missed: answered_at.is_none(),
        waited_ms: queue.as_ref().map(|_| answered_at.unwrap_or(ended_at) - began_at),
        queue,
        legs: serde_json::from_str(&legs).map_err(|e| StoreError::Content(format!("legs of a call: {e}")))?,
    })
}

fn conditions(query: &mut QueryBuilder<Sqlite>, filter: &CallFilter) {
    query.push(" WHERE began_at >= ").push_bind(filter.from.unwrap_or(i64::MIN));
    query.push(" AND began_at <= ").push_bind(filter.to.unwrap_or(i64::MAX));
    if let Some(number) = &filter.number {
        query.push(" AND (caller = ").push_bind(number.clone());
        query.push(" OR callee = ").push_bind(number.clone());
        query.push(" OR dialled = ").push_bind(number.clone()).push(")");
    }
    if let Some(direction) = &filter.direction {
        query.push(" AND direction = ").push_bind(direction.clone());
    }
    if filter.missed {
        query.push(" AND answered_at IS NULL");
    }
}

impl Store {
    /// Writes records in one transaction, with one statement for all: each statement is a way to the database's thread and back.
    pub async fn save_calls(&self, rows: &[CallRow]) -> Result<(), StoreError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut calls = QueryBuilder::<Sqlite>::new(
            "INSERT INTO calls (id, direction, caller, caller_name, callee, callee_name, dialled, began_at, rang_at,
               answered_at, ended_at, ended_by, code, zh, en, legs) ",
        );
        let legs = rows.iter().map(|c| serde_json::to_string(&c.legs)).collect::<Result<Vec<_>, _>>();
        let legs = legs.map_err(|e| StoreError::Content(e.to_string()))?;
        calls.push_values(rows.iter().zip(legs), |mut row, (c, legs)| {
            row.push_bind(&c.id)
                .push_bind(&c.direction)
                .push_bind(&c.caller)
                .push_bind(&c.caller_name)
                .push_bind(&c.callee)
                .push_bind(&c.callee_name)
                .push_bind(&c.dialled)
                .push_bind(c.began_at)
                .push_bind(c.rang_at)
                .push_bind(c.answered_at)
                .push_bind(c.ended_at)
                .push_bind(&c.ended_by)
                .push_bind(&c.code)
                .push_bind(&c.zh)
                .push_bind(&c.en)
                .push_bind(legs);
        });
        calls.push(" ON CONFLICT (id) DO NOTHING");
        let waited: Vec<_> = rows.iter().filter_map(|c| c.queue.as_ref().map(|queue| (&c.id, queue))).collect();
        let mut tx = self.pool.begin().await?;
        calls.build().persistent(false).execute(&mut *tx).await?;
        if !waited.is_empty() {
            let mut queues = QueryBuilder::<Sqlite>::new("INSERT INTO call_queues (call, queue) ");
            queues.push_values(waited, |mut row, (call, queue)| {
                row.push_bind(call).push_bind(queue);
            });
            queues.push(" ON CONFLICT (call) DO NOTHING").build().persistent(false).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// (all that match, one page, newest first).
    pub async fn calls(&self, filter: &CallFilter) -> Result<(i64, Vec<CallRow>), StoreError> {
        let mut count = QueryBuilder::new("SELECT COUNT(*) FROM calls");
        conditions(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(&self.pool).await?;
        let mut page =
            QueryBuilder::new("SELECT calls.*, call_queues.queue FROM calls LEFT JOIN call_queues ON call = id");
        conditions(&mut page, filter);
        page.push(" ORDER BY began_at DESC, id DESC LIMIT ")
            .push_bind(filter.limit)
            .push(" OFFSET ")
            .push_bind(filter.offset);
        let rows = page.build().fetch_all(&self.pool).await?;
        Ok((total, rows.iter().map(row).collect::<Result<_, _>>()?))
    }

    /// Deletes up to 5,000 records that began before an instant, or that are beyond the newest `rows`; gives how many. Asked
    /// again until there are none.
    pub async fn forget_calls(&self, before: i64, rows: i64) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE began_at < $1
               OR id IN (SELECT id FROM calls ORDER BY began_at DESC, id DESC LIMIT -1 OFFSET $2) LIMIT 5000)",
        )
        .bind(before)
        .bind(rows)
        .execute(&self.pool)
        .await?;
        if done.rows_affected() > 0 {
            sqlx::query("DELETE FROM call_queues WHERE call NOT IN (SELECT id FROM calls)").execute(&self.pool).await?;
        }
        Ok(done.rows_affected())
    }

    /// All forwards, by phone account.
    pub async fn forwards(&self) -> Result<Vec<(String, Forwards)>, StoreError> {
        let rows =
            sqlx::query("SELECT phone, busy, no_answer, offline FROM phone_forwards").fetch_all(&self.pool).await?;
        let one = |r: &SqliteRow| -> Result<(String, Forwards), sqlx::Error> {
            let (busy, no_answer, offline) = (r.try_get("busy")?, r.try_get("no_answer")?, r.try_get("offline")?);
            Ok((r.try_get("phone")?, Forwards { busy, no_answer, offline }))
        };
        Ok(rows.iter().map(one).collect::<Result<_, _>>()?)
    }

    pub async fn put_forwards(&self, phone: &str, forwards: &Forwards) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO phone_forwards (phone, busy, no_answer, offline) VALUES ($1, $2, $3, $4)
             ON CONFLICT (phone) DO UPDATE SET busy = excluded.busy, no_answer = excluded.no_answer,
               offline = excluded.offline",
        )
        .bind(phone)
        .bind(&forwards.busy)
        .bind(&forwards.no_answer)
        .bind(&forwards.offline)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn delete_forwards(&self, phone: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM phone_forwards WHERE phone = $1").bind(phone).execute(&self.pool).await?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(n: i64, caller: &str, callee: &str, answered: bool) -> CallRow {
        CallRow {
            id: format!("c{n:03}"),
            direction: if n % 2 == 0 { "between" } else { "in" }.to_owned(),
            caller: caller.to_owned(),
            caller_name: "指挥长".to_owned(),
            callee: callee.to_owned(),
            callee_name: String::new(),
            dialled: callee.to_owned(),
            began_at: n * 1000,
            rang_at: None,
            answered_at: answered.then_some(n * 1000 + 1),
            ended_at: n * 1000 + 9,
            ended_by: "caller".to_owned(),
            code: "ended".to_owned(),
            zh: "主叫挂机".to_owned(),
            en: "the caller hung up".to_owned(),
            missed: !answered,
            queue: (n == 7).then(|| "500".to_owned()),
            waited_ms: (n == 7).then_some(if answered { 1 } else { 9 }),
            legs: vec![CallLeg {
                number: caller.to_owned(),
                trunk: None,
                codec: "PCMA".to_owned(),
                packets: 50,
                lost: 1,
                sent: 50,
                jitter_ms: 1.5,
                mos: Some(4.25),
                turned: Some("opus".to_owned()),
                recorded: Some(50),
            }],
        }
    }

    #[tokio::test]
    async fn written_listed_and_forgotten() {
        let dir = crate::testing::TempDir::new();
        let store = Store::open(&dir.path().join("a.db")).await.unwrap();
        let rows: Vec<CallRow> =
            (0..20).map(|n| call(n, if n < 5 { "8001" } else { "8002" }, "8003", n % 4 != 0)).collect();
        store.save_calls(&rows).await.unwrap();
        store.save_calls(&rows).await.unwrap();
        let all = CallFilter { limit: 7, ..CallFilter::default() };
        let (total, page) = store.calls(&all).await.unwrap();
        assert_eq!((total, page.len()), (20, 7));
        assert_eq!(page[0], rows[19]);
        let seventh = CallFilter { from: Some(7000), to: Some(7000), limit: 1, ..CallFilter::default() };
        assert_eq!(store.calls(&seventh).await.unwrap().1, [rows[7].clone()], "its queue and waiting time");
        let count = async |filter: CallFilter| store.calls(&filter).await.unwrap().0;
        assert_eq!(count(CallFilter { number: Some("8001".into()), ..all.clone() }).await, 5);
        assert_eq!(count(CallFilter { number: Some("8003".into()), ..all.clone() }).await, 20);
        assert_eq!(count(CallFilter { missed: true, ..all.clone() }).await, 5);
        assert_eq!(count(CallFilter { direction: Some("in".into()), ..all.clone() }).await, 10);
        assert_eq!(count(CallFilter { from: Some(3000), to: Some(5000), ..all.clone() }).await, 3);
        assert_eq!(store.forget_calls(2000, 100).await.unwrap(), 2);
        assert_eq!(store.forget_calls(0, 10).await.unwrap(), 8, "the newest ten stay");
        assert_eq!(store.forget_calls(0, 10).await.unwrap(), 0);
        assert_eq!(store.calls(&all).await.unwrap().1[0].id, "c019");
        let forwards = Forwards { busy: Some("8002".into()), ..Forwards::default() };
        store.put_forwards("8001", &forwards).await.unwrap();
        assert_eq!(store.forwards().await.unwrap(), [("8001".to_owned(), forwards)]);
        store.delete_forwards("8001").await.unwrap();
        assert!(store.forwards().await.unwrap().is_empty());
        store.close().await;
    }
}
