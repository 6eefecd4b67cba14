//! Keeps an eye on whether the probes see: has calls of the tracer's own made, waits for their
//! events, and watches the switches. What follows from what it sees is decided in [`crate::sight`].

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use settime32_abi::event::{RawEvent, flag};
use settime32_abi::moment::RawSwitch;
use settime32_abi::output::{Blind, Lost};

use crate::attach::Mode;
use crate::kernel_clock::now_ns;
use crate::own_call::OwnCall;
use crate::sight::{NO_CAUSE, Sight, WRITTEN};
use crate::switches::Switches;

/// How often it looks when nothing hints at a change.
const EVERY: Duration = Duration::from_secs(1);
/// How often while it is in doubt, or while calls of others show that it is in none.
const OFTEN: Duration = Duration::from_millis(50);
/// How long a call of its own may take: a machine under load has its child wait for its turn.
const MAX_CALL: Duration = Duration::from_secs(20);

/// Why, when there is no more looking.
const GONE: &str = "the tracer's own process is gone or does not answer, so that it could not look";

/// A call of our own that is under way.
#[derive(Clone, Copy, Debug)]
struct Asked {
    at_ns: u64,
    at: Instant,
    /// Its event came.
    is_seen: bool,
    /// When its result came. Its record is then in the buffer, before all of calls that returned
    /// later.
    answered_ns: Option<u64>,
}

/// The eye.
#[derive(Debug)]
pub struct Watch {
    /// `None` where no call can be made.
    own: Option<OwnCall>,
    /// It could be made at first.
    is_gone: bool,
    /// Of the thread that makes the calls, by the kernel's id, once it is known.
    tid: Option<u32>,
    switches: Switches,
    /// Something is seen by kprobe, though calls are not: events of a timer's life, or the forks of
    /// a command.
    kprobes_besides: bool,
    asked: Option<Asked>,
    /// When it last looked for an answer.
    looked: Instant,
    next: Instant,
    /// A call of its own must be seen, whatever is seen of others.
    must_see_own: bool,
    /// When the last one that was seen entered.
    seen_ns: u64,
    sight: Sight,
}

impl Watch {
    /// Watches programs that are attached by `mode`, and says whether any `have_kprobes`.
    pub fn new(own: Option<OwnCall>, mode: Mode, have_kprobes: bool) -> Self {
        Self {
            own,
            is_gone: false,
            tid: None,
            switches: Switches::open(Path::new("/"), have_kprobes),
            kprobes_besides: have_kprobes && mode == Mode::Fentry,
            asked: None,
            looked: Instant::now(),
            next: Instant::now(),
            must_see_own: true,
            seen_ns: 0,
            sight: Sight::default(),
        }
    }

    /// Takes the child back, for another way to attach.
    pub fn into_own_call(self) -> Option<OwnCall> {
        self.own
    }

    /// Whether one of our own calls was seen that entered then or later.
    pub const fn has_seen_since(&self, ns: u64) -> bool {
        self.seen_ns != 0 && self.seen_ns >= ns
    }

    /// Why it is known not to see, if it is. Where it cannot try, what is switched off tells.
    pub fn blind(&self) -> Option<String> {
        let off = self.switches.off();
        match (&self.own, self.is_gone) {
            // Its own calls show nothing of what comes by kprobe besides.
            (Some(_), _) if self.kprobes_besides && off.is_some() => off,
            (Some(_), _) => self.sight.is_blind().then(|| off.unwrap_or_else(|| self.no_cause())),
            (None, false) => off,
            (None, true) => Some(off.unwrap_or_else(|| GONE.to_owned())),
        }
    }

    fn no_cause(&self) -> String {
        let hint = if self.switches.is_kprobes_hidden {
            "; kprobes may be switched off, which debugfs, mounted, would tell root"
        } else {
            ""
        };
        format!("{NO_CAUSE}{hint}")
    }

