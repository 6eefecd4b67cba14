//! The agent as a process on a socket (`verify --here`), which needs no privilege and no guest:
//! what it must not do to the machine, and what becomes of its processes. Declared by the package
//! `settime32-agent`, whose program it runs.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use settime32_abi::frame::{Decoder, Exit, Fault, Reply, Request, Spawn, Stdin, Stream, encode};

/// It decides only how long a test takes that fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Agent {
    process: Child,
    socket: UnixStream,
    decoder: Decoder,
}

impl Agent {
    fn start() -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-agent"));
        let process = command
            .arg("serve")
            .stdin(OwnedFd::from(theirs))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut agent = Self { process, socket, decoder: Decoder::default() };
        assert!(matches!(agent.next(), Reply::Ready { cpus: 1.., .. }));
        agent
    }

    fn ask(&mut self, request: &Request) {
        self.socket.write_all(&encode(request)).unwrap();
    }

    fn next(&mut self) -> Reply {
        let mut buffer = [0; 4096];
        loop {
            if let Some(reply) = self.decoder.next_message().unwrap() {
                return reply;
            }
            let len = self.socket.read(&mut buffer).unwrap();
            assert!(len > 0, "the agent is gone");
            self.decoder.push(&buffer[..len]);
        }
    }

    /// Starts a shell with this script, and gives its process id.
    fn shell(&mut self, script: &str, stdin: Stdin) -> u32 {
        let argv = ["/bin/sh", "-c", script].map(String::from).to_vec();
        self.ask(&Request::Spawn(Spawn {
            stdin,
            env: vec!["PATH=/usr/bin:/bin".into()],
            ..Spawn::new(1, argv)
        }));
        match self.next() {
            Reply::Started { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }
}

/// It could as well break it: whose clock this is does not expect it to be set.
#[test]
fn the_clock_of_a_machine_that_is_no_guest_is_not_set() {
    let mut agent = Agent::start();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    agent.ask(&Request::Restored { realtime_ns: now.as_nanos() as u64, entropy: vec![0; 64] });
    assert!(matches!(agent.next(), Reply::Failed { reason } if reason.contains("no guest")));
}

#[test]
fn a_failure_is_not_caused_on_a_machine_that_is_no_guest() {
    let mut agent = Agent::start();
    agent.ask(&Request::Inject(Fault::Hang));
    let Reply::Failed { reason } = agent.next() else { panic!("it was caused") };
    assert!(reason.contains("no guest"), "{reason}");
}

/// However the harness ends: nothing that it started is left, above all no tracer with its probes.
#[test]
fn what_it_started_ends_with_it() {
    let mut agent = Agent::start();
    let pid = agent.shell("echo up; exec sleep 1000", Stdin::Whole(Vec::new()));
    assert!(matches!(agent.next(), Reply::Output { stream: Stream::Stdout, .. }));
    drop(agent.socket);
    assert_eq!(agent.process.wait().unwrap().code(), Some(1));
    let is_alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    };
    // The signal was sent before the agent's end was told; what is waited for is the process's own
    // dying.
    let started = Instant::now();
    while is_alive() {
        assert!(started.elapsed() < PATIENCE, "process {pid} outlives the agent");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Each piece of input is answered, so that the harness can bound what is under way: when it was
/// taken, and when it never will be.
#[test]
fn input_is_answered_when_it_was_taken_and_when_it_never_will_be() {
    let mut agent = Agent::start();
    agent.shell(
        "read line; echo \"got $line\"; exec <&-; echo closed; exec sleep 1000",
        Stdin::Follows,
    );
    let input = |content: &[u8]| Request::Input { id: 1, content: content.to_vec() };
    agent.ask(&input(b"a line\n"));
    assert_eq!(agent.next(), Reply::Taken { id: 1 });
    let mut said = Vec::new();
    while !said.ends_with(b"closed\n") {
        let Reply::Output { content, .. } = agent.next() else {
            panic!("{}", String::from_utf8_lossy(&said))
        };
        said.extend(content);
    }
    assert_eq!(said, b"got a line\nclosed\n");
    agent.ask(&input(&[7; 100_000]));
    agent.ask(&input(b""));
    assert_eq!([agent.next(), agent.next()], [Reply::Taken { id: 1 }, Reply::Taken { id: 1 }]);
    agent.ask(&Request::Signal { id: 1, signal: 9 });
    assert_eq!(agent.next(), Reply::Exited { id: 1, status: Exit::Signal(9) });
}
