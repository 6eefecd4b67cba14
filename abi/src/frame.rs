//! The protocol between the harness and the guest's agent: frames over one virtio-serial port.
//!
//! A frame is its length (u32, little endian), then a postcard-encoded [`Request`] (host to guest)
//! or [`Reply`] (guest to host). Requests are done in order; output and exits of processes come as
//! they happen.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Name of the virtio-serial port, under which the guest finds it.
pub const PORT_NAME: &str = "settime32.agent";

/// Version of this protocol; both ends say theirs and refuse another.
pub const PROTOCOL: u32 = 3;

/// The longest frame, bytes: a plan or journal of the largest batch with room to spare.
pub const MAX_FRAME_LEN: usize = 256 << 20;

/// Bytes in front of each frame.
pub const PREFIX_LEN: usize = 4;

/// What the harness asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Write a file.
    Put {
        /// Absolute path; missing directories are made.
        path: String,
        /// Permission bits.
        mode: u32,
        /// What to write.
        #[serde(with = "bytes")]
        content: Vec<u8>,
    },
    /// Read a file; answered by [`Reply::File`].
    Get {
        /// Absolute path.
        path: String,
    },
    /// Start a process; answered by [`Reply::Started`].
    Spawn(Spawn),
    /// More standard input for a process with [`Stdin::Follows`]; no bytes are its end. Answered by
    /// [`Reply::Taken`].
    Input {
        /// Which.
        id: u32,
        /// What it is to read.
        #[serde(with = "bytes")]
        content: Vec<u8>,
    },
    /// Send a signal to a process that was started, or to a command of one ([`Spawn::command`]).
    Signal {
        /// Which.
        id: u32,
        /// Signal number.
        signal: i32,
    },
    /// Pass a signal on, as [`Request::Signal`] does; one that is not running gets none, which its
    /// end tells.
    PassOn {
        /// Which.
        id: u32,
        /// Signal number.
        signal: i32,
    },
    /// Tell a process's terminal its new size.
    Resize {
        /// Which.
        id: u32,
        /// The size.
        size: WindowSize,
    },
    /// Give the guest a root folder of its own, and mount what programs expect; once, and before
    /// anything is started. The guest's own programs move to [`OWN_FOLDER`].
    Furnish,
    /// Make files, folders and links.
    Lay(Vec<Node>),
    /// Let some folders be read only, and others below them be empty and written to.
    Seal {
        /// Absolute paths.
        read_only: Vec<String>,
        /// Absolute paths.
        writable: Vec<String>,
    },
    /// Fail on purpose, so that the harness can be tested.
    Inject(Fault),
    /// The guest goes on from a saved state, maybe as one of several: set its clock, and have its
    /// kernel draw other random numbers than the others'. Answered by [`Reply::Ready`].
    Restored {
        /// CLOCK_REALTIME, nanoseconds.
        realtime_ns: u64,
        /// For the kernel's random number generator; every byte counts as eight bits that nobody
        /// knows.
        #[serde(with = "bytes")]
        entropy: Vec<u8>,
    },
}

/// Where the guest's own programs are, by their names, after [`Request::Furnish`].
pub const OWN_FOLDER: &str = "/.settime32";

/// Something to make at a path of the guest, whose folder is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Node {
    /// A folder, which may be there already.
    Folder {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// Absolute path.
        path: String,
        /// What it says.
        target: String,
    },
    /// A piece of a file. The first, which makes the file anew, is at offset 0, and the others
    /// follow in order.
    Piece {
        /// Absolute path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Bytes before it.
        offset: u64,
        /// What it holds.
        #[serde(with = "bytes")]
        content: Vec<u8>,
    },
}

/// Size of a terminal, characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A process to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The harness's name for the process.
    pub id: u32,
    /// Program (absolute path) and arguments.
    pub argv: Vec<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// Standard input.
    pub stdin: Stdin,
    /// User and group id to run as; `None` stays root.
    pub uid: Option<u32>,
    /// The harness's name for what the process runs as a command of its own. That finds pipes at
    /// [`COMMAND_STDOUT`] and [`COMMAND_STDERR`], whose content is sent under this name, apart from
    /// that of the process.
    pub command: Option<u32>,
    /// A terminal of this size for its input and output, or, where there is one, for those of its
    /// command.
    pub terminal: Option<WindowSize>,
}

impl Spawn {
    /// As root, in `/`, with no environment and no input.
    pub fn new(id: u32, argv: Vec<String>) -> Self {
        let (env, cwd, stdin) = (Vec::new(), "/".into(), Stdin::Whole(Vec::new()));
        Self { id, argv, env, cwd, stdin, uid: None, command: None, terminal: None }
    }
}

