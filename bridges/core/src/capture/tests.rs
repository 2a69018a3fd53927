#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn limits() -> CaptureLimits {
    CaptureLimits { seconds: 1, most_seconds: 2, bytes: 50_000, total_bytes: 120_000, keep_days: 1, at_once: 2 }
}

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let place = std::env::temp_dir().join(format!("skybridge-capture-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        Place(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn sip() -> (sip::Service, sip::Sip) {
    sip::Service::bind(sip::ServiceConfig::default()).await.unwrap()
}

async fn ended(captures: &Captures, id: &str) -> Capture {
    for _ in 0..100 {
        if let Some(c) = captures.get(id).filter(|c| !c.running) {
            return c;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{id} does not end");
}

#[tokio::test]
async fn bounded_in_time_size_and_number() {
    let place = Place::new("bounds");
    let captures = Captures::new(Some(place.0.clone()), limits());
    let (_service, sip) = sip().await;
    let at = |n: u8| StreamId::new(format!("gb28181:3402000000132000000{n}/3402000000132000000{n}"));
    assert!(captures.of(&at(1)).is_none());
    let first = captures.start(&sip, &at(1), None).unwrap();
    assert_eq!(captures.start(&sip, &at(1), None).unwrap_err().code, "too_many_captures");
    let second = captures.start(&sip, &at(2), Some(1000)).unwrap();
    assert!(second.until.0 - second.started_at.0 <= 2000, "no longer than allowed");
    assert_eq!(captures.start(&sip, &at(3), None).unwrap_err().code, "too_many_captures");
    let tap = captures.of(&at(2)).unwrap();
    assert!(captures.file(&second.id).is_none(), "not before it has ended");
    let (a, b) = (SocketAddr::from(([127, 0, 0, 1], 1)), SocketAddr::from(([127, 0, 0, 1], 2)));
    for _ in 0..100 {
        tap.media(Proto::Udp, false, a, b, &[0x80; 1000]);
    }
    let by_size = ended(&captures, &second.id).await;
    assert!(by_size.ended == "size" && by_size.bytes < 60_000 && by_size.packets < 60, "{by_size:?}");
    let by_time = ended(&captures, &first.id).await;
    assert_eq!((by_time.ended.as_str(), by_time.packets), ("time", 0));
    // Packets of a session that still holds its handle are counted and go nowhere.
    tap.media(Proto::Udp, false, a, b, &[0x80; 1000]);
    assert!(captures.of(&at(2)).is_none());
    let third = captures.start(&sip, &at(3), None).unwrap();
    assert!(captures.stop(&third.id) && !captures.stop("1-1"));
    assert_eq!(ended(&captures, &third.id).await.ended, "stopped");
    assert!(captures.file(&third.id).unwrap().is_file());
    for bad in ["../x", "", "1/2", "..", "1-1"] {
        assert!(captures.file(bad).is_none() && !captures.delete(bad), "{bad}");
    }
    assert!(captures.delete(&third.id) && captures.get(&third.id).is_none());
}

#[test]
fn old_ones_go() {
    let place = Place::new("old");
    std::fs::create_dir_all(&place.0).unwrap();
    let now = Timestamp::now().0;
    let put = |at: i64, bytes: usize, facts: bool| {
        let id = format!("{at}-0000");
        std::fs::write(path(&place.0, &id, "pcapng"), vec![0; bytes]).unwrap();
        if facts {
            std::fs::write(path(&place.0, &id, "json"), "{}").unwrap();
        }
        id
    };
    let ancient = put(now - 3 * 86_400_000, 10, true);
    let first = put(now - 5000, 80_000, true);
    let second = put(now - 4000, 80_000, true);
    let orphan = put(now - 3000, 10, false);
    let captures = Captures::new(Some(place.0.clone()), limits());
    let left = |id: &str| captures.file(id).is_some();
    assert!(!left(&ancient), "too old");
    assert!(!left(&first) && left(&second), "too much together: the oldest goes");
    assert!(!left(&orphan), "what a crash left");
    assert!(Captures::none().list().is_empty());
}
