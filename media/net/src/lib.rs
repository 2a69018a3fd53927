//! Media sockets: port pool, RTP over UDP and TCP, batched sending.

mod addr;
pub mod batch;
pub mod latch;
pub mod ports;
pub mod rounds;
pub mod tcp;
pub mod udp;

pub use batch::{BatchSender, FlushReport, send_segments};
pub use latch::{Latch, SourceLatch};
pub use ports::{PlainPair, PortError, PortLease, PortPool, PortPoolStats, RtpPair};
pub use rounds::{Rounds, Serve};
pub use tcp::{RtpTcp, RtpTcpReader, RtpTcpWriter, TcpError, accept_one, connect};
pub use udp::{Batch, RtpSocket, receive_now, unmapped};
