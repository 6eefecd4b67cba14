//! A guest whose agent answers: requests, replies, and what is told when it is gone.

use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use settime32_abi::frame::{self, Reply, Request};

use super::console::{Symptom, triage};
use super::here::LocalAgent;
use super::initramfs::GuestPrograms;
use super::machine::{Accelerator, Machine};
use super::monitor::MonitorError;
use super::options::Start;
use super::scratch::Scratch;
use super::supervise::{Emulator, wait_status};
use crate::connection::{Connection, Incoming, Requests};
use crate::deadline::Deadline;
use crate::failure::{BootError, GuestError, HostError, VmError};

/// A guest whose agent answers, or the running kernel in its place. Dropping it ends QEMU, or the
/// agent.
#[derive(Debug)]
pub struct Vm {
    connection: Connection,
    place: Place,
    scratch: Scratch,
    /// What runs the guest; `None` when there is none.
    pub accelerator: Option<Accelerator>,
    /// `uname -r` in the guest.
    pub kernel_release: String,
    /// CPUs online in the guest.
    pub cpus: u32,
    /// How it started; `None` when there is no guest.
    pub start: Option<Start>,
    /// What was done in it before its state was saved.
    prepared: Option<Prepared>,
}

/// What is done in a guest before anybody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// The preparation's name.
    pub words: Vec<String>,
    /// What it gave.
    pub said: Vec<u8>,
}

/// Where the agent is.
#[derive(Debug)]
enum Place {
    Guest(Emulator),
    Here(LocalAgent),
}

impl Place {
    fn stopped_state(&mut self) -> Option<String> {
        match self {
            Self::Guest(emulator) => emulator.stopped_state(),
            Self::Here(_) => None,
        }
    }

    /// How the process ended that the agent is, or is in.
    fn wait_status(&mut self) -> String {
        wait_status(match self {
            Self::Guest(emulator) => emulator.child(),
            Self::Here(agent) => agent.child(),
        })
    }
}

/// Fresh random bytes for a guest that goes on from a saved state: twice what its generator's key
/// holds.
const ENTROPY_LEN: usize = 64;
const ENTROPY_SOURCE: &str = "/dev/urandom";

/// Why a guest did not go on from a saved state.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    #[error(transparent)]
    Guest(#[from] VmError),
}

