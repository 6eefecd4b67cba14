//! The terminal here, while a terminal in a guest is shown on it: everything that is typed goes
//! there as it is. It is left as it was found, however this process ends, but for SIGKILL.

use std::borrow::Cow;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use nix::pty::Winsize;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use settime32_abi::frame::WindowSize;

use crate::failure::InfraError;

nix::ioctl_read_bad!(get_window_size, nix::libc::TIOCGWINSZ, Winsize);

/// Of a terminal that does not know its own size.
const USUAL: WindowSize = WindowSize { rows: 24, columns: 80 };

/// What the terminal is to be set back to; `None` while it is as it was.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Size of the terminal here.
pub(super) fn size() -> WindowSize {
    let mut size = Winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: it writes the structure that it is given.
    let asked = unsafe { get_window_size(io::stdin().as_raw_fd(), &raw mut size) };
    match asked {
        Ok(_) if size.ws_row > 0 && size.ws_col > 0 => {
            WindowSize { rows: size.ws_row, columns: size.ws_col }
        }
        _ => USUAL,
    }
}

/// The terminal while nothing is done to what is typed; dropping it sets the terminal back.
pub(super) struct Raw;

impl Raw {
    pub(super) fn enter() -> Result<Self, InfraError> {
        let set = || -> nix::Result<()> {
            let found = tcgetattr(io::stdin())?;
            *lock() = Some(found.clone());
            let mut raw = found;
            cfmakeraw(&mut raw);
            tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)
        };
        set().map_err(|errno| {
            InfraError::file("set up", "the terminal that is standard input")(errno.into())
        })?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Sets the terminal back, if it is not as it was found.
pub(super) fn restore() {
    if let Some(found) = lock().take() {
        // A terminal that is gone cannot be set back, and need not be.
        _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &found);
    }
}

/// Lines as the terminal needs them: while it is raw, a line's end does not begin the next line at
/// the left.
pub(super) fn lines(content: &[u8]) -> Cow<'_, [u8]> {
    if lock().is_none() || !content.contains(&b'\n') {
        return content.into();
    }
    content
        .split_inclusive(|byte| *byte == b'\n')
        .flat_map(|line| match line {
            [line @ .., b'\n'] => [line, b"\r\n"],
            line => [line, b""],
        })
        .flatten()
        .copied()
        .collect::<Vec<_>>()
        .into()
}

fn lock() -> std::sync::MutexGuard<'static, Option<Termios>> {
    FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
