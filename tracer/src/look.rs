//! Right after attaching: whether the probes see at all. What calls of others are seen meanwhile is
//! nobody's to report.

use std::os::fd::AsFd;

use anyhow::{Result, anyhow};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use settime32_abi::event::{RawEvent, flag};

use crate::drain::timeout;
use crate::probes::Ring;
use crate::signals::Signals;
use crate::watch::Watch;

/// Waits until a call of our own was seen, or made, where it need not be seen. Why it was not, when
/// that is known; a signal ends the wait, too.
pub fn look(
    ring: &mut Ring,
    watch: &mut Watch,
    signals: &Signals,
    must_see: bool,
) -> Result<Option<String>> {
    watch.hurry();
    while !signals.stop_requested() {
        watch.before_records();
        while let Some(record) = ring.map.next() {
            if watch.takes_switch(&record) {
                continue;
            }
            if let Some(raw) = RawEvent::from_record(&record) {
                drop(record);
                if !watch.takes(&raw) && raw.flags & flag::RESULT_LOST != 0 {
                    watch.passes_over_result_lost();
                }
            }
        }
        let blind = watch.blind();
        if blind.is_some() || watch.has_seen_since(0) || !watch.can_look() {
            return Ok(blind);
        }
        if !must_see && watch.was_made() {
            watch.give_up();
            return Ok(None);
        }
        watch.after_records(|| is_empty(ring));
        wait(ring, watch, signals)?;
    }
    Ok(None)
}

fn wait(ring: &Ring, watch: &Watch, signals: &Signals) -> Result<()> {
    let sources = [signals.as_fd(), ring.map.as_fd()].into_iter().chain(watch.sources());
    let mut sources: Vec<PollFd<'_>> =
        sources.map(|source| PollFd::new(source, PollFlags::POLLIN)).collect();
    match poll(&mut sources, timeout(Some(watch.next_in()))) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(anyhow!(errno).context("failed to wait for events")),
    }
    signals.clear();
    Ok(())
}

/// Whether there is nothing in the buffer, not even a record that is not whole yet.
pub fn is_empty(ring: &Ring) -> bool {
    // Without anything to wait for there is no error but that of a signal.
    poll(
        &mut [PollFd::new(ring.map.as_fd(), PollFlags::POLLIN)],
        timeout(Some(std::time::Duration::ZERO)),
    ) == Ok(0)
}
