//! What the event of a call must be, by the journal's operation of it and by what the model says.

use settime32_abi::errno;
use settime32_abi::journal::{ALL_THERE, ENTRY_VDSO, Operation, what};
use settime32_abi::lifecycle::{Kind, RelatedCall};
use settime32_abi::output::{Abi, CallEvent, EntryPath, Halves};
use settime32_abi::plan::Process;
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32};

use super::compare::Compare;
use crate::model::lifecycle::{Lived, Told};

/// A call that was made, and who made it.
pub(super) struct Made<'a> {
    pub operation: &'a Operation,
    pub told: &'a Told,
    /// The timer that it came to.
    pub timer: Option<Lived>,
    pub process: Process,
    pub comm: &'a str,
    pub cpus: u32,
    pub entry_path_needed: bool,
}

/// The event's name.
pub(super) fn name(operation: &Operation) -> &'static str {
    match operation.what {
        what::CREATE => Kind::TimerfdCreate.as_str(),
        what::SETTIME32 => settime32_abi::output::CALL_EVENT,
        what::SETTIME64 => Kind::TimerfdSettime.as_str(),
        what::GETTIME if operation.nr == settime32_abi::number::i386::TIMERFD_GETTIME32 => {
            Kind::TimerfdGettime32.as_str()
        }
        what::GETTIME => Kind::TimerfdGettime.as_str(),
        what::POSIX_SET => Kind::TimerSettime32.as_str(),
        what::POSIX_GET => Kind::TimerGettime32.as_str(),
        _ => "nothing",
    }
}

impl Made<'_> {
    fn abi(&self) -> Abi {
        match self.process {
            Process::I386 => Abi::I386,
            Process::Amd64 => Abi::X86_64,
        }
    }

    fn clockid(&self) -> Option<i32> {
        match self.operation.what {
            what::CREATE => Some(self.operation.args[0] as i32),
            _ => self.timer.map(|timer| timer.clockid),
        }
    }

    fn errno(&self) -> Option<&'static str> {
        (self.operation.ret < 0).then(|| errno::name(-self.operation.ret)).flatten()
    }

    /// Compares all but the timer's id and the times.
    pub(super) fn related(&self, found: &RelatedCall) -> Compare {
        let Operation { what: of, args, ret, .. } = *self.operation;
        let mut compare = Compare::default();
        compare.equal("event", name(self.operation), &*found.event);
        compare.equal("pid", self.operation.pid, found.pid);
        compare.equal("tid", self.operation.tid, found.tid);
        compare.equal("comm", self.comm, &*found.comm);
        compare.cpu(self.operation.cpu, self.cpus, found.cpu);
        compare.equal("abi", self.abi(), found.abi);
        compare.equal("nr", self.operation.nr, found.nr);
        let posix = [what::POSIX_SET, what::POSIX_GET].contains(&of);
        let untold = self.told.refused && found.timer.is_none();
        if !(posix || untold) {
            compare.equal("clockid", self.clockid(), found.clockid);
        }
        let when = |is: bool, argument: u64| is.then_some(argument);
        compare.equal(
            "ufd",
            when([what::SETTIME64, what::GETTIME].contains(&of), args[0]).map(|fd| fd as i32),
            found.ufd,
        );
        compare.equal("timer_id", self.told.posix, found.timer_id);
        let sets = [what::SETTIME64, what::POSIX_SET].contains(&of);
        compare.equal(
            "flags",
            when(sets || of == what::CREATE, args[1]).map(|flags| flags as i32),
            found.flags,
        );
        compare.equal("utmr", when(sets, args[2]).filter(|address| *address != 0), found.utmr);
        compare.equal("utmr_used", self.told.used, found.utmr_used);
        let gets = [what::GETTIME, what::POSIX_GET].contains(&of);
        let out = if gets { args[1] } else { args[3] };
        let otmr = when(gets || sets, out).filter(|address| *address != 0);
        compare.equal("otmr", otmr, found.otmr);
        if gets || (sets && ret == 0 && otmr.is_some()) {
            self.old(found.old, &mut compare);
        }
        compare.equal("ret", Some(i64::from(ret)), found.ret);
        compare.equal("errno", self.errno(), found.errno.as_deref());
        compare.equal("unfinished", false, found.unfinished);
        compare.equal("result_lost", false, found.result_lost);
        compare
    }

    /// What was handed out. Where the kernel's answer is wrong already, nothing is known.
    fn old(&self, found: Option<Itimerspec64>, compare: &mut Compare) {
        if self.operation.ret < 0 || self.told.old.is_some() {
            compare.equal("old", self.told.old.filter(|_| self.operation.ret >= 0), found);
        }
    }

    /// The same of the call under test.
    pub(super) fn main(&self, found: &CallEvent<'_>) -> Compare {
        let record = self.operation;
        let mut compare = Compare::default();
        compare.equal("pid", record.pid, found.pid);
        compare.equal("tid", record.tid, found.tid);
        compare.equal("comm", self.comm, &*found.comm);
        compare.cpu(self.operation.cpu, self.cpus, found.cpu);
        compare.equal("abi", self.abi(), found.abi);
        let path = if record.entry == ENTRY_VDSO { EntryPath::Fast } else { EntryPath::Int80 };
        if self.entry_path_needed || found.entry_path.is_some() {
            compare.equal("entry_path", Some(path), found.entry_path);
        }
        compare.equal("ufd", record.ufd(), found.ufd);
        compare.equal("flags", record.flags(), found.flags);
        let pointer = |address: u32| (address != 0).then_some(address);
        let new: OldItimerspec32 = bytemuck::cast(record.utmr_before());
        let used = (record.utmr() != 0 && record.new_there == ALL_THERE).then_some(new);
        compare.equal("utmr", pointer(record.utmr()), found.utmr);
        compare.equal("utmr_entry", used.map(Halves::from), found.utmr_entry);
        compare.equal("utmr_entry_errno", None, found.utmr_entry_errno.as_deref());
        compare.equal("utmr_used", used, found.utmr_used);
        compare.equal("toctou", false, found.toctou);
        compare.equal("otmr", pointer(record.otmr()), found.otmr);
        let written: Option<OldItimerspec32> =
            (record.ret == 0 && record.otmr() != 0).then(|| bytemuck::cast(record.otmr_after()));
        match written {
            Some(_) => self.old(found.old, &mut compare),
            None => compare.equal("old", None, found.old),
        }
        compare.equal("otmr_written", written, found.otmr_written);
        let cut = self
            .told
            .old
            .zip(written)
            .is_some_and(|(old, written)| Itimerspec64::from(written) != old);
        compare.equal("old_truncated", cut, found.old_truncated);
        if !(self.told.refused && found.timer.is_none()) {
            compare.equal("clockid", self.clockid(), found.clockid);
        }
        compare.equal("ret", Some(i64::from(record.ret)), found.ret);
        compare.equal("errno", self.errno(), found.errno.as_deref());
        compare.equal("unfinished", false, found.unfinished);
        compare.equal("result_lost", false, found.result_lost);
        compare
    }
}