/// Descriptor of a command's standard output ([`Spawn::command`]); larger than those that a program
/// has by itself.
pub const COMMAND_STDOUT: i32 = 100;
/// Descriptor of a command's standard error.
pub const COMMAND_STDERR: i32 = 101;

/// Standard input of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// All of it.
    Whole(#[serde(with = "bytes")] Vec<u8>),
    /// It comes by [`Request::Input`].
    Follows,
}

/// Failures that a guest can be told to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// Panic the kernel (`/proc/sysrq-trigger`, `c`).
    Panic,
    /// Stop answering for good.
    Hang,
}

/// What the agent answers and tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// First frame after boot, and the answer to [`Request::Restored`].
    Ready {
        /// [`PROTOCOL`] of the agent.
        protocol: u32,
        /// `uname -r`.
        kernel_release: String,
        /// CPUs online.
        cpus: u32,
    },
    /// A [`Request::Put`], [`Request::Furnish`], [`Request::Lay`] or [`Request::Seal`] is done.
    Done,
    /// Content of a file.
    File {
        /// The path asked for.
        path: String,
        /// What it holds.
        #[serde(with = "bytes")]
        content: Vec<u8>,
    },
    /// A process was started.
    Started {
        /// The harness's name for it.
        id: u32,
        /// Its process id in the guest.
        pid: u32,
    },
    /// The process has taken the content of one [`Request::Input`], or never will.
    Taken {
        /// Which.
        id: u32,
    },
    /// A process wrote something.
    Output {
        /// Which.
        id: u32,
        /// Where to.
        stream: Stream,
        /// What.
        #[serde(with = "bytes")]
        content: Vec<u8>,
    },
    /// A process ended, and everything that it wrote was sent before.
    Exited {
        /// Which.
        id: u32,
        /// How.
        status: Exit,
    },
    /// A request could not be done.
    Failed {
        /// Which and why, in words.
        reason: String,
    },
}

/// Where a process wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl core::fmt::Display for Exit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// Why a frame could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than [`MAX_FRAME_LEN`]: the two ends are out of step.
    TooLong(usize),
    /// Not a message of this protocol.
    Decode(String),
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong(len) => write!(
                f,
                "frame of {len} bytes, more than the {MAX_FRAME_LEN} allowed: the ends are out of step"
            ),
            Self::Decode(reason) => write!(f, "frame is not a message of this protocol: {reason}"),
        }
    }
}

impl core::error::Error for FrameError {}

/// A message as it goes over the port, length in front.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    let mut frame = alloc::vec![0; PREFIX_LEN];
    frame = postcard::to_extend(message, frame)
        .expect("messages are plain data, which postcard always encodes");
    let len = u32::try_from(frame.len() - PREFIX_LEN).expect("a frame is far below 4 GiB");
    frame[..PREFIX_LEN].copy_from_slice(&len.to_le_bytes());
    frame
}

/// Collects bytes as they come and gives the frames that are whole.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
}

impl Decoder {
    /// Takes bytes off the port.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moving the rest to the front once half is used keeps the cost of a byte constant.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, or `None` until more bytes come.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some((prefix, body)) = rest.split_at_checked(PREFIX_LEN) else { return Ok(None) };
        let len = u32::from_le_bytes(prefix.try_into().expect("split at four bytes")) as usize;
        if len > MAX_FRAME_LEN {
            return Err(FrameError::TooLong(len));
        }
        let Some(frame) = body.get(..len) else { return Ok(None) };
        let message = postcard::from_bytes(frame)
            .map_err(|error| FrameError::Decode(alloc::format!("{error}")))?;
        self.start += PREFIX_LEN + len;
        Ok(Some(message))
    }
}

/// Byte strings as one piece, since serde's own way takes a call for each byte.
mod bytes {
    use alloc::vec::Vec;
    use core::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn messages_survive_any_division_into_reads() {
        let messages = [
            Reply::Started { id: 1, pid: 77 },
            Reply::Output { id: 1, stream: Stream::Stdout, content: vec![0, 255, 10, 13] },
            Reply::Exited { id: 1, status: Exit::Signal(9) },
        ];
        let wire: Vec<u8> = messages.iter().flat_map(encode).collect();
        for size in 1..=wire.len() {
            let mut decoder = Decoder::default();
            let mut got = Vec::new();
            for piece in wire.chunks(size) {
                decoder.push(piece);
                while let Some(reply) = decoder.next_message::<Reply>().unwrap() {
                    got.push(reply);
                }
            }
            assert_eq!(got, messages, "in pieces of {size}");
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_an_error() {
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert_eq!(decoder.next_message::<Reply>(), Err(FrameError::TooLong(u32::MAX as usize)));
    }
}
