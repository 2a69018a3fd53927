//! Snapshots of the 2022 edition: the device takes pictures on order and uploads them by HTTP, in each way seen or feared.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::catalog::notify;
use crate::faults::Faults;
use crate::jpeg;
use crate::painter::Painter;
use crate::report;
use crate::session::Channel;
use crate::xml::{element, escape};

/// One order, as the platform wrote it.
pub struct Order {
    pub count: u32,
    pub interval: f64,
    pub url: String,
    pub session: String,
}

/// The block of a DeviceConfig; some platforms put it into DeviceControl as `SnapShot`.
pub fn order(text: &str) -> Option<Order> {
    let block = element(text, "SnapShotConfig").or_else(|| element(text, "SnapShot"))?;
    let unescape = |t: String| t.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    Some(Order {
        count: element(&block, "SnapNum")?.parse().ok()?,
        interval: element(&block, "Interval").and_then(|i| i.parse().ok()).unwrap_or(1.0),
        url: unescape(element(&block, "UploadURL")?),
        session: element(&block, "SessionID")?,
    })
}

pub struct Plan {
    pub order: Order,
    pub channel: Arc<Channel>,
    pub faults: Faults,
    /// put, post or multipart.
    pub way: String,
    /// The device's clock, ahead of this machine's.
    pub clock_offset: jiff::SignedDuration,
    /// Takes MANSCDP texts to be sent.
    pub say: mpsc::Sender<String>,
}

/// Carries the order out and says so at the end.
pub async fn run(plan: Plan) {
    let Plan { order, channel, faults, way, clock_offset, say } = plan;
    let mut ids = Vec::new();
    let wanted = if faults.snap_partial { order.count / 2 } else { order.count };
    let url = if faults.snap_wrong_session {
        // The last sign of the secret is another one.
        let cut = order.url.len().saturating_sub(1);
        format!("{}{}", &order.url[..cut], if order.url.ends_with('0') { '1' } else { '0' })
    } else {
        order.url.clone()
    };
    for n in 0..order.count {
        if n > 0 {
            tokio::time::sleep(Duration::from_secs_f64(order.interval.clamp(0.1, 60.0))).await;
        }
        if n >= wanted || faults.snap_none {
            continue;
        }
        let now = jiff::Timestamp::now().checked_add(clock_offset).unwrap_or_default();
        let beijing = now.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
        let (frame, mut picture) = paint(&channel, &beijing.strftime("%H:%M:%S%.3f").to_string());
        if faults.snap_not_jpeg {
            picture = b"<html><body>404</body></html>".to_vec();
        }
        if faults.snap_too_large {
            // Behind the end of the picture, as a firmware with a wrong length would.
            picture.resize(80 << 20, 0);
        }
        let stamp = beijing.strftime("%Y%m%d%H%M%S%.3f").to_string().replace('.', "");
        let id = format!("{}02{stamp}{:02}", channel.id, n % 100);
        let outcome = upload(&url, &way, &id, &picture).await;
        let said = match &outcome {
            Ok(code) => json!({"code": code}),
            Err(why) => json!({"error": why}),
        };
        report::event(
            "snapshot_upload",
            &channel.id,
            json!({"file": id, "frame": frame, "way": way, "bytes": picture.len(), "outcome": said}),
        );
        if matches!(outcome, Ok(200..=299)) {
            ids.push(id);
        }
    }
    if faults.snap_no_word {
        return;
    }
    let session = if faults.snap_wrong_session { "0".repeat(32) } else { order.session };
    let list: String = ids.iter().map(|i| format!("<SnapShotFileID>{i}</SnapShotFileID>\r\n")).collect();
    let inner = format!("<SessionID>{}</SessionID>\r\n<SnapShotList>\r\n{list}</SnapShotList>\r\n", escape(&session));
    let _ = say.send(notify("UploadSnapShotFinished", rand::random_range(1..1_000_000), &channel.id, &inner)).await;
    report::event("snapshot_done", &channel.id, json!({"uploaded": ids.len(), "of": order.count}));
}

