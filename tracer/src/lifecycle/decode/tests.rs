use bytemuck::Zeroable;
use proptest::prelude::*;
use serde_json::{Value, json};
use settime32_abi::event::{COMM_LEN, flag};
use settime32_abi::moment::{Head, Timer};
use settime32_abi::timespec::Itimerspec64;

use super::*;
use crate::call_event::{Seen, examples};
use crate::describe::schema::complaints;
use crate::json;

fn told(decoder: &mut Decoder, record: &impl Pod) -> Option<Value> {
    let event = decoder.event(bytemuck::bytes_of(record)).unwrap()?;
    let mut line = Vec::new();
    json::write_of_life(&mut line, &event);
    Some(serde_json::from_slice(&line).unwrap())
}

const COMM: [u8; COMM_LEN] = *b"prog\0\0\0\0\0\0\0\0\0\0\0\0";
const TIMER: Timer = Timer { address: 64, met_ns: 3 };
const AT: Moment = Moment { ns: 700, timer: TIMER };
const IDS: u64 = 7 << 32 | 8;
const WHO: Who = Who { ids: IDS, own_ids: IDS, comm: COMM };
const DUE: Due =
    Due { expires_ns: 801, clock_offset_ns: 100, suspended_ns: 5, clockid: 7, is_known: 1 };

const fn head(record: Record) -> Head {
    Head { record: record as u32, cpu: 1 }
}

fn call(call: Call, args: [u64; 4]) -> RawCall {
    let flags = call_flag::RETURNED;
    let due = Due { clockid: 1, ..Due::zeroed() };
    RawCall {
        head: head(Record::Call),
        entry_ns: 5,
        exit_ns: 9,
        who: WHO,
        args,
        call: call as u32,
        flags,
        due,
        ..RawCall::zeroed()
    }
}

