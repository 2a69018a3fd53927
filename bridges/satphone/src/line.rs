//! The way to a terminal: a TCP connection, or a serial line that is opened as a file and set to raw bytes.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::time::Duration;

use rustix::termios::{OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::config::Terminal;

/// A connection that does not come up in this time is given up.
const CONNECT: Duration = Duration::from_secs(5);

pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send>>;
pub(crate) type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Opens the way to a terminal.
pub(crate) async fn open(config: &Terminal) -> Result<(Reader, Writer)> {
    if config.device.is_empty() {
        let connecting = TcpStream::connect(&config.address);
        let stream =
            tokio::time::timeout(CONNECT, connecting).await.map_err(|_| Error::from(ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        return Ok((Box::pin(reader), Box::pin(writer)));
    }
    let (device, baud) = (config.device.clone(), config.baud);
    let opening = tokio::task::spawn_blocking(move || serial(&device, baud));
    let file = opening.await.map_err(Error::other)??;
    let other = file.try_clone()?;
    Ok((Box::pin(tokio::fs::File::from_std(file)), Box::pin(tokio::fs::File::from_std(other))))
}

fn serial(device: &str, baud: u32) -> Result<std::fs::File> {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(device)?;
    let mut line = tcgetattr(&file)?;
    // 8 bits, no parity, one stop bit, no echo, no translation.
    line.make_raw();
    line.set_speed(baud)?;
    // A read gives what is there, at least one byte.
    line.special_codes[SpecialCodeIndex::VMIN] = 1;
    line.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(&file, OptionalActions::Flush, &line)?;
    Ok(file)
}