fn paint(channel: &Channel, clock: &str) -> (u32, Vec<u8>) {
    let (width, height) = channel.size;
    let frame = (channel.epoch.elapsed().as_secs_f64() * f64::from(channel.fps)) as u32;
    let pose = channel.dome.lock().unwrap_or_else(std::sync::PoisonError::into_inner).look(Instant::now());
    let mut painter = Painter::new(channel.scenery.clone(), width, height, channel.index, &channel.label);
    painter.paint(frame, clock, pose);
    (frame, jpeg::encode(&painter.picture.luma, width, height))
}

/// One HTTP request; its status.
async fn upload(url: &str, way: &str, id: &str, picture: &[u8]) -> Result<u16, String> {
    let rest = url.strip_prefix("http://").ok_or("only http is spoken here")?;
    let (host, path) = rest.split_once('/').map_or((rest, String::from("/")), |(h, p)| (h, format!("/{p}")));
    let target: SocketAddr =
        host.to_socket_addrs().map_err(|e| e.to_string())?.next().ok_or("the address has no host")?;
    let name = format!("{id}.jpg");
    let (method, path, kind, before, after) = match way {
        "put" => ("PUT", format!("{path}/{name}"), "image/jpeg".to_string(), String::new(), String::new()),
        "multipart" => {
            let mark = "----fieldsim7d1b";
            let head = format!(
                "--{mark}\r\nContent-Disposition: form-data; name=\"DeviceID\"\r\n\r\n{}\r\n--{mark}\r\n\
                 Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: image/jpeg\r\n\r\n",
                &id[..20]
            );
            ("POST", path, format!("multipart/form-data; boundary={mark}"), head, format!("\r\n--{mark}--\r\n"))
        }
        _ => ("POST", path, "application/octet-stream".to_string(), String::new(), String::new()),
    };
    let more =
        if way == "post" { format!("Content-Disposition: attachment; filename=\"{name}\"\r\n") } else { String::new() };
    let length = before.len() + picture.len() + after.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fieldsim\r\nContent-Type: {kind}\r\n{more}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{before}"
    );
    let work = async {
        let mut stream = TcpStream::connect(target).await.map_err(|e| e.to_string())?;
        let (mut input, mut output) = stream.split();
        let send = async {
            // A platform that refuses early closes while we write: its answer counts.
            for part in [head.as_bytes(), picture, after.as_bytes()] {
                if output.write_all(part).await.is_err() {
                    break;
                }
            }
        };
        let mut answer = vec![0; 1024];
        let read = async {
            let mut got = 0;
            while got < answer.len() {
                match input.read(answer.get_mut(got..).unwrap_or_default()).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => got += n,
                }
                if answer.get(..got).unwrap_or_default().windows(4).any(|w| w == b"\r\n\r\n") {
                    break;
                }
            }
            String::from_utf8_lossy(answer.get(..got).unwrap_or_default()).into_owned()
        };
        // The answer ends it, whatever is still to be written.
        tokio::pin!(read);
        let text = tokio::select! {
            text = &mut read => text,
            () = send => read.await,
        };
        let code = text.split(' ').nth(1).and_then(|c| c.parse().ok());
        code.ok_or_else(|| "no answer".to_string())
    };
    tokio::time::timeout(Duration::from_secs(15), work).await.unwrap_or_else(|_| Err("no answer in time".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_order() {
        let text = "<Control><CmdType>DeviceConfig</CmdType><SnapShotConfig><SnapNum>3</SnapNum><Interval>2</Interval>\
                    <UploadURL>http://1.2.3.4/u?a=1&amp;b=2</UploadURL><SessionID>abc</SessionID></SnapShotConfig></Control>";
        let order = order(text).unwrap();
        assert_eq!((order.count, order.interval, order.session.as_str()), (3, 2.0, "abc"));
        assert_eq!(order.url, "http://1.2.3.4/u?a=1&b=2");
    }
}