#[test]
fn arguments_are_those_of_the_call() {
    let mut decoder = Decoder::new(false);
    let made = RawCall { ret: 3, timer: TIMER, ..call(Call::CreateI386, [1, 0o4000, 99, 99]) };
    let head = json!({"event": "timerfd_create", "entry_ns": 5, "exit_ns": 9, "pid": 7, "tid": 8, "comm": "prog", "cpu": 1, "abi": "i386"});
    let with = |of: &Value, more: Value| {
        let mut object = of.clone();
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    assert_eq!(
        told(&mut decoder, &made).unwrap(),
        with(&head, json!({"nr": 322, "timer": 1, "clockid": 1, "flags": 2048, "ret": 3}))
    );
    let setting = Itimerspec64::from(examples::OLD);
    let set = RawCall {
        used: setting,
        timer: TIMER,
        flags: call_flag::RETURNED | call_flag::USED | call_flag::CALLER_64BIT,
        ..call(Call::SettimeX64, [3, 1, 1 << 40, 0])
    };
    let event = told(&mut decoder, &set).unwrap();
    assert_eq!(
        (&event["event"], &event["nr"], &event["ufd"], &event["flags"]),
        (&json!("timerfd_settime"), &json!(286), &json!(3), &json!(1))
    );
    assert_eq!(
        (&event["utmr"], &event["abi"], event.get("otmr"), event.get("old")),
        (&json!(1_u64 << 40), &json!("x86_64"), None, None)
    );
    assert_eq!(event["utmr_used"], serde_json::to_value(setting).unwrap());
    let read = RawCall {
        old: setting,
        flags: call_flag::RETURNED | call_flag::OLD,
        ..call(Call::Gettime32, [4, 4096, 9, 9])
    };
    let event = told(&mut decoder, &read).unwrap();
    assert_eq!(
        (&event["event"], &event["nr"], &event["ufd"], &event["otmr"]),
        (&json!("timerfd_gettime32"), &json!(326), &json!(4), &json!(4096))
    );
    assert_eq!(
        (&event["timer"], event.get("clockid"), event.get("flags")),
        (&json!(null), None, None)
    );
    let posix =
        RawCall { ret: -22, ..call(Call::PosixSettime32, [u64::from(u32::MAX), 0, 4096, 8192]) };
    let event = told(&mut decoder, &posix).unwrap();
    assert_eq!(
        (&event["timer_id"], &event["errno"], event.get("ufd")),
        (&json!(-1), &json!("EINVAL"), None)
    );
}

/// Numbers of `arch/x86/entry/syscalls/syscall_{32,64}.tbl`.
#[test]
fn waits_are_told_by_their_names() {
    let native = [
        (0, "read"),
        (19, "readv"),
        (295, "preadv"),
        (327, "preadv2"),
        (7, "poll"),
        (219, "poll"),
        (271, "ppoll"),
        (23, "select"),
        (270, "pselect6"),
        (232, "epoll_wait"),
        (1 << 30 | 232, "epoll_wait"),
        (281, "epoll_pwait"),
        (441, "epoll_pwait2"),
        (426, "io_uring"),
    ];
    let i386 = [
        (3, "read"),
        (145, "readv"),
        (333, "preadv"),
        (378, "preadv2"),
        (168, "poll"),
        (0, "poll"),
        (309, "ppoll"),
        (414, "ppoll"),
        (82, "select"),
        (142, "select"),
        (308, "pselect6"),
        (413, "pselect6"),
        (256, "epoll_wait"),
        (319, "epoll_pwait"),
        (441, "epoll_pwait2"),
        (426, "io_uring"),
    ];
    let mut decoder = Decoder::new(false);
    for (is_i386, table) in [(false, &native[..]), (true, &i386)] {
        for (nr, name) in table {
            let by = By::of(*nr, is_i386).unwrap();
            let flags = if by as u32 <= By::Preadv2 as u32 { wakeup_flag::READ } else { 0 };
            let raw = RawWakeup {
                head: head(Record::Wakeup),
                moment: AT,
                who: WHO,
                by: by as u32,
                flags,
                ret: 8,
                ..RawWakeup::zeroed()
            };
            let event = told(&mut decoder, &raw).unwrap();
            assert_eq!((event["by"].as_str(), by.as_str()), (Some(*name), *name), "{nr}");
            assert_eq!(complaints(&event), [""; 0], "{event}");
        }
    }
    assert_eq!(
        [By::of(233, false), By::of(255, true), By::of(232, true)],
        [None; 3],
        "epoll_ctl polls and wakes nobody"
    );
    assert!(By::ALL.iter().enumerate().all(|(at, by)| *by as usize == at));
}

#[test]
fn what_is_not_known_of_a_read_is_null() {
    let read = |flags, entry_ns, ret| {
        let flags = wakeup_flag::READ | flags;
        let raw = RawWakeup {
            head: head(Record::Wakeup),
            moment: AT,
            who: WHO,
            entry_ns,
            ret,
            ticks: 9,
            flags,
            ..RawWakeup::zeroed()
        };
        let event = told(&mut Decoder::new(false), &raw).unwrap();
        assert_eq!(complaints(&event), [""; 0], "{event}");
        let back: Wakeup = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), event);
        (event.get("ticks").cloned(), event.get("entry_ns").cloned(), event.get("errno").cloned())
    };
    assert_eq!(read(wakeup_flag::TICKS, 5, 8), (Some(json!(9)), Some(json!(5)), None));
    assert_eq!(read(0, 0, 8), (Some(json!(null)), Some(json!(null)), None));
    assert_eq!(read(0, 5, 4), (Some(json!(null)), Some(json!(5)), None));
    assert_eq!(read(0, 5, -125), (None, Some(json!(5)), Some(json!("ECANCELED"))));
    assert_eq!(read(0, 5, -14), (None, Some(json!(5)), Some(json!("EFAULT"))));
}

