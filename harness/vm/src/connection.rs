//! Our end of the agent's port: frames in and out, each direction by a thread of its own,
//! so that neither side ever waits for the other to read.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use settime32_abi::frame::{self, Decoder, FrameError, Reply, Request};

/// What came from the guest.
#[derive(Debug)]
pub enum Incoming {
    /// A message.
    Reply(Reply),
    /// Bytes that are no message; nothing more can be read.
    Broken(FrameError),
    /// The other end is gone.
    Closed,
    /// Nothing, within the time given.
    Nothing,
}

/// Messages that may wait to be taken before the guest is made to wait: 64 of the agent's largest
/// pieces.
const QUEUE_LEN: usize = 64;

/// Bytes taken off the socket at a time.
const READ_SIZE: usize = 256 << 10;

/// Where requests are handed in.
#[derive(Clone, Debug)]
pub struct Requests(Sender<Vec<u8>>);

impl Requests {
    /// Hands it to the thread that writes.
    pub fn send(&self, request: &Request) {
        // Fails only when the writer ended because the guest is gone; the reader tells of it.
        let _ = self.0.send(frame::encode(request));
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    incoming: Receiver<Incoming>,
    outgoing: Requests,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream) -> Self {
        let (reply_sender, incoming) = mpsc::sync_channel(QUEUE_LEN);
        let (outgoing, requests) = mpsc::channel::<Vec<u8>>();
        let mut reader = stream.try_clone().expect("a socket can be duplicated");
        let mut writer = stream;
        thread::spawn(move || {
            let mut decoder = Decoder::default();
            let mut buffer = vec![0; READ_SIZE];
            loop {
                let taken = match reader.read(&mut buffer) {
                    Ok(taken @ 1..) => taken,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Ok(0) | Err(_) => break,
                };
                decoder.push(&buffer[..taken]);
                loop {
                    let incoming = match decoder.next_message() {
                        Ok(Some(reply)) => Incoming::Reply(reply),
                        Ok(None) => break,
                        Err(error) => Incoming::Broken(error),
                    };
                    let broken = matches!(incoming, Incoming::Broken(_));
                    if reply_sender.send(incoming).is_err() || broken {
                        return;
                    }
                }
            }
            // The receiver may be gone, and then nobody wants to know.
            let _ = reply_sender.send(Incoming::Closed);
        });
        thread::spawn(move || {
            // A guest that is gone ends this thread; the reader tells of it.
            while let Ok(frame) = requests.recv() {
                if writer.write_all(&frame).is_err() {
                    break;
                }
            }
        });
        Self { incoming, outgoing: Requests(outgoing) }
    }

    pub(crate) fn send(&self, request: &Request) {
        self.outgoing.send(request);
    }

    /// For another thread to send by.
    pub(crate) fn requests(&self) -> Requests {
        self.outgoing.clone()
    }

    pub(crate) fn receive(&self, wait: Duration) -> Incoming {
        match self.incoming.recv_timeout(wait) {
            Ok(incoming) => incoming,
            Err(RecvTimeoutError::Timeout) => Incoming::Nothing,
            Err(RecvTimeoutError::Disconnected) => Incoming::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(20);

    #[test]
    fn both_ends_may_write_more_than_the_socket_holds() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours);
        let content = vec![7; 8 << 20];
        connection.send(&Request::Put {
            path: "/file".into(),
            mode: 0o644,
            content: content.clone(),
        });
        // The peer writes all of its own before it reads anything.
        let reply = Reply::File { path: "/other".into(), content };
        theirs.write_all(&frame::encode(&reply)).unwrap();
        assert!(matches!(connection.receive(WAIT), Incoming::Reply(got) if got == reply));
        let mut length = [0; frame::PREFIX_LEN];
        theirs.read_exact(&mut length).unwrap();
        assert!(u32::from_le_bytes(length) as usize > 8 << 20);
    }

    #[test]
    fn the_end_is_told_after_the_last_message() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let connection = Connection::new(ours);
        theirs.write_all(&frame::encode(&Reply::Done)).unwrap();
        drop(theirs);
        assert!(matches!(connection.receive(WAIT), Incoming::Reply(Reply::Done)));
        assert!(matches!(connection.receive(WAIT), Incoming::Closed));
    }
}
