//! Which variables of the environment a program in a guest gets: those of cargo and its test
//! runners, and what is named; nothing that looks like a secret, unless it is named.

use glob::Pattern;

/// What programs expect to find, and that is not taken from here.
const FIXED: [(&str, &str); 2] =
    [("HOME", "/root"), ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")];

/// Taken from here without being named. LD_LIBRARY_PATH is needed by the loader in the guest as it
/// is here.
const USUAL: &str = "CARGO CARGO_* RUST_* NEXTEST NEXTEST_* OUT_DIR PROPTEST_* QUICKCHECK_* INSTA_* \
    LANG LC_* TZ TERM COLORTERM NO_COLOR CLICOLOR CLICOLOR_FORCE FORCE_COLOR LD_LIBRARY_PATH";
/// Not even then.
const PRIVATE: &str =
    "*TOKEN* *SECRET* *PASSWORD* *CREDENTIAL* CARGO_REGISTR* CARGO_HTTP_* CARGO_NET_*";

/// `NAME=value` of each variable, of `here` those that are usual or asked for. What is asked for is
/// a name, a pattern of names, or `NAME=value`; the last that names a variable counts.
pub fn environment(here: impl Iterator<Item = (String, String)>, asked: &[String]) -> Vec<String> {
    let (given, named): (Vec<&String>, Vec<&String>) =
        asked.iter().partition(|word| word.contains('='));
    let (usual, private) = (patterns(USUAL.split(' ')), patterns(PRIVATE.split(' ')));
    let named = patterns(named.into_iter().map(String::as_str));
    let any =
        |patterns: &[Pattern], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    let wanted = |name: &str| any(&named, name) || (any(&usual, name) && !any(&private, name));
    let mut variables: Vec<(String, String)> =
        FIXED.map(|(name, value)| (name.into(), value.into())).into();
    let given = given
        .into_iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_string(), value.to_string()));
    for (name, value) in here.filter(|(name, _)| wanted(name)).chain(given) {
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value));
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// What is no pattern matches itself alone.
fn patterns<'a>(words: impl Iterator<Item = &'a str>) -> Vec<Pattern> {
    words
        .filter_map(|word| {
            Pattern::new(word).or_else(|_| Pattern::new(&Pattern::escape(word))).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Vec<String> {
        let here =
            "PATH HOME CARGO CARGO_PKG_NAME CARGO_REGISTRY_TOKEN RUST_LOG MY_TOKEN MY_OTHER SHELL";
        let here = here.split(' ').map(|name| (name.to_string(), format!("{name} here")));
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        environment(here, &asked)
            .into_iter()
            .filter(|variable| !FIXED.iter().any(|(name, _)| variable.starts_with(name)))
            .collect()
    }

    #[test]
    fn secrets_and_what_nobody_asked_for_stay_here() {
        let usual =
            ["CARGO=CARGO here", "CARGO_PKG_NAME=CARGO_PKG_NAME here", "RUST_LOG=RUST_LOG here"];
        assert_eq!(names(&[]), usual);
        assert_eq!(names(&["MY_TOKEN"])[3..], ["MY_TOKEN=MY_TOKEN here"], "named, it goes");
        assert_eq!(
            names(&["MY_*", "NOT_HERE"])[3..],
            ["MY_TOKEN=MY_TOKEN here", "MY_OTHER=MY_OTHER here"]
        );
    }

    #[test]
    fn what_is_given_counts_more_than_what_is_here() {
        assert_eq!(names(&["RUST_LOG=a=b", "X="])[2..], ["RUST_LOG=a=b", "X="]);
        let path = |asked: &[String]| {
            environment([("PATH".into(), "here".into())].into_iter(), asked).last().cloned()
        };
        assert_ne!(path(&[]).unwrap(), "PATH=here");
        assert_eq!(path(&["PATH".into()]).unwrap(), "PATH=here");
    }
}