#[test]
fn a_call_has_what_was_told_within_it() {
    let raw = RawEvent { flags: flag::RETURNED, ..examples::success() };
    let moment = |ns| Moment { ns, timer: TIMER };
    let arming = |ns| RawArming {
        head: head(Record::Arming),
        moment: moment(ns),
        ids: u64::from(raw.host_tid),
        due: DUE,
    };
    let mut decoder = Decoder::new(false);
    assert_eq!(decoder.armed_of(&raw), None);
    assert_eq!(told(&mut decoder, &arming(raw.entry_ns - 1)), None);
    assert_eq!(decoder.armed_of(&raw), None, "that call was lost");
    told(&mut decoder, &arming(raw.exit_ns));
    assert_eq!(
        decoder.armed_of(&RawEvent { host_tid: raw.host_tid + 1, ..raw }),
        None,
        "another thread"
    );
    let armed = Armed {
        ns: raw.exit_ns,
        timer: 1,
        clockid: 7,
        expires_ns: 801,
        clock_offset_ns: 100,
        suspended_ns: 5,
    };
    assert_eq!(decoder.armed_of(&raw), Some(armed));
    assert_eq!(decoder.armed_of(&raw), None, "it is told once");
    let mut line = Vec::new();
    json::write_line(&mut line, &raw, Seen::Whole);
    json::add_timer(&mut line, (1, 7));
    let event: settime32_abi::output::CallEvent<'_> = serde_json::from_slice(&line).unwrap();
    assert_eq!((event.timer, event.clockid), (Some(1), Some(7)));
    assert_eq!(
        serde_json::to_string(&event).unwrap() + "\n",
        String::from_utf8(line).unwrap(),
        "the text of the contract"
    );
}

#[test]
fn a_native_call_has_what_it_set() {
    let mut decoder = Decoder::new(false);
    let raw =
        RawCall { timer: TIMER, due: DUE, armed_ns: 8, ..call(Call::SettimeX64, [3, 0, 4096, 0]) };
    let Some(Event::Call(told, armed)) = decoder.event(bytemuck::bytes_of(&raw)).unwrap() else {
        panic!("no call")
    };
    let expected = Armed {
        ns: 8,
        timer: 1,
        clockid: 7,
        expires_ns: 801,
        clock_offset_ns: 100,
        suspended_ns: 5,
    };
    assert_eq!((told.timer, told.clockid, armed), (Some(1), Some(7), Some(expected)));
    let failed = call(Call::SettimeX64, [3, 0, 4096, 0]);
    assert!(matches!(decoder.event(bytemuck::bytes_of(&failed)), Ok(Some(Event::Call(_, None)))));
}

#[test]
fn what_only_lateness_takes_is_not_printed() {
    let mut decoder = Decoder::new(false);
    let set = decoder
        .event(bytemuck::bytes_of(&RawClockSet { head: head(Record::ClockSet), ns: 5 }))
        .unwrap()
        .unwrap();
    assert_eq!((&set, set.is_printed()), (&Event::ClockSet { ns: 5 }, false));
    let ticks = RawTicksSet { head: head(Record::TicksSet), moment: AT, ids: WHO.ids };
    let ticks = decoder.event(bytemuck::bytes_of(&ticks)).unwrap().unwrap();
    assert_eq!((&ticks, ticks.is_printed()), (&Event::TicksSet { ns: 700, timer: 1 }, false));
}

#[test]
fn ids_of_the_initial_namespace_are_told_where_they_differ_or_always() {
    let ids = |always, own_ids| {
        let raw =
            RawRelease { head: head(Record::Release), moment: AT, who: Who { own_ids, ..WHO } };
        let event = told(&mut Decoder::new(always), &raw).unwrap();
        assert_eq!(complaints(&event), [""; 0], "{event}");
        (
            event["pid"].clone(),
            event["tid"].clone(),
            event.get("host_pid").cloned(),
            event.get("host_tid").cloned(),
        )
    };
    let (host_pid, host_tid) = (Some(json!(7)), Some(json!(8)));
    assert_eq!(ids(false, IDS), (json!(7), json!(8), None, None));
    assert_eq!(ids(true, IDS), (json!(7), json!(8), host_pid.clone(), host_tid.clone()));
    assert_eq!(ids(false, 1 << 32 | 2), (json!(1), json!(2), host_pid.clone(), host_tid.clone()));
    assert_eq!(ids(false, 0), (json!(null), json!(null), host_pid, host_tid));
}

#[test]
fn a_thread_that_is_ignored_is_told_nothing_of() {
    let mut decoder = Decoder::new(false);
    decoder.ignore(8);
    let release = RawRelease { head: head(Record::Release), moment: AT, who: WHO };
    assert_eq!(told(&mut decoder, &call(Call::CreateX64, [0; 4])), None);
    assert_eq!(told(&mut decoder, &release), None);
    let mut others = release;
    others.who.ids = 7 << 32 | 9;
    assert!(told(&mut decoder, &others).is_some());
}

