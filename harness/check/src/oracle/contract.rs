//! Holds lines of JSON against the contract: read and written again, a line must say the same. A
//! key that is missing comes back as its null, and one that is unknown does not come back; both are
//! told by name. In which order keys come, and how numbers and letters are written, is of no
//! account.

use serde::{Deserialize, Serialize};
use serde_json::{Error, Value};

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Contract {
    /// The last line, written again; kept for its memory.
    again: Vec<u8>,
}

impl Contract {
    /// What a line says, and in what it is not as documented: nothing, usually.
    pub(super) fn read<'l, T: Deserialize<'l> + Serialize>(
        &mut self,
        line: &'l [u8],
    ) -> Result<(T, String), Error> {
        let said = serde_json::from_slice(line)?;
        self.again.clear();
        serde_json::to_writer(&mut self.again, &said)?;
        let faults = if self.again == line { String::new() } else { self.faults(line)? };
        Ok((said, faults))
    }

    #[cold]
    fn faults(&self, line: &[u8]) -> Result<String, Error> {
        let mut faults = Vec::new();
        compare(
            "",
            &serde_json::from_slice(&self.again)?,
            &serde_json::from_slice(line)?,
            &mut faults,
        );
        Ok(faults.join(", "))
    }
}

/// Gathers the keys that only one of them has, and the values that differ.
fn compare(path: &str, documented: &Value, found: &Value, faults: &mut Vec<String>) {
    let (Value::Object(documented), Value::Object(found)) = (documented, found) else {
        if documented != found {
            faults.push(format!("{path} is {found}"));
        }
        return;
    };
    for (key, value) in documented {
        match found.get(key) {
            Some(other) => compare(&format!("{path}/{key}"), value, other, faults),
            None => faults.push(format!("{path}/{key} is missing")),
        }
    }
    faults.extend(
        found
            .keys()
            .filter(|key| !documented.contains_key(*key))
            .map(|key| format!("{path}/{key} must not be there")),
    );
}

#[cfg(test)]
mod tests {
    use settime32_abi::output::{Lost, SUMMARY_EVENT, Summary};

    use super::*;

    fn faults(line: &str) -> Result<String, Error> {
        Contract::default().read::<Summary>(line.as_bytes()).map(|(_, faults)| faults)
    }

    #[test]
    fn only_what_a_line_says_counts() {
        let summary = Summary {
            event: SUMMARY_EVENT.into(),
            reported: 7,
            lost: Lost { buffer: 1, ..Lost::default() },
            unknown: 0,
            unfinished: 0,
            blind: Vec::new(),
        };
        let value = serde_json::to_value(&summary).unwrap();
        assert_eq!(faults(&value.to_string()).unwrap(), "", "keys in another order");
        assert_eq!(faults(&serde_json::to_string_pretty(&summary).unwrap()).unwrap(), "", "blanks");
        let mut more = value.clone();
        more["lost"]["more"] = 1.into();
        assert_eq!(faults(&more.to_string()).unwrap(), "/lost/more must not be there");
        let mut other = value;
        other["reported"] = "7".into();
        assert!(faults(&other.to_string()).is_err());
    }
}
