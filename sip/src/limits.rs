//! Hard caps. Nothing in this crate grows without one.

use std::time::Duration;

/// All caps of one endpoint and its sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the header part on a stream; more closes the connection. Default 16 KiB.
    pub max_header: usize,
    /// Bytes of a body on a stream (large catalogs); more closes the connection. Default 2 MiB.
    pub max_body: usize,
    /// Live server transactions; more gives 503. Default 50,000.
    pub max_server_transactions: usize,
    /// Live client transactions; more gives [`crate::SipError::Overloaded`]. Default 50,000.
    pub max_client_transactions: usize,
    /// Calls that stand or are set up; ended ones are known for 64 s beside them, up to three times as many. More gives 503 or [`crate::SipError::Overloaded`]. Default 10,000.
    pub max_calls: usize,
    /// Server transactions of one source IP; more gives 503. Default 20,000.
    pub transactions_per_source: usize,
    /// Messages per second of one source IP, with a burst of twice that; more is dropped. Default 5,000: many
    /// devices can stand behind one NAT address.
    pub messages_per_second: u32,
    /// Source IPs remembered for these limits. Default 65,536.
    pub max_sources: usize,
    /// Flows (UDP sources and connections) in all. Default 120,000; the longest idle UDP flows go first.
    pub max_flows: usize,
    /// Connections of one source IP. Default 4,096.
    pub connections_per_source: usize,
    /// A connection on which no byte came for so long is closed. Default 10 min.
    pub idle_connection: Duration,
    /// Messages waiting to be written to one connection; more closes it. Default 512.
    pub connection_queue: usize,
}

impl Limits {
    /// The most bytes of one message on a stream or in a WebSocket message.
    pub fn max_message(&self) -> usize {
        self.max_header.saturating_add(self.max_body)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_header: 16 * 1024,
            max_body: 2 * 1024 * 1024,
            max_server_transactions: 50_000,
            max_client_transactions: 50_000,
            max_calls: 10_000,
            transactions_per_source: 20_000,
            messages_per_second: 5_000,
            max_sources: 65_536,
            max_flows: 120_000,
            connections_per_source: 4_096,
            idle_connection: Duration::from_secs(600),
            connection_queue: 512,
        }
    }
}