#[test]
fn a_timer_that_fires_before_its_time_is_early() {
    let raw = RawExpiry { head: head(Record::Expiry), moment: AT, due: DUE, is_inline: 0 };
    let event = told(&mut Decoder::new(false), &raw).unwrap();
    assert_eq!((&event["late_ns"], event.get("inline")), (&json!(-1), None));
    let due = Due { expires_ns: 100, ..DUE };
    let event = told(&mut Decoder::new(false), &RawExpiry { due, is_inline: 1, ..raw }).unwrap();
    assert_eq!((&event["late_ns"], &event["inline"]), (&json!(700), &json!(true)));
}

#[test]
fn a_record_of_no_kind_is_an_error() {
    let cancel = RawCancel { head: head(Record::Cancel), moment: AT };
    let bytes = bytemuck::bytes_of(&cancel);
    assert!(Decoder::new(false).event(bytes).is_ok());
    for len in 0..bytes.len() {
        assert_eq!(Decoder::new(false).event(&bytes[..len]), Err(UnknownRecord { len }));
    }
    let other = RawCancel { head: Head { record: 0, cpu: 0 }, ..cancel };
    assert_eq!(
        Decoder::new(false).event(bytemuck::bytes_of(&other)),
        Err(UnknownRecord { len: bytes.len() })
    );
}

fn clocks() -> impl Strategy<Value = i32> {
    prop::sample::select(&[0, 1, 7, 8, 9][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the kernel side hands over.
    #[test]
    fn every_event_is_one_of_the_schema(
        (words, clockid) in (any::<[u64; size_of::<RawCall>() / 8]>(), clocks()),
        (nr, address) in (0..9_u32, prop_oneof![Just(0_u64), 1..5_u64]),
        flags in 0..32_u32,
        ret in prop_oneof![Just(0_i64), -4100..10_i64],
        by in 0..By::ALL.len() as u32,
        of in 0..6,
    ) {
        let mut decoder = Decoder::new(false);
        let timer = Timer { address, met_ns: words[1] };
        let moment = Moment { ns: words[0], timer };
        let [ids, number, other] = [words[2], words[3], words[4]];
        let who = Who { ids, own_ids: number, comm: bytemuck::cast([words[5], words[6]]) };
        let due = Due { expires_ns: number.cast_signed(), clock_offset_ns: ret, suspended_ns: other, clockid, is_known: 1 };
        let event = match of {
            0 => {
                let raw: RawCall = bytemuck::cast(words);
                // No program keeps what its call has not.
                let sets = [Call::SettimeX64, Call::SettimeI386, Call::PosixSettime32].map(|call| call as u32).contains(&nr);
                let is_posix = [Call::PosixSettime32, Call::PosixGettime32].map(|call| call as u32).contains(&nr);
                let has_old = nr > Call::CreateI386 as u32;
                let none = if sets { 0 } else { call_flag::USED } | if has_old { 0 } else { call_flag::OLD };
                let (timer, flags) = (if is_posix { Timer::NONE } else { timer }, flags & !none);
                told(&mut decoder, &RawCall { head: head(Record::Call), call: nr, timer, flags, ret, due, ..raw })
            }
            1 => told(&mut decoder, &RawExpiry { head: head(Record::Expiry), moment, due, is_inline: ids & 1 }),
            2 => {
                let ret = [8, 4, -125, -14][flags as usize % 4];
                let flags = wakeup_flag::READ | if ret == 8 { flags & wakeup_flag::TICKS } else { 0 };
                let by = if by < By::Poll as u32 { by } else { By::IoUring as u32 };
                told(&mut decoder, &RawWakeup { head: head(Record::Wakeup), moment, who, entry_ns: number, ret, ticks: other, by, flags })
            }
            3 => {
                let by = by.max(By::Poll as u32);
                told(&mut decoder, &RawWakeup { head: head(Record::Wakeup), moment, who, by, ..RawWakeup::zeroed() })
            }
            4 => told(&mut decoder, &RawRelease { head: head(Record::Release), moment, who }),
            _ => told(&mut decoder, &RawCancel { head: head(Record::Cancel), moment }),
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
