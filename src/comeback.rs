//! Phones and radio groups that dropped out of a conference by the network are called again.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::api::Shared;
use crate::conference::{Lost, MemberNews};
use crate::events::Severity;

/// Members that are called back at once; more wait for their turn. A radio group keeps its place while its gateway is away.
const MOST: usize = 256;
/// No phone rings longer; the bridge's own limit is below.
const LONGEST: Duration = Duration::from_secs(180);

/// Works until the gateway stops.
pub async fn run(app: Shared) {
    let Some(mut queue) = app.conferences.take_lost() else { return };
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            lost = queue.recv(), if tasks.len() < MOST => match lost {
                Some(lost) => {
                    tasks.spawn(bring_back(app.clone(), lost));
                }
                None => return,
            },
            Some(_) = tasks.join_next() => {}
            () = app.shutdown.cancelled() => return,
        }
    }
}

async fn bring_back(app: Shared, lost: Lost) {
    let Lost { conference, member, dial } = lost;
    let settings = &app.settings.calls;
    let name = app.phone_name(&dial);
    let say = |zh: &str, en: &str| app.events.notice(Severity::Warning, zh, en, &conference);
    say(&format!("{name} 因网络中断掉线，正在回拨"), &format!("{name} was dropped by the network and is called back"));
    // A radio gateway that comes back finds its groups in their conferences, however long its mast had no power.
    let radio = dial.starts_with("radio:");
    let mut n = 0;
    while radio || n < settings.call_back_tries {
        n += 1;
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(u64::from(settings.call_back_pause))) => {}
            () = app.shutdown.cancelled() => return,
        }
        // Removed by an operator, or back by itself: then there is no seat.
        let Some(seat) = app.conferences.seat_again(&conference, &member) else { return };
        let (tell, mut news) = mpsc::channel(8);
        app.conferences.follow(&conference, &member, &dial, tell);
        if n <= settings.call_back_tries {
            app.audit.note("gateway", "", "call_back", &conference, &format!("{dial} {n}"), "ok");
        }
        if app.dial(&dial, seat).await.is_err() {
            continue;
        }
        loop {
            match tokio::time::timeout(LONGEST, news.recv()).await {
                Ok(Some(MemberNews::Ringing)) => {}
                Ok(Some(MemberNews::Connected)) => {
                    say(&format!("{name} 已回拨接通"), &format!("{name} is back"));
                    return;
                }
                // Refused or not reached: the next try.
                Ok(Some(MemberNews::Failed(_) | MemberNews::Left)) => break,
                Ok(None) | Err(_) => return,
            }
        }
    }
    if app.conferences.returning(&conference, &member) {
        app.conferences.abandon(&conference, &member);
        say(&format!("{name} 回拨未成功"), &format!("{name} could not be called back"));
    }
}
