//! Programs in a guest, any number at once: start, signal, wait, and what they wrote. For whoever
//! wants no more of a guest than that.

use std::collections::BTreeMap;
use std::time::Duration;

use settime32_abi::frame::{Exit, Reply, Request, Spawn, Stdin, Stream};

use crate::boot::{Deadline, Vm};
use crate::failure::VmError;

/// A guest and what runs in it.
#[derive(Debug)]
pub struct Programs {
    vm: Vm,
    deadline: Deadline,
    ran: BTreeMap<u32, Ran>,
}

/// A program that runs or ran.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Its process id in the guest, once it was started.
    pub pid: Option<u32>,
    /// What it wrote to standard output so far.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error so far.
    pub stderr: Vec<u8>,
    /// How it ended, once it did.
    pub exit: Option<Exit>,
}

impl Ran {
    /// Standard output as lines; bytes that are not UTF-8 are replaced.
    pub fn lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.stdout).lines().map(str::to_string).collect()
    }

    /// Standard error as text; bytes that are not UTF-8 are replaced.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl Programs {
    /// Nothing runs yet; every wait ends at the deadline.
    pub fn new(vm: Vm, deadline: Deadline) -> Self {
        Self { vm, deadline, ran: BTreeMap::new() }
    }

    /// Writes a file in the guest, missing folders too.
    pub fn put(&mut self, path: &str, mode: u32, content: Vec<u8>) -> Result<(), VmError> {
        self.vm.send(&Request::Put { path: path.into(), mode, content });
        loop {
            match self.vm.receive(self.deadline, "a file is written")? {
                Reply::Done => return Ok(()),
                other => self.sort(other),
            }
        }
    }

    /// Content of a file in the guest.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>, VmError> {
        self.vm.send(&Request::Get { path: path.into() });
        loop {
            match self.vm.receive(self.deadline, "a file is read")? {
                Reply::File { content, .. } => return Ok(content),
                other => self.sort(other),
            }
        }
    }

    /// Starts a program (absolute path, then arguments) as root and gives the number by which it is
    /// known here.
    pub fn start(&mut self, argv: &[&str]) -> u32 {
        self.start_with(argv, Vec::new())
    }

    /// The same, with something to read on standard input.
    pub fn start_with(&mut self, argv: &[&str], stdin: Vec<u8>) -> u32 {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        self.start_in(&argv, &[], stdin)
    }

    /// The same, in an environment of `NAME=value`.
    pub fn start_in(&mut self, argv: &[String], env: &[String], stdin: Vec<u8>) -> u32 {
        let id = self.ran.len() as u32 + 1;
        self.ran.insert(id, Ran::default());
        self.vm.send(&Request::Spawn(Spawn {
            env: env.to_vec(),
            stdin: Stdin::Whole(stdin),
            ..Spawn::new(id, argv.to_vec())
        }));
        id
    }

    /// The guest.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Gives the guest back.
    pub fn into_vm(self) -> Vm {
        self.vm
    }

    /// Sends a signal; a program that has ended gets none.
    pub fn signal(&mut self, id: u32, signal: i32) {
        self.vm.send(&Request::PassOn { id, signal });
    }

    /// Waits until the program has ended and all that it wrote has come.
    pub fn wait(&mut self, id: u32) -> Result<Ran, VmError> {
        self.wait_until(id, "a program ends", |ran| ran.exit.is_some())
    }

    /// Waits until `condition` holds of the program, or it has ended.
    pub fn wait_until(
        &mut self,
        id: u32,
        doing: &'static str,
        condition: impl Fn(&Ran) -> bool,
    ) -> Result<Ran, VmError> {
        loop {
            let ran = &self.ran[&id];
            if condition(ran) || ran.exit.is_some() {
                return Ok(ran.clone());
            }
            let reply = self.vm.receive(self.deadline, doing)?;
            self.sort(reply);
        }
    }

    /// Waits as long as `waits` says so.
    pub fn wait_while(
        &mut self,
        doing: &'static str,
        waits: impl Fn(&Self) -> bool,
    ) -> Result<(), VmError> {
        while waits(self) {
            let reply = self.vm.receive(self.deadline, doing)?;
            self.sort(reply);
        }
        Ok(())
    }

    /// Waits until nothing was written in the guest for so long.
    pub fn wait_quiet(&mut self, quiet: Duration, doing: &'static str) -> Result<(), VmError> {
        while let Some(reply) = self.vm.receive_within(self.deadline, quiet, doing)? {
            self.sort(reply);
        }
        Ok(())
    }

    /// What is known of a program that was started.
    ///
    /// # Panics
    ///
    /// When none of that number was.
    pub fn ran(&self, id: u32) -> &Ran {
        &self.ran[&id]
    }

    /// Starts a program and waits for its end.
    pub fn run(&mut self, argv: &[&str]) -> Result<Ran, VmError> {
        let id = self.start(argv);
        self.wait(id)
    }

    fn sort(&mut self, reply: Reply) {
        let (Reply::Started { id, .. } | Reply::Output { id, .. } | Reply::Exited { id, .. }) =
            &reply
        else {
            return;
        };
        let Some(ran) = self.ran.get_mut(id) else { return };
        match reply {
            Reply::Started { pid, .. } => ran.pid = Some(pid),
            Reply::Output { stream: Stream::Stdout, content, .. } => ran.stdout.extend(content),
            Reply::Output { stream: Stream::Stderr, content, .. } => ran.stderr.extend(content),
            Reply::Exited { status, .. } => ran.exit = Some(status),
            _ => {}
        }
    }
}
