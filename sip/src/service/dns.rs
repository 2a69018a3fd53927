//! Finding servers by their names (RFC 3263): NAPTR, SRV, then addresses. Addresses need no DNS at all.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};

use crate::{error::SipError, flow::Transport};

/// Servers of one name that are kept; SRV records and addresses of one host that are followed.
const MOST_SERVERS: usize = 16;
const MOST_SRV: usize = 8;
const MOST_ADDRESSES: usize = 4;
/// Bounds of how long an answer is kept: a TTL of 0 must not become a storm, one of a week must not outlive a move.
const SHORTEST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(3600);
/// One question to one name server, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: usize = 2;
/// Answers held.
const CACHE: u64 = 256;

/// Where a name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// In the order in which they are to be tried.
    pub servers: Vec<(Transport, SocketAddr)>,
    /// When to ask again.
    pub valid_for: Duration,
}

/// One SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub priority: u16,
    pub weight: u16,
    pub host: String,
    pub port: u16,
    pub transport: Transport,
}

/// Puts records in the order of RFC 2782: priorities rising; within one by weight and chance. `random` gives numbers below
/// its argument.
pub fn order(mut records: Vec<Service>, mut random: impl FnMut(u32) -> u32) -> Vec<Service> {
    records.sort_by_key(|r| (r.priority, r.weight));
    let mut out = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let priority = first.priority;
        let same = records.iter().take_while(|r| r.priority == priority);
        let sum: u32 = same.clone().map(|r| u32::from(r.weight)).sum();
        let aim = random(sum.saturating_add(1));
        let mut running = 0u32;
        let at = same.map(|r| u32::from(r.weight)).position(|w| {
            running = running.saturating_add(w);
            running >= aim
        });
        out.push(records.remove(at.unwrap_or(0)));
    }
    out
}

/// The resolver. Answers are cached by their TTL.
pub(crate) struct Dns {
    resolver: TokioResolver,
}

fn failed(error: impl std::fmt::Display) -> SipError {
    SipError::Io(format!("DNS: {error}"))
}

/// `_sip._udp.` and its like (RFC 3263 section 4.1).
fn service_prefix(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp.",
        Transport::Tls => "_sips._tcp.",
        _ => "_sip._tcp.",
    }
}

fn usual_port(transport: Transport) -> u16 {
    if transport == Transport::Tls { 5061 } else { 5060 }
}

