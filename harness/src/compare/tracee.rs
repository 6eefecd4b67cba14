//! Reads Tracee's events (`tracee --output json`), as its documentation publishes them: one object
//! a line, with the call's arguments in `args` by name. Pointers are numbers or hexadecimal
//! strings, by the version.

use serde_json::Value;
use settime32_abi::output::CALL_EVENT;

use super::conversion::Told;
use super::reader::Line;
use crate::oracle::Fields;

/// Where an event has what, by the keys of this project's events.
const PLACES: [(&str, &str); 5] = [
    ("pid", "/hostProcessId"),
    ("tid", "/hostThreadId"),
    ("comm", "/processName"),
    ("cpu", "/processorId"),
    ("ret", "/returnValue"),
];
/// The arguments that are reported by their own names.
const ARGUMENTS: [&str; 4] = ["ufd", "flags", "utmr", "otmr"];

/// Reads one line; events of other kinds are passed over.
pub fn line(line: &str, claims: Fields) -> Result<Line, String> {
    let event: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let name = event.get("eventName").and_then(Value::as_str).ok_or("it has no eventName")?;
    if name != CALL_EVENT {
        return Ok(Line::Nothing);
    }
    let mut told = Told::by(line);
    for (key, pointer) in PLACES {
        if let Some(value) = event.pointer(pointer) {
            told.say(key, &words(value));
        }
    }
    let arguments = event.get("args").and_then(Value::as_array).ok_or("it has no args")?;
    for argument in arguments {
        let name = argument.get("name").and_then(Value::as_str).ok_or("an argument has no name")?;
        if let (true, Some(value)) = (ARGUMENTS.contains(&name), argument.get("value")) {
            told.say(name, &words(value));
        }
    }
    told.reading(claims).map(|reading| Line::Call(Box::new(reading)))
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"timestamp":1700000000123456789,"threadStartTime":1700000000000000000,"processorId":1,"processId":12,"cgroupId":5,"threadId":12,"parentProcessId":1,"hostProcessId":812,"hostThreadId":813,"hostParentProcessId":700,"userId":0,"mountNamespace":4026531841,"pidNamespace":4026531836,"processName":"timer","hostName":"vm","container":{},"kubernetes":{},"eventId":"436","eventName":"timerfd_settime32","matchedPolicies":[""],"argsNum":4,"returnValue":-22,"syscall":"timerfd_settime32","stackAddresses":[0],"contextFlags":{"containerStarted":false,"isCompat":true},"args":[{"name":"ufd","type":"int","value":3},{"name":"flags","type":"int","value":1},{"name":"utmr","type":"struct old_itimerspec32*","value":"0xffb1c2d0"},{"name":"otmr","type":"struct old_itimerspec32*","value":"0x0"}]}"#;

    fn read(text: &str) -> Result<Line, String> {
        line(text, Fields::ALL)
    }

    #[test]
    fn an_event_is_read_by_name() {
        let Ok(Line::Call(reading)) = read(EVENT) else { panic!("a call") };
        let event = &reading.event;
        assert_eq!((event.pid, event.tid, event.cpu, event.comm.as_ref()), (812, 813, 1, "timer"));
        assert_eq!(
            (event.ufd, event.flags, event.utmr, event.otmr, event.ret),
            (3, 1, Some(0xffb1_c2d0), None, Some(-22))
        );
        assert!(reading.unfit.is_empty());
    }

    #[test]
    fn dirty_upper_halves_are_no_32_bit_pointer() {
        let Ok(Line::Call(reading)) = read(&EVENT.replace("0xffb1c2d0", "0xdeadbeefffb1c2d0"))
        else {
            panic!("a call")
        };
        assert_eq!(reading.unfit.names().collect::<Vec<_>>(), ["utmr"]);
        let Ok(Line::Call(reading)) = read(&EVENT.replace("\"0xffb1c2d0\"", "4289839824")) else {
            panic!("a call")
        };
        assert_eq!(reading.event.utmr, Some(0xffb1_c2d0));
    }

    #[test]
    fn other_events_are_passed_over_and_damage_is_not() {
        assert!(matches!(
            read(&EVENT.replace("\"eventName\":\"timerfd_settime32\"", "\"eventName\":\"openat\"")),
            Ok(Line::Nothing)
        ));
        assert!(read(&EVENT[..EVENT.len() - 2]).is_err());
        assert!(read("{}").unwrap_err().contains("eventName"));
        assert!(read(&EVENT.replace("\"args\"", "\"arguments\"")).unwrap_err().contains("args"));
    }
}
