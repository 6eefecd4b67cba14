//! The loop that serves the harness: requests in order, output and ends of processes as they come.
//!
//! A request that cannot be done is answered with why; only trouble with the port itself ends the
//! loop.

use std::convert::Infallible;
use std::fs;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use settime32_abi::frame::{Fault, Reply, Request, Spawn, WindowSize};

use crate::children::{Child, reap};
use crate::port::Port;
use crate::{files, furnish, lay, power, ready, restored};

/// Serves until the host closes the port.
pub(crate) fn serve(mut port: Port) -> Result<Infallible> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set.thread_block().context("failed to block SIGCHLD")?;
    let deaths = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
        .context("failed to make a signalfd")?;
    let mut children = Vec::new();
    loop {
        let ready = wait(&port, &deaths, &children)?;
        relay(&ready.outputs, &mut children, &mut port)?;
        children.iter_mut().try_for_each(|child| feed(child, &mut port))?;
        if ready.deaths {
            bury(&deaths, &mut children, &mut port)?;
        }
        if ready.port && !receive(&mut children, &mut port)? {
            bail!("the host closed the port");
        }
    }
}

/// What has something to say.
struct Ready {
    port: bool,
    deaths: bool,
    /// Events of each child's outputs, in the order of the children.
    outputs: Vec<PollFlags>,
}

fn wait(port: &Port, deaths: &SignalFd, children: &[Child]) -> Result<Ready> {
    let outputs = children.iter().flat_map(|child| &child.outputs).map(AsFd::as_fd);
    let mut fds: Vec<PollFd<'_>> =
        [port.as_fd(), deaths.as_fd()].into_iter().chain(outputs).map(for_reading).collect();
    let to_read = fds.len();
    fds.extend(
        children
            .iter()
            .filter_map(|child| child.input.wants())
            .map(|pipe| PollFd::new(pipe, PollFlags::POLLOUT)),
    );
    while let Err(errno) = poll(&mut fds, PollTimeout::NONE) {
        if errno != Errno::EINTR {
            return Err(errno).context("failed to wait for something to do");
        }
    }
    let events: Vec<PollFlags> =
        fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR)).collect();
    Ok(Ready {
        port: !events[0].is_empty(),
        deaths: !events[1].is_empty(),
        outputs: events[2..to_read].to_vec(),
    })
}

fn for_reading(fd: std::os::fd::BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::POLLIN)
}

/// Passes on what the processes wrote, and lets go of pipes that have no writer any more.
fn relay(events: &[PollFlags], children: &mut [Child], port: &mut Port) -> Result<()> {
    let mut events = events.iter();
    for child in children {
        let mut open = Vec::with_capacity(child.outputs.len());
        for mut output in child.outputs.drain(..) {
            let ready = events.next().is_some_and(|events| !events.is_empty());
            if !ready || output.relay(port)? {
                open.push(output);
            }
        }
        child.outputs = open;
    }
    Ok(())
}

/// Lets a process have what it can take of its input.
fn feed(child: &mut Child, port: &mut Port) -> Result<()> {
    (0..child.input.write()).try_for_each(|_| port.send(&Reply::Taken { id: child.id }))
}

/// Reaps every process that has ended and reports those that were started here.
fn bury(deaths: &SignalFd, children: &mut Vec<Child>, port: &mut Port) -> Result<()> {
    // Several ends may come as one signal, so that its content says nothing.
    while deaths.read_signal().context("failed to read a signal")?.is_some() {}
    while let Some((pid, status)) = reap()? {
        if let Some(index) = children.iter().position(|child| child.pid == pid) {
            children.swap_remove(index).finish(status, port)?;
        }
    }
    Ok(())
}

/// Does the requests that have arrived. `false` when the host has closed the port.
fn receive(children: &mut Vec<Child>, port: &mut Port) -> Result<bool> {
    let open = port.receive()?;
    loop {
        match port.request() {
            Ok(None) => return Ok(open),
            Ok(Some(request)) => answer(request, children, port)?,
            Err(error) => {
                port.send(&Reply::Failed {
                    reason: format!("failed to read a request: {error:#}"),
                })?;
                return Err(error);
            }
        }
    }
}

fn answer(request: Request, children: &mut Vec<Child>, port: &mut Port) -> Result<()> {
    let done = match request {
        Request::Put { path, mode, content } => {
            files::put(&path, mode, &content).map(|()| Some(Reply::Done))
        }
        Request::Get { path } => match files::get(&path) {
            Ok(content) => {
                return port.send_content(&Reply::File { path, content: Vec::new() }, &content);
            }
            Err(error) => Err(error),
        },
        Request::Spawn(order) => spawn(order, children).map(Some),
        Request::Input { id, content } => {
            // One that has ended takes no more, which its end has told.
            let Some(child) = children.iter_mut().find(|child| child.id == id) else {
                return Ok(());
            };
            child.input.push(content);
            return feed(child, port);
        }
        Request::Signal { id, signal } => send_signal(id, signal, children).map(|()| None),
        Request::PassOn { id, signal } => {
            // Fails when it has ended, which its end tells.
            _ = send_signal(id, signal, children);
            Ok(None)
        }
        Request::Resize { id, size } => resize(id, size, children).map(|()| None),
        Request::Furnish => furnish::furnish().map(|()| Some(Reply::Done)),
        Request::Lay(nodes) => lay::lay(&nodes).map(|()| Some(Reply::Done)),
        Request::Seal { read_only, writable } => {
            furnish::seal(&read_only, &writable).map(|()| Some(Reply::Done))
        }
        Request::Inject(fault) => inject(fault).map(|()| None),
        Request::Restored { realtime_ns, entropy } => {
            restored::go_on(realtime_ns, &entropy).and_then(|()| ready()).map(Some)
        }
    };
    match done {
        Ok(None) => Ok(()),
        Ok(Some(reply)) => port.send(&reply),
        Err(error) => port.send(&Reply::Failed { reason: format!("{error:#}") }),
    }
}

fn spawn(order: Spawn, children: &mut Vec<Child>) -> Result<Reply> {
    let id = order.id;
    if children.iter().any(|child| child.id == id) {
        bail!("failed to start process {id}: one of that name is running");
    }
    let child = Child::start(order)?;
    let pid = child.pid.cast_unsigned();
    children.push(child);
    Ok(Reply::Started { id, pid })
}

fn send_signal(id: u32, signal: i32, children: &[Child]) -> Result<()> {
    let pid = children.iter().find_map(|child| child.pid_of(id));
    let pid = pid.with_context(|| {
        format!("failed to send signal {signal} to process {id}: it is not running")
    })?;
    // SAFETY: kill touches no memory of this process. The pid is the child's still, as it was not
    // reaped.
    let sent = Errno::result(unsafe { libc::kill(pid, signal) });
    sent.map(drop).with_context(|| format!("failed to send signal {signal} to process {id}"))
}

/// A terminal whose process has ended has no size any more.
fn resize(id: u32, size: WindowSize, children: &[Child]) -> Result<()> {
    children
        .iter()
        .filter(|child| child.id == id)
        .filter_map(|child| child.terminal.as_ref())
        .try_for_each(|terminal| terminal.resize(size))
}

fn inject(fault: Fault) -> Result<()> {
    ensure!(std::process::id() == 1, "failed to cause a failure: this machine is no guest");
    match fault {
        Fault::Panic => {
            fs::write("/proc/sysrq-trigger", "c").context("failed to make the kernel panic")
        }
        Fault::Hang => power::stop_answering(),
    }
}
