//! QMP, by the `qapi` crate: used to see a guest that QEMU has stopped, and to save and load a
//! machine's state.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use qapi::qmp::{self, MigrationCapability, MigrationStatus, QmpCommand, RunState};
use qapi::{Command, ExecuteError, Qmp, Stream};
use thiserror::Error;

use crate::deadline::Deadline;

type Connection = Qmp<Stream<io::BufReader<UnixStream>, UnixStream>>;

/// A QMP connection that is made when first used: QEMU greets only after it has set the machine up.
pub(super) struct Monitor {
    socket: UnixStream,
    connection: Option<Connection>,
}

/// QEMU's main loop answers within this, or is asked again at the next look.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two questions whether a state is saved or loaded, which takes a few milliseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// QEMU's name for the descriptor of a machine's state.
const STATE: &str = "state";

/// Why a state was not saved or loaded.
#[derive(Debug, Error)]
pub(crate) enum MonitorError {
    /// QEMU did not greet.
    #[error("QEMU's monitor did not greet: {source}")]
    Silent {
        /// What the system said.
        source: io::Error,
    },
    /// The descriptor could not be passed.
    #[error("failed to pass a descriptor to QEMU's monitor: {source}")]
    Pass {
        /// What the system said.
        source: io::Error,
    },
    /// A command failed.
    #[error("QEMU's monitor failed to do {command}: {source}")]
    Command {
        /// The command.
        command: &'static str,
        /// What QEMU or the system said.
        source: ExecuteError,
    },
    /// QEMU gave up.
    #[error("QEMU failed to save the machine's state ({reason})")]
    Save {
        /// In QEMU's words.
        reason: String,
    },
    /// The limit passed.
    #[error("QEMU was not done with the machine's state in time")]
    Late,
}

impl Monitor {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, connection: None }
    }

    /// The run state, when it is one that the guest does not leave by itself. A monitor that does
    /// not answer says nothing: the process's end and the deadline are watched elsewhere.
    pub(super) fn stopped_state(&mut self) -> Option<String> {
        let status = self.connect().ok()?.execute(&qmp::query_status {}).ok()?;
        matches!(
            status.status,
            RunState::internal_error
                | RunState::io_error
                | RunState::guest_panicked
                | RunState::shutdown
        )
        .then(|| format!("{:?}", status.status).replace('_', "-"))
    }

    /// Saves the state of the machine, without its memory, which must be in a file. The machine
    /// stays stopped.
    pub(super) fn save(&mut self, state: &File, deadline: Deadline) -> Result<(), MonitorError> {
        self.prepare(state, deadline)?;
        self.execute(&qmp::migrate {
            uri: Some(format!("fd:{STATE}")),
            channels: None,
            detach: None,
            resume: None,
        })?;
        loop {
            let info = self.execute(&qmp::query_migrate {})?;
            match info.status {
                Some(MigrationStatus::completed) => return Ok(()),
                Some(MigrationStatus::failed | MigrationStatus::cancelled) => {
                    return Err(MonitorError::Save { reason: info.error_desc.unwrap_or_default() });
                }
                _ => wait(deadline)?,
            }
        }
    }

    /// Has a machine that waits for its state go on from it, as it was when that was saved:
    /// running.
    pub(super) fn load(&mut self, state: &File, deadline: Deadline) -> Result<(), MonitorError> {
        self.prepare(state, deadline)?;
        self.execute(&qmp::migrate_incoming {
            uri: Some(format!("fd:{STATE}")),
            channels: None,
            exit_on_error: None,
        })?;
        while self.execute(&qmp::query_status {})?.status != RunState::running {
            wait(deadline)?;
        }
        Ok(())
    }

    /// Has QEMU take the descriptor of the state, and leave out memory that is in a file.
    fn prepare(&mut self, state: &File, deadline: Deadline) -> Result<(), MonitorError> {
        while let Err(source) = self.connect().map(drop) {
            match source.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => wait(deadline)?,
                _ => return Err(MonitorError::Silent { source }),
            }
        }
        let capability = qmp::MigrationCapabilityStatus {
            capability: MigrationCapability::x_ignore_shared,
            state: true,
        };
        self.execute(&qmp::migrate_set_capabilities { capabilities: vec![capability] })?;
        // Any byte carries the descriptor, and QMP takes a space for nothing. QEMU's sandbox lets
        // it open no program to read or write the state, and its socket is all that it has from us.
        let (bytes, descriptors) = ([IoSlice::new(b" ")], [state.as_raw_fd()]);
        let sent = sendmsg::<()>(
            self.socket.as_raw_fd(),
            &bytes,
            &[ControlMessage::ScmRights(&descriptors)],
            MsgFlags::empty(),
            None,
        );
        sent.map_err(|errno| MonitorError::Pass { source: errno.into() })?;
        self.execute(&qmp::getfd { fdname: STATE.into() })?;
        Ok(())
    }

    fn execute<C: QmpCommand + 'static>(
        &mut self,
        command: &C,
    ) -> Result<<C as Command>::Ok, MonitorError> {
        let connection = self.connect().map_err(|source| MonitorError::Silent { source })?;
        connection
            .execute(command)
            .map_err(|source| MonitorError::Command { command: C::NAME, source })
    }

    fn connect(&mut self) -> io::Result<&mut Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                // Kept until QEMU has greeted, so that one slow answer is not the last question.
                let socket = self.socket.try_clone()?;
                socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                // QEMU 7.2 can hang as it ends (`monitor_cleanup`), and then takes no more
                // questions than the socket holds.
                socket.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                let reader = io::BufReader::new(socket.try_clone()?);
                let mut connection = Qmp::new(Stream::new(reader, socket));
                connection.handshake()?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}

fn wait(deadline: Deadline) -> Result<(), MonitorError> {
    if deadline.left().is_zero() {
        return Err(MonitorError::Late);
    }
    thread::sleep(POLL_INTERVAL);
    Ok(())
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("connected", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}
