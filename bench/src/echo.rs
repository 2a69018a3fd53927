//! The least that answers SIP: reads datagrams in batches, copies five headers into a 200, sends it. What a gateway that did
//! nothing with its devices would cost.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;

use crate::Res;
use crate::udp::{self, Inbox};

pub struct Echo {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    cpu: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(cpu: Option<usize>) -> Res<Echo> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        udp::enlarge(&socket, 4 << 20);
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (stop, used) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (flag, count) = (stop.clone(), used.clone());
        let thread = std::thread::Builder::new().name("echo".into()).spawn(move || {
            udp::pin(cpu);
            let mut inbox = Inbox::default();
            while !flag.load(Relaxed) {
                if inbox.fill(&socket) == 0 {
                    udp::readable(&socket, 20);
                    continue;
                }
                let mut n = 0;
                while let Some((bytes, from, _)) = inbox.get(n) {
                    n += 1;
                    let text = String::from_utf8_lossy(bytes);
                    let mut out = String::with_capacity(512);
                    out.push_str("SIP/2.0 200 OK\r\n");
                    for line in text.lines().skip(1).take_while(|l| !l.is_empty()) {
                        let name = line.split(':').next().unwrap_or_default();
                        match name {
                            "Via" | "From" | "Call-ID" | "CSeq" => {
                                out.push_str(line);
                                out.push_str("\r\n");
                            }
                            "To" => {
                                out.push_str(line);
                                out.push_str(";tag=e\r\n");
                            }
                            _ => {}
                        }
                    }
                    out.push_str("Content-Length: 0\r\n\r\n");
                    let _ = socket.send_to(out.as_bytes(), from);
                }
                count.store(udp::thread_cpu(), Relaxed);
            }
        })?;
        Ok(Echo { address, stop, cpu: used, thread: Some(thread) })
    }

    /// CPU seconds used.
    pub fn cpu(&self) -> f64 {
        self.cpu.load(Relaxed) as f64 / 1e9
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
