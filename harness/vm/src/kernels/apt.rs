//! Finds and downloads a package with apt, in a private root: the machine's own package lists stay
//! as they are, and suites that it does not use can be read. The site is the machine's own, and apt
//! checks signatures and checksums; this file checks the package's SHA-256 against the signed index
//! once more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use glob::Pattern;

use super::catalog::Entry;
use crate::cache;
use crate::failure::HostError;

/// A downloaded package.
pub(super) struct Found {
    pub package: String,
    pub version: String,
    pub deb: PathBuf,
}

/// Downloads the newest package that matches the entry into `scratch`.
pub(super) fn download(entry: &Entry, scratch: &Path) -> Result<Found, HostError> {
    let apt = PrivateApt::new(entry, scratch)?;
    apt.run("apt-get", &["update", "-q"])?;
    let names = apt.run("apt-cache", &["pkgnames", "linux-"])?;
    let pattern = Pattern::new(&entry.image)
        .map_err(|error| apt.fail(format!("bad pattern in ci/kernels.toml: {error}")))?;
    let mut newest: Option<(String, String, String)> = None;
    for package in names.lines().filter(|name| pattern.matches(name)) {
        let shown = apt.run("apt-cache", &["show", "--no-all-versions", package])?;
        let field = |name: &str| {
            shown
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_string())
        };
        let (Some(version), Some(digest)) = (field("Version:"), field("SHA256:")) else { continue };
        let newer = match &newest {
            Some((best, ..)) => apt.is_newer(&version, best)?,
            None => true,
        };
        if newer {
            newest = Some((version, package.to_string(), digest));
        }
    }
    let (version, package, digest) = newest.ok_or_else(|| {
        apt.fail(format!("no package of {} matches `{}`", entry.suites.join(" or "), entry.image))
    })?;
    apt.run("apt-get", &["download", "-q", &format!("{package}={version}")])?;
    let deb = apt.downloaded()?;
    cache::check(&deb, &digest)?;
    Ok(Found { package, version, deb })
}

/// apt's programs with every path of theirs inside one folder.
struct PrivateApt<'a> {
    entry: &'a Entry,
    root: PathBuf,
}

impl<'a> PrivateApt<'a> {
    fn new(entry: &'a Entry, scratch: &Path) -> Result<Self, HostError> {
        let root = scratch.join("apt");
        for folder in ["state/lists/partial", "cache/archives/partial", "download"] {
            cache::make_folder(&root.join(folder))?;
        }
        let apt = Self { entry, root };
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let mut sources = String::new();
        for suite in &entry.suites {
            sources += &format!(
                "deb [arch=amd64 signed-by={keyring}] {} {suite} main\n",
                apt.site(suite)?
            );
        }
        let list = apt.root.join("sources.list");
        fs::write(&list, sources).map_err(HostError::file("write", &list))?;
        fs::write(apt.root.join("state/status"), "")
            .map_err(HostError::file("write", apt.root.join("state/status")))?;
        Ok(apt)
    }

    /// The address from which this machine takes Debian's packages of such a suite, asked of its
    /// own apt. Suites of the security archive are named for it, and it has a site of its own.
    fn site(&self, suite: &str) -> Result<String, HostError> {
        let mut command = Command::new("apt-get");
        command.args([
            "indextargets",
            "--format",
            "$(ORIGIN) $(RELEASE) $(SITE)",
            "Created-By: Packages",
        ]);
        let listed = self.output(command)?;
        let is_security = |suite: &str| suite.ends_with("-security");
        let mut sites = listed.lines().filter_map(|line| {
            let [origin, release, site] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
            (origin == "Debian" && is_security(release) == is_security(suite))
                .then(|| site.to_string())
        });
        sites.next().ok_or_else(|| {
            let archive = if is_security(suite) { "security" } else { "main" };
            self.fail(format!(
                "apt on this machine has no source of Debian's {archive} archive; add one, run `apt-get update`, or give a path with --kernel"
            ))
        })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, HostError> {
        let option = |name: &str, path: &str| format!("{name}={}", self.root.join(path).display());
        let mut command = Command::new(program);
        for setting in [
            option("Dir::Etc::sourcelist", "sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            option("Dir::State", "state"),
            option("Dir::State::status", "state/status"),
            option("Dir::Cache", "cache"),
            "APT::Architecture=amd64".into(),
            "APT::Architectures::=amd64".into(),
            "APT::Sandbox::User=".into(),
            "Acquire::Languages=none".into(),
            // Suites that are archived are no longer signed anew.
            "Acquire::Check-Valid-Until=false".into(),
            "Acquire::Retries=3".into(),
            "Acquire::http::Timeout=30".into(),
        ] {
            command.arg("-o").arg(setting);
        }
        command.args(arguments).current_dir(self.root.join("download"));
        self.output(command)
    }

    /// Debian's order of versions, by Debian's own program.
    fn is_newer(&self, version: &str, than: &str) -> Result<bool, HostError> {
        let status = Command::new("dpkg")
            .args(["--compare-versions", version, "gt", than])
            .stdin(Stdio::null())
            .status();
        Ok(status.map_err(|error| self.fail(format!("failed to run dpkg ({error})")))?.success())
    }

    fn output(&self, mut command: Command) -> Result<String, HostError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = command.env("LC_ALL", "C").stdin(Stdio::null()).output().map_err(|error| {
            self.fail(format!(
                "failed to run {program} ({error}); kernels by name need a Debian machine, elsewhere give a path with --kernel"
            ))
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(self.fail(format!(
                "{program} ended with {}: {}",
                output.status,
                said.trim()
            )));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn downloaded(&self) -> Result<PathBuf, HostError> {
        let folder = self.root.join("download");
        let files = fs::read_dir(&folder).map_err(HostError::file("list", &folder))?;
        let deb = files
            .flatten()
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|end| end == "deb"));
        deb.ok_or_else(|| {
            self.fail("apt-get said that it downloaded the package, but there is none".into())
        })
    }

    fn fail(&self, reason: String) -> HostError {
        HostError::KernelFetch { name: self.entry.name.clone(), reason }
    }
}
