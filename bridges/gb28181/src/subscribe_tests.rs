#![allow(clippy::unwrap_used)]
use super::*;

const S: Duration = Duration::from_secs(1);
const ID: &str = "34020000001320000001";

fn granted(seconds: u32) -> Answer {
    Answer::Granted { remote_tag: Some("d1".into()), expires: Some(seconds) }
}

/// Jumps to the next due time until orders come.
fn run(s: &mut Subscriptions, now: &mut Instant) -> Vec<Order> {
    for _ in 0..1000 {
        let Some(next) = s.next() else { return Vec::new() };
        *now = next.max(*now);
        let orders = s.tick(*now);
        if !orders.is_empty() {
            return orders;
        }
    }
    Vec::new()
}

fn answer(s: &mut Subscriptions, now: Instant, order: &Order, answer: Answer) {
    s.answered(now, &order.id, order.topic, &order.dialog.call_id, order.dialog.cseq, answer);
}

/// A subscription that stands.
fn standing() -> (Subscriptions, Instant, Order) {
    let mut s = Subscriptions::new(1);
    let mut now = Instant::now();
    assert!(s.want(now, ID, &[(Topic::Alarm, 3600)], true).is_empty());
    let order = run(&mut s, &mut now).remove(0);
    answer(&mut s, now, &order, granted(600));
    assert_eq!(s.standing(Topic::Alarm), 1);
    (s, now, order)
}

#[test]
fn asked_after_registration_refreshed_at_eighty_percent_in_the_dialog() {
    let (mut s, asked, first) = standing();
    assert_eq!((first.expires, first.dialog.cseq, first.dialog.remote_tag.as_deref()), (3600, 1, None));
    let mut now = asked;
    let refresh = run(&mut s, &mut now).remove(0);
    assert_eq!(now, asked + 480 * S);
    assert_eq!(refresh.dialog.call_id, first.dialog.call_id);
    assert_eq!((refresh.dialog.cseq, refresh.dialog.remote_tag.as_deref()), (2, Some("d1")));
    answer(&mut s, now, &refresh, Answer::Granted { remote_tag: None, expires: None });
    let again = now;
    let order = run(&mut s, &mut now).remove(0);
    assert_eq!(now, again + 2880 * S, "without Expires what was wished counts");
    assert_eq!(order.dialog.remote_tag.as_deref(), Some("d1"));
}

#[test]
fn cancelled_when_switched_off_or_at_the_end() {
    let (mut s, now, first) = standing();
    let orders = s.want(now, ID, &[], false);
    assert_eq!((orders.len(), orders[0].expires, orders[0].dialog.cseq), (1, 0, 2));
    assert_eq!(orders[0].dialog.call_id, first.dialog.call_id);
    assert!(s.cancel_all().is_empty() && s.tick(now + 10_000 * S).is_empty());
    let (mut s, _, _) = standing();
    assert_eq!(s.cancel_all().len(), 1);
}

#[test]
fn a_lost_dialog_is_begun_anew_at_once_then_slower() {
    let (mut s, mut now, first) = standing();
    let refresh = run(&mut s, &mut now).remove(0);
    answer(&mut s, now, &refresh, Answer::Gone);
    let lost = now;
    let anew = run(&mut s, &mut now).remove(0);
    assert!(now - lost < S && anew.dialog.call_id != first.dialog.call_id);
    assert_eq!((anew.dialog.cseq, anew.dialog.remote_tag.as_deref()), (1, None));
    answer(&mut s, now, &anew, Answer::Gone);
    let lost = now;
    run(&mut s, &mut now);
    assert!(now - lost >= 5 * S, "no storm against a device that knows no dialog at all");
}

#[test]
fn a_refusal_stands_until_the_device_registers_again() {
    let mut s = Subscriptions::new(2);
    let mut now = Instant::now();
    s.want(now, ID, &[(Topic::Catalog, 3600)], true);
    let order = run(&mut s, &mut now).remove(0);
    answer(&mut s, now, &order, Answer::of(489, None, None, None));
    assert_eq!(s.refusal(ID, Topic::Catalog), Some(489));
    s.want(now, ID, &[(Topic::Catalog, 3600)], false);
    assert!(run(&mut s, &mut now).is_empty());
    s.want(now, ID, &[(Topic::Catalog, 3600)], true);
    assert_eq!(run(&mut s, &mut now).len(), 1);
}

#[test]
fn a_new_registration_refreshes_what_stands() {
    let (mut s, mut now, first) = standing();
    let registered = now + 60 * S;
    s.want(registered, ID, &[(Topic::Alarm, 3600)], true);
    let order = run(&mut s, &mut now).remove(0);
    assert!(now - registered < 3 * S && order.dialog.call_id == first.dialog.call_id);
    // The device has started anew: it does not know the dialog.
    answer(&mut s, now, &order, Answer::Gone);
    assert_ne!(run(&mut s, &mut now).remove(0).dialog.call_id, first.dialog.call_id);
}

