//! Which way an outside number takes and who may take it: pure tables over the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::config::{NumberRoute, Rewrite, Toll, is_number};
use crate::route::Dialler;

/// One way out: the trunk and the number as it is dialled there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WayOut {
    pub trunk: String,
    pub number: String,
}

/// `number` without visual separators (RFC 3966 section 5.1.1); none when it is no number.
pub(crate) fn normal(number: &str) -> Option<String> {
    let plain: String = number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ')).collect();
    is_number(&plain).then_some(plain)
}

/// `number` by the first rule that fits; itself when none does.
pub(crate) fn rewritten(rules: &[Rewrite], number: &str) -> String {
    let fits = |r: &&Rewrite| number.starts_with(&r.prefix) && number.len() >= r.strip;
    match rules.iter().find(fits) {
        Some(rule) => format!("{}{}", rule.add, number.get(rule.strip..).unwrap_or_default()),
        None => number.to_owned(),
    }
}

/// The ways of a dialled number: least priority first, then the longest prefix, each trunk once.
pub(crate) fn ways(routes: &[NumberRoute], dialled: &str) -> Vec<WayOut> {
    let length = dialled.len();
    let mut fitting: Vec<&NumberRoute> = routes
        .iter()
        .filter(|r| dialled.starts_with(&r.prefix) && (r.min_length..=r.max_length).contains(&length))
        .collect();
    fitting.sort_by_key(|r| (r.priority, std::cmp::Reverse(r.prefix.len())));
    let mut out: Vec<WayOut> = Vec::new();
    for route in fitting {
        let number = format!("{}{}", route.add, dialled.get(route.strip..).unwrap_or_default());
        for trunk in &route.trunks {
            if is_number(&number) && !out.iter().any(|w| w.trunk == *trunk) {
                out.push(WayOut { trunk: trunk.clone(), number: number.clone() });
            }
        }
    }
    out
}

fn matches(pattern: &str, account: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(begin) => account.starts_with(begin),
        None => pattern == account,
    }
}

/// One rule's calls.
#[derive(Debug)]
struct Counted {
    rule: Toll,
    calls: Arc<AtomicUsize>,
}

/// Who may call what, and the calls that run under each rule.
#[derive(Debug)]
pub(crate) struct Tolls {
    rules: Vec<Counted>,
    groups: BTreeMap<String, Vec<String>>,
}

/// What a caller may do with a number: the trunks it may take, and the rule that counts it.
#[derive(Debug, Clone)]
pub(crate) struct Permission {
    /// None: all trunks.
    trunks: Option<Vec<String>>,
    /// Denied for these.
    except: Vec<String>,
    calls: Arc<AtomicUsize>,
    most: usize,
}

/// One call under a rule; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Share(Arc<AtomicUsize>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Takes a place in a counter; none when `most` (0: no bound) are taken.
pub(crate) fn take(calls: &Arc<AtomicUsize>, most: usize) -> Option<Share> {
    let room = |n: usize| (most == 0 || n < most).then_some(n + 1);
    calls.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
    Some(Share(calls.clone()))
}

impl Permission {
    pub fn covers(&self, trunk: &str) -> bool {
        let is = |list: &Vec<String>| list.iter().any(|t| t == trunk);
        self.trunks.as_ref().is_none_or(is) && !is(&self.except)
    }

    /// A place under the rule; none when it has as many calls as it may.
    pub fn take(&self) -> Option<Share> {
        take(&self.calls, self.most)
    }
}

impl Tolls {
    pub fn new(rules: &[Toll], groups: &BTreeMap<String, Vec<String>>) -> Tolls {
        let rules = rules.iter().map(|rule| Counted { rule: rule.clone(), calls: Arc::default() }).collect();
        Tolls { rules, groups: groups.clone() }
    }

    fn is_of(&self, rule: &Toll, who: &Dialler) -> bool {
        match who {
            Dialler::Guest => false,
            Dialler::Account(user) => {
                let grouped = |g: &String| self.groups.get(g).is_some_and(|list| list.iter().any(|a| matches(a, user)));
                rule.accounts.iter().any(|a| matches(a, user)) || rule.groups.iter().any(grouped)
            }
            Dialler::Conference(number) => rule.conferences.iter().any(|c| matches(c, number)),
            Dialler::Trunk(name) => rule.from_trunks.iter().any(|t| t == name),
        }
    }

