//! From the field: texts become messages, and what bridges tell of texts that waited.

use bridge_core::{TextNews, TextReport, TextState, TextStored, TextThread, Timestamp};
use media_hub::Fault;
use tokio::sync::mpsc;

use super::faults;
use super::send::{New, Refused, post};
use crate::api::Shared;

/// Takes what the bridges tell until they are gone.
pub async fn run(app: Shared, mut news: mpsc::Receiver<TextNews>) {
    match app.messages.recover().await {
        Ok(0) => {}
        Ok(messages) => tracing::info!(messages, "messages were on their way when the gateway stopped"),
        Err(error) => tracing::error!(%error, "messages that were on their way could not be looked through"),
    }
    loop {
        let next = tokio::select! {
            next = news.recv() => next,
            () = app.shutdown.cancelled() => None,
        };
        match next {
            Some(TextNews::Came(report)) => came(&app, report).await,
            Some(TextNews::Progress(p)) => {
                let leaves = p.waits.map(|s| Timestamp::now().plus_seconds(s));
                app.messages.settle(&p.message, &p.to, p.state, leaves, p.fault.as_ref()).await;
                match p.state {
                    TextState::Sent => {}
                    TextState::Delivered => app.metrics.messages.with_label_values(&["delivered"]).inc(),
                    TextState::Failed => app.metrics.messages.with_label_values(&["failed"]).inc(),
                }
            }
            None => return,
        }
    }
}

async fn came(app: &Shared, report: TextReport) {
    let TextReport { thread, from, name, link, text, device_time, relayed, stored, .. } = report;
    let thread = match thread {
        TextThread::With(far) => Ok(far),
        TextThread::Conference(number) => match app.conferences.door(&number, &from) {
            None => Err(faults::no_conference()),
            Some((_, false)) => Err(faults::not_member()),
            Some((id, true)) => Ok(format!("conference:{id}")),
        },
    };
    let link = serde_json::to_value(link).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let done = match thread {
        Err(fault) => Err(fault),
        Ok(thread) => {
            let relayed = relayed.map(|r| (r.to, r.name));
            let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
            let new = New { thread, sender: from.clone(), name, link, text, device_time, file: None, relayed };
            post(app, new).await.map_err(|refused| match refused {
                Refused::Fault(fault) => fault,
                Refused::Text | Refused::NoThread | Refused::ReadOnly => faults::no_bridge(),
            })
        }
    };
    if let Err(fault) = &done {
        app.metrics.messages.with_label_values(&["refused"]).inc();
        tracing::info!(from, code = fault.code, fault = %fault.en, "a message of the field was not taken");
    }
    let answer: Result<TextStored, Fault> = done.map(|row| TextStored { id: row.id });
    // A bridge that waits no longer has told its peer so.
    let _ = stored.send(answer);
}
