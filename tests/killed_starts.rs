//! Whoever is killed, and whenever, while a template is made or a guest goes on from one: the next
//! run works, and nothing is left of the last. Declared by the package `settime32-harness`, whose
//! program it kills.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const MOMENTS: u32 = 20;

/// It decides only how long a test takes that fails.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Set it to the number that a failed run printed, to see the same moments, as far as a busy
/// machine lets them be the same.
const SEED_ENV: &str = "SETTIME32_SEED";

#[derive(Clone, Copy, Debug)]
enum Victim {
    Harness,
    Qemu,
}

/// A cache of its own, so that the templates in it are this test's alone.
struct Stand {
    folder: TempDir,
    kernel: PathBuf,
}

impl Stand {
    fn new() -> Self {
        let kernel =
            settime32_harness::kernels::resolve("6.12", &|text| eprintln!("{text}")).unwrap();
        assert!(kernel.modules.is_empty(), "it can be given by its path");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder, kernel: kernel.image }
    }

    fn verify(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
        command
            .args([
                "verify", "--json", "--calls", "10", "--seed", "1", "--accel", "tcg", "--kernel",
            ])
            .arg(&self.kernel);
        // QEMU is known by these paths on its command line.
        command
            .env("SETTIME32_CACHE", self.folder.path())
            .env("TMPDIR", self.folder.path().join("tmp"));
        command.stdin(Stdio::null());
        command
    }

    fn templates(&self) -> PathBuf {
        self.folder.path().join("templates")
    }

    /// A run that must pass, from a template that is kept whole, with nothing else left; gives the
    /// time that it took.
    fn must_work(&self) -> Duration {
        let started = Instant::now();
        let output = self.verify().output().unwrap();
        let took = started.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(
            (output.status.code(), &report["start"]),
            (Some(0), &"warm".into()),
            "{report} {said}"
        );
        let (locks, others): (Vec<_>, Vec<_>) =
            names(&self.templates()).into_iter().partition(|name| name.ends_with(".lock"));
        assert!(
            others.len() == 1 && locks == [format!("{}.lock", others[0])],
            "{others:?} {locks:?}"
        );
        File::open(self.templates().join(&locks[0])).unwrap().try_lock().expect("nobody holds it");
        took
    }

    /// QEMUs of this test that run.
    fn emulators(&self) -> Vec<Pid> {
        let ours = |name: &String| {
            let line = fs::read(Path::new("/proc").join(name).join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.starts_with("qemu-system") && line.contains(&*self.folder.path().to_string_lossy())
        };
        names(Path::new("/proc"))
            .iter()
            .filter(|name| ours(name))
            .filter_map(|name| name.parse().ok().map(Pid::from_raw))
            .collect()
    }

    /// Starts a run and kills it, or its QEMU, so long after that is there; then waits until
    /// nothing of it runs.
    fn start_and_kill(&self, victim: Victim, after: Duration) {
        let mut run = self.verify().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if matches!(victim, Victim::Qemu) {
            until("a QEMU starts", || {
                !self.emulators().is_empty() || run.try_wait().unwrap().is_some()
            });
        }
        sleep(after);
        match victim {
            Victim::Harness => run.kill().unwrap(),
            // One that has just ended is as good as killed.
            Victim::Qemu => self
                .emulators()
                .into_iter()
                .for_each(|pid| kill(pid, Signal::SIGKILL).unwrap_or_default()),
        }
        run.wait().unwrap();
        until("QEMU ends with its harness", || self.emulators().is_empty());
    }
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "{what}: it does not");
        sleep(LOOK_INTERVAL);
    }
}

/// Numbers that look random, the same for the same seed (xorshift, G. Marsaglia 2003).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn whoever_is_killed_the_next_run_works() {
    let chosen = std::env::var(SEED_ENV).ok().map(|text| text.parse().unwrap());
    let seed: u64 = chosen.unwrap_or_else(|| {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000_007
    });
    println!("same moments again: {SEED_ENV}={seed}");
    let mut state = seed.max(1);
    let stand = Stand::new();
    let (making, going_on) = (stand.must_work(), stand.must_work());
    for moment in 0..MOMENTS {
        let victim = if moment % 2 == 0 { Victim::Harness } else { Victim::Qemu };
        let makes = moment % 4 < 2;
        if makes {
            fs::remove_dir_all(stand.templates()).unwrap();
        }
        let span = if makes { making } else { going_on };
        let after = span.mul_f64((next(&mut state) % 1000) as f64 / 1000.0);
        println!(
            "moment {moment}: {victim:?} {} ms after the start, which {}",
            after.as_millis(),
            if makes { "makes" } else { "goes on" }
        );
        stand.start_and_kill(victim, after);
        stand.must_work();
    }
}