/// The agent only has to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long between looks at a guest that is silent.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Vm {
    /// Boots this machine.
    pub(crate) fn boot_machine(
        machine: &Machine,
        scratch: &Scratch,
        limit: Duration,
    ) -> Result<Self, VmError> {
        let mut emulator = Emulator::start(machine)?;
        let stream = emulator.take_agent().expect("the machine has an agent port");
        let mut vm = Self::new(stream, Place::Guest(emulator), scratch, Some(machine.accelerator));
        vm.start = Some(Start::Cold);
        vm.wait_ready(limit)?;
        Ok(vm)
    }

    /// Has a machine with a copied memory go on from the state that belongs to it.
    pub(crate) fn restore_machine(
        machine: &Machine,
        state: &File,
        scratch: &Scratch,
        deadline: Deadline,
    ) -> Result<Self, RestoreError> {
        let mut emulator = Emulator::start(machine).map_err(VmError::from)?;
        let stream = emulator.take_agent().expect("the machine has an agent port");
        emulator.monitor().load(state, deadline)?;
        let mut vm = Self::new(stream, Place::Guest(emulator), scratch, Some(machine.accelerator));
        vm.start = Some(Start::Warm);
        let mut entropy = vec![0; ENTROPY_LEN];
        File::open(ENTROPY_SOURCE).and_then(|mut file| file.read_exact(&mut entropy)).map_err(
            |error| {
                let error: VmError = HostError::file("read", ENTROPY_SOURCE)(error).into();
                error
            },
        )?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        vm.send(&Request::Restored {
            realtime_ns: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),
            entropy,
        });
        vm.wait_ready(deadline.left())?;
        Ok(vm)
    }

    /// Saves the machine's state, all but its memory, and leaves it stopped.
    pub(crate) fn save_state(
        &mut self,
        state: &File,
        deadline: Deadline,
    ) -> Result<(), MonitorError> {
        match &mut self.place {
            Place::Guest(emulator) => emulator.monitor().save(state, deadline),
            Place::Here(_) => unreachable!("only guests are saved"),
        }
    }

    /// Takes down what is done already.
    pub(crate) fn set_prepared(&mut self, prepared: Option<Prepared>) {
        self.prepared = prepared;
    }

    /// What the preparation of this name gave, when it was done before the guest's state was saved
    /// (`warm::Preparation`); once.
    pub fn take_prepared(&mut self, words: &[String]) -> Option<Vec<u8>> {
        self.prepared.take_if(|prepared| prepared.words == words).map(|prepared| prepared.said)
    }

    /// No guest: the agent starts as a process of this machine, which is for root to
    /// want.
    pub fn here(scratch: &Scratch, programs: &GuestPrograms) -> Result<Self, VmError> {
        let (agent, stream) = LocalAgent::start(scratch, programs)?;
        let mut vm = Self::new(stream, Place::Here(agent), scratch, None);
        vm.wait_ready(START_TIMEOUT)?;
        Ok(vm)
    }

    fn new(
        stream: UnixStream,
        place: Place,
        scratch: &Scratch,
        accelerator: Option<Accelerator>,
    ) -> Self {
        let (connection, scratch) = (Connection::new(stream), scratch.clone());
        Self {
            connection,
            place,
            scratch,
            accelerator,
            kernel_release: String::new(),
            cpus: 0,
            start: None,
            prepared: None,
        }
    }

    /// Waits for [`Reply::Ready`], looking after the emulator meanwhile.
    fn wait_ready(&mut self, limit: Duration) -> Result<(), VmError> {
        let started = Instant::now();
        loop {
            match self.connection.receive(LOOK_INTERVAL) {
                Incoming::Reply(Reply::Ready { protocol, kernel_release, cpus }) => {
                    if protocol != frame::PROTOCOL {
                        return Err(BootError::Protocol {
                            expected: frame::PROTOCOL,
                            found: protocol,
                        }
                        .into());
                    }
                    (self.kernel_release, self.cpus) = (kernel_release, cpus);
                    return Ok(());
                }
                Incoming::Reply(other) => {
                    return Err(GuestError::Agent {
                        reason: format!("{other:?} before it was ready"),
                    }
                    .into());
                }
                Incoming::Broken(source) => return Err(GuestError::Frame { source }.into()),
                Incoming::Closed => return Err(self.boot_ended()),
                Incoming::Nothing => {}
            }
            if let Some(state) = self.place.stopped_state() {
                return Err(BootError::Stopped { state }.into());
            }
            if started.elapsed() > limit {
                return Err(match self.symptom() {
                    Some(symptom) => BootError::Failed { symptom: symptom.told() },
                    None => BootError::NotReady { seconds: limit.as_secs_f64() },
                }
                .into());
            }
        }
    }

    /// QEMU ended before the agent was ready: its own fault when the guest said nothing, else the
    /// guest's.
    fn boot_ended(&mut self) -> VmError {
        let status = self.place.wait_status();
        let console = self.console();
        match &self.place {
            Place::Guest(emulator) if console.is_empty() => {
                return HostError::QemuRefused {
                    program: emulator.program.clone(),
                    status,
                    stderr: emulator.stderr(),
                }
                .into();
            }
            Place::Guest(_) => {}
            Place::Here(_) => {
                return HostError::AgentEnded {
                    status,
                    stderr: self.scratch.qemu_stderr().trim().into(),
                }
                .into();
            }
        }
        match triage(&console) {
            Some(symptom) => BootError::Failed { symptom: symptom.told() },
            None => BootError::Ended { status },
        }
        .into()
    }

    /// Where the program is that is at `path` in a guest.
    pub fn program(&self, path: &str) -> String {
        match &self.place {
            Place::Guest(_) => path.into(),
            Place::Here(agent) => agent.program(path).to_string_lossy().into_owned(),
        }
    }

    /// Sends a request; a guest that is gone is noticed by the next [`Vm::receive`].
    pub fn send(&self, request: &Request) {
        self.connection.send(request);
    }

    /// For another thread to send by.
    pub fn requests(&self) -> Requests {
        self.connection.requests()
    }

    /// The next reply. Fails when the guest is gone, when the agent says that a request failed, and
    /// when the deadline passes (`doing` then says what the run was at).
    pub fn receive(&mut self, deadline: Deadline, doing: &'static str) -> Result<Reply, VmError> {
        loop {
            if let Some(reply) = self.receive_within(deadline, LOOK_INTERVAL, doing)? {
                return Ok(reply);
            }
        }
    }

    /// The same, but gives `None` when nothing came within `wait`.
    pub fn receive_within(
        &mut self,
        deadline: Deadline,
        wait: Duration,
        doing: &'static str,
    ) -> Result<Option<Reply>, VmError> {
        let incoming = self.connection.receive(wait.min(deadline.left()));
        // A guest that keeps talking must not keep the run from ending.
        let over = deadline.left().is_zero() && !matches!(incoming, Incoming::Closed);
        match incoming {
            _ if over => Err(match self.kernel_failure() {
                Some(failure) => failure.into(),
                None => BootError::Hang { seconds: deadline.seconds, doing }.into(),
            }),
            Incoming::Reply(Reply::Failed { reason }) => Err(GuestError::Agent { reason }.into()),
            Incoming::Reply(reply) => Ok(Some(reply)),
            Incoming::Broken(source) => Err(GuestError::Frame { source }.into()),
            Incoming::Closed => {
                let status = self.place.wait_status();
                Err(self.kernel_failure().unwrap_or(GuestError::Lost { status }).into())
            }
            Incoming::Nothing => Ok(None),
        }
    }

    /// Writes a file in the guest, in which nothing else is going on.
    pub fn put(
        &mut self,
        path: &str,
        mode: u32,
        content: Vec<u8>,
        deadline: Deadline,
    ) -> Result<(), VmError> {
        self.send(&Request::Put { path: path.into(), mode, content });
        while self.receive(deadline, "a file is written")? != Reply::Done {}
        Ok(())
    }

    /// What the console shows of a failed guest kernel, as an error.
    pub fn kernel_failure(&self) -> Option<GuestError> {
        self.symptom()
            .map(|symptom| GuestError::Kernel { symptom: symptom.name, line: symptom.line })
    }

    fn symptom(&self) -> Option<Symptom> {
        triage(&self.console())
    }

    /// Everything that the guest's console showed so far.
    pub fn console(&self) -> String {
        self.scratch.console()
    }
}
