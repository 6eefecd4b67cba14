//! Pristine guests by the hundred: each test has its own, which knows nothing of any other's, and
//! in which every call is captured exactly from the first on.

use std::time::{SystemTime, UNIX_EPOCH};

use rstest::{fixture, rstest};
use settime32_abi::plan::{Call, Clock, FdKind};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use settime32_harness::boot::Start;
use settime32_harness::generate;
use settime32_harness::pristine::{self, Traced};
use settime32_harness::programs::Programs;
use settime32_harness::verify::Setup;

const CALLS: usize = 20;
const MARK: &str = "/tmp/somebody-was-here";
/// The kernel makes it up when it is first read, and random bytes anew at every read.
const RANDOM: [&str; 2] = ["/proc/sys/kernel/random/boot_id", "/proc/sys/kernel/random/uuid"];

#[fixture]
fn traced() -> Traced {
    Traced::start(&Setup::default()).unwrap_or_else(|failure| panic!("{failure}"))
}

fn plain(setup: &Setup) -> Programs {
    let guest = pristine::plain(setup).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(guest.vm().start, Some(setup.start), "it was started otherwise, and said why");
    guest
}

/// A hundred guests; what one leaves behind would be found by those that come after it.
#[rstest]
fn a_pristine_guest_captures_any_plan(
    mut traced: Traced,
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)] tens: u64,
    #[values(0, 1, 2, 3, 4, 5, 6, 7, 8, 9)] ones: u64,
) {
    assert!(traced.session().read_file(MARK).is_err(), "a file of another guest is in this one");
    traced.session().put(MARK, b"here").unwrap();
    assert_eq!(traced.session().read_file(MARK).unwrap(), b"here");
    let done = traced.run(generate::plan(10 * tens + ones, 0, CALLS)).unwrap();
    assert!(done.is_exact(), "{:?}", done.findings);
    let all = traced.end().unwrap();
    assert_eq!((all.checked, all.mismatches(), all.lost), (done.calls, 0, 0), "{:?}", all.first);
}

/// What the first call sets, the second, in the same guest under the same tracer, must not see: its
/// timer is another.
#[rstest]
fn calls_can_be_made_one_at_a_time(mut traced: Traced) {
    for tv_sec in [3, 5] {
        let new = OldItimerspec32 {
            it_value: OldTimespec32 { tv_sec, tv_nsec: 7 },
            ..OldItimerspec32::default()
        };
        let done = traced.call(FdKind::Timer(Clock::Monotonic), Call::plain(0, new)).unwrap();
        assert!(done.is_exact(), "{:?}", done.findings);
        let [event] = &done.events()[..] else { panic!("one call, one event") };
        assert_eq!(
            (event.utmr_used, event.ret, event.otmr_written),
            (Some(new), Some(0), Some(OldItimerspec32::default()))
        );
        assert_eq!(done.journal.operations.len(), 1);
    }
    assert_eq!(traced.end().unwrap().checked, 2);
}

/// Whoever reads the boot's id before the template is saved gives all copies the same. That the
/// agent mixes in what it is given is not seen here: the kernel's own sources make copies differ
/// soon, too.
#[test]
fn copies_of_one_template_draw_their_own_random_numbers() {
    let setup = Setup::default();
    let [one, other] =
        [plain(&setup), plain(&setup)].map(|mut guest| RANDOM.map(|path| guest.get(path).unwrap()));
    for (of_one, of_other) in one.iter().zip(&other) {
        assert!(of_one.len() > 30, "{of_one:?}");
        assert_ne!(of_one, of_other);
    }
}

/// However old the template is; without its clock set, a guest would go on at the time at which
/// that was made.
#[rstest]
fn a_guest_that_goes_on_knows_the_time() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    drop(plain(&Setup::default()));
    let before = now();
    let mut guest = Traced::start(&Setup::default()).unwrap();
    assert_eq!(guest.session().vm().start, Some(Start::Warm));
    let journal = guest.run(generate::plan(1, 0, 1)).unwrap().journal;
    let (start, end) = (journal.header.start.realtime_ns, journal.header.end.realtime_ns);
    assert!(before <= start && end <= now(), "{before} {start} {end} {}", now());
}

#[rstest]
#[case(Start::Warm)]
#[case(Start::Cold)]
fn a_guest_starts_as_it_was_asked_to(#[case] start: Start) {
    drop(plain(&Setup { start, ..Setup::default() }));
}