impl Dns {
    /// Asks these servers; those of the system when there are none.
    pub fn new(name_servers: &[SocketAddr]) -> Result<Dns, SipError> {
        let mut builder = match name_servers {
            [] => TokioResolver::builder_tokio().map_err(failed)?,
            some => {
                let servers = some.iter().map(|address| {
                    let with_port = |mut c: ConnectionConfig| {
                        c.port = address.port();
                        c
                    };
                    let both = vec![with_port(ConnectionConfig::udp()), with_port(ConnectionConfig::tcp())];
                    NameServerConfig::new(address.ip(), true, both)
                });
                let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.cache_size = CACHE;
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        options.positive_max_ttl = Some(LONGEST);
        options.negative_max_ttl = Some(Duration::from_secs(60));
        Ok(Dns { resolver: builder.build().map_err(failed)? })
    }

    async fn addresses(&self, host: &str, until: &mut Instant) -> Result<Vec<IpAddr>, SipError> {
        let found = self.resolver.lookup_ip(host).await.map_err(failed)?;
        *until = (*until).min(found.valid_until());
        Ok(found.iter().take(MOST_ADDRESSES).collect())
    }

    /// SRV records; none where there are none.
    async fn services(&self, name: &str, transport: Transport, until: &mut Instant) -> Vec<Service> {
        let Ok(found) = self.resolver.lookup(rooted(name), RecordType::SRV).await else { return Vec::new() };
        *until = (*until).min(found.valid_until());
        let records = found.answers().iter().filter_map(|r| match &r.data {
            // A target of "." says that the service is not there (RFC 2782).
            RData::SRV(s) if !s.target.is_root() => Some(Service {
                priority: s.priority,
                weight: s.weight,
                host: s.target.to_string(),
                port: s.port,
                transport,
            }),
            _ => None,
        });
        order(records.take(MOST_SRV).collect(), |below| rand::random_range(0..below.max(1)))
    }

    /// What the name's NAPTR records point to, the most wanted first (RFC 3263 section 4.1).
    async fn pointers(&self, host: &str, until: &mut Instant) -> Vec<(String, Transport)> {
        let Ok(found) = self.resolver.lookup(rooted(host), RecordType::NAPTR).await else { return Vec::new() };
        *until = (*until).min(found.valid_until());
        let mut list: Vec<(u16, u16, String, Transport)> = Vec::new();
        for record in found.answers().iter().take(MOST_SRV) {
            let RData::NAPTR(n) = &record.data else { continue };
            let transport = match n.services.to_ascii_uppercase().as_slice() {
                b"SIP+D2U" => Transport::Udp,
                b"SIP+D2T" => Transport::Tcp,
                b"SIPS+D2T" => Transport::Tls,
                _ => continue,
            };
            if n.flags.eq_ignore_ascii_case(b"s") && n.regexp.is_empty() {
                list.push((n.order, n.preference, n.replacement.to_string(), transport));
            }
        }
        list.sort();
        list.into_iter().map(|(_, _, name, transport)| (name, transport)).collect()
    }

    /// The servers of `host`. With a port only its addresses are asked for; without a transport DNS chooses it, as far as
    /// `allowed` has it.
    pub async fn locate(
        &self,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
        allowed: &[Transport],
    ) -> Result<Located, SipError> {
        let now = Instant::now();
        let mut until = now + LONGEST;
        let mut services: Vec<Service> = Vec::new();
        if port.is_none() {
            match transport {
                Some(t) => services = self.services(&format!("{}{host}", service_prefix(t)), t, &mut until).await,
                None => {
                    let mut names = self.pointers(host, &mut until).await;
                    if names.is_empty() {
                        let all = [Transport::Udp, Transport::Tcp, Transport::Tls];
                        names = all.map(|t| (format!("{}{host}", service_prefix(t)), t)).to_vec();
                    }
                    names.retain(|(_, t)| allowed.contains(t));
                    for (name, t) in names {
                        services = self.services(&name, t, &mut until).await;
                        if !services.is_empty() {
                            break;
                        }
                    }
                }
            }
        }
        let mut servers: Vec<(Transport, SocketAddr)> = Vec::new();
        let mut failure = None;
        for service in &services {
            match self.addresses(&service.host, &mut until).await {
                Ok(list) => {
                    servers.extend(list.into_iter().map(|ip| (service.transport, SocketAddr::new(ip, service.port))))
                }
                Err(error) => failure = Some(error),
            }
        }
        if services.is_empty() {
            let transport = transport.unwrap_or(Transport::Udp);
            let port = port.unwrap_or(usual_port(transport));
            let list = self.addresses(host, &mut until).await?;
            servers.extend(list.into_iter().map(|ip| (transport, SocketAddr::new(ip, port))));
        }
        servers.truncate(MOST_SERVERS);
        if servers.is_empty() {
            return Err(failure.unwrap_or_else(|| failed("the name has no address")));
        }
        let valid_for = until.saturating_duration_since(now).clamp(SHORTEST, LONGEST);
        Ok(Located { servers, valid_for })
    }
}

/// A name with a dot in it is whole: search domains are for short ones.
fn rooted(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

/// Where an address leads without asking anybody.
pub(crate) fn literal(host: &str, port: Option<u16>, transport: Option<Transport>) -> Option<Located> {
    let ip: IpAddr = host.trim_matches(['[', ']']).parse().ok()?;
    let transport = transport.unwrap_or(Transport::Udp);
    let address = SocketAddr::new(ip, port.unwrap_or(usual_port(transport)));
    Some(Located { servers: vec![(transport, address)], valid_for: LONGEST })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn record(host: &str, priority: u16, weight: u16) -> Service {
        Service { priority, weight, host: host.into(), port: 5060, transport: Transport::Udp }
    }

    #[test]
    fn priorities_rise_and_weights_decide_within_one() {
        let records = vec![record("b", 10, 30), record("z", 20, 99), record("a", 10, 0), record("c", 10, 70)];
        let names = |aim: u32| -> String {
            order(records.clone(), |below| aim.min(below - 1)).into_iter().map(|r| r.host).collect()
        };
        assert_eq!(names(0), "abcz");
        assert_eq!(names(30), "bcaz");
        assert_eq!(names(u32::MAX), "cbaz");
        // 70 of 100 begin with the heavier one.
        let mut n = 0;
        let heavy = (0..=100).filter(|i| {
            n = *i;
            order(records.clone(), |below| n.min(below - 1)).first().unwrap().host == "c"
        });
        assert_eq!(heavy.count(), 70);
    }

    #[test]
    fn addresses_need_no_dns() {
        let at = |host: &str, port, transport| literal(host, port, transport).map(|l| l.servers[0]);
        assert_eq!(at("10.1.1.5", None, None), Some((Transport::Udp, "10.1.1.5:5060".parse().unwrap())));
        assert_eq!(
            at("10.1.1.5", None, Some(Transport::Tls)),
            Some((Transport::Tls, "10.1.1.5:5061".parse().unwrap()))
        );
        assert_eq!(
            at("fd00::5", Some(7), Some(Transport::Tcp)),
            Some((Transport::Tcp, "[fd00::5]:7".parse().unwrap()))
        );
        assert_eq!(at("sip.example.com", None, None), None);
    }
}