    /// What may be missed without a word, if anything.
    pub fn cannot_tell(&self) -> Option<&'static str> {
        (self.kprobes_besides && self.switches.is_kprobes_hidden).then_some(
            "whether kprobes are switched off, now or later, cannot be told, and by them some of it is seen; root is told by debugfs",
        )
    }

    /// From now on it matters whether it sees.
    pub fn begins(&mut self, now_ns: u64) {
        self.sight.begins(now_ns);
    }

    /// Whether there is a way to look.
    pub const fn can_look(&self) -> bool {
        self.own.is_some()
    }

    /// The thread that makes the calls, once it is known.
    pub const fn tid(&self) -> Option<u32> {
        self.tid
    }

    /// Looks at the switches and for an answer, before records are taken that are there.
    pub fn before_records(&mut self) {
        let is_off = || self.switches.off().filter(|_| self.own.is_none() || self.kprobes_besides);
        if let Some(reason) = is_off() {
            self.sight.may_be_blind(now_ns(), reason);
        } else if self.is_gone {
            self.sight.may_be_blind(now_ns(), GONE.to_owned());
        } else if self.own.is_none() {
            self.sight.saw_own(now_ns());
            self.sight.is_untouched();
        } else {
            self.sight.is_untouched();
        }
        let paused = std::mem::replace(&mut self.looked, Instant::now()).elapsed();
        let (Some(asked), Some(own)) = (&mut self.asked, &mut self.own) else { return };
        // Whoever was stopped itself, or stuck in a write, says nothing of how long its child
        // takes.
        if paused > 2 * EVERY {
            asked.at += paused;
        }
        match own.answer() {
            Ok(Some(0)) if asked.is_seen => self.asked = None,
            Ok(Some(0)) => asked.answered_ns = Some(now_ns()),
            Ok(None) if asked.at.elapsed() < MAX_CALL => {}
            _ => self.cannot_look_any_more(),
        }
    }

    /// A call whose result was lost, which is not reported since it may have ended before the
    /// reporting began.
    pub fn passes_over_result_lost(&mut self) {
        self.sight.results_lost += 1;
    }

    /// Whether a record of a call is of our own, which is nobody's to report. Also learns from
    /// those of others.
    pub fn takes(&mut self, raw: &RawEvent) -> bool {
        let Some(own) = &self.own else { return self.tid == Some(raw.host_tid) };
        if !own.made(raw) || self.tid.is_some_and(|tid| tid != raw.host_tid) {
            if raw.ret == 0 && raw.flags & flag::RETURNED != 0 {
                self.sight.saw(raw.entry_ns);
            }
            if self
                .asked
                .and_then(|asked| asked.answered_ns)
                .is_some_and(|answered_ns| is_later(raw, answered_ns))
            {
                self.missed();
            }
            return false;
        }
        if own.is_whole(raw) {
            self.tid = Some(raw.host_tid);
            self.seen_ns = raw.entry_ns;
            self.must_see_own = false;
            self.sight.saw_own(raw.entry_ns);
            if let Some(asked) = &mut self.asked {
                asked.is_seen = true;
            }
            // One whose result has not come yet is waited for, so that it is not taken for the next
            // one's.
            self.asked = self.asked.filter(|asked| asked.answered_ns.is_none());
        } else if raw.flags & flag::RESULT_LOST != 0 {
            self.sight.results_lost += 1;
            self.sight.without_result += 1;
        }
        true
    }

    /// Whether a call that was not seen to return is our own. It was missed, and is in no count of
    /// losses.
    pub fn takes_in_flight(&mut self, raw: &RawEvent) -> bool {
        let is_own = self.tid == Some(raw.host_tid);
        self.sight.without_result += u64::from(is_own);
        is_own
    }

    /// Whether a record is of a switch that was written to.
    pub fn takes_switch(&mut self, record: &[u8]) -> bool {
        let is_switch = RawSwitch::is(record);
        if is_switch {
            self.was_switched();
        }
        is_switch
    }

    fn was_switched(&mut self) {
        self.sight.may_be_blind(now_ns(), WRITTEN.to_owned());
        self.hurry();
    }

    /// Draws its conclusions once records were taken, and has a call made when it is time.
    /// `is_empty` says that there are no more.
    pub fn after_records(&mut self, is_empty: impl FnOnce() -> bool) {
        if self.asked.is_some_and(|asked| asked.answered_ns.is_some()) && is_empty() {
            self.missed();
        }
        if self.asked.is_none() && Instant::now() >= self.next {
            // A call of ours would show nothing more, and where a kernel preempts it inside of a
            // program, those of others would be passed over.
            let is_shown = !self.must_see_own
                && self.sight.sees_since(now_ns().saturating_sub(OFTEN.as_nanos() as u64));
            self.next = Instant::now() + if is_shown { OFTEN } else { EVERY };
            if !is_shown {
                self.ask();
            }
        }
    }

    /// Whether the call that is under way was made. Its record can be taken then, if there is one.
    pub fn was_made(&self) -> bool {
        self.asked.is_some_and(|asked| asked.answered_ns.is_some())
    }

    /// Looks no more.
    pub fn give_up(&mut self) {
        (self.own, self.asked) = (None, None);
    }

    /// Has it look as soon as it can.
    pub fn hurry(&mut self) {
        self.must_see_own = true;
        self.next = Instant::now();
    }

    fn ask(&mut self) {
        let Some(own) = &mut self.own else { return };
        let (at, at_ns) = (Instant::now(), now_ns());
        if own.ask().is_err() {
            return self.cannot_look_any_more();
        }
        self.asked = Some(Asked { at_ns, at, is_seen: false, answered_ns: None });
    }

    /// What makes it worth to look again.
    pub fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.own
            .as_ref()
            .filter(|_| self.asked.is_some_and(|asked| asked.answered_ns.is_none()))
            .map(AsFd::as_fd)
            .into_iter()
    }

    /// When to look again in any case.
    pub fn next_in(&self) -> Duration {
        // Of a call that is under way, its result tells.
        if self.asked.is_some() {
            EVERY
        } else {
            self.next.saturating_duration_since(Instant::now())
        }
    }

    /// When it was blind, at the end; takes losses of its own calls off those of others.
    pub fn ended(&mut self, lost: &mut Lost, unknown: &mut u64) -> Vec<Blind> {
        std::mem::take(&mut self.sight).ended(now_ns(), lost, unknown)
    }

    fn missed(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.sight.missed(asked.at_ns, self.switches.off());
            self.must_see_own = true;
            // At once at first: it may have been chance.
            let wait = if self.sight.is_blind() { OFTEN } else { Duration::ZERO };
            self.next = Instant::now() + wait;
        }
    }

    /// From now on only the switches tell.
    fn cannot_look_any_more(&mut self) {
        (self.own, self.asked, self.is_gone) = (None, None, true);
    }
}

/// Whether a call returned later than that, so that its record is behind all that were there then.
const fn is_later(raw: &RawEvent, ns: u64) -> bool {
    raw.flags & flag::RETURNED != 0 && raw.exit_ns > ns
}
