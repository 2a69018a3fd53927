//! Plain counters of an endpoint, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub $name: AtomicU64),* }

        /// A snapshot: totals since the endpoint was bound, unless said otherwise.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
        pub struct Stats {
            /// Legs now: WHEP viewers.
            pub viewers: u64,
            /// Legs now: two-way.
            pub two_way: u64,
            $($(#[$doc])* pub $name: u64),*
        }

        impl Counters {
            pub fn snapshot(&self) -> Stats {
                Stats { viewers: 0, two_way: 0, $($name: self.$name.load(Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Legs that were answered.
    offers_accepted,
    /// Offers that were refused.
    offers_refused,
    /// Legs whose transport stood.
    legs_connected,
    /// Legs that never connected.
    legs_never_connected,
    /// Legs that ended, whatever the reason.
    legs_closed,
    /// Two-way sessions ended because their machine panicked.
    panics,
    /// Datagrams handed to the kernel.
    sent_packets,
    /// Datagrams that the kernel refused.
    send_errors,
    /// Datagrams dropped since the socket buffer stayed full.
    send_dropped,
    /// RTP payload bytes sent to viewers.
    sent_bytes,
    /// Datagrams received.
    received_packets,
    /// Datagrams that belong to no leg.
    unknown_packets,
    /// Datagrams that are none of STUN, DTLS, RTP, RTCP.
    odd_packets,
    /// Datagrams dropped because a leg's queue was full.
    queue_full,
    /// SRTCP that failed authentication or was replayed.
    srtcp_refused,
    /// RTP packets that viewers asked for again.
    nacked_packets,
    /// Retransmissions sent.
    rtx_packets,
    /// Key frame requests of viewers.
    plis,
    /// Times a leg was reduced to key frames.
    reductions,
    /// Video frames not sent to some viewer: dropped behind a newer key frame, reduced, or lagging.
    frames_skipped,
    /// Datagrams dropped on purpose, in tests.
    test_losses,
}