    /// What `who` may do with `dialled`; empty when nothing. A rule that denies stands above all others.
    pub fn permissions(&self, who: &Dialler, dialled: &str) -> Vec<Permission> {
        let fits = |r: &&Counted| self.is_of(&r.rule, who) && r.rule.to.iter().any(|p| dialled.starts_with(p));
        let mut out = Vec::new();
        let mut denied: Vec<String> = Vec::new();
        for counted in self.rules.iter().filter(fits) {
            let rule = &counted.rule;
            match (rule.deny, rule.trunks.is_empty()) {
                (true, true) => return Vec::new(),
                (true, false) => denied.extend(rule.trunks.iter().cloned()),
                (false, all) => out.push(Permission {
                    trunks: (!all).then(|| rule.trunks.clone()),
                    except: Vec::new(),
                    calls: counted.calls.clone(),
                    most: rule.max_calls,
                }),
            }
        }
        out.iter_mut().for_each(|p| p.except.clone_from(&denied));
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_least_priority_and_the_longest_prefix_go_first() {
        let route = |prefix: &str, strip, add: &str, trunks: &[&str], priority| NumberRoute {
            prefix: prefix.into(),
            strip,
            add: add.into(),
            trunks: list(trunks),
            priority,
            ..NumberRoute::default()
        };
        let routes = [
            route("0", 1, "", &["b", "a"], 50),
            route("01", 0, "+86", &["c"], 50),
            route("0", 0, "", &["a", "d"], 60),
            NumberRoute { min_length: 20, ..route("0", 0, "", &["long"], 1) },
        ];
        let got: Vec<String> =
            ways(&routes, "01012345").into_iter().map(|w| format!("{}:{}", w.trunk, w.number)).collect();
        assert_eq!(got, ["c:+8601012345", "b:1012345", "a:1012345", "d:01012345"]);
        assert!(ways(&routes, "8001").is_empty());
        // Nothing is left to dial.
        assert!(ways(&[route("0", 1, "", &["a"], 1)], "0").is_empty());
    }

    #[test]
    fn nothing_is_allowed_without_a_rule_and_a_denial_is_above_all() {
        let groups = BTreeMap::from([("duty".to_owned(), list(&["8001", "81*"]))]);
        let tolls = Tolls::new(
            &[
                Toll {
                    groups: list(&["duty"]),
                    to: list(&["0"]),
                    trunks: list(&["a"]),
                    max_calls: 1,
                    ..Toll::default()
                },
                Toll { accounts: list(&["*"]), to: list(&["00"]), deny: true, ..Toll::default() },
                Toll { conferences: list(&["9000"]), to: list(&[""]), ..Toll::default() },
                Toll { from_trunks: list(&["a"]), to: list(&["0755"]), ..Toll::default() },
            ],
            &groups,
        );
        let account = |n: &str| Dialler::Account(n.into());
        let may = |who: &Dialler, number: &str| !tolls.permissions(who, number).is_empty();
        assert!(may(&account("8001"), "0755") && may(&account("8101"), "010"));
        assert!(!may(&account("8001"), "0086") && !may(&account("8002"), "0755") && !may(&account("8001"), "119"));
        assert!(may(&Dialler::Conference("9000".into()), "119") && !may(&Dialler::Conference("9001".into()), "119"));
        assert!(may(&Dialler::Trunk("a".into()), "07551") && !may(&Dialler::Trunk("b".into()), "07551"));
        assert!(!may(&Dialler::Guest, "0755"));
        let permission = tolls.permissions(&account("8001"), "0755").remove(0);
        assert!(permission.covers("a") && !permission.covers("b"));
        let one = permission.take().unwrap();
        assert!(permission.take().is_none());
        drop(one);
        assert!(permission.take().is_some());
    }

    #[test]
    fn numbers_are_read_and_rewritten() {
        assert_eq!(normal("+86-755-1234.5678").as_deref(), Some("+8675512345678"));
        assert_eq!(normal("alice"), None);
        assert_eq!(normal(""), None);
        let rules = [Rewrite { prefix: "+86".into(), strip: 3, add: "0".into() }];
        assert_eq!(rewritten(&rules, "+8675512345678"), "075512345678");
        assert_eq!(rewritten(&rules, "+1555"), "+1555");
    }
}
