//! Whom timers are of: a process and the name of one of its threads.

use std::rc::Rc;

/// A process is known by its id and the name of the thread that armed, or was told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Its id; 0 when it has none in the tracer's pid namespace.
    pub pid: u32,
    /// That of the initial pid namespace, where it differs.
    pub host_pid: Option<u32>,
    /// The name.
    pub comm: Box<str>,
}

impl Owner {
    /// Its id, where it has one.
    pub fn pid(&self) -> Option<u32> {
        (self.pid != 0).then_some(self.pid)
    }
}

/// Makes owners, one after the other the same where it is the same.
#[derive(Debug, Default)]
pub struct Owners {
    last: Option<Rc<Owner>>,
}

impl Owners {
    /// The owner of these.
    pub fn of(&mut self, pid: u32, host_pid: Option<u32>, comm: &str) -> Rc<Owner> {
        match &self.last {
            Some(last) if (last.pid, last.host_pid) == (pid, host_pid) && &*last.comm == comm => {
                Rc::clone(last)
            }
            _ => Rc::clone(self.last.insert(Rc::new(Owner { pid, host_pid, comm: comm.into() }))),
        }
    }
}