#[test]
fn silence_is_retried_in_the_dialog_while_it_lasts() {
    let (mut s, mut now, first) = standing();
    let refresh = run(&mut s, &mut now).remove(0);
    let asked = now;
    assert_eq!(refresh.dialog.cseq, 2);
    let retry = run(&mut s, &mut now).remove(0);
    assert!(now - asked >= 45 * S, "35 s of patience and a pause: {:?}", now - asked);
    assert_eq!((retry.dialog.call_id.as_str(), retry.dialog.cseq), (first.dialog.call_id.as_str(), 3));
    // A late answer to the second is not taken for one to the third.
    answer(&mut s, now, &refresh, granted(600));
    assert_eq!(s.in_flight, 1);
    let mut dialogs = std::collections::HashSet::new();
    for _ in 0..4 {
        dialogs.insert(run(&mut s, &mut now).remove(0).dialog.call_id);
    }
    assert!(dialogs.len() > 1, "after its time a new dialog is tried");
}

#[test]
fn terminated_by_the_device() {
    for (reason, again) in
        [("deactivated", true), ("timeout", true), ("", true), ("rejected", false), ("noresource", false)]
    {
        let (mut s, mut now, first) = standing();
        let state = SubState::parse(&format!("terminated;reason={reason}"));
        assert_eq!(s.notified(now, ID, Topic::Alarm, &first.dialog.call_id, Some(state)), Heard::InDialog);
        let ended = now;
        let orders = run(&mut s, &mut now);
        assert_eq!(!orders.is_empty(), again, "{reason}");
        if again {
            assert!(now - ended <= 6 * S && orders[0].dialog.call_id != first.dialog.call_id);
        }
    }
    let (mut s, mut now, first) = standing();
    let state = SubState::parse("Terminated; Reason=probation; Retry-After=120");
    s.notified(now, ID, Topic::Alarm, &first.dialog.call_id, Some(state));
    let ended = now;
    run(&mut s, &mut now);
    assert!(now - ended >= 120 * S);
}

#[test]
fn a_shortened_time_and_strangers() {
    let (mut s, mut now, first) = standing();
    let shorter = Some(SubState::parse("active;expires=100;retry-after=0"));
    assert_eq!(s.notified(now, ID, Topic::Alarm, &first.dialog.call_id, shorter), Heard::InDialog);
    let told = now;
    run(&mut s, &mut now);
    assert_eq!(now, told + 80 * S);
    assert_eq!(s.notified(now, ID, Topic::Alarm, "another", None), Heard::OutOfDialog);
    assert_eq!(s.notified(now, ID, Topic::Catalog, "another", None), Heard::Unknown);
    let ended = Some(SubState::parse("terminated"));
    assert_eq!(s.notified(now, ID, Topic::Alarm, "another", ended), Heard::OutOfDialog, "another's end is not ours");
}

#[test]
fn too_short_a_wish_is_raised() {
    let mut s = Subscriptions::new(3);
    let mut now = Instant::now();
    s.want(now, ID, &[(Topic::Alarm, 300)], true);
    let order = run(&mut s, &mut now).remove(0);
    answer(&mut s, now, &order, Answer::of(423, None, None, Some(900)));
    assert_eq!(run(&mut s, &mut now).remove(0).expires, 900);
    let mut s = Subscriptions::new(3);
    s.want(now, ID, &[(Topic::Alarm, 300)], true);
    let order = run(&mut s, &mut now).remove(0);
    answer(&mut s, now, &order, Answer::of(423, None, None, Some(u32::MAX)));
    assert_eq!(s.refusal(ID, Topic::Alarm), Some(423));
}

/// 50,000 devices come back at once: the pace holds, each is asked once, and nothing is left behind.
#[test]
fn a_field_that_comes_back_makes_no_storm() {
    let mut s = Subscriptions::new(4);
    let start = Instant::now();
    for n in 0..50_000 {
        s.want(start, &format!("3402000000132{n:07}"), &[(Topic::Alarm, 3600)], true);
    }
    let mut now = start;
    let mut asked = std::collections::HashSet::new();
    while asked.len() < 50_000 {
        let orders = run(&mut s, &mut now);
        assert!(!orders.is_empty() && orders.len() <= PER_WINDOW && s.in_flight <= IN_FLIGHT);
        for order in orders {
            assert!(asked.insert(order.id.clone()));
            answer(&mut s, now, &order, granted(3600));
        }
    }
    let took = now - start;
    assert!(took >= 240 * S && took < 300 * S, "{took:?}");
    assert_eq!((s.standing(Topic::Alarm), s.in_flight), (50_000, 0));
    assert!(s.heap.len() <= 2 * 50_000 + 64);
    for n in 0..50_000 {
        s.forget(&format!("3402000000132{n:07}"));
    }
    s.tick(now + 7200 * S);
    assert!(s.table.is_empty() && s.heap.len() <= 64);
}

#[test]
fn those_that_never_answer_do_not_block_the_others() {
    let mut s = Subscriptions::new(5);
    let mut now = Instant::now();
    for n in 0..IN_FLIGHT + 10 {
        s.want(now, &format!("3402000000132{n:07}"), &[(Topic::Alarm, 3600)], true);
    }
    let mut asked = std::collections::HashSet::new();
    for _ in 0..200 {
        asked.extend(run(&mut s, &mut now).into_iter().map(|o| o.id));
    }
    assert_eq!(asked.len(), IN_FLIGHT + 10);
}
