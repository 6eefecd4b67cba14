use bytemuck::Zeroable;
use proptest::prelude::*;
use serde_json::{Value, json};
use settime32_abi::event::flag;
use settime32_abi::moment::{LENGTHS, Moment};
use settime32_abi::timespec::Itimerspec64;

use super::*;
use crate::call_event::{Seen, examples};
use crate::describe::schema::complaints;
use crate::json;

fn told(decoder: &mut Decoder, record: &impl bytemuck::Pod) -> Option<Value> {
    let event = decoder.event(bytemuck::bytes_of(record)).unwrap()?;
    let mut line = Vec::new();
    json::write_of_life(&mut line, &event);
    Some(serde_json::from_slice(&line).unwrap())
}

const COMM: [u8; COMM_LEN] = *b"prog\0\0\0\0\0\0\0\0\0\0\0\0";
const AT: Moment = Moment { ns: 700, timer: 64 };
const IDS: u64 = 7 << 32 | 8;

fn call(call: Call, args: [u64; 4]) -> RawCall {
    let flags = call_flag::RETURNED;
    RawCall { entry_ns: 5, exit_ns: 9, ids: IDS, args, comm: COMM, call: call as u32, flags, cpu: 1, clockid: 1, ..RawCall::zeroed() }
}

#[test]
fn arguments_are_those_of_the_call() {
    let mut decoder = Decoder::default();
    let made = RawCall { ret: 3, timer: 64, ..call(Call::CreateI386, [1, 0o4000, 99, 99]) };
    let head = json!({"event": "timerfd_create", "entry_ns": 5, "exit_ns": 9, "pid": 7, "tid": 8, "comm": "prog", "cpu": 1, "abi": "i386"});
    let with = |of: &Value, more: Value| {
        let mut object = of.clone();
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    assert_eq!(told(&mut decoder, &made).unwrap(), with(&head, json!({"nr": 322, "timer": 1, "clockid": 1, "flags": 2048, "ret": 3})));
    let setting = Itimerspec64::from(examples::OLD);
    let set = RawCall {
        used: setting,
        timer: 64,
        flags: call_flag::RETURNED | call_flag::USED | call_flag::CALLER_64BIT,
        ..call(Call::SettimeX64, [3, 1, 1 << 40, 0])
    };
    let event = told(&mut decoder, &set).unwrap();
    assert_eq!(
        (&event["event"], &event["nr"], &event["ufd"], &event["flags"]),
        (&json!("timerfd_settime"), &json!(286), &json!(3), &json!(1))
    );
    assert_eq!((&event["utmr"], &event["abi"], event.get("otmr"), event.get("old")), (&json!(1_u64 << 40), &json!("x86_64"), None, None));
    assert_eq!(event["utmr_used"], serde_json::to_value(setting).unwrap());
    let read = RawCall { old: setting, flags: call_flag::RETURNED | call_flag::OLD, ..call(Call::Gettime32, [4, 4096, 9, 9]) };
    let event = told(&mut decoder, &read).unwrap();
    assert_eq!(
        (&event["event"], &event["nr"], &event["ufd"], &event["otmr"]),
        (&json!("timerfd_gettime32"), &json!(326), &json!(4), &json!(4096))
    );
    assert_eq!((&event["timer"], event.get("clockid"), event.get("flags")), (&json!(null), None, None));
    let posix = RawCall { ret: -22, ..call(Call::PosixSettime32, [u64::from(u32::MAX), 0, 4096, 8192]) };
    let event = told(&mut decoder, &posix).unwrap();
    assert_eq!((&event["timer_id"], &event["errno"], event.get("ufd")), (&json!(-1), &json!("EINVAL"), None));
}

/// Numbers of `arch/x86/entry/syscalls/syscall_{32,64}.tbl`.
#[test]
fn waits_are_told_by_their_numbers() {
    let mut decoder = Decoder::default();
    let mut by = |nr, flags| {
        let event = told(&mut decoder, &RawWakeup { moment: AT, ids: IDS, comm: COMM, nr, flags, ..RawWakeup::zeroed() })?;
        Some(event["by"].as_str().unwrap().to_owned())
    };
    for (nr, i386, expected) in
        [(232, 0, "epoll_wait"), (7, 0, "poll"), (270, 0, "select"), (256, 1, "epoll_wait"), (168, 1, "poll"), (142, 1, "select")]
    {
        assert_eq!(by(nr, i386 * wakeup_flag::I386).as_deref(), Some(expected), "{nr}");
    }
    assert_eq!(by(233, 0), None, "epoll_ctl polls and wakes nobody");
    assert_eq!(by(232, wakeup_flag::I386), None, "the number of the other table");
    assert_eq!(by(1 << 30 | 232, 0).as_deref(), Some("epoll_wait"), "x32");
    assert_eq!(by(0, wakeup_flag::READ).as_deref(), Some("read"));
}

#[test]
fn a_call_has_the_timer_that_was_told_within_it() {
    let raw = RawEvent { flags: flag::RETURNED, ..examples::success() };
    let arming = |ns| RawArming { moment: Moment { ns, timer: 64 }, ids: u64::from(raw.tid), clockid: 7, zero: 0 };
    let mut decoder = Decoder::default();
    assert_eq!(decoder.timer_of(&raw), None);
    assert_eq!(told(&mut decoder, &arming(raw.entry_ns - 1)), None);
    assert_eq!(decoder.timer_of(&raw), None, "that call was lost");
    told(&mut decoder, &arming(raw.exit_ns));
    assert_eq!(decoder.timer_of(&RawEvent { tid: raw.tid + 1, ..raw }), None, "another thread");
    assert_eq!(decoder.timer_of(&raw), Some((1, 7)));
    assert_eq!(decoder.timer_of(&raw), None, "it is told once");
    let mut line = Vec::new();
    json::write_line(&mut line, &raw, Seen::Whole);
    json::add_timer(&mut line, (1, 7));
    let event: settime32_abi::output::CallEvent<'_> = serde_json::from_slice(&line).unwrap();
    assert_eq!((event.timer, event.clockid), (Some(1), Some(7)));
    assert_eq!(serde_json::to_string(&event).unwrap() + "\n", String::from_utf8(line).unwrap(), "the text of the contract");
}

#[test]
fn a_timer_that_fires_before_its_time_is_early() {
    let raw = RawExpiry { moment: AT, expires_ns: 801, clock_offset_ns: 100, ..RawExpiry::zeroed() };
    let event = told(&mut Decoder::default(), &raw).unwrap();
    assert_eq!((&event["late_ns"], event.get("inline")), (&json!(-1), None));
    let event = told(&mut Decoder::default(), &RawExpiry { expires_ns: 100, is_inline: 1, ..raw }).unwrap();
    assert_eq!((&event["late_ns"], &event["inline"]), (&json!(700), &json!(true)));
}

#[test]
fn a_record_of_no_kind_is_an_error() {
    let len = (1..).find(|len| !LENGTHS.contains(len)).unwrap();
    assert_eq!(Decoder::default().event(&vec![0; len]), Err(UnknownRecord { len }));
}

fn clocks() -> impl Strategy<Value = i32> {
    prop::sample::select(&[0, 1, 7, 8, 9][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the kernel side hands over.
    #[test]
    fn every_event_is_one_of_the_schema(
        (words, clockid) in (any::<[u64; 22]>(), clocks()),
        (nr, timer) in (0..9_u32, prop_oneof![Just(0_u64), 1..5_u64]),
        flags in 0..32_u32,
        ret in prop_oneof![Just(0_i64), -4100..10_i64],
        of in 0..6,
    ) {
        let mut decoder = Decoder::default();
        let moment = Moment { ns: words[0], timer: words[1] };
        let [ids, number, other] = [words[2], words[3], words[4]];
        let comm: [u8; COMM_LEN] = bytemuck::cast([words[5], words[6]]);
        let event = match of {
            0 => {
                let raw: RawCall = bytemuck::cast(words);
                // No program keeps what its call has not.
                let sets = [Call::SettimeX64, Call::SettimeI386, Call::PosixSettime32].map(|call| call as u32).contains(&nr);
                let is_posix = [Call::PosixSettime32, Call::PosixGettime32].map(|call| call as u32).contains(&nr);
                let has_old = nr > Call::CreateI386 as u32;
                let none = if sets { 0 } else { call_flag::USED } | if has_old { 0 } else { call_flag::OLD };
                let (timer, flags) = (if is_posix { 0 } else { timer }, flags & !none);
                told(&mut decoder, &RawCall { call: nr, timer, flags, ret, clockid, ..raw })
            }
            1 => told(&mut decoder, &RawExpiry {
                moment, expires_ns: number.cast_signed(), clock_offset_ns: ret, suspended_ns: other, clockid, cpu: nr, is_inline: ids & 1,
            }),
            2 => {
                let cancelled = flags & 1 == 1;
                let ticks = if cancelled { 0 } else { wakeup_flag::TICKS };
                let ret = if cancelled { -125 } else { 8 };
                let flags = wakeup_flag::READ | ticks;
                told(&mut decoder, &RawWakeup { moment, ids, comm, entry_ns: number, ret, ticks: other, nr, flags, cpu: 3 })
            }
            3 => told(&mut decoder, &RawWakeup { moment, ids, comm, nr: 232, ..RawWakeup::zeroed() }),
            4 => told(&mut decoder, &RawRelease { moment, ids, comm, cpu: nr.into() }),
            _ => told(&mut decoder, &RawCancel { moment, cpu: nr.into() }),
        };
        let event = event.unwrap();
        prop_assert_eq!(complaints(&event), [""; 0], "{}", event);
        let mut wrong = event.clone();
        wrong["more"] = json!(1);
        prop_assert!(!complaints(&wrong).is_empty());
        for key in event.as_object().unwrap().keys() {
            let mut wrong = event.clone();
            wrong[key] = json!({ "wrong": true });
            prop_assert!(!complaints(&wrong).is_empty(), "{} of another type", key);
        }
    }
}
