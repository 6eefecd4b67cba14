//! QMP, by the `qapi` crate: used to see a guest that QEMU has stopped.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use qapi::qmp::{self, RunState};
use qapi::{Qmp, Stream};

type Connection = Qmp<Stream<std::io::BufReader<UnixStream>, UnixStream>>;

/// A QMP connection that is made when first used: QEMU greets only after it has set the machine up.
pub(super) struct Monitor {
    socket: UnixStream,
    connection: Option<Connection>,
}

/// QEMU's main loop answers within this, or is asked again at the next look.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl Monitor {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, connection: None }
    }

    /// The run state, when it is one that the guest does not leave by itself. A monitor that does not answer
    /// says nothing: the process's end and the deadline are watched elsewhere.
    pub(super) fn stopped_state(&mut self) -> Option<String> {
        let status = self.connection()?.execute(&qmp::query_status {}).ok()?;
        matches!(status.status, RunState::internal_error | RunState::io_error | RunState::guest_panicked | RunState::shutdown)
            .then(|| format!("{:?}", status.status).replace('_', "-"))
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        if self.connection.is_none() {
            // Kept until QEMU has greeted, so that one slow answer is not the last question.
            let socket = self.socket.try_clone().ok()?;
            socket.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
            let reader = std::io::BufReader::new(socket.try_clone().ok()?);
            let mut connection = Qmp::new(Stream::new(reader, socket));
            connection.handshake().ok()?;
            self.connection = Some(connection);
        }
        self.connection.as_mut()
    }
}

impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor").field("connected", &self.connection.is_some()).finish_non_exhaustive()
    }
}
